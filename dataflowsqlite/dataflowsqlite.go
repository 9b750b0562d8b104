// Package dataflowsqlite stores flows, runs and checkpoints in SQLite: for a
// first look, for tests, and for applications on one machine. It links no SQLite
// library. The caller chooses one, such as modernc.org/sqlite, and opens the
// database with it:
//
//	db, err := sql.Open("sqlite", "file:flows.db?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)")
//	db.SetMaxOpenConns(1) // SQLite has one writer; River wants one connection
//	client, err := dataflow.NewClient(dataflowsqlite.New(db), &dataflow.Config{Flows: flows})
//
// With one connection, an open transaction or open rows make everybody else wait. So
// a source must hold neither while it yields, and a sink must write only through the
// transaction of [TxFrom]. Times are stored to the millisecond.
package dataflowsqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riversqlite"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/driverkit"
)

// New returns the driver of a database. The caller closes the database after the
// client has stopped.
func New(db *sql.DB) dataflow.Driver { return driver{db: db} }

// RiverClient returns the client's River client, for the user's own jobs. It
// returns dataflow.ErrTxMismatch if the client is not on SQLite.
func RiverClient(client *dataflow.Client) (*river.Client[*sql.Tx], error) {
	return dataflow.RiverClient[*sql.Tx](client)
}

type driver struct{ db *sql.DB }

// Store returns the store of one client.
func (d driver) Store(opts dataflow.StoreOptions) (dataflow.Store, error) {
	if d.db == nil {
		return nil, &dataflow.ConfigError{Field: "driver", Reason: "the database given to dataflowsqlite.New is nil: use sql.Open"}
	}
	if opts.Schema != "" {
		return nil, &dataflow.ConfigError{Field: "Schema", Reason: fmt.Sprintf("SQLite has no schemas, such as %q: leave it empty", opts.Schema)}
	}
	s := &store{db: d.db, clock: opts.Clock, log: opts.Logger}
	s.queries = queries{store: s, db: d.db}
	return s, nil
}

// store implements dataflow.Store.
type store struct {
	queries
	db    *sql.DB
	clock func() time.Time
	log   *slog.Logger
	file  databaseFile

	orphans sync.Map // of a *sql.Tx, the number of orphans before its rows; see CheckDeferred
}

// querier is what a database and a transaction have in common.
type querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// queries implements dataflow.Queries.
type queries struct {
	store *store
	db    querier
}

// InTx runs fn in a transaction that holds the write lock from the beginning. When the context ends,
// database/sql rolls back by itself, and a statement or the commit may tell only that the transaction
// is over.
func (s *store) InTx(ctx context.Context, fn func(ctx context.Context, tx dataflow.Tx) error) error {
	return driverkit.Ended(ctx, s.inTx(ctx, fn))
}

func (s *store) inTx(ctx context.Context, fn func(ctx context.Context, tx dataflow.Tx) error) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	defer tx.Rollback() //nolint:errcheck // the error before it says more; after a commit it does nothing
	defer s.orphans.Delete(tx)
	if _, err := tx.ExecContext(ctx, sqlWriteLock); err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	if err := fn(context.WithValue(ctx, txKey{}, tx), Tx(tx)); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit transaction: %w", err)
	}
	return nil
}

// PoolUse says which connections the client uses: one at a time.
func (s *store) PoolUse() []dataflow.PoolUse {
	return []dataflow.PoolUse{{Pool: s.db, Size: s.db.Stats().MaxOpenConnections, Borrowed: 1}}
}

// With returns queries in the caller's transaction.
func (s *store) With(tx dataflow.Tx) (dataflow.Queries, error) {
	own, ok := tx.Unwrap().(*sql.Tx)
	if !ok || own == nil {
		return nil, fmt.Errorf("%w: this client is on SQLite: use dataflowsqlite.Tx", dataflow.ErrTxMismatch)
	}
	return &queries{store: s, db: own}, nil
}

