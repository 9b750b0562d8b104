// Package dataflowsqlite keeps flows, runs and checkpoints in SQLite: for a
// first look, for tests, and for applications on one machine. It links no SQLite
// library; the caller opens the database with the one of his choice, such as
// modernc.org/sqlite:
//
//	db, err := sql.Open("sqlite", "file:flows.db?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)")
//	db.SetMaxOpenConns(1) // SQLite has one writer; River wants one connection
//	client, err := dataflow.NewClient(dataflowsqlite.New(db), &dataflow.Config{Flows: flows})
//
// With one connection, whoever holds a transaction or open rows keeps everyone
// else waiting: a source must not do so while it yields, and a sink must write
// through [TxFrom] alone. Times are kept to the millisecond.
package dataflowsqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riversqlite"

	"github.com/activedataflow/dataflow"
)

// New returns the driver of a database. The caller closes it, after the client
// has stopped.
func New(db *sql.DB) dataflow.Driver { return driver{db: db} }

// RiverClient returns the River client that a client uses, for the user's own
// jobs. A client that is not on SQLite is dataflow.ErrTxMismatch.
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
}

// querier is what a database and a transaction have in common.
type querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// queries implements dataflow.Queries.
type queries struct {
	store *store
	db    querier
}

// InTx runs fn in a transaction that may write from its first statement on.
func (s *store) InTx(ctx context.Context, fn func(ctx context.Context, tx dataflow.Tx) error) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	defer tx.Rollback() //nolint:errcheck // what failed before says more; after a commit it does nothing
	if _, err := tx.ExecContext(ctx, sqlWriteLock); err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	if err := fn(context.WithValue(ctx, txKey{}, tx), Tx(tx)); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		if errors.Is(err, sql.ErrTxDone) && ctx.Err() != nil {
			err = ctx.Err() // because of which database/sql has rolled back by itself
		}
		return fmt.Errorf("commit transaction: %w", err)
	}
	return nil
}

// With returns queries in the caller's transaction.
func (s *store) With(tx dataflow.Tx) (dataflow.Queries, error) {
	own, ok := tx.Unwrap().(*sql.Tx)
	if !ok || own == nil {
		return nil, fmt.Errorf("%w: this client is on SQLite: use dataflowsqlite.Tx", dataflow.ErrTxMismatch)
	}
	return &queries{store: s, db: own}, nil
}

// Savepoint runs fn, and undoes what it has done in the transaction if it fails.
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
			return errors.Join(err, fmt.Errorf("roll back to savepoint: %w", rerr))
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

// timeLayout is how times are stored: as strftime writes them, so that texts
// compare as times do.
const timeLayout = "2006-01-02 15:04:05.000"

// text fills the clock into a statement.
func (s *store) text(template string) string {
	now := `strftime('%Y-%m-%d %H:%M:%f', 'now')`
	if s.clock != nil {
		now = "'" + formatTime(s.clock()) + "'"
	}
	return strings.ReplaceAll(template, "{now}", now)
}

func formatTime(t time.Time) string { return t.UTC().Format(timeLayout) }

// timeText is a time as it is stored, for Scan.
type timeText struct{ to *time.Time }

func (t timeText) Scan(v any) error {
	text, ok := v.(string)
	if !ok {
		return fmt.Errorf("read time: it is %T, not text", v)
	}
	parsed, err := time.Parse(timeLayout, text)
	if err != nil {
		return fmt.Errorf("read time: %w", err)
	}
	*t.to = parsed
	return nil
}

// nullTimeText is a time that may be null, for Scan.
type nullTimeText struct{ to **time.Time }

func (t nullTimeText) Scan(v any) error {
	if v == nil {
		*t.to = nil
		return nil
	}
	*t.to = new(time.Time)
	return timeText{*t.to}.Scan(v)
}

// notFound turns the error for no row into ours.
func notFound(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return dataflow.ErrNotFound
	}
	return err
}
