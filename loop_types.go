package dataflow

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
)

// recordCode is the part of a flow's code that knows the types of its records, T and Out. It
// reads, transforms and writes whole batches. The compiler makes it anew for each pair of
// types: what can do without them belongs into the other files of the loop.
type recordCode interface {
	newRead() *readBatch
	newMade() *madeBatch
	// read reads what is requested, a *Request[C], to its end. reading is the context of the
	// source alone.
	read(ctx, reading context.Context, req any, r *batchReader) error
	apply(ctx context.Context, in *readBatch, out *madeBatch) error
	recordType() reflect.Type
	// parse reads a record into row, a *T, by the source's own rules. It returns
	// errors.ErrUnsupported if the source is no RecordParser.
	parse(ctx context.Context, r RawRecord, row any) error
}

// sinkCode is the part of a flow's code that knows the type of the sink's records, Out.
type sinkCode interface {
	// powers looks for the powers of what writes in the checkpoints' transactions.
	powers(sink any) sinkPowers
	writeTx(ctx context.Context, sink any, rows records, from, to int) error
	writeResults(ctx context.Context, sink any, rows records, from, to int, results []RowResult, part bool) error
	// rowKeys returns the keys of rows, of a sink that is Keyed.
	rowKeys(sink any, rows records) []string
	// write writes to a Sink.
	write(ctx context.Context, id string, rows records, from, to int, keys []string, refuse func(row int, err error) error) error
	claim(ctx context.Context, flow string, fence int64) (json.RawMessage, error)
	// writeFenced writes the rows at these places to a FencedSink; nil: all rows.
	writeFenced(ctx context.Context, flow string, fence int64, state json.RawMessage, rows records, at []int) error
	beginReplacement(ctx context.Context, flow string) (any, error)
}

// sinkPowers are the powers of a TxSink.
type sinkPowers struct {
	results bool // it is a ResultSink
	parts   bool // it is a PartSink
	keys    bool // it is Keyed
}

// typedSink is the sinkCode of a sink of records of type Out: a Sink, TxSink, FencedSink or
// ReplaceSink.
type typedSink[Out any] struct{ sink any }

func rowsOf[Out any](rows records) []Out { return *rows.at().(*[]Out) } //nolint:forcetypeassert // newMade makes it

func (t *typedSink[Out]) powers(sink any) sinkPowers {
	_, results := sink.(ResultSink[Out])
	_, parts := sink.(PartSink[Out])
	_, keys := sink.(Keyed[Out])
	return sinkPowers{results: results, parts: parts, keys: keys}
}

func (t *typedSink[Out]) writeTx(ctx context.Context, sink any, rows records, from, to int) error {
	return sink.(TxSink[Out]).WriteTx(ctx, rowsOf[Out](rows)[from:to]) //nolint:forcetypeassert // ToTx and ToReplace take no other
}

func (t *typedSink[Out]) writeResults(ctx context.Context, sink any, rows records, from, to int, results []RowResult, part bool) error {
	if part {
		return sink.(PartSink[Out]).WritePartTx(ctx, rowsOf[Out](rows)[from:to], results) //nolint:forcetypeassert // powers has looked
	}
	return sink.(ResultSink[Out]).WriteResultTx(ctx, rowsOf[Out](rows)[from:to], results) //nolint:forcetypeassert // powers has looked
}

func (t *typedSink[Out]) rowKeys(sink any, rows records) []string {
	return sink.(Keyed[Out]).RowKeys(rowsOf[Out](rows)) //nolint:forcetypeassert // powers has looked
}

func (t *typedSink[Out]) write(ctx context.Context, id string, rows records, from, to int, keys []string, refuse func(row int, err error) error) error {
	return t.sink.(Sink[Out]).Write(ctx, SinkBatch[Out]{ID: id, Rows: rowsOf[Out](rows)[from:to], Keys: keys[from:to], Refuse: refuse}) //nolint:forcetypeassert // To takes no other
}

func (t *typedSink[Out]) claim(ctx context.Context, flow string, fence int64) (json.RawMessage, error) {
	return t.sink.(FencedSink[Out]).Claim(ctx, flow, fence) //nolint:forcetypeassert // ToFenced takes no other
}

