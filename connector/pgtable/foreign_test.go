package pgtable_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
)

// farAway makes a server far in pool's database, which is the database of the other pool.
func farAway(t *testing.T, pool, other *pgxpool.Pool) {
	t.Helper()
	c := other.Config().ConnConfig
	exec(t, pool, `create extension postgres_fdw`)
	exec(t, pool, `create server far foreign data wrapper postgres_fdw options (host '`+c.Host+`', port '`+strconv.Itoa(int(c.Port))+`', dbname '`+c.Database+`')`)
	exec(t, pool, `create user mapping for current_user server far options (user '`+c.User+`')`)
}

// The server of a foreign table does not see the transactions of the one that has its rows. So the default guard
// would lose the rows of those that commit late.
func TestGuard_ForeignTable(t *testing.T) {
	t.Parallel()
	for name, statements := range map[string][]string{
		"Table": {`create foreign table ticket (id bigint, at timestamptz, version int) server far`},
		"View": {
			`create foreign table tickets (id bigint, at timestamptz, version int) server far options (table_name 'ticket')`,
			`create view ticket as select id, at, version from tickets`,
		},
		"Partition": {
			`create table ticket (id bigint, at timestamptz, version int) partition by hash (id)`,
			`create table near partition of ticket for values with (modulus 2, remainder 0)`,
			`create foreign table tickets partition of ticket for values with (modulus 2, remainder 1) server far options (table_name 'ticket')`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			other, pool := setup(t, ticketTable), setup(t)
			farAway(t, pool, other)
			for _, statement := range statements {
				exec(t, pool, statement)
			}
			late := begin(t, other)
			exec(t, late, `insert into ticket default values`)
			exec(t, other, `insert into ticket default values`)
			_, err := atID(t, pool).tryRun()
			require.ErrorContains(t, err, "this server does not see the open transactions of the server that has its rows")
			require.ErrorContains(t, err, "set Query.LateCommits to pgtable.Lag")
			require.True(t, dataflow.IsPermanent(err))
			lost := &follower{t: t, source: tickets(pool, pgtable.OpenTransactions{}, "at", "id")} // who asks for it gets it
			require.Equal(t, []int64{2}, ids(lost.run()))
			commit(t, late)
			require.Empty(t, lost.run())

			f := &follower{t: t, source: tickets(pool, pgtable.Lag{By: time.Millisecond}, "at", "id")}
			require.ElementsMatch(t, []int64{1, 2}, ids(f.runUntil(2)))
		})
	}
	t.Run("Joined", func(t *testing.T) { // the key is of a local table
		t.Parallel()
		other, pool := setup(t, `create table version (id bigint, version int)`, `insert into version values (1, 7)`), setup(t, `create table own (id bigint, at timestamptz)`, `insert into own values (1, now())`)
		farAway(t, pool, other)
		exec(t, pool, `create foreign table version (id bigint, version int) server far`)
		exec(t, pool, `create view ticket as select id, at, version from own join version using (id)`)
		require.Equal(t, []ticket{{1, 7}}, atID(t, pool).run())
	})
}
