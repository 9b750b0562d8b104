//go:build unix

package enginetest_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// through opens a pool through a pooler.
func through(t *testing.T, url string, mode pgx.QueryExecMode) *pgxpool.Pool {
	t.Helper()
	config, err := pgxpool.ParseConfig(url)
	require.NoError(t, err)
	config.ConnConfig.DefaultQueryExecMode = mode
	config.MaxConns = 16
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}

// All exec modes of pgx that can work through PgBouncer in transaction mode do so, with several
// clients at once, on both kinds of Runtime. In one of them River's listener would never hear of
// a job: it polls. The others are refused by name before anything is executed.
func TestPgBouncer(t *testing.T) {
	t.Parallel()
	for mode, refused := range map[pgx.QueryExecMode]string{
		pgx.QueryExecModeCacheStatement: "keeps no prepared statements",
		pgx.QueryExecModeDescribeExec:   "can execute another client's statement",
		pgx.QueryExecModeCacheDescribe:  "",
		pgx.QueryExecModeExec:           "",
		pgx.QueryExecModeSimpleProtocol: "",
	} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			direct := dbtest.PostgresURL(t)
			url := dbtest.PgBouncer(t, direct)
			if refused == "" {
				worksThrough(t, direct, url, mode)
				return
			}
			refusedThrough(t, direct, url, mode, refused)
		})
	}
}

// refusedThrough checks that nothing is executed, by whichever call comes first.
func refusedThrough(t *testing.T, direct, url string, mode pgx.QueryExecMode, refused string) {
	t.Helper()
	pool := through(t, url, mode)
	client := onPool(t, pool).client(nil)
	wrong := func(err error) {
		t.Helper()
		require.ErrorContains(t, err, refused)
		require.ErrorContains(t, err, "default_query_exec_mode=cache_describe")
		var config *dataflow.ConfigError
		require.ErrorAs(t, err, &config)
		require.Equal(t, "pool", config.Field)
	}
	wrong(client.Migrate(t.Context()))
	wrong(client.Start(t.Context()))
	_, err := client.Flows(t.Context(), nil)
	wrong(err)

	// Another pool of a flow, of a client that is fine.
	plain := through(t, direct, pgx.QueryExecModeCacheStatement)
	_, err = plain.Exec(t.Context(), `create table source (n bigint primary key); insert into source values (1); create table sink (n bigint)`)
	require.NoError(t, err)
	d := migrated(onPool(t, plain))
	for name, flow := range map[string]*dataflow.Flow{
		"keyset": dataflow.NewFlow("keyset", failoverSource(pool), dataflow.Identity[copied](), pgtable.Insert[copied]("sink"), nil),
		"select": dataflow.NewFlow("select", pgtable.Select[copied](pool, "select n from source"), dataflow.Identity[copied](), pgtable.Upsert[copied]("source", "n"), nil),
		"to":     dataflow.NewFlow("to", failoverSource(plain), dataflow.Identity[copied](), pgtable.InsertTo[copied](pool, "sink"), nil),
	} {
		run, err := d.execute(d.registered(flow), name)
		require.Error(t, err, name)
		require.Equal(t, dataflow.RunFailed, run.State, name)
		require.Contains(t, fmt.Sprint(err), refused, name)
	}
	require.Zero(t, d.number(`select count(*) from sink`))
}