func (t *typedSink[Out]) writeFenced(ctx context.Context, flow string, fence int64, state json.RawMessage, rows records, at []int) error {
	b := FencedBatch[Out]{Flow: flow, Fence: fence, State: state, Rows: rowsOf[Out](rows)}
	if at != nil {
		b.Rows = make([]Out, 0, len(at))
		for _, i := range at {
			b.Rows = append(b.Rows, rowsOf[Out](rows)[i])
		}
	}
	return t.sink.(FencedSink[Out]).WriteFenced(ctx, b) //nolint:forcetypeassert // ToFenced takes no other
}

func (t *typedSink[Out]) beginReplacement(ctx context.Context, flow string) (any, error) {
	return t.sink.(ReplaceSink[Out]).BeginTx(ctx, flow) //nolint:forcetypeassert // ToReplace takes no other
}

// typedRecords is the recordCode of a flow.
type typedRecords[T, C, Out any] struct {
	source    Source[T, C]
	transform Transform[T, Out]
}

func (p *typedRecords[T, C, Out]) recordType() reflect.Type { return reflect.TypeFor[T]() }

func (p *typedRecords[T, C, Out]) parse(ctx context.Context, r RawRecord, row any) error {
	parser, ok := p.source.(RecordParser[T])
	if !ok {
		return errors.ErrUnsupported
	}
	v, err := parser.ParseRecord(ctx, r)
	if err == nil {
		*row.(*T) = v //nolint:forcetypeassert // newRead makes it
	}
	return err
}

func (p *typedRecords[T, C, Out]) newRead() *readBatch {
	return &readBatch{rows: recordsIn(new([]T)), cursors: &cursors[C]{}}
}

func (p *typedRecords[T, C, Out]) newMade() *madeBatch {
	results := &Results[Out]{}
	return &madeBatch{results: results, out: &results.outcome, rows: recordsIn(&results.rows)}
}

func (p *typedRecords[T, C, Out]) apply(ctx context.Context, in *readBatch, out *madeBatch) error {
	return p.transform.Apply(ctx, rowsOf[T](in.rows), out.results.(*Results[Out])) //nolint:forcetypeassert // newMade makes it
}

// typedBatch is where the records of a batch and their cursors go.
type typedBatch[T, C any] struct {
	rows    *[]T
	cursors *cursors[C]
}

func typed[T, C any](b *readBatch) typedBatch[T, C] {
	return typedBatch[T, C]{rows: b.rows.at().(*[]T), cursors: b.cursors.(*cursors[C])} //nolint:forcetypeassert // newRead makes them
}

func (p *typedRecords[T, C, Out]) read(ctx, reading context.Context, req any, r *batchReader) error {
	b := r.begin()
	to := typed[T, C](b)
	for item, err := range p.source.Read(reading, *req.(*Request[C])) { //nolint:forcetypeassert // cursorCode makes it
		if r.watch.asked.Load() {
			r.watch.note()
		}
		if r.waiting != nil {
			b = r.waiting.lock() // it may be another one by now
			to = typed[T, C](b)
		}
		bad := err != nil
		if !bad && !item.Mark {
			*to.rows = append(*to.rows, item.Value)
			to.cursors.all = append(to.cursors.all, item.Cursor)
			b.count++
		}
		if (item.Resume || item.Mark) && (!bad || asRecordError(err) != nil) {
			to.cursors.last = item.Cursor
		}
		if bad || item.Mark || !item.Resume || item.Key != "" || item.Again || len(b.names) > 0 { // few items
			if err := r.take(ctx, reading, b, itemMarks{item.Key, item.Resume, item.Mark, item.Again}, err); err != nil {
				return err
			}
		} else {
			b.mark()
		}
		if r.weigher != nil && !bad && !item.Mark {
			b.weight += r.weigher.Weigh(&(*to.rows)[b.count-1], b.count)
		}
		if r.waiting == nil && !r.full(b) {
			continue
		}
		next, err := r.endItem(ctx, b)
		if err != nil || next == nil {
			return err
		}
		if next != b {
			b, to = next, typed[T, C](next)
		}
	}
	return r.end(ctx, reading)
}
