package dbtest_test

import (
	"database/sql"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/dbtest"
)

func TestSQLite(t *testing.T) {
	t.Parallel()
	first, second := dbtest.SQLite(t), dbtest.SQLite(t)
	_, err := first.ExecContext(t.Context(), "create table thing (id integer primary key)")
	require.NoError(t, err)
	_, err = second.ExecContext(t.Context(), "create table thing (id integer primary key)")
	require.NoError(t, err, "the databases are one")

	for pragma, want := range map[string]string{"busy_timeout": "10000", "journal_mode": "wal", "foreign_keys": "1"} {
		var got string
		require.NoError(t, first.QueryRowContext(t.Context(), "pragma "+pragma).Scan(&got))
		require.Equal(t, want, got, pragma)
	}
	require.Equal(t, 1, first.Stats().MaxOpenConnections)
}

func TestOpenSQLite(t *testing.T) {
	t.Parallel()

	t.Run("SamePath", func(t *testing.T) {
		t.Parallel()
		path := dbtest.SQLitePath(t)
		require.NoFileExists(t, path)
		first, second := dbtest.OpenSQLite(t, path), dbtest.OpenSQLite(t, path)
		_, err := first.ExecContext(t.Context(), "create table thing (id integer primary key)")
		require.NoError(t, err)
		_, err = second.ExecContext(t.Context(), "insert into thing (id) values (7)")
		require.NoError(t, err)
		require.FileExists(t, path)
	})

	t.Run("AnyPath", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "50% a?b#c.db")
		dbtest.OpenSQLite(t, path)
		require.FileExists(t, path)
	})

	t.Run("ClosedAtCleanup", func(t *testing.T) {
		t.Parallel()
		var db *sql.DB
		t.Run("Owner", func(t *testing.T) { //nolint:paralleltest // The outer test goes on when it has ended.
			db = dbtest.SQLite(t)
			require.NoError(t, db.PingContext(t.Context()))
		})
		require.ErrorContains(t, db.PingContext(t.Context()), "closed")
	})
}
