package dataflow_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowpgx"
	"github.com/activedataflow/dataflow/dataflowsqlite"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

func TestMain(m *testing.M) {
	if url := os.Getenv(workerEnv); url != "" {
		if err := worker(context.Background(), url); err != nil {
			fmt.Fprintln(os.Stderr, "worker:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(dbtest.Main(m))
}

// dbT is a test on a fresh, migrated database of either kind.
type dbT struct {
	*testing.T
	driver dataflow.Driver
	// exec runs a statement that both databases understand.
	exec func(sql string) error
	// number returns the single number that a query yields.
	number func(sql string) int64
	// inTx runs fn in a transaction of the caller's own, and commits it if fn
	// returns true.
	inTx func(fn func(tx dataflow.Tx, exec func(sql string)) bool)
	// isPostgres tells which it is.
	isPostgres bool
}

// onBoth runs a test on Postgres and on SQLite, in parallel.
func onBoth(t *testing.T, fn func(t *dbT)) {
	t.Helper()
	t.Run("Postgres", func(t *testing.T) {
		t.Parallel()
		fn(migrated(postgres(t)))
	})
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		fn(migrated(sqlite(t)))
	})
}

func migrated(t *dbT) *dbT {
	t.Helper()
	require.NoError(t, t.client(nil).Migrate(t.Context()))
	return t
}

func postgres(t *testing.T) *dbT {
	t.Helper()
	pool := dbtest.Postgres(t)
	return &dbT{
		T: t, driver: dataflowpgx.New(pool), isPostgres: true,
		exec: func(sql string) error { _, err := pool.Exec(t.Context(), sql); return err },
		number: func(sql string) (n int64) {
			require.NoError(t, pool.QueryRow(t.Context(), sql).Scan(&n))
			return n
		},
		inTx: func(fn func(tx dataflow.Tx, exec func(sql string)) bool) {
			tx, err := pool.Begin(t.Context())
			require.NoError(t, err)
			defer tx.Rollback(t.Context()) //nolint:errcheck // it may be committed
			if fn(dataflowpgx.Tx(tx), func(sql string) { _, err := tx.Exec(t.Context(), sql); require.NoError(t, err) }) {
				require.NoError(t, tx.Commit(t.Context()))
			}
		},
	}
}

func sqlite(t *testing.T) *dbT {
	t.Helper()
	db := dbtest.SQLite(t)
	return &dbT{
		T: t, driver: dataflowsqlite.New(db),
		exec: func(sql string) error { _, err := db.ExecContext(t.Context(), sql); return err },
		number: func(sql string) (n int64) {
			require.NoError(t, db.QueryRowContext(t.Context(), sql).Scan(&n))
			return n
		},
		inTx: func(fn func(tx dataflow.Tx, exec func(sql string)) bool) {
			tx, err := db.BeginTx(t.Context(), nil)
			require.NoError(t, err)
			defer tx.Rollback() //nolint:errcheck // it may be committed
			if fn(dataflowsqlite.Tx(tx), func(sql string) { _, err := tx.ExecContext(t.Context(), sql); require.NoError(t, err) }) {
				require.NoError(t, tx.Commit())
			}
		},
	}
}

// client returns a client that is quiet and looks for work often. config may be
// nil.
func (t *dbT) client(config *dataflow.Config) *dataflow.Client {
	t.Helper()
	conf := dataflow.Config{}
	if config != nil {
		conf = *config
	}
	if conf.Logger == nil {
		conf.Logger = slog.New(slog.DiscardHandler)
	}
	if conf.PollInterval == 0 {
		conf.PollInterval = 20 * time.Millisecond
	}
	client, err := dataflow.NewClient(t.driver, &conf)
	require.NoError(t, err)
	return client
}

// registered returns a client with these flows, registered and not started.
func (t *dbT) registered(flows ...*dataflow.Flow) *dataflow.Client {
	t.Helper()
	client := t.client(&dataflow.Config{Flows: flows})
	require.NoError(t, client.Register(t.Context()))
	return client
}

// started starts a client and stops it at the end of the test.
func (t *dbT) started(client *dataflow.Client) *dataflow.Client {
	t.Helper()
	require.NoError(t, client.Start(t.Context()))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 20*time.Second)
		defer cancel()
		require.NoError(t, client.Stop(ctx))
	})
	return client
}

// execute starts a run of a flow, as its Runtime does.
func (t *dbT) execute(client *dataflow.Client, name string) (*dataflow.Run, error) {
	t.Helper()
	flow, err := client.Flow(t.Context(), name)
	require.NoError(t, err)
	return flow.Runtime.Execute(t.Context(), flow)
}

// wait waits for a run, within the test's patience.
func (t *dbT) wait(client *dataflow.Client, id int64) (*dataflow.Run, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	return client.Wait(ctx, id)
}
