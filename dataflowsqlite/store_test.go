package dataflowsqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowsqlite"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

func TestNew_NilDB(t *testing.T) {
	t.Parallel()
	_, err := dataflowsqlite.New(nil).Store(dataflow.StoreOptions{})
	var ce *dataflow.ConfigError
	require.ErrorAs(t, err, &ce)
	require.ErrorContains(t, err, "dataflowsqlite.New")
	_, err = dataflow.NewClient(dataflowsqlite.New(nil), nil)
	require.ErrorAs(t, err, &ce)
}

// Even without a limit of one connection, transactions wait for each other at their
// beginning, where SQLite can wait for the write lock.
func TestInTx_ManyConnections(t *testing.T) {
	t.Parallel()
	db := dbtest.SQLite(t)
	db.SetMaxOpenConns(8)
	store, err := dataflowsqlite.New(db).Store(dataflow.StoreOptions{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	require.NoError(t, store.Migrate(t.Context()))
	_, err = db.ExecContext(t.Context(), "create table counter (n integer)")
	require.NoError(t, err)
	_, err = db.ExecContext(t.Context(), "insert into counter (n) values (0)")
	require.NoError(t, err)

	errs := make([]error, 8)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = store.InTx(t.Context(), increase) })
	}
	wg.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	var n int
	require.NoError(t, db.QueryRowContext(t.Context(), "select n from counter").Scan(&n))
	require.Equal(t, len(errs), n)
}

// increase reads and then writes. SQLite refuses the write if another transaction has
// changed the database in between.
func increase(ctx context.Context, _ dataflow.Tx) error {
	tx, ok := dataflowsqlite.TxFrom(ctx)
	if !ok {
		return sql.ErrTxDone
	}
	var n int
	if err := tx.QueryRowContext(ctx, "select n from counter").Scan(&n); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, "update counter set n = ?", n+1)
	return err
}

// A file that cannot be opened or written now may be so later: its disk was mounted anew, or the process had no file
// descriptors left.
func TestClassify_File(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "db")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for name, c := range map[string]struct{ dsn, err string }{
		"ReadOnly": {"file:" + file + "?mode=ro", "readonly database"},
		"CantOpen": {filepath.Join(file, "db"), "unable to open database file"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, err := sql.Open("sqlite", c.dsn)
			require.NoError(t, err)
			defer func() { require.NoError(t, db.Close()) }()
			store, err := dataflowsqlite.New(db).Store(dataflow.StoreOptions{Logger: slog.New(slog.DiscardHandler)})
			require.NoError(t, err)
			_, err = db.ExecContext(t.Context(), "create table t (n integer)")
			require.ErrorContains(t, err, c.err)
			require.Equal(t, dataflow.FaultUnavailable, store.Classify(err), err)
		})
	}
}

// coded is an error of SQLite with its result code.
type coded int

func (coded) Error() string { return "as if" }
func (c coded) Code() int   { return int(c) }

// What comes of the disk and of the locks of the write-ahead log passes.
func TestClassify_Code(t *testing.T) {
	t.Parallel()
	store, err := dataflowsqlite.New(new(sql.DB)).Store(dataflow.StoreOptions{})
	require.NoError(t, err)
	for _, code := range []coded{8, 10, 13, 14, 15, 8 | 1<<8, 10 | 3<<8} {
		require.Equal(t, dataflow.FaultUnavailable, store.Classify(code), code)
	}
	require.Equal(t, dataflow.FaultOther, store.Classify(coded(1)))
}

// When the context ends, database/sql rolls the transaction back by itself, and a statement or Commit
// returns only sql.ErrTxDone. InTx adds the error of the context.
func TestInTx_CancelledBeforeCommit(t *testing.T) {
	t.Parallel()
	store, err := dataflowsqlite.New(dbtest.SQLite(t)).Store(dataflow.StoreOptions{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	require.NoError(t, store.Migrate(t.Context()))
	for name, returned := range map[string]func(error) error{
		"the statement's error": func(err error) error { return err },
		"commit transaction":    func(error) error { return nil },
	} {
		ctx, cancel := context.WithCancel(t.Context())
		err = store.InTx(ctx, func(ctx context.Context, _ dataflow.Tx) error {
			cancel()
			tx, _ := dataflowsqlite.TxFrom(ctx)
			var err error
			for !errors.Is(err, sql.ErrTxDone) {
				_, err = tx.ExecContext(context.WithoutCancel(ctx), "select 1")
			}
			return returned(fmt.Errorf("the statement's error: %w", err))
		})
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, err, sql.ErrTxDone)
		require.ErrorContains(t, err, name)
	}
}
