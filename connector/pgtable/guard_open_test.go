package pgtable_test

import (
	"context"
	"encoding/hex"
	"math/rand/v2"
	"net/url"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// atID follows the tickets with the default guard.
func atID(t *testing.T, pool *pgxpool.Pool) *follower {
	t.Helper()
	return &follower{t: t, source: tickets(pool, nil, "at", "id")}
}

// TestOpenTransactions_NotWrittenYet opens a transaction that writes only after the
// other rows were read.
func TestOpenTransactions_NotWrittenYet(t *testing.T) {
	t.Parallel()
	pool := setup(t, ticketTable)
	f := atID(t, pool)
	late := begin(t, pool)
	exec(t, pool, `insert into ticket default values`)
	require.Empty(t, f.run())
	exec(t, late, `insert into ticket default values`)
	commit(t, late)
	require.Equal(t, []ticket{{2, 1}, {1, 1}}, f.run())
}

// TestOpenTransactions_Prepared has a prepared transaction, which belongs to no
// session.
func TestOpenTransactions_Prepared(t *testing.T) {
	t.Parallel()
	pool := setup(t, ticketTable, `insert into ticket default values`)
	f := atID(t, pool)
	require.Len(t, f.run(), 1)
	end := prepare(t, pool, `insert into ticket default values`)
	exec(t, pool, `insert into ticket default values`)
	require.Empty(t, f.run(), "when it has begun is not known")

	impatient := *f
	impatient.source = tickets(pool, pgtable.OpenTransactions{Patience: time.Nanosecond}, "at", "id")
	_, err := impatient.tryRun()
	require.ErrorContains(t, err, `rows are held back by the prepared transaction "`+gid(pool)+`" of role "`+pool.Config().ConnConfig.User+`", since 2`)

	end()
	require.Equal(t, []ticket{{2, 1}, {3, 1}}, f.run())
	rest, err := impatient.tryRun()
	require.NoError(t, err)
	require.Len(t, rest, 2)
}

// TestOpenTransactions_Patience requires that a read fails if a transaction holds
// rows back for too long.
func TestOpenTransactions_Patience(t *testing.T) {
	t.Parallel()
	pool := setup(t, ticketTable, `insert into ticket default values`)
	impatient := &follower{t: t, source: tickets(pool, pgtable.OpenTransactions{Patience: time.Nanosecond}, "at", "id")}
	patient := &follower{t: t, source: tickets(pool, pgtable.OpenTransactions{Patience: -1}, "at", "id")}
	late := begin(t, pool)
	require.Len(t, patient.run(), 1)
	rows, err := impatient.tryRun()
	require.NoError(t, err, "it holds nothing back")
	require.Len(t, rows, 1)
	impatient.cursor = nil

	exec(t, pool, `insert into ticket default values`)
	require.Empty(t, patient.run())
	rows, err = impatient.tryRun()
	require.Len(t, rows, 1, "the rows before it are read first")
	require.ErrorContains(t, err, `query "select id, version, at from ticket": rows are held back by the transaction of process `)
	require.ErrorContains(t, err, `, which is idle in transaction, since 2`)
	require.ErrorContains(t, err, `: end it, choose another guard in Query.LateCommits, or set a longer Patience`)
	commit(t, late)
	require.Len(t, impatient.run(), 1)
	require.Len(t, patient.run(), 1)
}

// TestOpenTransactions_OtherDatabase has an old transaction in another database.
func TestOpenTransactions_OtherDatabase(t *testing.T) {
	t.Parallel()
	pool, other := setup(t, ticketTable), setup(t, ticketTable)
	late := begin(t, other)
	exec(t, late, `insert into ticket default values`)
	exec(t, pool, `insert into ticket default values`)
	require.Len(t, atID(t, pool).run(), 1)
}

// TestOpenTransactions_Grace uses a column that rounds times.
func TestOpenTransactions_Grace(t *testing.T) {
	t.Parallel()
	pool := setup(t, ticketTable, `alter table ticket alter at type timestamptz(0), alter at set default date_trunc('second', now())`)
	late := begin(t, pool)
	exec(t, pool, `insert into ticket (at) select date_trunc('second', now())`)
	f := &follower{t: t, source: tickets(pool, pgtable.OpenTransactions{Grace: time.Second}, "at", "id")}
	require.Empty(t, f.run())
	exec(t, late, `insert into ticket default values`)
	commit(t, late)
	require.Equal(t, []int64{1, 2}, ids(f.runUntil(2)))
}

// role creates a role that may read tickets, and returns its name and URL.
func role(t *testing.T, admin *pgxpool.Pool, connString string) (name, roleURL string) {
	t.Helper()
	var super bool
	require.NoError(t, admin.QueryRow(t.Context(), `select rolsuper from pg_roles where rolname = current_user`).Scan(&super))
	if !super {
		t.Skip("the tests' role is no superuser, and cannot make others")
	}
	var suffix [8]byte
	for i := range suffix {
		suffix[i] = byte(rand.Uint32())
	}
	name = "dataflow_test_" + hex.EncodeToString(suffix[:])
	exec(t, admin, `create role `+name+` login`)
	t.Cleanup(func() {
		_, err := admin.Exec(context.WithoutCancel(t.Context()), `drop owned by `+name)
		require.NoError(t, err)
		_, err = admin.Exec(context.WithoutCancel(t.Context()), `drop role `+name)
		require.NoError(t, err)
	})
	exec(t, admin, `grant select, insert on ticket to `+name)
	u, err := url.Parse(connString)
	require.NoError(t, err)
	u.User = url.User(name)
	return name, u.String()
}

// TestOpenTransactions_Unprivileged reads as a role that may not see other roles'
// transactions.
func TestOpenTransactions_Unprivileged(t *testing.T) {
	t.Parallel()
	connString := dbtest.PostgresURL(t)
	admin := open(t, connString, pgx.QueryExecModeCacheStatement, nil, ticketTable)
	name, roleURL := role(t, admin, connString)
	reader := open(t, roleURL, pgx.QueryExecModeCacheStatement, nil)
	f := atID(t, reader)

	exec(t, admin, `insert into ticket default values`)
	require.Len(t, f.run(), 1, "nobody else has a transaction")
	own := begin(t, reader)
	exec(t, own, `insert into ticket default values`)
	exec(t, admin, `insert into ticket default values`)
	require.Empty(t, f.run(), "its own transactions it sees")
	commit(t, own)
	require.Len(t, f.run(), 2)

	late := begin(t, admin)
	exec(t, late, `insert into ticket default values`)
	exec(t, admin, `insert into ticket default values`)
	_, err := f.tryRun()
	require.ErrorContains(t, err, `role "`+name+`" may not see when the transaction of process `)
	require.ErrorContains(t, err, `, role "`+admin.Config().ConnConfig.User+`", started, so rows could be missed: `+
		`grant pg_read_all_stats to "`+name+`", or set Query.LateCommits to pgtable.Lag or pgtable.XID8`)

	exec(t, admin, `grant pg_read_all_stats to `+name)
	require.Empty(t, f.run())
	exec(t, admin, `revoke pg_read_all_stats from `+name)
	commit(t, late)
	require.Equal(t, []ticket{{4, 1}, {5, 1}}, f.run())
}

// TestOpenTransactions_Untracked has a session that hides its transactions from all
// roles.
func TestOpenTransactions_Untracked(t *testing.T) {
	t.Parallel()
	pool := setup(t, ticketTable)
	f := atID(t, pool)
	for name, statements := range map[string][]string{
		"disabled":            {`set track_activities = off`, `begin`},
		"idle in transaction": {`set track_activities = off`, `begin`, `set track_activities = on`},
	} {
		conn, err := pool.Acquire(t.Context())
		require.NoError(t, err)
		for _, statement := range statements {
			exec(t, conn, statement)
		}
		_, err = f.tryRun()
		require.ErrorContains(t, err, `has track_activities off, which hides when its transaction started, so rows could be missed: turn it on, or `, name)
		exec(t, conn, `commit`)
		require.Empty(t, f.run(), "it is in no transaction")
		exec(t, conn, `reset track_activities`)
		conn.Release()
	}
}

// TestOpenTransactions_Standby replaces functions to simulate a standby.
func TestOpenTransactions_Standby(t *testing.T) {
	t.Parallel()
	pool := standby(t, `null`)
	f := atID(t, pool)
	_, err := f.tryRun()
	require.ErrorContains(t, err, `does not work on a standby, because a standby does not show the transactions of its primary: set Query.LateCommits to pgtable.Lag or pgtable.XID8, or read from the primary`)
}

// standby returns a pool of a server that claims to be a standby.
func standby(t *testing.T, replayed string) *pgxpool.Pool {
	t.Helper()
	return setupMode(t, pgx.QueryExecModeCacheStatement, map[string]string{"search_path": "standby, pg_catalog, public"},
		`create schema standby`,
		`create function standby.pg_is_in_recovery() returns boolean language sql as 'select true'`,
		`create function standby.pg_last_xact_replay_timestamp() returns timestamptz language sql as $$select `+replayed+`::timestamptz$$`,
		`set search_path = public`, ticketTable, `reset search_path`)
}

// TestOpenTransactions_BetweenTransactions has a session that has ended its
// transaction but still runs a statement. The next transaction may begin at the
// statement's time, as with "commit and chain".
func TestOpenTransactions_BetweenTransactions(t *testing.T) {
	t.Parallel()
	pool := setup(t, ticketTable)
	f := atID(t, pool)
	conn, err := pool.Acquire(t.Context())
	require.NoError(t, err)
	defer conn.Release()
	pipeline := conn.Conn().PgConn().StartPipeline(t.Context())
	for _, statement := range []string{`begin`, `commit`} {
		pipeline.SendQueryParams(statement, nil, nil, nil, nil)
	}
	pipeline.SendFlushRequest()
	require.NoError(t, pipeline.Flush())
	for range 2 {
		result, err := pipeline.GetResults()
		require.NoError(t, err)
		_, err = result.(*pgconn.ResultReader).Close()
		require.NoError(t, err)
	}
	var between bool
	require.NoError(t, pool.QueryRow(t.Context(), `select state = 'active' and xact_start is null from pg_stat_activity where pid = $1`, conn.Conn().PgConn().PID()).Scan(&between))
	require.True(t, between)
	exec(t, pool, `insert into ticket default values`)
	require.Empty(t, f.run())
	require.NoError(t, pipeline.Sync())
	require.NoError(t, pipeline.Close())
	require.Len(t, f.run(), 1)
}
