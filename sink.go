package dataflow

import (
	"context"
	"encoding/json"
	"fmt"
)

// Sink writes records outside the client's database: to an API, a file, another store.
// The engine writes a batch first and commits its checkpoint after. A crash in between
// leads to a second Write of the same batch, with the same ID and keys, so that the
// sink can recognise it.
//
// One run at a time calls Write. Write must return when ctx is done.
//
// A *[RowError] or a *[RecordError] says that a row was refused. If the flow has a
// [Policy], the engine then writes the batch again without the row that a RowError names,
// or in halves, down to the rows that are refused. The policy decides about these. Rows
// that the sink had taken are so written twice, under the same keys. A sink that knows
// which rows were taken calls [SinkBatch].Refuse instead. Any other error fails the
// attempt, and so does one that is marked by [Permanent], [Transient] or [RetryAfter].
//
// The engine finds these optional powers of every kind of sink by type assertion:
// [AppendOnly], [PerBatch], [NewerOnly], [Validator], [Describer].
type Sink[T any] interface {
	Write(ctx context.Context, b SinkBatch[T]) error
}

// SinkBatch is one batch for a [Sink].
type SinkBatch[T any] struct {
	// ID names the batch, by where it begins and ends. A retry has the same ID as long
	// as the source yields the same records and the batch size is unchanged. Otherwise
	// it is a new batch, and some of its rows may have been written before: compare
	// their keys. Another run has other IDs if the source is a [Rereader].
	ID string
	// Rows are the records. The sink must not keep the slice.
	Rows []T
	// Keys name the rows, in the same order. A row's key is that of the source's
	// record. Where a transform made several rows of one record, "/2", "/3" and so on
	// follow it.
	Keys []string
	// Refuse is for a sink that has taken the other rows, or goes on with them: it asks the
	// flow's policy about a row that cannot be written, by its index in Rows. If it returns
	// nil, the row is left out. Otherwise Write must return the error. Refuse is nil if the
	// flow has no policy, and must not be called after Write has returned.
	Refuse func(row int, err error) error `json:"-"`
}

// SinkFunc makes a [Sink] of a function.
type SinkFunc[T any] func(ctx context.Context, b SinkBatch[T]) error

// Write calls f.
func (f SinkFunc[T]) Write(ctx context.Context, b SinkBatch[T]) error { return f(ctx, b) }

// AppendOnly is the power of a sink to say that it stores a record twice if it is
// written twice. [NewClient] refuses a flow with such a sink and a source without a
// cursor, because every run and every retry would write all records again.
type AppendOnly interface {
	AppendOnly() bool
}

// PerBatch is the power of a sink to say that it keeps each batch by its ID, as one that writes
// a file for each: a record that comes in another batch is there twice. [NewClient] refuses a flow
// with such a sink and FlowOptions.FirstLoad, or a source that reads records again ([Rereader]). A
// backfill needs Append.
type PerBatch interface {
	PerBatch() bool
}

// TxSink writes records in the transaction that also commits the checkpoint. So a
// record is in the sink exactly if the cursor is past it. The driver packages'
// TxFrom(ctx) returns that transaction. The sink must write through it alone, and must
// not end it. It must not keep rows.
//
// The engine finds these optional powers by type assertion: [ResultSink], [PartSink],
// [Keyed], [Pipelined], [NewerOnly], and those of every [Sink].
type TxSink[T any] interface {
	WriteTx(ctx context.Context, rows []T) error
}

// TxSinkFunc makes a [TxSink] of a function.
type TxSinkFunc[T any] func(ctx context.Context, rows []T) error

// WriteTx calls f.
func (f TxSinkFunc[T]) WriteTx(ctx context.Context, rows []T) error { return f(ctx, rows) }

