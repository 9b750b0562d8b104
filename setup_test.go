package dataflow_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowpgx"
	"github.com/activedataflow/dataflow/dataflowsqlite"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

func TestMain(m *testing.M) { os.Exit(dbtest.Main(m)) }

// database is a fresh, migrated database of either kind.
type database struct {
	name   string
	driver dataflow.Driver
	// exec runs a statement written for both, with {n} in place of parameters.
	exec func(ctx context.Context, sql string) error
	// count returns the single number that a query yields.
	count func(t *testing.T, sql string) int64
	// inTx runs fn in a transaction of the caller's own and commits it if fn
	// returns true.
	inTx func(t *testing.T, fn func(tx dataflow.Tx, exec func(sql string)) bool)
	pool *pgxpool.Pool
}

// onBoth runs a test on Postgres and on SQLite.
func onBoth(t *testing.T, fn func(t *testing.T, db database)) {
	t.Helper()
	for _, open := range []func(*testing.T) database{postgres, sqlite} {
		name := "Postgres"
		if fmt.Sprintf("%p", open) == fmt.Sprintf("%p", sqlite) {
			name = "SQLite"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := open(t)
			client, err := dataflow.NewClient(db.driver, nil)
			require.NoError(t, err)
			require.NoError(t, client.Migrate(t.Context()))
			fn(t, db)
		})
	}
}

func postgres(t *testing.T) database {
	t.Helper()
	pool := dbtest.Postgres(t)
	return database{
		name: "postgres", driver: dataflowpgx.New(pool), pool: pool,
		exec: func(ctx context.Context, sql string) error { _, err := pool.Exec(ctx, sql); return err },
		count: func(t *testing.T, sql string) int64 {
			t.Helper()
			var n int64
			require.NoError(t, pool.QueryRow(t.Context(), sql).Scan(&n))
			return n
		},
		inTx: func(t *testing.T, fn func(tx dataflow.Tx, exec func(sql string)) bool) {
			t.Helper()
			tx, err := pool.Begin(t.Context())
			require.NoError(t, err)
			defer tx.Rollback(t.Context()) //nolint:errcheck // committed below
			if fn(dataflowpgx.Tx(tx), func(sql string) { _, err := tx.Exec(t.Context(), sql); require.NoError(t, err) }) {
				require.NoError(t, tx.Commit(t.Context()))
			}
		},
	}
}

func sqlite(t *testing.T) database {
	t.Helper()
	db := dbtest.SQLite(t)
	return database{
		name: "sqlite", driver: dataflowsqlite.New(db),
		exec: func(ctx context.Context, sql string) error { _, err := db.ExecContext(ctx, sql); return err },
		count: func(t *testing.T, sql string) int64 {
			t.Helper()
			var n int64
			require.NoError(t, db.QueryRowContext(t.Context(), sql).Scan(&n))
			return n
		},
		inTx: func(t *testing.T, fn func(tx dataflow.Tx, exec func(sql string)) bool) {
			t.Helper()
			tx, err := db.BeginTx(t.Context(), nil)
			require.NoError(t, err)
			defer tx.Rollback() //nolint:errcheck // committed below
			if fn(dataflowsqlite.Tx(tx), func(sql string) { _, err := tx.ExecContext(t.Context(), sql); require.NoError(t, err) }) {
				require.NoError(t, tx.Commit())
			}
		},
	}
}

// newClient returns a client with these flows, quiet unless the test is verbose.
func newClient(t *testing.T, db database, config *dataflow.Config) *dataflow.Client {
	t.Helper()
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	if config.PollInterval == 0 {
		config.PollInterval = 20 * time.Millisecond
	}
	client, err := dataflow.NewClient(db.driver, config)
	require.NoError(t, err)
	return client
}

// start starts a client and stops it at the end of the test.
func start(t *testing.T, client *dataflow.Client) {
	t.Helper()
	require.NoError(t, client.Start(t.Context()))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 20*time.Second)
		defer cancel()
		require.NoError(t, client.Stop(ctx))
	})
}

// wait waits for a run within the test's patience.
func wait(t *testing.T, client *dataflow.Client, id int64) (*dataflow.Run, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	return client.Wait(ctx, id)
}
