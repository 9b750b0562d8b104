package pgchange_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgchange"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

func TestMain(m *testing.M) {
	if os.Getenv(workerEnv) != "" {
		fmt.Fprintln(os.Stderr, "worker:", worker(context.Background()))
		os.Exit(1)
	}
	dbtest.Waiting()
	os.Exit(dbtest.Main(m))
}

// server is a server with logical replication.
type server struct {
	*dbtest.Server
	t *testing.T
}

func startServer(t *testing.T, settings ...string) *server {
	t.Helper()
	s := &server{Server: dbtest.StartServer(t), t: t}
	for _, setting := range append([]string{"wal_level = logical", "max_wal_senders = 20", "max_replication_slots = 20"}, settings...) {
		exec(t, s.open(""), "alter system set "+setting)
	}
	s.StopImmediately(t)
	s.Start(t)
	return s
}

// url returns the URL of a database of the server, which it makes.
func (s *server) url(database string) string {
	u, err := url.Parse(s.URL())
	require.NoError(s.t, err)
	if database != "" {
		u.Path = "/" + database
	}
	return u.String()
}

// create makes a database, executes statements in it, and returns its pool.
func (s *server) create(database string, statements ...string) *pgxpool.Pool {
	s.t.Helper()
	exec(s.t, s.open(""), "create database "+database)
	pool := s.open(database)
	exec(s.t, pool, statements...)
	return pool
}

func (s *server) open(database string) *pgxpool.Pool {
	s.t.Helper()
	pool, err := pgxpool.New(s.t.Context(), s.url(database))
	require.NoError(s.t, err)
	s.t.Cleanup(pool.Close)
	return pool
}

func exec(t *testing.T, pool *pgxpool.Pool, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		_, err := pool.Exec(t.Context(), statement)
		require.NoError(t, err, statement)
	}
}

// rows returns the rows of a query as texts, in order.
func rows(t *testing.T, pool *pgxpool.Pool, query string) []string {
	t.Helper()
	result, err := pool.Query(t.Context(), query)
	require.NoError(t, err)
	texts, err := pgx.CollectRows(result, func(row pgx.CollectableRow) (string, error) {
		values, err := row.Values()
		parts := make([]string, len(values))
		for i, v := range values {
			parts[i] = fmt.Sprint(v)
		}
		return strings.Join(parts, " "), err
	})
	require.NoError(t, err)
	return texts
}

type (
	change[T any] = pgtable.Change[T]
	item[T any]   = dataflow.Item[change[T], pgchange.Position]
)

// follower reads a stream in the background, as the engine does.
type follower[T any] struct {
	t      *testing.T
	items  chan item[T]
	errs   chan error
	cancel context.CancelFunc
	ended  chan struct{}
}

// idle waits until nobody reads a slot.
func idle(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	require.Eventually(t, func() bool {
		return len(rows(t, pool, `select 1 from pg_replication_slots where active`)) == 0
	}, patience, 10*time.Millisecond)
}

// idleSlot waits until nobody reads one slot, while others may be read.
func idleSlot(t *testing.T, pool *pgxpool.Pool, slot string) {
	t.Helper()
	require.Eventually(t, func() bool {
		return len(rows(t, pool, `select 1 from pg_replication_slots where active and slot_name = '`+slot+`'`)) == 0
	}, patience, 10*time.Millisecond)
}

// follow reads a stream from a position, nil for the beginning.
func follow[T any](t *testing.T, source dataflow.Source[change[T], pgchange.Position], from *pgchange.Position) *follower[T] {
	t.Helper()
	return followIn(t.Context(), t, source, from)
}

func followIn[T any](ctx context.Context, t *testing.T, source dataflow.Source[change[T], pgchange.Position], from *pgchange.Position) *follower[T] {
	t.Helper()
	var r dataflow.Request[pgchange.Position]
	if from != nil {
		data, err := json.Marshal(from)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(data, &r.From))
		r.Resumed = true
	}
	f := &follower[T]{t: t, items: make(chan item[T]), errs: make(chan error, 1), ended: make(chan struct{})}
	ctx, f.cancel = context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		defer close(f.ended)
		for item, err := range source.Read(ctx, r) {
			if err != nil {
				f.errs <- err
				return
			}
			if item.Cursor.Creating { // the engine commits it at once
				_ = source.(dataflow.Acker[pgchange.Position]).Committed(ctx, item.Cursor)
				continue
			}
			select {
			case f.items <- item:
			case <-ctx.Done():
				return
			}
		}
	}()
	t.Cleanup(f.stop)
	return f
}

func (f *follower[T]) stop() {
	f.cancel()
	<-f.ended
}

const (
	patience = 2 * time.Minute
	poll     = 20 * time.Millisecond
)

// next returns the next n changes, without marks.
func (f *follower[T]) next(n int) []item[T] {
	f.t.Helper()
	var items []item[T]
	for len(items) < n {
		if it := f.one(); !it.Mark {
			items = append(items, it)
		}
	}
	return items
}

// mark returns the position of the next mark for which is returns true.
func (f *follower[T]) mark(is func(pgchange.Position) bool) pgchange.Position {
	f.t.Helper()
	for {
		if it := f.one(); it.Mark && is(it.Cursor) {
			return it.Cursor
		}
	}
}

func (f *follower[T]) one() item[T] {
	f.t.Helper()
	select {
	case it := <-f.items:
		return it
	case err := <-f.errs:
		require.NoError(f.t, err)
	case <-time.After(patience):
		require.Fail(f.t, "nothing came")
	}
	return item[T]{}
}

// fails returns the error with which the stream ends.
func (f *follower[T]) fails() error {
	f.t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case <-f.items:
		case err := <-f.errs:
			return err
		case <-deadline:
			require.Fail(f.t, "it did not fail")
		}
	}
}

var quiet = slog.New(slog.DiscardHandler)

// lines keeps what is logged.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// Write implements [io.Writer].
func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), text)
}
