//go:build unix

package enginetest_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

type copied struct {
	N int64 `db:"n"`
}

// failover is a primary with a standby, and a proxy that leads to the primary.
type failover struct {
	primary, standby *dbtest.Server
	proxy            *dbtest.Proxy
}

func newFailover(t *testing.T) *failover {
	t.Helper()
	f := &failover{primary: dbtest.StartServer(t)}
	f.standby = f.primary.Standby(t)
	f.proxy = dbtest.StartProxy(t, f.primary.Socket())
	return f
}

// pool is a pool through the proxy, of pgx's default size on a small machine.
func (f *failover) pool(t *testing.T) *pgxpool.Pool {
	t.Helper()
	config, err := pgxpool.ParseConfig(f.proxy.URL())
	require.NoError(t, err)
	config.MaxConns = 8
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}

// turn makes the primary read-only, leaves its connections open, promotes the standby once it
// has everything, and makes new connections reach it.
func (f *failover) turn(t *testing.T) {
	t.Helper()
	old, err := pgx.Connect(t.Context(), f.primary.URL())
	require.NoError(t, err)
	defer old.Close(t.Context()) //nolint:errcheck // the server ends anyway
	for _, sql := range []string{"alter system set default_transaction_read_only = on", "select pg_reload_conf()"} {
		_, err := old.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	// The server's processes hear of it one after the other, and late on a busy machine.
	require.Eventually(t, func() bool {
		var readOnly string
		return old.QueryRow(t.Context(), "show default_transaction_read_only").Scan(&readOnly) == nil && readOnly == "on"
	}, patience, 20*time.Millisecond)
	// Those that had begun before may write, and must end.
	var since time.Time
	require.NoError(t, old.QueryRow(t.Context(), "select clock_timestamp()").Scan(&since))
	writing := `select count(*) from pg_stat_activity where xact_start <= $1 and backend_type = 'client backend' and pid <> pg_backend_pid()`
	require.Eventually(t, func() bool {
		var n int
		return old.QueryRow(t.Context(), writing, since).Scan(&n) == nil && n == 0
	}, patience, 20*time.Millisecond)
	var lsn string
	require.NoError(t, old.QueryRow(t.Context(), "select pg_current_wal_flush_lsn()::text").Scan(&lsn))
	replica, err := pgx.Connect(t.Context(), f.standby.URL())
	require.NoError(t, err)
	defer replica.Close(t.Context()) //nolint:errcheck // the server ends anyway
	require.Eventually(t, func() bool {
		var there bool
		return replica.QueryRow(t.Context(), "select pg_last_wal_replay_lsn() >= $1::text::pg_lsn", lsn).Scan(&there) == nil && there
	}, patience, 20*time.Millisecond)
	f.standby.Promote(t)
	f.proxy.Switch(f.standby.Socket())
}

// number asks a server directly.
func (f *failover) number(t *testing.T, server *dbtest.Server, sql string) (n int64) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), server.URL())
	require.NoError(t, err)
	defer conn.Close(t.Context()) //nolint:errcheck // it was only to be asked
	require.NoError(t, conn.QueryRow(t.Context(), sql).Scan(&n))
	return n
}

// goesOn makes the primary fail over in the middle of a run, and waits for the next rows in
// the new primary's table.
func (f *failover) goesOn(t *testing.T, tables ...string) {
	t.Helper()
	count := func(server *dbtest.Server, table string) int64 {
		return f.number(t, server, "select count(*) from "+table)
	}
	for _, table := range tables {
		require.Eventually(t, func() bool { return count(f.primary, table) > 0 }, patience, 20*time.Millisecond, table)
	}
	f.turn(t)
	before := make(map[string]int64)
	for _, table := range tables {
		before[table] = count(f.standby, table)
		require.Equal(t, before[table], count(f.primary, table))
		require.Less(t, before[table], int64(failoverRows), "the run is in the middle")
	}
	for _, table := range tables {
		require.Eventually(t, func() bool { return count(f.standby, table) > before[table] }, patience, 20*time.Millisecond,
			"%s has no new row after the new primary was there", table)
	}
}

// left waits until no connection to the old primary is left: not even that of River's listener,
// which is not the pool's, and those that only read.
func (f *failover) left(t *testing.T) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), f.primary.URL())
	require.NoError(t, err)
	defer conn.Close(t.Context()) //nolint:errcheck // it was only to be asked
	var stayed string
	if !assert.Eventually(t, func() bool {
		return conn.QueryRow(t.Context(), `select coalesce(string_agg(query || ', made ' || backend_start || ', used ' || state_change, e'\n'), '')
			from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()`).Scan(&stayed) == nil && stayed == ""
	}, patience, 50*time.Millisecond) {
		require.Empty(t, stayed, "at the old primary")
	}
}

