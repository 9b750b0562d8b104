package dataflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/activedataflow/dataflow/internal/batch"
	"github.com/activedataflow/dataflow/internal/stored"
)

// readBatch holds the records between two checkpoints, as they were read.
type readBatch[T, C any] struct {
	rows       []T
	cursors    []C       // one for each row
	names      []rowName // one for each row; none if each row is a resume point without a key
	bad        []*RecordError
	readBefore int64 // how many records were read before this batch
	cursor     C     // the last resume point
	resume     bool  // there is one
	ended      bool  // the source ends with this batch
	// How many rows and bad records there are, up to the last resume point.
	safeRows, safeBad int
	began             time.Time
	took              time.Duration // to read it
	weight            int           // estimated bytes of the records, and of the raw text of bad ones
}

// rowName names a row together with its cursor. The text of the name is made only when it is
// needed.
type rowName struct {
	key    string
	resume bool
}

// size counts the records, good and bad.
func (b *readBatch[T, C]) size() int { return len(b.rows) + len(b.bad) }

// since counts the records that were read after the last resume point.
func (b *readBatch[T, C]) since() int { return b.size() - b.safeRows - b.safeBad }

// key names row i.
func (b *readBatch[T, C]) key(i int) string {
	n := rowName{resume: true}
	if len(b.names) > 0 {
		n = b.names[i]
	}
	switch {
	case n.key != "":
		return n.key
	case n.resume:
		return stored.CursorText(b.cursors[i])
	default:
		return fmt.Sprintf("#%d", b.readBefore+int64(i)+1)
	}
}

// recordError is the error of row i in a stage.
func (b *readBatch[T, C]) recordError(i int, stage Stage, err error) *RecordError {
	e := &RecordError{Stage: stage, Key: b.key(i), Err: err}
	if raw, merr := json.Marshal(b.rows[i]); merr == nil {
		e.Raw = raw
	}
	return e
}

// asRecordError returns the error of one bad record, nil for any other.
func asRecordError(err error) *RecordError {
	var bad *RecordError // escapes to the heap: the hot path asks only about an error
	errors.As(err, &bad)
	return bad
}

// add takes an item without an error.
func (b *readBatch[T, C]) add(item Item[T, C]) {
	if !item.Mark {
		b.rows = append(b.rows, item.Value)
		b.cursors = append(b.cursors, item.Cursor)
		if item.Key != "" || !item.Resume || len(b.names) > 0 {
			b.name(item.Key, item.Resume)
		}
	}
	if item.Resume || item.Mark {
		b.mark(item.Cursor)
	}
}

// name adds a name for the last row, and for the rows before it that have none yet.
func (b *readBatch[T, C]) name(key string, resume bool) {
	for len(b.names) < len(b.rows)-1 {
		b.names = append(b.names, rowName{resume: true})
	}
	b.names = append(b.names, rowName{key: key, resume: resume})
}

// addBad takes an item whose record is bad. The raw text of the record adds to the weight.
func (b *readBatch[T, C]) addBad(item Item[T, C], bad *RecordError) {
	b.bad = append(b.bad, bad)
	b.weight += len(bad.Raw)
	if item.Resume || item.Mark {
		b.mark(item.Cursor)
	}
}

// mark notes a resume point: a later read can go on there.
func (b *readBatch[T, C]) mark(cursor C) {
	b.cursor, b.resume = cursor, true
	b.safeRows, b.safeBad = len(b.rows), len(b.bad)
}

// cut drops what was read after the last resume point.
func (b *readBatch[T, C]) cut() {
	clear(b.rows[b.safeRows:])
	b.rows, b.cursors, b.bad = b.rows[:b.safeRows], b.cursors[:b.safeRows], b.bad[:b.safeBad]
	b.names = b.names[:min(len(b.names), b.safeRows)]
}

// reset empties the batch and keeps its memory.
func (b *readBatch[T, C]) reset() {
	batch.Release(b.rows)
	batch.Release(b.cursors)
	clear(b.names)
	*b = readBatch[T, C]{rows: b.rows[:0], cursors: b.cursors[:0], names: b.names[:0]}
}

// batchReader cuts what a source yields into batches.
type batchReader[T, C any] struct {
	source    Source[T, C]
	req       Request[C]
	size      *batch.Size
	turnstile *batch.Turnstile      // see batchesAlone
	free      chan *readBatch[T, C] // batches to be filled again
	handed    int64                 // records handed over
	number    int                   // batches handed over
	wait      time.Duration         // after which a batch ends; 0: never
	watch     readWatch
}

