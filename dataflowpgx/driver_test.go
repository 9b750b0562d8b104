package dataflowpgx_test

import (
	"context"
	"log/slog"
	"os"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowpgx"
	"github.com/activedataflow/dataflow/internal/dbtest"
	"github.com/activedataflow/dataflow/internal/drivertest"
)

func TestMain(m *testing.M) {
	dbtest.Waiting()
	os.Exit(dbtest.Main(m))
}

func TestDriver(t *testing.T) {
	t.Parallel()
	drivertest.Run(t, open, drivertest.Features{Schemas: true, ConcurrentWriters: true})
}

// template is a migrated database.
var template = dbtest.Template{Fill: func(ctx context.Context, pool *pgxpool.Pool) error {
	store, err := dataflowpgx.New(pool).Store(dataflow.StoreOptions{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	return store.Migrate(ctx)
}}

func open(t *testing.T, migrated bool) drivertest.Database {
	t.Helper()
	if migrated {
		return &database{pool: template.Postgres(t)}
	}
	return &database{pool: dbtest.Postgres(t)}
}

// database implements drivertest.Database.
type database struct{ pool *pgxpool.Pool }

func (d *database) Driver() dataflow.Driver { return dataflowpgx.New(d.pool) }

func (d *database) Another(t *testing.T) dataflow.Driver {
	t.Helper()
	pool, err := pgxpool.NewWithConfig(t.Context(), d.pool.Config())
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return dataflowpgx.New(pool)
}

func (d *database) Close() { d.pool.Close() }

func (d *database) Exec(ctx context.Context, sql string) error {
	_, err := d.pool.Exec(ctx, sql)
	return err
}

func (d *database) ExecTx(ctx context.Context, sql string) (bool, error) {
	tx, ok := dataflowpgx.TxFrom(ctx)
	if !ok {
		return false, nil
	}
	_, err := tx.Exec(ctx, sql)
	return true, err
}

func (d *database) Rows(ctx context.Context, sql string) ([][]any, error) {
	rows, err := d.pool.Query(ctx, sql)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) ([]any, error) {
		values, err := row.Values()
		for i, v := range values {
			if n, ok := v.(int32); ok {
				values[i] = int64(n)
			}
		}
		return values, err
	})
}

func (d *database) Tables(ctx context.Context, schema string) ([]string, error) {
	rows, err := d.pool.Query(ctx, `select tablename::text from pg_tables where schemaname = coalesce(nullif($1, ''), current_schema())`, schema)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

func (d *database) Begin(ctx context.Context) (dataflow.Tx, func(commit bool) error, error) {
	tx, err := d.pool.Begin(ctx)
	if err != nil {
		return nil, nil, err
	}
	return dataflowpgx.Tx(tx), func(commit bool) error {
		if commit {
			return tx.Commit(ctx)
		}
		return tx.Rollback(ctx)
	}, nil
}
