package dbtest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
)

const (
	// urlEnv names a server, and a role on it that may create databases.
	urlEnv = "DATAFLOW_TEST_DATABASE_URL"

	// maxConns is above pgx's default, the number of cores but at least four. Otherwise a test
	// with a few listeners and workers could wait for its own connections on a small machine.
	maxConns = 16

	cleanupTimeout = time.Minute
)

// Postgres returns a pool on a fresh, empty database. When the test ends, the pool is closed
// and the database dropped. A connection that the test has not released by then fails it.
func Postgres(tb testing.TB) *pgxpool.Pool {
	tb.Helper()
	return openPool(tb, PostgresURL(tb))
}

func openPool(tb testing.TB, connString string) *pgxpool.Pool {
	tb.Helper()
	config, err := pgxpool.ParseConfig(connString)
	require.NoError(tb, err)
	config.MaxConns = maxConns
	pool, err := pgxpool.NewWithConfig(tb.Context(), config)
	require.NoError(tb, err)
	tb.Cleanup(func() { closePool(tb, pool) })
	return pool
}

// PostgresURL returns the URL of a fresh, empty database. Other processes on this machine, such
// as psql, can use it too. The database is dropped when the test ends, even if somebody is still
// connected. With -short it skips the test.
func PostgresURL(tb testing.TB) string {
	tb.Helper()
	return databaseOf(tb, empty)
}

// databaseOf makes a copy of another database for a test, and returns its URL.
func databaseOf(tb testing.TB, template string) string {
	tb.Helper()
	skipShort(tb)
	admin, err := adminURL(tb.Context())
	if err != nil {
		tb.Fatal("dbtest:", err)
	}
	name := databaseName()
	if err := create(tb.Context(), admin, name, template); err != nil {
		tb.Fatal("dbtest: create a database:", err)
	}
	tb.Cleanup(func() {
		// The test's own context is over by now.
		if err := drop(context.WithoutCancel(tb.Context()), admin, name); err != nil {
			tb.Error("dbtest: drop a database:", err)
		}
	})
	return databaseURL(admin, name)
}

// empty is the template without tables. Nobody can be connected to it, which would make the
// copying fail.
const empty = "template0"

// create copies a database. The private server copies its files, which takes half the time
// without fsync; on any other server that would be slower.
func create(ctx context.Context, admin *url.URL, name, template string) error {
	statement := "create database " + pgx.Identifier{name}.Sanitize() + " template " + pgx.Identifier{template}.Sanitize() + " encoding 'UTF8'"
	if private.copiesFiles(admin) {
		statement += " strategy file_copy"
	}
	return execute(ctx, admin, statement)
}

func drop(ctx context.Context, admin *url.URL, name string) error {
	return execute(ctx, admin, "drop database if exists "+pgx.Identifier{name}.Sanitize()+" with (force)")
}

func skipShort(tb testing.TB) {
	tb.Helper()
	if testing.Short() {
		tb.Skip("-short: this test needs PostgreSQL")
	}
}

// adminURL returns the server on which to create databases.
func adminURL(ctx context.Context) (*url.URL, error) {
	given := os.Getenv(urlEnv)
	if given == "" {
		return private.start(ctx)
	}
	admin, err := url.Parse(given)
	if err != nil || (admin.Scheme != "postgres" && admin.Scheme != "postgresql") {
		// The value and the parser's error may both hold a password.
		return nil, fmt.Errorf("%s is not a URL like postgres://user:password@host:5432/postgres", urlEnv)
	}
	return admin, nil
}

func databaseURL(admin *url.URL, name string) string {
	u := *admin
	u.Path, u.RawPath = "/"+name, ""
	query := u.Query()
	query.Del("dbname") // It would win over the path.
	query.Del("database")
	u.RawQuery = query.Encode()
	return u.String()
}

// databaseName is unique among all the test binaries that share a server.
func databaseName() string {
	var suffix [8]byte
	_, _ = rand.Read(suffix[:]) // It never fails.
	return "dataflow_test_" + hex.EncodeToString(suffix[:])
}

// execute runs one statement on a connection of its own.
func execute(ctx context.Context, admin *url.URL, statement string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, admin.String())
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	_, err = conn.Exec(ctx, statement)
	return err
}

// closePool closes the pool, but does not wait for ever: Close blocks while a connection is in
// use.
func closePool(tb testing.TB, pool *pgxpool.Pool) {
	tb.Helper()
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		pool.Close()
	}()
	select {
	case <-closed:
	case <-time.After(cleanupTimeout):
		tb.Errorf("dbtest: the test has ended with %d connections of its pool in use", pool.Stat().AcquiredConns())
	}
}
