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

// The other server sorts texts by its own collation. If this one compares them with a cursor, or the other way round,
// rows are lost.
func TestKeyset_ForeignCollation(t *testing.T) {
	t.Parallel()
	type word struct {
		K string
		V int64
	}
	for here, there := range map[string]string{`"C"`: `"en-x-icu"`, `"en-x-icu"`: `"C"`} {
		t.Run(here, func(t *testing.T) {
			t.Parallel()
			other := setup(t, `create table word (k text collate `+there+` primary key, v bigint not null)`,
				`insert into word select w || n, row_number() over () from unnest(array['a', 'B', 'c', 'D']) w, generate_series(1, 5) n`)
			pool := setup(t)
			farAway(t, pool, other)
			exec(t, pool, `create foreign table word (k text collate `+here+` not null, v bigint not null) server far`)
			exec(t, pool, `create view words as select k, v from word`)
			for _, q := range []pgtable.Query{
				{SQL: `select k, v from word`, Key: []string{"k", "v"}},
				{SQL: `select k, v from words`, Key: []string{"k", "v"}, Nulls: pgtable.NullsSkip},
				{SQL: `select k, w.v from word w join generate_series(1, 20) n on n = w.v`, Key: []string{"k"}},
			} {
				q.PageSize = 3
				source := pgtable.Keyset[word](pool, q)
				require.Len(t, readAll(t, source), 20, q.SQL)
				resumeEverywhere(t, source)
			}
		})
	}
}

// An index does not help where this server compares and sorts the key for the sake of a foreign table, so no note proposes one.
func TestKeyset_ForeignNote(t *testing.T) {
	t.Parallel()
	other := setup(t, `create table label (n int primary key)`)
	pool := setup(t, `create table t (id text primary key, n int)`, `insert into t select i, i % 10 from generate_series(1, 20000) i`, `analyze t`)
	farAway(t, pool, other)
	exec(t, pool, `create foreign table label (n int not null) server far`)
	require.Empty(t, notes(t, pool, pgtable.Query{SQL: `select id, n from t`, Key: []string{"id"}}))
	found := notes(t, pool, pgtable.Query{SQL: `select id, n from t left join label using (n)`, Key: []string{"id"}})
	require.Len(t, found, 1)
	require.Regexp(t, `^each page sorts about \d+ rows: a foreign table is in the query, and its server may sort the texts of the key otherwise: use a key of times and numbers$`, found[0])
}

// A refresh brings the rows of a materialized view. Those that were committed after it come with the next one, when no
// transaction shows any more that they were late.
func TestGuard_MaterializedView(t *testing.T) {
	t.Parallel()
	for name, materialized := range map[string]string{"MaterializedView": "seen", "View": "refreshed"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := setup(t, ticketTable, `create materialized view `+materialized+` as select id, version, at, txid from ticket`)
			if name == "View" {
				exec(t, pool, `create view seen as select id, version, at, txid from refreshed`)
			}
			source := func(key string, guard pgtable.Guard) dataflow.Source[ticket, pgtable.Cursor] {
				return pgtable.Keyset[ticket](pool, pgtable.Query{SQL: `select id, version, ` + key + ` from seen`, Key: []string{key, "id"}, LateCommits: guard})
			}
			for key, guard := range map[string]pgtable.Guard{"at": nil, "txid": pgtable.XID8{Column: "txid"}} {
				_, err := (&follower{t: t, source: source(key, guard)}).tryRun()
				require.ErrorContains(t, err, "whose rows come when it is refreshed")
				require.True(t, dataflow.IsPermanent(err))
			}
			late := begin(t, pool)
			exec(t, late, `insert into ticket default values`)
			exec(t, pool, `insert into ticket default values`)
			exec(t, pool, `refresh materialized view `+materialized)
			commit(t, late)
			lost := &follower{t: t, source: source("at", pgtable.OpenTransactions{})} // who asks for it gets it
			require.Equal(t, []int64{2}, ids(lost.runUntil(1)))
			patient := &follower{t: t, source: source("at", pgtable.Lag{By: time.Hour})}
			require.Empty(t, patient.run())
			exec(t, pool, `refresh materialized view `+materialized)
			require.Empty(t, lost.run())
		})
	}
}
