package dataflow

import (
	"context"
	"encoding/json"
)

// Sink writes records to somewhere outside the client's database: an API, a
// file, another store. A batch is written first and its checkpoint committed
// after, so that a crash in between leads to a second Write of the same batch,
// with the same ID and the same keys, by which the sink can recognise it.
//
// Write is called by one run at a time and must return when ctx is done. An
// error fails the attempt.
//
// Optional powers of both kinds of sink, found by assertion: [AppendOnly],
// [Validator], [Describer].
type Sink[T any] interface {
	Write(ctx context.Context, b SinkBatch[T]) error
}

// SinkBatch is what a [Sink] writes at once.
type SinkBatch[T any] struct {
	// ID names the batch, by where it begins and ends. A retry of the batch has the
	// same ID, as long as the source yields the same records and the batch size is
	// unchanged. Otherwise it is another batch, of which some rows may have been
	// written before: their keys tell.
	ID string
	// Rows are the records. They must not be kept.
	Rows []T
	// Keys name the rows, in the same order: the key of the source's record,
	// with "/2", "/3" … behind it where a transform made several of one.
	Keys []string
}

// SinkFunc makes a [Sink] of a function.
type SinkFunc[T any] func(ctx context.Context, b SinkBatch[T]) error

// Write calls f.
func (f SinkFunc[T]) Write(ctx context.Context, b SinkBatch[T]) error { return f(ctx, b) }

// AppendOnly is the power of a sink to say that a record written twice is there
// twice. A flow with such a sink is refused when its source has no cursor,
// because every run and every retry would write all records again.
type AppendOnly interface {
	AppendOnly() bool
}

// TxSink writes records in the transaction that also commits the checkpoint, so
// that a record is in the sink exactly if the cursor is past it. The driver
// packages' TxFrom(ctx) returns that transaction; the sink must write through it
// alone and must not end it. rows must not be kept.
//
// Optional powers, found by assertion: [ResultSink], [PartSink], [Pipelined], and those of
// every sink.
type TxSink[T any] interface {
	WriteTx(ctx context.Context, rows []T) error
}

// TxSinkFunc makes a [TxSink] of a function.
type TxSinkFunc[T any] func(ctx context.Context, rows []T) error

// WriteTx calls f.
func (f TxSinkFunc[T]) WriteTx(ctx context.Context, rows []T) error { return f(ctx, rows) }

// ResultSink is the power of a [TxSink] to tell what became of each row, which the
// counters then show. The engine calls WriteResultTx in place of WriteTx.
type ResultSink[T any] interface {
	TxSink[T]
	// WriteResultTx is WriteTx, and sets the results of the rows, which are as many,
	// and RowWritten before. A row that it does not know anything about stays so.
	WriteResultTx(ctx context.Context, rows []T, results []RowResult) error
}

// PartSink is the power of a [TxSink] to write some rows so that the transaction goes on as
// before if they are refused. The engine, when it looks for bad records, calls WritePartTx
// in place of WriteTx and WriteResultTx, and sets no savepoints of its own.
type PartSink[T any] interface {
	TxSink[T]
	// WritePartTx writes all rows, and sets their results as WriteResultTx does, or returns
	// an error. If that is one of the data, it has taken back what it did.
	WritePartTx(ctx context.Context, rows []T, results []RowResult) error
}

// Pipelined is the power of a [TxSink] to say that it writes a batch without looking at
// what the one before it has written. On Postgres, the engine then calls WriteTx for a
// batch while the transaction of the one before it commits, on a second connection of the
// pool. What that has written is then not to be seen yet; a statement that meets a row of
// it waits, and what is committed is committed in order.
type Pipelined interface {
	// Pipelined is asked before each batch whether the one behind it may be written so.
	Pipelined() bool
}

// RowResult is what became of a row.
type RowResult uint8

// The results.
const (
	// RowWritten: the row was added, or nothing is known about it.
	RowWritten RowResult = iota
	// RowUpdated: it replaced one that was there.
	RowUpdated
	// RowRedundant: it was there already, with the same values, and was not written.
	RowRedundant
)

// settleResults counts records by what became of their rows: those of which no row
// was written are redundant, and those of which one replaced another are updated.
// origin names the record that each row came of; rows of one stand together.
func settleResults(delta *Counters, origin []int, results []RowResult) {
	for from := 0; from < len(origin); {
		redundant, updated, to := true, false, from
		for ; to < len(origin) && origin[to] == origin[from]; to++ {
			redundant = redundant && results[to] == RowRedundant
			updated = updated || results[to] == RowUpdated
		}
		switch from = to; {
		case redundant:
			delta.Written--
			delta.Redundant++
		case updated:
			delta.Updated++
		}
	}
}