// recycle takes back a batch that was written, to be filled again.
func (r *batchReader[T, C]) recycle(b *readBatch[T, C]) {
	b.reset()
	select {
	case r.free <- b:
	default:
	}
}

func (r *batchReader[T, C]) newBatch() *readBatch[T, C] {
	var b *readBatch[T, C]
	select {
	case b = <-r.free:
	default:
		b = &readBatch[T, C]{}
	}
	b.readBefore = r.handed
	b.began = time.Now() //nolint:forbidigo // how long it takes, not what time it is
	return b
}

// hand hands over a batch. It returns false when no more is wanted.
func (r *batchReader[T, C]) hand(b *readBatch[T, C], hand func(*readBatch[T, C]) bool) bool {
	r.handed += int64(b.size())
	r.number++
	b.took = time.Since(b.began)
	r.watch.pause()
	defer r.watch.resume()
	return hand(b)
}

// pass waits until the batch that was handed over last may be followed by another.
func (r *batchReader[T, C]) pass(ctx context.Context) bool {
	r.watch.pause()
	defer r.watch.resume()
	return r.turnstile.Wait(ctx, r.number)
}

// read reads the source to its end. The source gets reading as its context, which ends with a
// *silentError if the source says nothing for too long.
func (r *batchReader[T, C]) read(ctx, reading context.Context, hand func(*readBatch[T, C]) bool) error {
	if r.wait > 0 {
		return r.readWaiting(ctx, reading, hand)
	}
	return guard(func() error {
		b := r.newBatch()
		for item, err := range r.source.Read(reading, r.req) {
			if r.watch.asked.Load() {
				r.watch.note()
			}
			if err == nil && item.Resume && !item.Mark && item.Key == "" && len(b.names) == 0 { // what add does for most items, inline
				b.rows = append(b.rows, item.Value)
				b.cursors = append(b.cursors, item.Cursor)
				b.mark(item.Cursor)
			} else if err == nil {
				b.add(item)
			} else if bad := asRecordError(err); bad != nil {
				b.addBad(item, bad)
			} else {
				r.beforeError(ctx, b, hand)
				return readError(context.Cause(reading), err)
			}
			if r.size.WeighsNow(len(b.rows)) {
				b.weigh()
			}
			if !r.full(b) || !b.endsHere() {
				continue
			}
			if !r.hand(b, hand) || !r.pass(ctx) {
				return ctx.Err()
			}
			b = r.newBatch()
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if reading.Err() != nil {
			r.beforeError(ctx, b, hand)
			return readError(context.Cause(reading), reading.Err())
		}
		return r.last(b, hand)
	})
}

// readError is the error of a source, or the cause for which its read was ended.
func readError(cause, err error) error {
	var silent *silentError
	if errors.As(cause, &silent) {
		return silent
	}
	return fmt.Errorf("read: %w", foreign(err))
}

// full reports whether a batch is to end.
func (r *batchReader[T, C]) full(b *readBatch[T, C]) bool {
	return r.size.Full(b.size(), b.weight)
}

// endsHere reports whether the batch can end after the last record. A full batch ends at the
// first resume point after that.
func (b *readBatch[T, C]) endsHere() bool {
	return !hasCursor[C]() || (b.resume && b.since() == 0)
}

// weigh adds the weight of the last rows, estimated from the last one.
func (b *readBatch[T, C]) weigh() { b.weight += batch.Weigh(&b.rows[len(b.rows)-1]) }

// beforeError hands over what was read up to the last resume point before an error. So a
// source that breaks early every time still advances.
func (r *batchReader[T, C]) beforeError(ctx context.Context, b *readBatch[T, C], hand func(*readBatch[T, C]) bool) {
	if ctx.Err() != nil || !b.resume {
		return
	}
	b.cut()
	r.hand(b, hand)
}

// last hands over what is left at the end of the source. Records after the last resume point
// are an error.
func (r *batchReader[T, C]) last(b *readBatch[T, C], hand func(*readBatch[T, C]) bool) error {
	if hasCursor[C]() && b.since() > 0 {
		return Permanent(fmt.Errorf("the source ended %d records after its last resume point, and the next run would read them again: make its last record a resume point, or yield a mark after it", b.since()))
	}
	if b.size() > 0 || b.resume {
		b.ended = true
		r.hand(b, hand)
	}
	return nil
}
