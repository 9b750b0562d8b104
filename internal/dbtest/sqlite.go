package dbtest

import (
	"database/sql"
	"net/url"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite" // The "sqlite" driver.
)

// SQLite returns a fresh, empty database in a file of its own. It is closed and removed when
// the test ends.
func SQLite(tb testing.TB) *sql.DB {
	tb.Helper()
	return OpenSQLite(tb, SQLitePath(tb))
}

// SQLitePath returns the path for a test's database: a file that does not exist yet, in a
// directory that is removed when the test ends.
func SQLitePath(tb testing.TB) string {
	tb.Helper()
	return filepath.Join(tb.TempDir(), "dataflow.db")
}

// OpenSQLite opens the database in the file at path, and makes it if there is none. It has one
// connection, as SQLite has one writer. To act as another process, open the same path again. The
// database is closed when the test ends. It does not wait for the disk: tests kill processes, not machines.
func OpenSQLite(tb testing.TB, path string) *sql.DB {
	tb.Helper()
	dsn := url.URL{Scheme: "file", OmitHost: true, Path: filepath.ToSlash(path), RawQuery: url.Values{
		"_pragma": {"busy_timeout(10000)", "journal_mode(WAL)", "foreign_keys(1)", "synchronous(off)"},
	}.Encode()}
	db, err := sql.Open("sqlite", dsn.String())
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, db.Close()) })
	db.SetMaxOpenConns(1)
	require.NoError(tb, db.PingContext(tb.Context()))
	return db
}