// FencedSink writes records to another transactional store than the client's
// database, and keeps the flow's checkpoint there, beside its rows: exactly once,
// in a store of its own. Package pgtable has one for another Postgres.
//
// The store keeps, for each flow, a fence and a state. A fence is a number that
// grows with each claim of the flow; whoever comes with a lower one than is
// stored has been taken over, and must not write. The state is the engine's; the
// sink stores it and gives it back as it is.
//
// Like a [Sink], it may have the powers [Validator] and [Describer].
type FencedSink[T any] interface {
	// Claim stores the fence and returns the state that was written last, nil if
	// there is none. If a higher fence is stored, it returns ErrFenced.
	Claim(ctx context.Context, flow string, fence int64) (json.RawMessage, error)
	// WriteFenced writes the rows, of which there may be none, and the state, in
	// one transaction, unless another fence than this is stored: ErrFenced.
	WriteFenced(ctx context.Context, b FencedBatch[T]) error
}

// FencedBatch is what a [FencedSink] writes in one transaction.
type FencedBatch[T any] struct {
	Flow  string
	Fence int64
	State json.RawMessage
	Rows  []T
}

// ReplaceSink writes to a place in the client's database whose whole content each run
// replaces by what it has written. Until a run has come to the end of its source, readers
// find what the last one has left there; and so they do if it fails, is cancelled or
// killed. Package pgtable has one for a table.
//
// Like the other sinks, it may have the powers [Validator] and [Describer].
type ReplaceSink[T any] interface {
	// BeginTx begins to write anew, in a transaction that is committed before the
	// first batch. It is called at the start of each attempt at a run, which reads the
	// source from its beginning: what another attempt at a run of this flow has written,
	// and not brought to its end, is to be thrown away. At most one attempt of a flow can
	// commit at a time. A preview begins under a name that no flow can have, and is
	// rolled back.
	BeginTx(ctx context.Context, flow string) (Replacement[T], error)
}

// Replacement is what one attempt at a run writes. All of its methods write in the
// transaction that a driver package's TxFrom(ctx) returns, which also commits a
// checkpoint: of a worker whose run was taken over it is rolled back.
type Replacement[T any] interface {
	// TxSink writes batches where no reader finds them.
	TxSink[T]
	// EndTx puts all that was written in the place of what is there. It is called once,
	// when the source has ended and all batches are committed; again, if that
	// transaction did not come to its end.
	EndTx(ctx context.Context) error
}

// Guarantee says how often a record can arrive in a flow's sink.
type Guarantee string

// The guarantees of a flow.
const (
	// AtLeastOnce: every record arrives; a crash may make some arrive twice,
	// under the same key.
	AtLeastOnce Guarantee = "at_least_once"
	// ExactlyOnce: every record arrives once, because it is committed together
	// with the checkpoint.
	ExactlyOnce Guarantee = "exactly_once"
)

// Target is a sink together with the guarantee that a flow has with it. It is
// made by [To], [ToTx], [ToFenced] or [ToReplace]; the zero value is no target, and refused.
type Target[T any] struct {
	sink    Sink[T]
	txSink  TxSink[T]
	fenced  FencedSink[T]
	replace ReplaceSink[T]
}

// To writes to a sink outside the database: at least once, with stable keys.
func To[T any](sink Sink[T]) Target[T] { return Target[T]{sink: sink} }

// ToTx writes in the checkpoint's own transaction: exactly once.
func ToTx[T any](sink TxSink[T]) Target[T] { return Target[T]{txSink: sink} }

// ToFenced writes to another transactional store, which keeps the checkpoint
// beside its rows: exactly once. The source must have a cursor.
func ToFenced[T any](sink FencedSink[T]) Target[T] { return Target[T]{fenced: sink} }

// ToReplace replaces what is in a sink by what the run writes, as a whole: each record of
// the last run that succeeded is there exactly once, and nothing else.
//
// The source must have no cursor: one with a cursor reads only what is new, by which the
// rest would be replaced. Nor can the flow have [OverlapAllow], backfills or
// [Client.Replay], which would replace everything by a part. A run with Params replaces
// everything by what its source reads with them.
func ToReplace[T any](sink ReplaceSink[T]) Target[T] { return Target[T]{replace: sink} }

// Guarantee tells how often a record can arrive.
func (t Target[T]) Guarantee() Guarantee {
	if t.txSink != nil || t.fenced != nil || t.replace != nil {
		return ExactlyOnce
	}
	return AtLeastOnce
}

// Describe says what the sink is.
func (t Target[T]) Describe() Description { return describe(t.part()) }

// part returns the sink, nil if there is none.
func (t Target[T]) part() any {
	switch {
	case isNil(t.txSink) && isNil(t.sink) && isNil(t.fenced) && isNil(t.replace):
		return nil
	case t.txSink != nil:
		return t.txSink
	case t.fenced != nil:
		return t.fenced
	case t.replace != nil:
		return t.replace
	default:
		return t.sink
	}
}

func (t Target[T]) appendOnly() bool {
	a, ok := t.part().(AppendOnly)
	return ok && a.AppendOnly()
}
