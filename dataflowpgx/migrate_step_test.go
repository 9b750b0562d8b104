package dataflowpgx_test

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowpgx"
)

// warned is closed when something is logged.
type warned struct {
	bytes.Buffer
	once sync.Once
	told chan struct{}
}

func (w *warned) Write(p []byte) (int, error) {
	w.once.Do(func() { close(w.told) })
	return w.Buffer.Write(p)
}

// A client's transaction has locked a run, and wants its flow, while the tables are migrated. It
// gets the flow, and the migration goes on when the transaction has ended. The migration says what
// it waits for.
func TestMigrate_BesideClients(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	pool := template.Postgres(t)
	logged := &warned{told: make(chan struct{})}
	store, err := dataflowpgx.New(pool).Store(dataflow.StoreOptions{Logger: slog.New(slog.NewTextHandler(logged, &slog.HandlerOptions{Level: slog.LevelWarn}))})
	require.NoError(t, err)
	status, err := store.Migrations(ctx)
	require.NoError(t, err)
	newest := status.Version
	require.NoError(t, store.MigrateDown(ctx, 1))

	tx, err := pool.Begin(ctx)
	require.NoError(t, err)
	_, err = tx.Exec(ctx, `select 1 from dataflow_run for update`)
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- store.Migrate(context.WithoutCancel(ctx)) }()
	require.Eventually(t, func() bool { // it waits for the table of runs
		var waits bool
		err := pool.QueryRow(ctx, `select exists (select from pg_locks where relation = 'dataflow_run'::regclass and not granted)`).Scan(&waits)
		return err == nil && waits
	}, time.Minute, 5*time.Millisecond)
	_, err = tx.Exec(ctx, `select 1 from dataflow_flow for update`)
	require.NoError(t, err)
	select {
	case <-logged.told: // it gave up, and waits for its next try
	case <-time.After(time.Minute):
		require.Fail(t, "it does not say what it waits for")
	}
	require.NoError(t, tx.Commit(ctx))
	require.NoError(t, <-ended)
	require.NoError(t, store.CheckSchema(ctx))
	status, err = store.Migrations(ctx)
	require.NoError(t, err)
	require.Equal(t, newest, status.Version)
	require.Contains(t, logged.String(), "dataflow: the migration waits for transactions that use the tables; trying again")
}

// A migration ends with its context while it waits for a transaction that does not end.
func TestMigrate_WaitEnds(t *testing.T) {
	t.Parallel()
	pool := template.Postgres(t)
	logged := &warned{told: make(chan struct{})}
	store, err := dataflowpgx.New(pool).Store(dataflow.StoreOptions{Logger: slog.New(slog.NewTextHandler(logged, &slog.HandlerOptions{Level: slog.LevelWarn}))})
	require.NoError(t, err)
	tx, err := pool.Begin(t.Context())
	require.NoError(t, err)
	defer tx.Rollback(context.WithoutCancel(t.Context())) //nolint:errcheck // nothing was done
	_, err = tx.Exec(t.Context(), `select 1 from dataflow_run`)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-logged.told; cancel() }()
	err = store.MigrateDown(ctx, 1)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "while it waited for transactions that use the tables")
	require.NoError(t, store.CheckSchema(t.Context()), "nothing has changed")
}

// A service may migrate at each start as a role that makes no tables, if another one has made them.
func TestMigrate_NothingToDo(t *testing.T) {
	t.Parallel()
	pool := template.Postgres(t)
	config := pool.Config()
	role := "app_" + config.ConnConfig.Database
	_, err := pool.Exec(t.Context(), fmt.Sprintf(`revoke create on schema public from public; create role %q; grant select on all tables in schema public to %[1]q`, role))
	require.NoError(t, err)
	config.ConnConfig.RuntimeParams["role"] = role
	as, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(func() {
		as.Close()
		_, _ = pool.Exec(context.WithoutCancel(t.Context()), fmt.Sprintf(`drop owned by %q; drop role %[1]q`, role))
	})
	_, err = as.Exec(t.Context(), `create table "other" (id int)`)
	require.ErrorContains(t, err, "permission denied")
	require.NoError(t, newStore(t, as).Migrate(t.Context()))
}