func worksThrough(t *testing.T, direct, url string, mode pgx.QueryExecMode) {
	t.Helper()
	const flows, rows = 4, 2000
	plain := through(t, direct, pgx.QueryExecModeCacheStatement)
	_, err := plain.Exec(t.Context(), fmt.Sprintf(`create table source (n bigint primary key); insert into source select generate_series(1, %d)`, rows))
	require.NoError(t, err)
	logged := newLogs()
	var clients []*dataflow.Client
	for range 2 {
		// Each client has a pool of its own, so that the pooler's processes serve clients in turn.
		pool := through(t, url, mode)
		d := onPool(t, pool)
		config := &dataflow.Config{Logger: logged.logger()}
		for i := range flows {
			table := fmt.Sprintf("sink%d", i)
			var runtime dataflow.Runtime = dataflow.Heartbeat{BatchSize: 100}
			to := pgtable.Insert[copied](table)
			if i%2 == 1 {
				runtime, to = dataflow.JobQueue{BatchSize: 100}, pgtable.Upsert[copied](table, "n")
			}
			config.Flows = append(config.Flows, dataflow.NewFlow(fmt.Sprintf("flow%d", i), failoverSource(pool), dataflow.Identity[copied](), to,
				&dataflow.FlowOptions{Runtime: runtime}))
		}
		clients = append(clients, d.client(config))
	}
	require.NoError(t, clients[0].Migrate(t.Context()))
	for i := range flows {
		_, err := plain.Exec(t.Context(), fmt.Sprintf(`create table sink%d (n bigint primary key)`, i))
		require.NoError(t, err)
	}
	for _, client := range clients {
		require.NoError(t, client.Start(t.Context()))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for i := range flows {
		run, err := clients[i%2].Enqueue(ctx, fmt.Sprintf("flow%d", i), nil)
		require.NoError(t, err)
		run, err = clients[(i+1)%2].Wait(ctx, run.ID)
		require.NoError(t, err)
		require.Equal(t, 1, run.Attempt)
		require.Empty(t, run.Errors)
		var n int64
		require.NoError(t, plain.QueryRow(ctx, fmt.Sprintf(`select count(distinct n) from sink%d`, i)).Scan(&n))
		require.Equal(t, int64(rows), n)
	}
	var listeners int
	require.NoError(t, plain.QueryRow(ctx, `select count(*) from pg_stat_activity where query ilike 'listen %' and datname = current_database()`).Scan(&listeners))
	require.Zero(t, listeners, "River listens through the pooler")
	for _, client := range clients {
		require.NoError(t, client.Stop(t.Context()))
	}
	logged.mu.Lock()
	defer logged.mu.Unlock()
	require.Contains(t, logged.buf.String(), "entering poll only mode")
	require.NotContains(t, logged.buf.String(), "level=ERROR")
}

// PgBouncer refuses a connection string that sets options.
func TestPgBouncer_Options(t *testing.T) {
	t.Parallel()
	url := dbtest.PgBouncer(t, dbtest.PostgresURL(t)) + "&options=-c%20statement_timeout%3D1000"
	err := onPool(t, through(t, url, pgx.QueryExecModeCacheDescribe)).client(nil).Migrate(t.Context())
	require.ErrorContains(t, err, "unsupported startup parameter")
	require.ErrorContains(t, err, "ignore_startup_parameters")
	var config *dataflow.ConfigError
	require.ErrorAs(t, err, &config)
}

// Two processes that migrate through the pooler at once wait for each other, and leave no lock
// with a server process.
func TestPgBouncer_Migrate(t *testing.T) {
	t.Parallel()
	direct := dbtest.PostgresURL(t)
	url := dbtest.PgBouncer(t, direct)
	failed := make(chan error, 4)
	for range cap(failed) {
		client := onPool(t, through(t, url, pgx.QueryExecModeCacheDescribe)).client(nil)
		go func() { failed <- client.Migrate(t.Context()) }()
	}
	for range cap(failed) {
		require.NoError(t, <-failed)
	}
	var locks int
	plain := through(t, direct, pgx.QueryExecModeCacheStatement)
	require.NoError(t, plain.QueryRow(t.Context(), `select count(*) from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())`).Scan(&locks))
	require.Zero(t, locks)
}

// From 1.21 on, PgBouncer keeps prepared statements. Then the default mode works, and
// describe_exec still does not.
func TestPgBouncer_Prepared(t *testing.T) {
	t.Parallel()
	direct := dbtest.PostgresURL(t)
	url := dbtest.NewerPgBouncer(t, direct, "max_prepared_statements = 200")
	worksThrough(t, direct, url, pgx.QueryExecModeCacheStatement)
	err := onPool(t, through(t, url, pgx.QueryExecModeDescribeExec)).client(nil).Migrate(t.Context())
	require.ErrorContains(t, err, "can execute another client's statement")
	url = dbtest.NewerPgBouncer(t, direct, "max_prepared_statements = 0")
	err = onPool(t, through(t, url, pgx.QueryExecModeCacheStatement)).client(nil).Migrate(t.Context())
	require.ErrorContains(t, err, "keeps no prepared statements")
}

// In session mode, a pooler keeps a server process for each client: everything works.
func TestPgBouncer_Session(t *testing.T) {
	t.Parallel()
	url := dbtest.PgBouncer(t, dbtest.PostgresURL(t), "pool_mode = session", "default_pool_size = 20")
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeDescribeExec} {
		require.NoError(t, onPool(t, through(t, url, mode)).client(nil).Migrate(t.Context()))
	}
}

// A pooler in session mode with few processes is no reason to stop: nothing is known of it then.
func TestPgBouncer_SessionSmall(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1, 2} {
		t.Run(strconv.Itoa(size), func(t *testing.T) {
			t.Parallel()
			config, err := pgxpool.ParseConfig(dbtest.PgBouncer(t, dbtest.PostgresURL(t), "pool_mode = session", "default_pool_size = "+strconv.Itoa(size)))
			require.NoError(t, err)
			config.MaxConns = int32(size)
			pool, err := pgxpool.NewWithConfig(t.Context(), config)
			require.NoError(t, err)
			t.Cleanup(pool.Close)
			client := onPool(t, pool).client(nil)
			require.NoError(t, client.Migrate(t.Context()))
			_, err = client.Flows(t.Context(), nil)
			require.NoError(t, err)
		})
	}
}
