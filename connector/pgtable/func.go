package pgtable

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowpgx"
)

// Func writes with the caller's own statements, in the transaction that commits the
// checkpoint. So their changes are committed exactly when the cursor moves past the
// rows. Use it for what [Insert] and [Upsert] cannot do: several tables, deletions,
// running sums. [Batch] sends many statements at once.
//
// f gets the rows of a batch, at least one, and must not keep them. It must write
// only through tx. It can neither commit nor roll back tx; tx.Begin makes a
// savepoint. An error undoes the batch.
//
// An error about the data is a broken constraint, for example, or a
// [dataflow.RecordError]. f is then called again with parts of the batch, until the
// bad row is found. The flow's OnBadRecord decides about the row; without one, the
// attempt's error names it. The work of each failed call is undone.
//
// The library does not know what f does. A source without a cursor reads all rows
// again in each run, so f must then be idempotent.
func Func[T any](f func(ctx context.Context, tx pgx.Tx, rows []T) error) dataflow.Target[T] {
	return dataflow.ToTx[T](newFunc(f))
}

// FuncTo is [Func] in a database other than the client's. It is exactly once,
// because that database also keeps the flow's checkpoint; see [CheckpointTable]. The
// caller closes the pool after the client has stopped.
func FuncTo[T any](pool *pgxpool.Pool, f func(ctx context.Context, tx pgx.Tx, rows []T) error) dataflow.Target[T] {
	return dataflow.ToFenced[T](newFenced(pool, newFunc(f)))
}

// Batch is [Func] for statements that depend on one row at a time. queue is called
// for each row, and everything that it queues is sent in one round trip. An error
// of queue is an error of its row, unless it is a [dataflow.Permanent] or
// [dataflow.Transient] one.
func Batch[T any](queue func(batch *pgx.Batch, row T) error) dataflow.Target[T] {
	return dataflow.ToTx[T](newBatch(queue))
}

// BatchTo is [Batch] in a database other than the client's; see [FuncTo].
func BatchTo[T any](pool *pgxpool.Pool, queue func(batch *pgx.Batch, row T) error) dataflow.Target[T] {
	return dataflow.ToFenced[T](newFenced(pool, newBatch(queue)))
}

func newFunc[T any](f func(ctx context.Context, tx pgx.Tx, rows []T) error) *funcSink[T] {
	return &funcSink[T]{kind: "func", nilFunc: f == nil, f: f}
}

func newBatch[T any](queue func(batch *pgx.Batch, row T) error) *funcSink[T] {
	return &funcSink[T]{kind: "batch", nilFunc: queue == nil, f: func(ctx context.Context, tx pgx.Tx, rows []T) error {
		b := &pgx.Batch{}
		for i, row := range rows {
			if err := queue(b, row); err != nil {
				return &dataflow.RowError{Row: i, Alone: true, Err: &dataflow.RecordError{Stage: dataflow.StageWrite, Key: fmt.Sprintf("row %d of the batch", i+1), Err: err}}
			}
		}
		if b.Len() == 0 {
			return nil
		}
		return tx.SendBatch(ctx, b).Close() // Close returns the first error
	}}
}

// funcSink writes with a function of the caller.
type funcSink[T any] struct {
	kind    string
	nilFunc bool
	f       func(ctx context.Context, tx pgx.Tx, rows []T) error
}

// AppendOnly is false, because it is not known what the function does.
func (s *funcSink[T]) AppendOnly() bool { return false }

func (s *funcSink[T]) place() string { return "the target pgtable." + s.kind }

func (s *funcSink[T]) writeRows(ctx context.Context, tx pgx.Tx, rows []T) error {
	if err := checkEncoding(tx.Conn()); err != nil {
		return err
	}
	return s.f(ctx, ownTx{tx}, rows)
}

func (s *funcSink[T]) Validate() error {
	if s.nilFunc {
		return &dataflow.ConfigError{Field: "pgtable." + s.kind, Reason: "the function is nil"}
	}
	return nil
}

func (s *funcSink[T]) Describe() dataflow.Description {
	return dataflow.Description{Type: "pgtable." + s.kind}
}

// WriteTx writes a batch.
func (s *funcSink[T]) WriteTx(ctx context.Context, rows []T) error {
	if err := s.Validate(); err != nil {
		return dataflow.Permanent(err)
	}
	tx, ok := dataflowpgx.TxFrom(ctx)
	if !ok {
		return dataflow.Permanent(fmt.Errorf("pgtable.%s needs a client on Postgres, in whose transaction it writes: %w", s.kind, dataflow.ErrTxMismatch))
	}
	if len(rows) == 0 {
		return nil
	}
	return s.writeRows(ctx, tx, rows)
}

// ownTx is the checkpoint's transaction. The caller's function must not end it.
type ownTx struct{ pgx.Tx }

var errNotYours = errors.New("the transaction belongs to the checkpoint and cannot be ended here: return nil to commit, or an error to undo the batch")

// Commit always returns an error.
func (ownTx) Commit(context.Context) error { return dataflow.Permanent(errNotYours) }

// Rollback always returns an error.
func (ownTx) Rollback(context.Context) error { return dataflow.Permanent(errNotYours) }