// Processes with a pool of one connection each take no lock, and may all find the same step to do. One
// does it, and the others find it done.
func TestMigrate_OneConnectionEach(t *testing.T) {
	t.Parallel()
	pool := template.Postgres(t)
	require.NoError(t, newStore(t, pool).MigrateDown(t.Context(), 14))
	tx, err := pool.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `select 1 from dataflow_run`)
	require.NoError(t, err)
	ended := make(chan error, 3)
	for range cap(ended) {
		config := pool.Config()
		config.MaxConns = 1
		one, err := pgxpool.NewWithConfig(t.Context(), config)
		require.NoError(t, err)
		t.Cleanup(one.Close)
		store := newStore(t, one)
		go func() { ended <- store.Migrate(t.Context()) }()
	}
	require.Eventually(t, func() bool { // all of them are at the same step
		var waiting int
		err := pool.QueryRow(t.Context(), `select count(*) from pg_locks where relation = 'dataflow_run'::regclass and not granted`).Scan(&waiting)
		return err == nil && waiting == cap(ended)
	}, time.Minute, time.Millisecond)
	require.NoError(t, tx.Commit(t.Context()))
	for range cap(ended) {
		require.NoError(t, <-ended)
	}
	require.NoError(t, newStore(t, pool).CheckSchema(t.Context()))
}

// What became of a flow's runs is kept while its columns move. They stay where they are if a view needs them, or if
// somebody may read them by a privilege of their own.
func TestMigrate_KeepsOutcomes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		before, then string
		moved        bool
	}{
		"moved":      {moved: true},
		"view":       {before: "create view outcome as select name, last_success_at from dataflow_flow", then: "select last_success_at from outcome"},
		"privileges": {before: "create role reader_020; grant select (last_run_at) on dataflow_flow to reader_020", then: "set role reader_020; select last_run_at from dataflow_flow; reset role; revoke all (last_run_at) on dataflow_flow from reader_020; drop role reader_020"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			pool := template.Postgres(t)
			flow := dataflow.NewFlow("flow", emptySource{}, dataflow.Identity[int64](),
				dataflow.ToTx(dataflow.TxSinkFunc[int64](func(context.Context, []int64) error { return nil })), nil)
			client, err := dataflow.NewClient(dataflowpgx.New(pool), &dataflow.Config{Flows: []*dataflow.Flow{flow}})
			require.NoError(t, err)
			require.NoError(t, client.Register(ctx))
			store := newStore(t, pool)
			status, err := store.Migrations(ctx)
			require.NoError(t, err)
			newest := status.Version
			exec := func(sql string) {
				_, err := pool.Exec(ctx, sql)
				require.NoError(t, err)
			}
			outcome := func() (text string, place int) {
				require.NoError(t, pool.QueryRow(ctx, `select concat_ws(' ', last_run_at, last_success_at, last_success_run) from dataflow_flow`).Scan(&text))
				require.NoError(t, pool.QueryRow(ctx, `select attnum from pg_attribute where attrelid = 'dataflow_flow'::regclass and attname = 'last_success_run'`).Scan(&place))
				return text, place
			}
			require.NoError(t, store.MigrateDown(ctx, 19))
			exec("update dataflow_flow set last_run_at = '2026-01-03', last_success_at = '2026-01-02', last_success_run = 123456")
			exec(cmp.Or(c.before, "select"))
			before, from := outcome()

			require.NoError(t, store.Migrate(ctx))
			status, err = store.Migrations(ctx)
			require.NoError(t, err)
			require.Equal(t, newest, status.Version)
			after, to := outcome()
			require.Equal(t, before, after)
			require.Equal(t, c.moved, from != to)
			exec(cmp.Or(c.then, "select"))
			found, err := client.Flow(ctx, "flow")
			require.NoError(t, err)
			_, err = found.Runtime.Execute(ctx, found)
			require.NoError(t, err)
		})
	}
}