// ResultSink is the power of a [TxSink] to report what happened to each row. The run's
// [Counters] then show it. The engine calls WriteResultTx in place of WriteTx.
type ResultSink[T any] interface {
	TxSink[T]
	// WriteResultTx is WriteTx, and sets results[i] for rows[i]. Before the call, all
	// results are RowWritten. The sink leaves a row as it is if it knows nothing of it.
	WriteResultTx(ctx context.Context, rows []T, results []RowResult) error
}

// PartSink is the power of a [TxSink] to keep the transaction usable when its rows are
// refused. When the engine searches for bad records, it calls WritePartTx in place of
// WriteTx and WriteResultTx, and sets no savepoints of its own.
type PartSink[T any] interface {
	TxSink[T]
	// WritePartTx writes all rows and sets their results as WriteResultTx does, or
	// returns an error. If the database refused the rows' data, it has undone its
	// writes before it returns.
	WritePartTx(ctx context.Context, rows []T, results []RowResult) error
}

// Keyed is the power of a [TxSink] that replaces rows by their key to name that key. See
// [RetryBadFor].
type Keyed[T any] interface {
	TxSink[T]
	// RowKeys returns a text for each row. Two rows have the same text exactly if one
	// would replace the other.
	RowKeys(rows []T) []string
}

// Ordered is the power of a sink to say that its records are right only in the order in which
// the source yields them, as changes of rows are. A bad record of such a flow cannot be written
// later: [Client.Replay] refuses it, and with [RetryBadFor] it ends the attempt for good.
type Ordered interface {
	Ordered() bool
}

// Pipelined is the power of a [TxSink] to say that it can be written ahead: it writes a
// batch without reading what the batch before it wrote. On Postgres, the engine then
// calls WriteTx for a batch while the transaction before it still commits, on a second
// connection of the pool. The rows of that transaction are not visible yet. A statement
// that touches one of them waits for the commit. Batches are committed in order.
type Pipelined interface {
	// Pipelined is called before each batch. It reports whether the next batch may be
	// written ahead.
	Pipelined() bool
}

// NewerOnly is the power of a sink that replaces rows by their key to leave a row alone that is
// newer than the record. [Target.OnlyIfNewer] asks for it, and so do backfills and replays of a
// flow whose source is [ColumnOrdered].
type NewerOnly interface {
	// OnlyIfNewer returns a sink of the same kind that writes a record only if the row with
	// its key has no greater value in column. It returns a *[ConfigError] if it cannot compare
	// by this column, such as one that it does not write.
	OnlyIfNewer(column string) (sink any, err error)
}

// RowResult is what happened to a row.
type RowResult uint8

// The results of a row.
const (
	// RowWritten: the row was added, or nothing is known about it.
	RowWritten RowResult = iota
	// RowUpdated: it replaced a row of the sink.
	RowUpdated
	// RowRedundant: the sink held it already, with the same values, or held a newer row
	// (see [Target.OnlyIfNewer]), so it was not written.
	RowRedundant
)

// settleResults corrects the counters by what happened to each record's rows. A record
// whose rows are all redundant counts as redundant. Of the others, one with an updated
// row counts as updated. origin holds the index of the record of each row, and the rows
// of one record are together.
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

// FencedSink writes records to another transactional store than the client's database.
// It keeps the flow's checkpoint there, beside its rows: exactly once. Package pgtable
// has one for another Postgres.
//
// The store keeps a fence and a state for each flow:
//
//   - The fence is a number that grows with each claim of the flow. A caller with a
//     lower fence than the stored one has lost its run to another process, and must not
//     write.
//   - The state belongs to the engine. The sink stores it and returns it unchanged.
//
// If WriteFenced refuses rows with a *[RowError] or a *[RecordError], it must have written
// nothing. It may return a RowError for each of several rows, by errors.Join. If the flow has
// a [Policy], it decides about the rows that RowErrors name, and the engine writes the batch
// without them. A batch without such a name is divided where the source can resume.
//
// Like a [Sink], it may have the powers [NewerOnly], [Validator] and [Describer].
type FencedSink[T any] interface {
	// Claim stores the fence and returns the state that was written last, nil if there
	// is none. If a higher fence is stored, it returns ErrFenced.
	Claim(ctx context.Context, flow string, fence int64) (json.RawMessage, error)
	// WriteFenced writes the rows and the state in one transaction. There may be no
	// rows. If the stored fence is not b.Fence, it writes nothing and returns
	// ErrFenced.
	WriteFenced(ctx context.Context, b FencedBatch[T]) error
}

