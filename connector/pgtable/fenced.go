package pgtable

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/driverkit"
	"github.com/activedataflow/dataflow/internal/rowparts"
	"github.com/activedataflow/dataflow/internal/sqlstate"
)

// CheckpointTable is the statement that creates the table in which [InsertTo],
// [UpsertTo], [FuncTo] and [BatchTo] keep their flows' checkpoints, in the database
// of the rows. They create it themselves if their role may; otherwise put it into a
// migration. The search path must lead to it. It has one row for each flow, by
// name: flows of two applications that write to one database must have different
// names.
const CheckpointTable = `create table if not exists dataflow_sink_checkpoint (
	flow text primary key,
	fence bigint not null,
	state text,
	updated_at timestamptz not null default now()
)`

// InsertTo is [Insert] into a table of a database other than the client's. It is
// exactly once, because that database also keeps the flow's checkpoint; see
// [CheckpointTable]. The caller closes the pool after the client has stopped.
func InsertTo[T any](pool *pgxpool.Pool, table string) dataflow.Target[T] {
	return dataflow.ToFenced[T](newFenced(pool, newSink[T](table, false, nil)))
}

// UpsertTo is [Upsert] into a table of a database other than the client's. It is
// exactly once, because that database also keeps the flow's checkpoint; see
// [CheckpointTable]. It does not detect unchanged rows: all rows count as written.
// The caller closes the pool after the client has stopped.
func UpsertTo[T any](pool *pgxpool.Pool, table string, key ...string) dataflow.Target[T] {
	return dataflow.ToFenced[T](newFenced(pool, newSink[T](table, true, key)))
}

// fencedPart writes the rows of a fencedSink.
type fencedPart interface {
	dataflow.Validator
	dataflow.Describer
	dataflow.AppendOnly
	// place names the target of the rows, for errors.
	place() string
}

// rowWriter is a fencedPart for records of type T.
type rowWriter[T any] interface {
	fencedPart
	writeRows(ctx context.Context, tx pgx.Tx, rows []T) error
}

func (s *sink[T]) place() string { return s.to.place() }

func (s *tableSink) place() string { return "table " + s.table }

func (s *sink[T]) writeRows(ctx context.Context, tx pgx.Tx, rows []T) error {
	if err := s.to.write(ctx, tx, reflect.ValueOf(rows), nil, false); err != nil {
		return fmt.Errorf("%s: %w", s.place(), err)
	}
	return nil
}

// fencedSink keeps the checkpoint beside the rows that its part writes.
type fencedSink[T any] struct {
	*fence
	part rowWriter[T]
}

func newFenced[T any](pool *pgxpool.Pool, part rowWriter[T]) *fencedSink[T] {
	return &fencedSink[T]{fence: &fence{fencedPart: part, pool: pool}, part: part}
}

// fence is a fencedSink without the type of its records.
type fence struct {
	fencedPart
	pool   *pgxpool.Pool
	server server

	ready atomic.Bool // true if the checkpoint table exists
}

func (s *fence) Validate() error {
	var errs []error
	if s.pool == nil {
		errs = append(errs, &dataflow.ConfigError{Field: "pool", Reason: "it is nil: create it with pgxpool.New"})
	}
	return errors.Join(append(errs, s.fencedPart.Validate())...)
}

func (s *fence) Ordered() bool {
	o, ok := s.fencedPart.(dataflow.Ordered)
	return ok && o.Ordered()
}

func (s *fence) Describe() dataflow.Description {
	d := s.fencedPart.Describe()
	d.Type += "_to"
	return d
}

// Claim stores the fence and returns the stored state. It returns
// [dataflow.ErrFenced] if a higher fence is stored.
func (s *fence) Claim(ctx context.Context, flow string, fence int64) (json.RawMessage, error) {
	if err := s.server.check(ctx, s.pool); err != nil {
		return nil, err
	}
	state, err := s.claim(ctx, flow, fence)
	return state, transient(ctx, s.pool, err)
}

func (s *fence) claim(ctx context.Context, flow string, fence int64) (json.RawMessage, error) {
	if err := s.ensureTable(ctx); err != nil {
		return nil, err
	}
	var state *string
	err := s.pool.QueryRow(ctx, `
		insert into dataflow_sink_checkpoint as c (flow, fence) values ($1, $2)
		on conflict (flow) do update set fence = excluded.fence, updated_at = now() where c.fence <= excluded.fence
		returning state`, flow, fence).Scan(&state)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, fmt.Errorf("checkpoint of flow %q for %s: %w", flow, s.place(), dataflow.ErrFenced)
	case err != nil:
		return nil, inTheWay(fmt.Errorf("checkpoint of flow %q for %s: %w", flow, s.place(), err))
	case state == nil:
		return nil, nil //nolint:nilnil // nil means that nothing was written yet
	default:
		return json.RawMessage(*state), nil
	}
}

