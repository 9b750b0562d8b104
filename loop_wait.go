package dataflow

import (
	"context"
	"time"
)

// readItem is what a source has yielded.
type readItem[T, C any] struct {
	item Item[T, C]
	err  error
}

// readWaiting reads the source to its end. It hands over a batch that has waited for long
// enough, even while the source blocks.
func (r *batchReader[T, C]) readWaiting(ctx, reading context.Context, hand func(*readBatch[T, C]) bool) error {
	ctx, cancel := context.WithCancel(ctx)
	reading, cancelRead := context.WithCancel(reading)
	items := make(chan readItem[T, C])
	var failed error // readable once items is closed
	go func() {
		defer close(items)
		failed = guard(func() error {
			for item, err := range r.source.Read(reading, r.req) {
				if r.watch.asked.Load() {
					r.watch.note()
				}
				select {
				case items <- readItem[T, C]{item, err}:
				case <-ctx.Done():
					return nil
				}
			}
			return nil
		})
	}()
	defer func() {
		cancel()
		cancelRead()
		for range items { // until this read has ended: a source is used by one read at a time
		}
	}()
	w := &waitingBatch[T, C]{r: r, cause: func() error { return context.Cause(reading) }, hand: hand, b: r.newBatch(), timer: time.NewTimer(r.wait)}
	defer w.timer.Stop()
	w.timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-w.timer.C:
			w.due = true
			if !w.cut(ctx) {
				return ctx.Err()
			}
		case i, ok := <-items:
			switch {
			case ok:
				if done, err := w.take(ctx, i); done || err != nil {
					return err
				}
			case failed != nil:
				return failed
			case ctx.Err() != nil:
				return ctx.Err()
			case reading.Err() != nil:
				r.beforeError(ctx, w.b, hand)
				return readError(w.cause(), reading.Err())
			default:
				return r.last(w.b, hand)
			}
		}
	}
}

// waitingBatch is a batch that also ends when it has waited for long enough.
type waitingBatch[T, C any] struct {
	r     *batchReader[T, C]
	cause func() error // why the read was ended
	hand  func(*readBatch[T, C]) bool
	b     *readBatch[T, C]
	timer *time.Timer // fires when the batch has waited since its first record
	begun bool        // there is one
	due   bool        // it has fired
}

// take adds an item. It reports true if no more is wanted.
func (w *waitingBatch[T, C]) take(ctx context.Context, i readItem[T, C]) (done bool, err error) {
	if i.err == nil {
		w.b.add(i.item)
	} else if bad := asRecordError(i.err); bad != nil {
		w.b.addBad(i.item, bad)
	} else {
		w.r.beforeError(ctx, w.b, w.hand)
		return true, readError(w.cause(), i.err)
	}
	if !w.begun {
		w.begun = true
		w.timer.Reset(w.r.wait)
	}
	if i.err == nil && !i.item.Mark && w.r.size.WeighsNow(len(w.b.rows)) {
		w.b.weigh()
	}
	if (w.r.full(w.b) || w.due) && w.b.endsHere() {
		return !w.cut(ctx), ctx.Err()
	}
	return false, nil
}

// cut hands over the batch up to its last resume point, if there is one. What was read after
// that begins the next batch. It reports whether more is wanted.
func (w *waitingBatch[T, C]) cut(ctx context.Context) bool {
	b := w.b
	if hasCursor[C]() && !b.resume || b.size() == 0 && !b.resume {
		return true // the batch ends at its first resume point
	}
	rows, cursors, names, bad := b.cutTail()
	if !w.r.hand(b, w.hand) || !w.r.pass(ctx) {
		return false
	}
	w.b = w.r.newBatch()
	w.b.rows, w.b.cursors, w.b.bad = append(w.b.rows, rows...), append(w.b.cursors, cursors...), append(w.b.bad, bad...)
	w.b.names = append(w.b.names, names...)
	w.timer.Stop()
	w.due, w.begun = false, w.b.size() > 0
	if w.begun {
		w.timer.Reset(w.r.wait)
	}
	return true
}

// cutTail cuts off what was read after the last resume point, and returns it. None of these
// rows is a resume point, so each has a name.
func (b *readBatch[T, C]) cutTail() (rows []T, cursors []C, names []rowName, bad []*RecordError) {
	if !hasCursor[C]() {
		return nil, nil, nil, nil // the batch may end anywhere
	}
	rows, cursors = append(rows, b.rows[b.safeRows:]...), append(cursors, b.cursors[b.safeRows:]...)
	bad = append(bad, b.bad[b.safeBad:]...)
	if len(rows) > 0 {
		names = append(names, b.names[b.safeRows:]...)
	}
	b.cut()
	return rows, cursors, names, bad
}