// FencedBatch is what a [FencedSink] writes in one transaction.
type FencedBatch[T any] struct {
	Flow  string
	Fence int64
	State json.RawMessage
	Rows  []T
}

// ReplaceSink writes to a place in the client's database. Each run replaces its whole
// content. Readers see the old content until a run has reached the end of its source.
// If the run fails, is cancelled or is killed, they go on seeing it. Package pgtable
// has one for a table.
//
// Like the other sinks, it may have the powers [Validator] and [Describer].
type ReplaceSink[T any] interface {
	// BeginTx prepares to write anew, in a transaction that is committed before the
	// first batch. The engine calls it at the start of each attempt, because an attempt
	// reads the source from its beginning.
	//
	// BeginTx throws away what an unfinished attempt of this flow left behind. At most
	// one attempt of a flow can commit at a time. A preview begins under a name that no
	// flow can have, and is rolled back.
	BeginTx(ctx context.Context, flow string) (Replacement[T], error)
}

// Replacement is what one attempt at a run writes. It may have the power [PartReplacement]. Its methods write in the transaction
// that a driver package's TxFrom(ctx) returns. It also commits a checkpoint, so that it
// is rolled back if the run was taken over.
type Replacement[T any] interface {
	// TxSink writes batches where no reader sees them.
	TxSink[T]
	// EndTx puts everything that was written in the place of the old content. The
	// engine calls it once, after all batches are committed. It calls it again if that
	// transaction failed.
	EndTx(ctx context.Context) error
}

// PartReplacement is the power of a [Replacement] to leave out rows that its place refuses only
// at the end. The engine calls EndPartsTx after EndTx was refused for its data and undone, in
// the same transaction.
type PartReplacement interface {
	// EndPartsTx is EndTx without the refused rows. It asks refuse about each of them, with a
	// RecordError whose Key and Raw name the row. If refuse returns nil, the row is left out.
	// Otherwise EndPartsTx must return the error.
	EndPartsTx(ctx context.Context, refuse func(*RecordError) error) error
}

// Guarantee says how often a record can arrive in a flow's sink.
type Guarantee string

// The guarantees of a flow.
const (
	// AtLeastOnce: every record arrives. A crash may make some arrive twice, under the
	// same key.
	AtLeastOnce Guarantee = "at_least_once"
	// ExactlyOnce: every record arrives once, because it is committed together with the
	// checkpoint.
	ExactlyOnce Guarantee = "exactly_once"
)

// Target is a sink with the guarantee that it gives a flow. [To], [ToTx], [ToFenced]
// and [ToReplace] make one. [NewClient] refuses the zero value.
type Target[T any] struct {
	_  [0]*T // its records are of this type
	of target
}

// target is a Target without the type of its records.
type target struct {
	kind targetKind
	sink any // a Sink, TxSink, FencedSink or ReplaceSink of the records' type

	newer *string // the column of OnlyIfNewer; nil: it was not called
	err   error   // of OnlyIfNewer
}

type targetKind uint8

const (
	toNothing targetKind = iota
	toSink
	toTx
	toFenced
	toReplace
)

// To writes to a sink outside the database: at least once, with stable keys.
func To[T any](sink Sink[T]) Target[T] { return Target[T]{of: target{kind: toSink, sink: sink}} }

// ToTx writes in the checkpoint's own transaction: exactly once.
func ToTx[T any](sink TxSink[T]) Target[T] { return Target[T]{of: target{kind: toTx, sink: sink}} }

