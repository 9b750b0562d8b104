package dataflowsqlite_test

import (
	"database/sql"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowsqlite"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// A file that is gone, or another one, under the name of the database's is an error: SQLite would go on
// writing to a file that nobody finds.
func TestFile_Replaced(t *testing.T) {
	t.Parallel()
	path := dbtest.SQLitePath(t)
	store, err := dataflowsqlite.New(dbtest.OpenSQLite(t, path)).Store(dataflow.StoreOptions{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	require.NoError(t, store.Migrate(t.Context()))
	alive := func() error {
		_, err := store.ProcessAlive(t.Context(), "a", time.Minute)
		return err
	}
	require.NoError(t, store.ProcessSeen(t.Context(), &dataflow.Process{ID: "a"}, time.Minute))
	require.NoError(t, alive())

	require.NoError(t, os.Rename(path, path+".moved"))
	require.ErrorContains(t, alive(), "the SQLite file "+path+" was moved, deleted or replaced")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	require.ErrorContains(t, alive(), "was moved, deleted or replaced")
	require.ErrorContains(t, store.ProcessSeen(t.Context(), &dataflow.Process{ID: "a"}, time.Minute), "was moved, deleted or replaced")
	require.NoError(t, os.Rename(path+".moved", path))
	require.NoError(t, alive())
}

// A database in memory has no file.
func TestFile_Memory(t *testing.T) {
	t.Parallel()
	db, err := sql.Open("sqlite", ":memory:")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	db.SetMaxOpenConns(1)
	store, err := dataflowsqlite.New(db).Store(dataflow.StoreOptions{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	require.NoError(t, store.Migrate(t.Context()))
	for range 2 {
		require.NoError(t, store.ProcessSeen(t.Context(), &dataflow.Process{ID: "a"}, time.Minute))
	}
}

// Each connection to a database in memory has one of its own, unless they share it.
func TestFile_MemoryOfEachConnection(t *testing.T) {
	t.Parallel()
	for address, shared := range map[string]bool{":memory:": false, "": false, "file:flows?mode=memory&cache=shared": true, dbtest.SQLitePath(t): true} {
		db, err := sql.Open("sqlite", address)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, db.Close()) })
		store, err := dataflowsqlite.New(db).Store(dataflow.StoreOptions{Logger: slog.New(slog.DiscardHandler)})
		require.NoError(t, err)
		require.NoError(t, store.Migrate(t.Context()))
		if shared {
			require.NoError(t, store.CheckSchema(t.Context()), address)
			continue
		}
		require.ErrorContains(t, store.CheckSchema(t.Context()), "call SetMaxOpenConns(1), or open file:NAME?mode=memory&cache=shared", address)
		db.SetMaxOpenConns(1)
		require.NoError(t, store.Migrate(t.Context()))
		require.NoError(t, store.CheckSchema(t.Context()), address)
	}
}
