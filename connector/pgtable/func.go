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

// Func writes with statements of the caller's own, in the transaction that commits the
// checkpoint: what they change is there exactly if the cursor is past the rows. It is
// for what [Insert] and [Upsert] do not do: several tables, deletions, sums that grow.
// [Batch] sends many statements at once.
//
// f gets the rows of a batch, at least one, and must not keep them. It must write by no
// other way than tx, which it can neither commit nor roll back; tx.Begin makes a
// savepoint. An error undoes the batch. If it is about the data, such as a broken
// constraint or a [dataflow.RecordError], and the flow has an OnBadRecord, f is called
// again with parts of the batch, down to the row at fault, each time with the work of
// the failed call undone.
//
// It is not known what f does. With a source without a cursor, which reads all rows
// again in each run, f must be such that rows can be written again.
func Func[T any](f func(ctx context.Context, tx pgx.Tx, rows []T) error) dataflow.Target[T] {
	return dataflow.ToTx[T](newFunc(f))
}

// FuncTo is [Func] in another database than the client's: exactly once, because the
// flow's checkpoint is kept in that database too. See [CheckpointTable]. It cannot tell
// rows that are at fault: an error of f fails the run. The caller closes the pool, after
// the client has stopped.
func FuncTo[T any](pool *pgxpool.Pool, f func(ctx context.Context, tx pgx.Tx, rows []T) error) dataflow.Target[T] {
	return dataflow.ToFenced[T](&fencedSink[T]{fencedPart: newFunc(f), pool: pool})
}

// Batch is [Func] for statements that are the same for all rows, or depend on the row
// alone: queue is called for each row, and all that it has put in the batch is sent in
// one round trip. An error of queue is about its row, unless it is a
// [dataflow.Permanent] or [dataflow.Transient] one.
func Batch[T any](queue func(batch *pgx.Batch, row T) error) dataflow.Target[T] {
	return dataflow.ToTx[T](newBatch(queue))
}

// BatchTo is [Batch] in another database than the client's, as [FuncTo] is.
func BatchTo[T any](pool *pgxpool.Pool, queue func(batch *pgx.Batch, row T) error) dataflow.Target[T] {
	return dataflow.ToFenced[T](&fencedSink[T]{fencedPart: newBatch(queue), pool: pool})
}

func newFunc[T any](f func(ctx context.Context, tx pgx.Tx, rows []T) error) *funcSink[T] {
	return &funcSink[T]{kind: "func", nilFunc: f == nil, f: f}
}

func newBatch[T any](queue func(batch *pgx.Batch, row T) error) *funcSink[T] {
	return &funcSink[T]{kind: "batch", nilFunc: queue == nil, f: func(ctx context.Context, tx pgx.Tx, rows []T) error {
		b := &pgx.Batch{}
		for i, row := range rows {
			if err := queue(b, row); err != nil {
				return &dataflow.RecordError{Stage: dataflow.StageWrite, Key: fmt.Sprintf("row %d of the batch", i+1), Err: err}
			}
		}
		if b.Len() == 0 {
			return nil
		}
		return tx.SendBatch(ctx, b).Close() // which gives the first error
	}}
}

// funcSink writes with a function of the caller's.
type funcSink[T any] struct {
	kind    string
	nilFunc bool
	f       func(ctx context.Context, tx pgx.Tx, rows []T) error
}

// AppendOnly is false, because nothing is known.
func (s *funcSink[T]) AppendOnly() bool { return false }

func (s *funcSink[T]) place() string { return "what pgtable." + s.kind + " writes" }

func (s *funcSink[T]) writeRows(ctx context.Context, tx pgx.Tx, rows []T) error {
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
		return dataflow.Permanent(fmt.Errorf("pgtable.%s writes in the transaction of a Postgres client, and there is none: %w", s.kind, dataflow.ErrTxMismatch))
	}
	if len(rows) == 0 {
		return nil
	}
	return s.writeRows(ctx, tx, rows)
}

// ownTx is the checkpoint's transaction, which the caller's statements must not end.
type ownTx struct{ pgx.Tx }

var errNotYours = errors.New("the transaction is the checkpoint's, which commits it: return an error to undo the batch")

// Commit refuses.
func (ownTx) Commit(context.Context) error { return dataflow.Permanent(errNotYours) }

// Rollback refuses.
func (ownTx) Rollback(context.Context) error { return dataflow.Permanent(errNotYours) }