// ToFenced writes to another transactional store, which keeps the checkpoint
// beside its rows: exactly once. The source must have a cursor.
func ToFenced[T any](sink FencedSink[T]) Target[T] {
	return Target[T]{of: target{kind: toFenced, sink: sink}}
}

// ToReplace replaces the content of a sink by what the run writes, as a whole. The sink
// then holds each record of the last successful run exactly once, and nothing else.
//
// [NewClient] and the calls below refuse what would replace everything by a part:
//
//   - A source with a cursor, because it reads only what is new.
//   - [OverlapAllow], backfills and [Client.Replay].
//
// A run with Params replaces everything by what its source reads with them.
func ToReplace[T any](sink ReplaceSink[T]) Target[T] {
	return Target[T]{of: target{kind: toReplace, sink: sink}}
}

// OnlyIfNewer returns a target that never puts an older row over a newer one. If the table
// holds a row with the record's key and a greater value in column, the row stays as it is, and
// the record counts as redundant. So it does not matter in which order records come: a backfill,
// a replay or a cursor that was set back does no harm.
//
//	pgtable.Upsert[Order]("orders", "id").OnlyIfNewer("updated_at")
//
// Column must be one that the target writes, and must not be of its key. An equal value is not
// older: the record replaces the row, so that a backfill can mend rows. NULL is older than every
// value, in the table and in the record, and equal to NULL. Of two records of a batch with the same
// key, the one with the greater value counts, and of equal ones the later.
//
// Without this call, a flow's own runs replace rows by whatever they read. Its backfills and
// replays, and dead letters that are tried again, leave newer rows alone if its source is
// [ColumnOrdered] by a column that fits. The empty column turns that off, too: for a table whose column
// does not hold the record's value, such as one that a trigger sets to the time of the write.
//
// [NewClient] refuses a target that is not [NewerOnly] and a column that does not fit. The Upsert
// of the table connectors can do it.
func (t Target[T]) OnlyIfNewer(column string) Target[T] {
	t.of.newer, t.of.err = &column, nil
	if column == "" {
		return t
	}
	can, ok := t.of.part().(NewerOnly)
	if !ok {
		t.of.err = &ConfigError{Field: "Target.OnlyIfNewer", Reason: fmt.Sprintf("the sink (%s) cannot leave newer rows alone: use one that replaces rows by a key, such as pgtable.Upsert", t.Describe().Type)}
		return t
	}
	sink, err := can.OnlyIfNewer(column)
	fits := false
	switch t.of.kind {
	case toSink:
		_, fits = sink.(Sink[T])
	case toTx:
		_, fits = sink.(TxSink[T])
	case toFenced:
		_, fits = sink.(FencedSink[T])
	default:
	}
	switch {
	case err != nil:
		t.of.err = err
	case !fits:
		t.of.err = &ConfigError{Field: "Target.OnlyIfNewer", Reason: fmt.Sprintf("the sink (%s) returned a %T, which is not of its kind", t.Describe().Type, sink)}
	default:
		t.of.sink = sink
	}
	return t
}

// Guarantee returns how often a record can arrive.
func (t Target[T]) Guarantee() Guarantee { return t.of.guarantee() }

func (t target) guarantee() Guarantee {
	if t.kind == toSink || isNil(t.sink) {
		return AtLeastOnce
	}
	return ExactlyOnce
}

// Describe returns what the sink says of itself. See [Describer].
func (t Target[T]) Describe() Description { return describe(t.of.part()) }

// part returns the sink, nil if there is none.
func (t target) part() any {
	if isNil(t.sink) {
		return nil
	}
	return t.sink
}

func (t target) ordered() bool {
	o, ok := t.part().(Ordered)
	return ok && o.Ordered()
}

func (t target) appendOnly() bool {
	a, ok := t.part().(AppendOnly)
	return ok && a.AppendOnly()
}

// doubles reports whether a record is in the target twice if it comes in two batches.
func (t target) doubles() bool {
	b, ok := t.part().(PerBatch)
	return t.appendOnly() || ok && b.PerBatch()
}
