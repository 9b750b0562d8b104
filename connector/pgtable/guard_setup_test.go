package pgtable_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
)

// ticketTable has all columns that a guard may need. An update sets them again.
const ticketTable = `
create table ticket (
	id bigint generated always as identity primary key,
	at timestamptz not null default now(),
	utc timestamp not null default (now() at time zone 'UTC'),
	txid xid8 not null default pg_current_xact_id(),
	version int not null default 1
)`

// ticket is one version of a row, as it was read.
type ticket struct {
	ID      int64
	Version int
}

// touch creates a new version of a ticket.
const touch = `update ticket set version = version + 1, at = now(), utc = now() at time zone 'UTC', txid = pg_current_xact_id() where id = $1`

// tickets reads the tickets in pages of two.
func tickets(pool *pgxpool.Pool, guard pgtable.Guard, key ...string) dataflow.Source[ticket, pgtable.Cursor] {
	return ticketPages(pool, 2, guard, key...)
}

func ticketPages(pool *pgxpool.Pool, size int, guard pgtable.Guard, key ...string) dataflow.Source[ticket, pgtable.Cursor] {
	columns := "id, version"
	if key[0] != "id" {
		columns += ", " + key[0]
	}
	return pgtable.Keyset[ticket](pool, pgtable.Query{
		SQL: `select ` + columns + ` from ticket`, Key: key, PageSize: size, LateCommits: guard,
	})
}

// follower reads a source run by run, as a flow does.
type follower struct {
	t      *testing.T
	source dataflow.Source[ticket, pgtable.Cursor]
	cursor pgtable.Cursor
}

// run reads to the end and returns the new tickets.
func (f *follower) run() []ticket {
	f.t.Helper()
	seen, err := f.tryRun()
	require.NoError(f.t, err)
	return seen
}

func (f *follower) tryRun() ([]ticket, error) {
	items, err := read(f.t, f.source, f.cursor, -1)
	if n := len(items); n > 0 {
		f.cursor = items[n-1].Cursor
	}
	return values(items), err
}

// runUntil runs until there are n rows. Transactions of other tests, in other
// databases of the server, may hold back an XID8.
func (f *follower) runUntil(n int) []ticket {
	f.t.Helper()
	var seen []ticket
	until(f.t, func() bool {
		seen = append(seen, f.run()...)
		return len(seen) >= n
	})
	return seen
}

// until polls in the test's goroutine.
func until(t *testing.T, done func() bool) {
	t.Helper()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.NewTimer(2 * time.Minute)
	defer deadline.Stop()
	for !done() {
		select {
		case <-ticker.C:
		case <-deadline.C:
			t.Fatal("not within a minute")
		}
	}
}

// begin begins a transaction. If the test does not commit it, it is rolled back at
// the end. Its time is that of the begin.
func begin(t *testing.T, pool *pgxpool.Pool) pgx.Tx {
	t.Helper()
	tx, err := pool.Begin(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) })
	return tx
}

func commit(t *testing.T, tx pgx.Tx) {
	t.Helper()
	require.NoError(t, tx.Commit(t.Context()))
}

type execer interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

func exec(t *testing.T, db execer, sql string, args ...any) {
	t.Helper()
	rows, err := db.Query(t.Context(), sql, args...)
	require.NoError(t, err)
	rows.Close()
	require.NoError(t, rows.Err(), sql)
}

// ids returns the IDs of tickets, in order.
func ids(seen []ticket) []int64 {
	var all []int64
	for _, s := range seen {
		all = append(all, s.ID)
	}
	slices.Sort(all)
	return all
}

func gid(pool *pgxpool.Pool) string { return "late " + pool.Config().ConnConfig.Database }

// prepare prepares a transaction, and returns a function that commits it.
func prepare(t *testing.T, pool *pgxpool.Pool, statement string) func() {
	t.Helper()
	var most int
	require.NoError(t, pool.QueryRow(t.Context(), `select current_setting('max_prepared_transactions')::int`).Scan(&most))
	if most == 0 {
		t.Skip("the server has max_prepared_transactions = 0")
	}
	conn, err := pool.Acquire(t.Context())
	require.NoError(t, err)
	defer conn.Release()
	exec(t, conn, `begin`)
	exec(t, conn, statement)
	exec(t, conn, `prepare transaction '`+gid(pool)+`'`)
	ended := false
	t.Cleanup(func() {
		if !ended { // the database could not be dropped
			_, _ = pool.Exec(context.WithoutCancel(t.Context()), `rollback prepared '`+gid(pool)+`'`)
		}
	})
	return func() {
		exec(t, pool, `commit prepared '`+gid(pool)+`'`)
		ended = true
	}
}