const failoverRows = 6000

func failoverTables(t *testing.T, pool *pgxpool.Pool, names ...string) {
	t.Helper()
	_, err := pool.Exec(t.Context(), fmt.Sprintf(`create table source (n bigint primary key); insert into source select generate_series(1, %d)`, failoverRows))
	require.NoError(t, err)
	for _, name := range names {
		_, err := pool.Exec(t.Context(), "create table "+name+" (n bigint primary key)")
		require.NoError(t, err)
	}
}

func failoverSource(pool *pgxpool.Pool) dataflow.Source[copied, pgtable.Cursor] {
	return pgtable.Keyset[copied](pool, pgtable.Query{SQL: "select n from source", Key: []string{"n"}, PageSize: 50, LateCommits: pgtable.Unguarded{}})
}

// settled checks that a run ended at its first attempt, with all rows.
func settled(t *testing.T, client *dataflow.Client, flow string, id int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	run, err := client.Wait(ctx, id)
	require.NoError(t, err, flow)
	require.Equal(t, dataflow.RunSuccess, run.State, flow)
	require.Equal(t, 1, run.Attempt, flow)
	require.Empty(t, run.Errors, flow)
	require.Equal(t, int64(failoverRows), run.Counters.Written, flow)
}

// The primary turns read-only and keeps its connections; a standby is promoted, and only new
// connections reach it. The runs of both kinds of Runtime go on there, and so does River.
func TestFailover(t *testing.T) {
	t.Parallel()
	f := newFailover(t)
	pool, reading := f.pool(t), f.pool(t)
	d := onPool(t, pool)
	migrated(d)
	failoverTables(t, pool, "beats", "jobs")
	flow := func(name string, runtime dataflow.Runtime, to dataflow.Target[copied]) *dataflow.Flow {
		return dataflow.NewFlow(name, failoverSource(reading), dataflow.RateLimit[copied](600), to, &dataflow.FlowOptions{Runtime: runtime})
	}
	client := d.client(&dataflow.Config{Flows: []*dataflow.Flow{
		flow("beats", dataflow.Heartbeat{BatchSize: 20}, pgtable.Insert[copied]("beats")),
		flow("jobs", dataflow.JobQueue{BatchSize: 20}, pgtable.Upsert[copied]("jobs", "n")),
	}})
	require.NoError(t, client.Start(t.Context()))
	ids := make(map[string]int64)
	for _, name := range []string{"beats", "jobs"} {
		run, err := client.Enqueue(t.Context(), name, nil)
		require.NoError(t, err)
		ids[name] = run.ID
	}
	f.goesOn(t, "beats", "jobs")
	for name, id := range ids {
		settled(t, client, name, id)
		require.Equal(t, int64(failoverRows), f.number(t, f.standby, "select count(distinct n) from "+name))
	}
	// The next job needs River to have moved, too.
	run, err := client.Enqueue(t.Context(), "jobs", nil)
	require.NoError(t, err)
	_, err = client.Wait(t.Context(), run.ID)
	require.NoError(t, err)
	f.left(t)
	require.NoError(t, client.Stop(t.Context()))
}

// A fail-over of the database that a flow reads from and writes to, which is not the client's.
func TestFailover_OtherDatabase(t *testing.T) {
	t.Parallel()
	f := newFailover(t)
	reading, writing := f.pool(t), f.pool(t)
	failoverTables(t, reading, "far")
	d := sqlite(t, migratedFile(t))
	client := d.client(&dataflow.Config{Flows: []*dataflow.Flow{
		dataflow.NewFlow("far", failoverSource(reading), dataflow.RateLimit[copied](600), pgtable.InsertTo[copied](writing, "far"),
			&dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 20}}),
	}})
	require.NoError(t, client.Start(t.Context()))
	run, err := client.Enqueue(t.Context(), "far", nil)
	require.NoError(t, err)
	f.goesOn(t, "far")
	settled(t, client, "far", run.ID)
	require.Equal(t, int64(failoverRows), f.number(t, f.standby, "select count(distinct n) from far"))
	// The source's pool has moved, too: a row that only the new primary has is read.
	direct, err := pgxpool.New(t.Context(), f.standby.URL())
	require.NoError(t, err)
	defer direct.Close()
	_, err = direct.Exec(t.Context(), "insert into source values (1000000)")
	require.NoError(t, err)
	run, err = client.Enqueue(t.Context(), "far", nil)
	require.NoError(t, err)
	run, err = client.Wait(t.Context(), run.ID)
	require.NoError(t, err)
	require.Equal(t, int64(1), run.Counters.Written)
	f.left(t)
	require.NoError(t, client.Stop(t.Context()))
}
