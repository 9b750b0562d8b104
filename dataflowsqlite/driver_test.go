package dataflowsqlite_test

import (
	"context"
	"database/sql"
	"log/slog"
	"os"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowsqlite"
	"github.com/activedataflow/dataflow/internal/dbtest"
	"github.com/activedataflow/dataflow/internal/drivertest"
)

func TestMain(m *testing.M) { os.Exit(dbtest.Main(m)) }

func TestDriver(t *testing.T) {
	t.Parallel()
	drivertest.Run(t, open, drivertest.Features{})
}

func open(t *testing.T, migrated bool) drivertest.Database {
	t.Helper()
	path := dbtest.SQLitePath(t)
	if migrated {
		require.NoError(t, os.WriteFile(path, template(t), 0o600))
	}
	return &database{db: dbtest.OpenSQLite(t, path), path: path}
}

var (
	templateOnce sync.Once // guards templateFile
	templateFile []byte
)

// template returns the file of a migrated database. Under the race detector, migrating
// would take most of a test's time.
func template(t *testing.T) []byte {
	t.Helper()
	templateOnce.Do(func() {
		path := dbtest.SQLitePath(t)
		db := dbtest.OpenSQLite(t, path)
		store, err := dataflowsqlite.New(db).Store(dataflow.StoreOptions{Logger: slog.New(slog.DiscardHandler)})
		require.NoError(t, err)
		require.NoError(t, store.Migrate(t.Context()))
		require.NoError(t, db.Close())
		templateFile, err = os.ReadFile(path)
		require.NoError(t, err)
	})
	require.NotEmpty(t, templateFile)
	return templateFile
}

// database implements drivertest.Database.
type database struct {
	db   *sql.DB
	path string
}

func (d *database) Driver() dataflow.Driver { return dataflowsqlite.New(d.db) }

func (d *database) Another(t *testing.T) dataflow.Driver {
	t.Helper()
	return dataflowsqlite.New(dbtest.OpenSQLite(t, d.path))
}

func (d *database) Close() { _ = d.db.Close() }

func (d *database) Exec(ctx context.Context, sql string) error {
	_, err := d.db.ExecContext(ctx, sql)
	return err
}

func (d *database) ExecTx(ctx context.Context, sql string) (bool, error) {
	tx, ok := dataflowsqlite.TxFrom(ctx)
	if !ok {
		return false, nil
	}
	_, err := tx.ExecContext(ctx, sql)
	return true, err
}

func (d *database) Rows(ctx context.Context, query string) ([][]any, error) {
	rows, err := d.db.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells what matters
	columns, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	var all [][]any
	for rows.Next() {
		values, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		all = append(all, values)
	}
	return all, rows.Err()
}

func (d *database) Tables(ctx context.Context, _ string) ([]string, error) {
	rows, err := d.Rows(ctx, `select name from sqlite_master where type = 'table'`)
	names := make([]string, len(rows))
	for i, row := range rows {
		names[i], _ = row[0].(string)
	}
	return names, err
}

func (d *database) Begin(ctx context.Context) (dataflow.Tx, func(commit bool) error, error) {
	tx, err := d.db.BeginTx(ctx, nil)
	if err != nil {
		return nil, nil, err
	}
	return dataflowsqlite.Tx(tx), func(commit bool) error {
		if commit {
			return tx.Commit()
		}
		return tx.Rollback()
	}, nil
}