// ensureTable creates the checkpoint table if it does not exist. It looks first,
// because a role that may write need not be allowed to create.
func (s *fence) ensureTable(ctx context.Context) error {
	if s.ready.Load() {
		return nil
	}
	var there bool
	err := s.pool.QueryRow(ctx, `select to_regclass('dataflow_sink_checkpoint') is not null`).Scan(&there)
	if err != nil {
		return inTheWay(fmt.Errorf("look for table dataflow_sink_checkpoint: %w", err))
	}
	if !there {
		// Two concurrent creations may collide in the catalog; then the table exists.
		_, err := s.pool.Exec(ctx, CheckpointTable)
		if err != nil && !sqlstate.Has(err, sqlstate.UniqueViolation, sqlstate.DuplicateTable) {
			return inTheWay(fmt.Errorf("create the checkpoint table: %w: create it yourself: %s", err, CheckpointTable))
		}
	}
	s.ready.Store(true)
	return nil
}

// beginFenced makes the server end the transaction of a process that is silent for
// 10 s, the default length of a lease. Such a process was stopped or lost its
// network. It holds the lock on the checkpoint, and the worker that takes its run
// over would wait for that lock for ever.
const beginFenced = `begin; set local idle_in_transaction_session_timeout = '10s'`

// WriteFenced writes a batch and its state in one transaction. It returns
// [dataflow.ErrFenced] if the flow was claimed by another fence. If rows are refused, it
// writes nothing, and returns a [dataflow.RowError] for each of them.
func (s *fencedSink[T]) WriteFenced(ctx context.Context, b dataflow.FencedBatch[T]) error {
	late := false // true if the commit refuses the rows
	err := s.inTx(ctx, b.Flow, b.Fence, b.State, func(tx pgx.Tx) error {
		if len(b.Rows) == 0 {
			return nil
		}
		err := s.part.writeRows(ctx, tx, b.Rows)
		late = err == nil
		return err
	})
	if err == nil || len(b.Rows) == 0 || !divisible(err) {
		return err
	}
	apart := rowparts.Config[T]{OfRows: ofRows, TooMuch: func(err error) bool { return sqlstate.Is(err, sqlstate.Batch) }}
	return rowparts.Again(ctx, &apart, b.Rows, err, func(divide func() error) error {
		return s.inTx(ctx, b.Flow, b.Fence, b.State, func(tx pgx.Tx) error {
			apart.Write = func(ctx context.Context, rows []T) error { return writeApart(ctx, tx, s.part, rows, late) }
			return divide()
		})
	})
}

// ofRows reports whether Postgres refuses what rows hold, or that many of them.
func ofRows(err error) bool { return sqlstate.Is(err, sqlstate.Record, sqlstate.Batch) }

// divisible reports whether an error concerns the written rows, so that parts of them may
// be accepted.
func divisible(err error) bool { return rowparts.Divisible(err, ofRows) }

// checkAll checks the constraints that the commit would check, and leaves them deferred.
const checkAll = "savepoint dataflow_check; set constraints all immediate; rollback to savepoint dataflow_check; release savepoint dataflow_check"

// writeApart writes some rows of a batch. If it fails, the transaction is as it was. If late, the commit has refused the batch:
// the rows are checked as the commit does.
func writeApart[T any](ctx context.Context, tx pgx.Tx, to rowWriter[T], rows []T, late bool) error {
	err := withSavepoint(ctx, tx, func() error {
		err := to.writeRows(ctx, tx, rows)
		if err == nil && late {
			_, err = tx.Exec(ctx, checkAll)
		}
		return err
	})
	if err != nil {
		delete(tx.Conn().PgConn().CustomData(), checkedMark) // a lock on the table may be gone
	}
	return err
}

// inTx calls write in the transaction that moves the checkpoint.
func (s *fence) inTx(ctx context.Context, flow string, fence int64, state json.RawMessage, write func(tx pgx.Tx) error) error {
	return transient(ctx, s.pool, retryStale(s.pool, func() error { return s.moving(ctx, flow, fence, state, write) }))
}

func (s *fence) moving(ctx context.Context, flow string, fence int64, state json.RawMessage, write func(tx pgx.Tx) error) error {
	return s.begin(ctx, func(tx pgx.Tx) error {
		// Update the checkpoint first: this waits only for another claim, and blocks
		// later ones.
		tag, err := tx.Exec(ctx, `update dataflow_sink_checkpoint set state = $3, updated_at = now() where flow = $1 and fence = $2`,
			flow, fence, storable(tx, state))
		if err != nil {
			return inTheWay(fmt.Errorf("checkpoint of flow %q for %s: %w", flow, s.place(), err))
		}
		if tag.RowsAffected() != 1 {
			return fmt.Errorf("checkpoint of flow %q for %s: %w", flow, s.place(), dataflow.ErrFenced)
		}
		return write(tx)
	})
}

// storable returns a state as a text that a database of any encoding stores. A cursor may have characters
// that the database's encoding lacks, such as LATIN1 of Chinese.
func storable(tx pgx.Tx, state json.RawMessage) string {
	if tx.Conn().PgConn().ParameterStatus("server_encoding") == "UTF8" {
		return string(state)
	}
	return driverkit.Escaped(string(state))
}
