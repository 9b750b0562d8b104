package dataflowpgx_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
	"github.com/activedataflow/dataflow/dataflowpgx"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// newPool returns a pool on a fresh database, with settings of its own.
func newPool(t *testing.T, set func(config *pgxpool.Config)) *pgxpool.Pool {
	t.Helper()
	config := dbtest.Postgres(t).Config()
	set(config)
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}

func newStore(t *testing.T, pool *pgxpool.Pool) dataflow.Store {
	t.Helper()
	store, err := dataflowpgx.New(pool).Store(dataflow.StoreOptions{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	return store
}

func TestNew_NilPool(t *testing.T) {
	t.Parallel()
	_, err := dataflowpgx.New(nil).Store(dataflow.StoreOptions{})
	var ce *dataflow.ConfigError
	require.ErrorAs(t, err, &ce)
	require.ErrorContains(t, err, "dataflowpgx.New")
	_, err = dataflow.NewClient(dataflowpgx.New(nil), nil)
	require.ErrorAs(t, err, &ce)
}

// A store without a schema uses the search path.
func TestStore_SearchPath(t *testing.T) {
	t.Parallel()
	pool := newPool(t, func(config *pgxpool.Config) { config.ConnConfig.RuntimeParams["search_path"] = "etl" })
	_, err := pool.Exec(t.Context(), "create schema etl")
	require.NoError(t, err)
	store := newStore(t, pool)
	for range 2 {
		require.NoError(t, store.Migrate(t.Context()))
		require.NoError(t, store.CheckSchema(t.Context()))
	}
	var elsewhere int
	require.NoError(t, pool.QueryRow(t.Context(), "select count(*) from pg_tables where schemaname = 'public'").Scan(&elsewhere))
	require.Zero(t, elsewhere)
	require.NoError(t, store.MigrateDown(t.Context(), 0))
	require.ErrorContains(t, store.CheckSchema(t.Context()), "call client.Migrate")
}

func TestMigrate_OneConnection(t *testing.T) {
	t.Parallel()
	store := newStore(t, newPool(t, func(config *pgxpool.Config) { config.MaxConns = 1 }))
	require.NoError(t, store.Migrate(t.Context()))
	require.NoError(t, store.CheckSchema(t.Context()))
	require.NoError(t, store.MigrateDown(t.Context(), 0))
}

// One connection holds the lock and the other one migrates. A store that waits for the lock
// must not keep a connection.
func TestMigrate_TwoConnectionsAtOnce(t *testing.T) {
	t.Parallel()
	pool := newPool(t, func(config *pgxpool.Config) { config.MaxConns = 2 })
	errs := make([]error, 4)
	var wg sync.WaitGroup
	for i := range errs {
		store := newStore(t, pool)
		wg.Go(func() { errs[i] = store.Migrate(t.Context()) })
	}
	wg.Wait()
	require.NoError(t, errors.Join(errs...))
	require.NoError(t, newStore(t, pool).CheckSchema(t.Context()))
	require.Zero(t, pool.Stat().AcquiredConns())
}

// A context that ends during a transaction costs no connection, unless a statement is
// running.
func TestInTx_CancelledKeepsConnection(t *testing.T) {
	t.Parallel()
	pool := dbtest.Postgres(t)
	store := newStore(t, pool)
	require.NoError(t, pool.Ping(t.Context()))
	before := pool.Stat().NewConnsCount()
	for range 5 {
		ctx, cancel := context.WithCancel(t.Context())
		err := store.InTx(ctx, func(ctx context.Context, _ dataflow.Tx) error {
			cancel()
			return ctx.Err()
		})
		require.ErrorIs(t, err, context.Canceled)
	}
	require.Equal(t, before, pool.Stat().NewConnsCount())
}

// What the library asks in the caller's transaction leaves the settings of that as they were.
func TestWith_KeepsSettings(t *testing.T) {
	t.Parallel()
	pool := newPool(t, func(*pgxpool.Config) {})
	store := newStore(t, pool)
	require.NoError(t, store.Migrate(t.Context()))
	tx, err := pool.Begin(t.Context())
	require.NoError(t, err)
	defer tx.Rollback(context.WithoutCancel(t.Context())) //nolint:errcheck // the test is over
	_, err = tx.Exec(t.Context(), "set local plan_cache_mode = force_custom_plan")
	require.NoError(t, err)
	q, err := store.With(dataflowpgx.Tx(tx))
	require.NoError(t, err)
	for range 2 {
		_, err = q.FlowsByName(t.Context(), []string{"a", "b"})
		require.NoError(t, err)
		_, err = q.RunLive(t.Context(), 1)
		require.NoError(t, err)
		_, _, err = q.FlowDue(t.Context(), nil)
		require.NoError(t, err)
	}
	var settings string
	require.NoError(t, tx.QueryRow(t.Context(), "select current_setting('enable_seqscan') || ' ' || current_setting('plan_cache_mode')").Scan(&settings))
	require.Equal(t, "on force_custom_plan", settings)
}

// New connections reach the old primary until the address moves. Those that only listen or read
// would stay there.
func TestPool_Left(t *testing.T) {
	t.Parallel()
	pool := newPool(t, func(*pgxpool.Config) {})
	store := newStore(t, pool)
	require.NoError(t, store.Migrate(t.Context()))
	listens, listening := make(chan struct{}, 10), make(chan error, 1)
	listen := func() {
		err := store.(dataflow.Notifier).Listen(t.Context(), func() { listens <- struct{}{} }, func(int64) {})
		listening <- err
	}
	require.NoError(t, store.ProcessSeen(t.Context(), &dataflow.Process{ID: "p"}, time.Minute))
	alive := func() error {
		_, err := store.ProcessAlive(t.Context(), "p", time.Minute)
		return err
	}
	name := pgx.Identifier{pool.Config().ConnConfig.Database}.Sanitize()
	admin, err := pgx.ConnectConfig(t.Context(), pool.Config().ConnConfig)
	require.NoError(t, err)
	defer admin.Close(context.WithoutCancel(t.Context())) //nolint:errcheck // the server ends anyway
	_, err = admin.Exec(t.Context(), "alter database "+name+" set default_transaction_read_only = on")
	require.NoError(t, err)
	pool.Reset()
	require.ErrorContains(t, alive(), "read-only")
	notes := store.(dataflow.NotedStore).Notes
	require.Len(t, notes(), 1)
	require.Contains(t, notes()[0], "has just refused to write")
	go listen() // at the server that takes no writes
	<-listens
	_, err = admin.Exec(t.Context(), "alter database "+name+" reset default_transaction_read_only")
	require.NoError(t, err)
	require.Empty(t, listening)
	require.NoError(t, alive())
	require.Eventually(t, func() bool { return len(listening) == 1 }, 20*time.Second, 5*time.Millisecond, "it has gone on at the old one")
	require.ErrorContains(t, <-listening, "the server became read-only")
	go listen()
	<-listens
	for range 3 {
		require.NoError(t, alive())
	}
	require.Empty(t, listening, "it is closed once")
	require.Empty(t, notes())
}

// River takes fewer names of schemas than Postgres. What it says names the one that it refuses.
func TestSchema_RefusedByRiver(t *testing.T) {
	t.Parallel()
	pool := template.Postgres(t)
	_, err := pool.Exec(t.Context(), `create schema "My Shop"`)
	require.NoError(t, err)
	flow := dataflow.NewFlow("orders", memory.Slice([]int{1}), dataflow.Identity[int](), memory.ToFunc(func(context.Context, int) error { return nil }), &dataflow.FlowOptions{Runtime: dataflow.JobQueue{}})
	client, err := dataflow.NewClient(dataflowpgx.New(pool), &dataflow.Config{Schema: "My Shop", Flows: []*dataflow.Flow{flow}, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	require.NoError(t, client.Migrate(t.Context()))
	require.ErrorContains(t, client.Start(t.Context()), `make River client for Config.Schema "My Shop": Schema name can only contain letters`)
}
