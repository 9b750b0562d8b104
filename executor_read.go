package dataflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// readBatch holds the records between two checkpoints, as they were read.
type readBatch[T, C any] struct {
	rows   []T
	names  []rowName[C] // one for each row
	bad    []*RecordError
	cursor C    // the last resume point
	resume bool // there is one
	since  int  // records read since the last resume point
}

// rowName is what names a row, as text only if it is needed.
type rowName[C any] struct {
	key    string
	cursor C
}

// size counts the records, good and bad.
func (b *readBatch[T, C]) size() int { return len(b.rows) + len(b.bad) }

// key names row i.
func (b *readBatch[T, C]) key(i int) string {
	n := b.names[i]
	if n.key != "" {
		return n.key
	}
	return cursorText(n.cursor)
}

// transformError is the error of row i in a transform.
func (b *readBatch[T, C]) transformError(i int, err error) *RecordError {
	e := &RecordError{Stage: StageTransform, Key: b.key(i), Err: err}
	if raw, merr := json.Marshal(b.rows[i]); merr == nil {
		e.Raw = raw
	}
	return e
}

// add takes an item, and reports whether the batch may end behind it.
func (b *readBatch[T, C]) add(item Item[T, C], bad *RecordError) {
	switch {
	case bad != nil:
		b.bad = append(b.bad, bad)
		b.since++
	case !item.Mark:
		b.rows = append(b.rows, item.Value)
		b.names = append(b.names, rowName[C]{key: item.Key, cursor: item.Cursor})
		b.since++
	}
	if item.Resume || item.Mark {
		b.cursor, b.resume, b.since = item.Cursor, true, 0
	}
}

// reset empties the batch and keeps its memory.
func (b *readBatch[T, C]) reset() {
	clear(b.rows)
	clear(b.names)
	*b = readBatch[T, C]{rows: b.rows[:0], names: b.names[:0]}
}

// batchReader cuts what a source yields into batches.
type batchReader[T, C any] struct {
	source Source[T, C]
	req    Request[C]
	size   int
	free   chan *readBatch[T, C] // batches to be filled again
}

// recycle takes back a batch that is written.
func (r *batchReader[T, C]) recycle(b *readBatch[T, C]) {
	b.reset()
	select {
	case r.free <- b:
	default:
	}
}

func (r *batchReader[T, C]) next() *readBatch[T, C] {
	select {
	case b := <-r.free:
		return b
	default:
		return &readBatch[T, C]{}
	}
}

// read reads the source to its end.
func (r *batchReader[T, C]) read(ctx context.Context, hand func(*readBatch[T, C]) bool) error {
	return guard(func() error {
		b := r.next()
		for item, err := range r.source.Read(ctx, r.req) {
			var bad *RecordError
			if err != nil && !errors.As(err, &bad) {
				return fmt.Errorf("read: %w", err)
			}
			b.add(item, bad)
			if !r.full(b) {
				continue
			}
			if !hand(b) {
				return ctx.Err()
			}
			b = r.next()
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		return r.last(b, hand)
	})
}

// full reports whether the batch ends here: at the first resume point at or
// behind its size.
func (r *batchReader[T, C]) full(b *readBatch[T, C]) bool {
	if b.size() < r.size {
		return false
	}
	return !hasCursor[C]() || (b.resume && b.since == 0)
}

// last hands over what is left at the end of the source.
func (r *batchReader[T, C]) last(b *readBatch[T, C], hand func(*readBatch[T, C]) bool) error {
	if hasCursor[C]() && b.since > 0 {
		return Permanent(fmt.Errorf("the source ended %d records behind its last resume point: its last record must be one, or be followed by a mark, because the next run would read them again", b.since))
	}
	if b.size() > 0 || b.resume {
		hand(b)
	}
	return nil
}