// CheckDeferred counts the rows of the database that refer to rows that do not exist. The
// first call in a transaction counts those that are there already. It reads all tables that
// have foreign keys; the engine calls it only after a commit was refused.
func (s *store) CheckDeferred(ctx context.Context, tx dataflow.Tx) error {
	own, ok := tx.Unwrap().(*sql.Tx)
	if !ok {
		return dataflow.ErrTxMismatch
	}
	var count int64
	if err := own.QueryRowContext(ctx, sqlOrphans).Scan(&count); err != nil {
		return fmt.Errorf("check foreign keys: %w", err)
	}
	before, known := s.orphans.LoadOrStore(own, count)
	if n, is := before.(int64); known && is && count > n {
		return errors.New("FOREIGN KEY constraint failed: it is deferred, and refers to a row that does not exist when the transaction ends")
	}
	return nil
}

const sqlOrphans = `select case when (select foreign_keys from pragma_foreign_keys) then (select count(*) from pragma_foreign_key_check) else 0 end`

// endedError says that SQLite has ended a transaction, as for "on conflict rollback". What is written after that
// is committed at once, so no other part of a batch may be tried in it. It is not rowparts.EndedError: of a transaction of a
// sink's own, nothing is left, and the engine may try its rows again.
type endedError struct{ error }

// Unwrap returns what ended the transaction.
func (e *endedError) Unwrap() error { return e.error }

// Savepoint runs fn. If fn fails, it undoes what fn did in the transaction.
func (s *store) Savepoint(ctx context.Context, tx dataflow.Tx, fn func() error) error {
	own, ok := tx.Unwrap().(*sql.Tx)
	if !ok {
		return dataflow.ErrTxMismatch
	}
	if _, err := own.ExecContext(ctx, "savepoint dataflow"); err != nil {
		return fmt.Errorf("set savepoint: %w", err)
	}
	if err := fn(); err != nil {
		if _, rerr := own.ExecContext(ctx, "rollback to savepoint dataflow; release savepoint dataflow"); rerr != nil {
			return &endedError{errors.Join(err, fmt.Errorf("this ended the whole transaction, so that no other record of the batch can be tried: let the table use abort in place of rollback: %w", rerr))}
		}
		return err
	}
	if _, err := own.ExecContext(ctx, "release savepoint dataflow"); err != nil {
		return fmt.Errorf("release savepoint: %w", err)
	}
	return nil
}

// TxType returns the type of a database/sql transaction.
func (s *store) TxType() reflect.Type { return reflect.TypeFor[*sql.Tx]() }

// River returns a River client on the same database.
func (s *store) River(config *river.Config) (dataflow.River, error) {
	rc, err := river.NewClient(riversqlite.New(s.db), config)
	if err != nil {
		return nil, err
	}
	return dataflow.WrapRiver(rc), nil
}

// timeLayout is how times are stored. It is the format that the statements use with
// strftime, and its texts sort like the times.
const timeLayout = "2006-01-02 15:04:05.000"

// text fills the clock into the template of a statement.
func (s *store) text(template string) string {
	now := `strftime('%Y-%m-%d %H:%M:%f', 'now')`
	if s.clock != nil {
		now = "'" + formatTime(s.clock()) + "'"
	}
	return strings.NewReplacer("{now}", now, "{s}", "").Replace(template)
}

func formatTime(t time.Time) string { return t.UTC().Format(timeLayout) }

// timeText scans a stored time.
type timeText struct{ to *time.Time }

func (t timeText) Scan(v any) error {
	text, ok := v.(string)
	if !ok {
		return fmt.Errorf("read time: the column holds %T, not text", v)
	}
	parsed, err := time.Parse(timeLayout, text)
	if err != nil {
		return fmt.Errorf("read time: %w", err)
	}
	*t.to = parsed
	return nil
}

// nullTimeText scans a stored time that may be null.
type nullTimeText struct{ to **time.Time }

func (t nullTimeText) Scan(v any) error {
	if v == nil {
		*t.to = nil
		return nil
	}
	*t.to = new(time.Time)
	return timeText{*t.to}.Scan(v)
}

// notFound replaces sql.ErrNoRows with dataflow.ErrNotFound.
func notFound(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return dataflow.ErrNotFound
	}
	return err
}
