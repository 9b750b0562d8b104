// Package dataflowpgx stores flows, runs and checkpoints in Postgres, through a
// pgx pool.
//
//	client, err := dataflow.NewClient(dataflowpgx.New(pool), &dataflow.Config{Flows: flows})
package dataflowpgx

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/sqlstate"
)

// New returns the driver of a pool. The caller closes the pool after the client
// has stopped. How large the pool should be is in docs/pools.md, and
// [dataflow.Client.PoolNeeds] counts it. While a client works runs, it may open one
// connection beside the pool, made by the pool's configuration, for when the pool is
// full. River opens another, to listen.
func New(pool *pgxpool.Pool) dataflow.Driver { return driver{pool: pool} }

// RiverClient returns the client's River client, for the user's own jobs. It
// returns dataflow.ErrTxMismatch if the client is not on Postgres.
func RiverClient(client *dataflow.Client) (*river.Client[pgx.Tx], error) {
	return dataflow.RiverClient[pgx.Tx](client)
}

type driver struct{ pool *pgxpool.Pool }

// Store returns the store of one client.
func (d driver) Store(opts dataflow.StoreOptions) (dataflow.Store, error) {
	if d.pool == nil {
		return nil, &dataflow.ConfigError{Field: "driver", Reason: "the pool given to dataflowpgx.New is nil: use pgxpool.New"}
	}
	p := newPool(d.pool, opts.Logger)
	s := &store{pool: p, reserve: newReserve(p), schema: opts.Schema, clock: opts.Clock, log: opts.Logger, sql: &sync.Map{}}
	if opts.Lease > 0 {
		s.limit = fmt.Sprintf("set local idle_in_transaction_session_timeout = %d", opts.Lease.Milliseconds())
		s.begin.BeginQuery = "begin; " + s.limit
	}
	s.queries = queries{store: s, db: s.reserve}
	return s, nil
}

// store implements dataflow.Store.
type store struct {
	queries
	pool    *pool
	reserve *reserve
	forRuns bool // its transactions write what runs have read
	schema  string
	clock   func() time.Time
	log     *slog.Logger
	begin   pgx.TxOptions
	limit   string    // what begin sets, empty: nothing
	sql     *sync.Map // from the template of a statement to its text, with the schema filled in
}

// querier is what a pool and a transaction have in common.
type querier interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
}

// queries implements dataflow.Queries.
type queries struct {
	store   *store
	db      querier
	callers bool // db is a transaction of the caller
}

// InTx runs fn in a transaction.
func (s *store) InTx(ctx context.Context, fn func(ctx context.Context, tx dataflow.Tx) error) error {
	tx, ended, err := s.beginTx(ctx)
	if err != nil {
		return fmt.Errorf("begin transaction: %w", lostAtBegin(ctx, err))
	}
	defer ended()
	return s.commit(ctx, tx, fn)
}

// commit runs fn in a transaction that has begun, and ends it.
func (s *store) commit(ctx context.Context, tx pgx.Tx, fn func(ctx context.Context, tx dataflow.Tx) error) error {
	// The rollback ignores the caller's cancellation, so that the connection goes back
	// to the pool clean. After a commit it does nothing.
	defer tx.Rollback(context.WithoutCancel(ctx)) //nolint:errcheck // the error before it says more
	if err := fn(context.WithValue(ctx, txKey{}, tx), txHandle{tx: tx, own: true}); err != nil {
		return sqlstate.Explain(lostInTx(ctx, tx, s.pool.seen(err)))
	}
	if err := tx.Commit(ctx); err != nil {
		return sqlstate.Explain(fmt.Errorf("commit transaction: %w", lostAtCommit(ctx, s.pool.seen(err))))
	}
	return nil
}

// InsertInTx sends the begin of the transaction and the insert of the run together.
func (s *store) InsertInTx(ctx context.Context, p *dataflow.RunInsertParams, fn func(ctx context.Context, tx dataflow.Tx, run *dataflow.Run) error) error {
	var b pgx.Batch
	b.BeginTx(pgx.TxOptions{})
	if s.limit != "" {
		b.Queue(s.limit)
	}
	b.Queue(s.text(sqlRunInsert), insertArgs(p)...)
	results := s.reserve.SendBatch(ctx, &b)
	tx := results.Tx()
	if tx == nil || tx.Conn() == nil { // there was no connection
		return fmt.Errorf("begin transaction: %w", lostAtBegin(ctx, results.Close()))
	}
	closing := &closingTx{Tx: tx, stored: s.text(sqlJobStored)}
	return s.commit(ctx, closing, func(ctx context.Context, handle dataflow.Tx) error {
		for range b.Len() - 1 {
			if _, err := results.Exec(); err != nil {
				_ = results.Close() // it has the same error
				return fmt.Errorf("begin transaction: %w", lostAtBegin(ctx, err))
			}
		}
		run, err := scanInserted(results.QueryRow(), p)
		if closeErr := results.Close(); err == nil {
			err = closeErr
		}
		q := &queries{store: s, db: tx}
		switch {
		case errors.Is(err, dataflow.ErrNotFound): // see driverkit.RunInsert
			run, err = q.RunInsert(ctx, p)
		case err == nil:
			err = q.ownScope(ctx, p, run)
		}
		if err != nil {
			return err
		}
		closing.jobID = run.RiverJobID
		return closing.explain(fn(ctx, handle, run))
	})
}

// With returns queries in the caller's transaction.
func (s *store) With(tx dataflow.Tx) (dataflow.Queries, error) {
	own, ok := tx.Unwrap().(pgx.Tx)
	if !ok || own == nil {
		return nil, fmt.Errorf("%w: this client is on Postgres: use dataflowpgx.Tx", dataflow.ErrTxMismatch)
	}
	handle, ok := tx.(txHandle)
	return &queries{store: s, db: own, callers: !ok || !handle.own}, nil
}

// Savepoint runs fn. If fn fails, it undoes what fn did in the transaction.
func (s *store) Savepoint(ctx context.Context, tx dataflow.Tx, fn func() error) error {
	own, ok := tx.Unwrap().(pgx.Tx)
	if !ok {
		return dataflow.ErrTxMismatch
	}
	if _, err := own.Exec(ctx, "savepoint dataflow"); err != nil {
		return inTheWay(fmt.Errorf("set savepoint: %w", err))
	}
	if err := fn(); err != nil {
		if _, rerr := own.Exec(ctx, "rollback to savepoint dataflow; release savepoint dataflow"); rerr != nil {
			return dataflow.Transient(errors.Join(err, fmt.Errorf("roll back to savepoint: %w", rerr)))
		}
		return sqlstate.Explain(err)
	}
	if _, err := own.Exec(ctx, "release savepoint dataflow"); err != nil {
		return inTheWay(fmt.Errorf("release savepoint: %w", err))
	}
	return nil
}

// CheckDeferred checks the constraints that the commit would check. The savepoint is rolled
// back, so that they stay deferred and the commit checks them again.
func (s *store) CheckDeferred(ctx context.Context, tx dataflow.Tx) error {
	own, ok := tx.Unwrap().(pgx.Tx)
	if !ok {
		return dataflow.ErrTxMismatch
	}
	_, err := own.Exec(ctx, "savepoint dataflow_check; set constraints all immediate; rollback to savepoint dataflow_check; release savepoint dataflow_check")
	return err
}

// TxType returns the type of a pgx transaction.
func (s *store) TxType() reflect.Type { return reflect.TypeFor[pgx.Tx]() }

// River returns a River client on the same pool.
func (s *store) River(config *river.Config) (dataflow.River, error) {
	rc, err := river.NewClient(s.pool.river(), config)
	if err != nil {
		return nil, err
	}
	return dataflow.WrapRiver(rc), nil
}

// SameJobs implements dataflow.SchemaStore.
func (s *store) SameJobs(ctx context.Context, tx dataflow.Tx, schema string) (same bool, err error) {
	own, ok := tx.Unwrap().(pgx.Tx)
	if !ok {
		return false, dataflow.ErrTxMismatch
	}
	theirs := pgx.Identifier{"river_job"}
	if schema != "" {
		theirs = pgx.Identifier{schema, "river_job"}
	}
	return same, own.QueryRow(ctx, s.text(sqlSameJobs), theirs.Sanitize()).Scan(&same)
}

// text fills the schema and the clock into the template of a statement.
func (s *store) text(template string) string {
	if s.clock != nil {
		now := "'" + s.clock().UTC().Format("2006-01-02 15:04:05.999999-07") + "'::timestamptz"
		return s.fill(template, now, now)
	}
	if text, ok := s.sql.Load(template); ok {
		return text.(string) //nolint:forcetypeassert // only strings are stored
	}
	text := s.fill(template, "now()", "clock_timestamp()")
	s.sql.Store(template, text)
	return text
}

func (s *store) fill(template, now, clock string) string {
	prefix := ""
	if s.schema != "" {
		prefix = pgx.Identifier{s.schema}.Sanitize() + "."
	}
	return strings.NewReplacer("{s}", prefix, "{now}", now, "{clock}", clock).Replace(template)
}

// notFound replaces pgx.ErrNoRows with dataflow.ErrNotFound.
func notFound(err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return dataflow.ErrNotFound
	}
	return err
}
