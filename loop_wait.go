package dataflow

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// waitingBatch is a batch that also ends when it has waited for long enough, even while the
// source blocks.
type waitingBatch struct {
	r      *batchReader
	cancel context.CancelFunc // ends the read

	mu    sync.Mutex // guards what follows, and the reader: the source's goroutine and the timer's use them
	timer *time.Timer
	begun bool // the batch has a record, and the timer runs
	due   bool // the timer has fired
	over  bool // no more is wanted
}

// readWaiting reads the source to its end. It hands over a batch that has waited for long
// enough.
func (r *batchReader) readWaiting(ctx, reading context.Context) error {
	wanted, endWanted := context.WithCancel(ctx)
	defer endWanted()
	reading, endRead := context.WithCancel(reading)
	defer endRead()
	w := &waitingBatch{r: r, cancel: func() { endWanted(); endRead() }}
	w.timer = time.AfterFunc(r.wait, func() { w.fire(wanted) })
	w.timer.Stop()
	r.waiting = w
	err := r.readAll(wanted, reading)
	w.mu.Lock() // until a batch that is due is handed over
	defer w.finish()
	if ctx.Err() != nil || w.over {
		return ctx.Err()
	}
	return err
}

// lock locks the batch, and returns it.
func (w *waitingBatch) lock() *readBatch {
	w.mu.Lock()
	return w.r.current
}

// finish unlocks the batch, which is the last one. It does nothing for nil.
func (w *waitingBatch) finish() {
	if w == nil {
		return
	}
	w.timer.Stop()
	w.begun = false // a timer that fires all the same hands nothing over
	w.mu.Unlock()
}

// fire hands over the batch, which has waited for long enough.
func (w *waitingBatch) fire(ctx context.Context) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.begun {
		return // it was handed over, or the read has ended
	}
	w.due = true
	if !w.cut(ctx) {
		w.cancel()
	}
}

// endItem hands over the batch after an item if it is to end, and unlocks it. It returns nil
// if no more is wanted.
func (w *waitingBatch) endItem(ctx context.Context, b *readBatch) (*readBatch, error) {
	defer w.mu.Unlock()
	if w.over {
		return nil, ctx.Err()
	}
	if !w.begun {
		w.begun = true
		w.timer.Reset(w.r.wait)
	}
	if (w.r.full(b) || w.due) && w.r.endsHere(b) && !w.cut(ctx) {
		return nil, ctx.Err()
	}
	return w.r.current, nil
}

// cut hands over the batch up to its last resume point, if there is one. What was read after
// that begins the next batch. It reports whether more is wanted.
func (w *waitingBatch) cut(ctx context.Context) bool {
	b := w.r.current
	if w.r.resumable && !b.resume || b.size() == 0 && !b.resume {
		return true // the batch ends at its first resume point
	}
	next := w.r.newBatch()
	if w.r.resumable { // otherwise the batch may end anywhere
		b.cutTail(next)
	}
	if !w.r.hand(b) || !w.r.mayReadOn(ctx) {
		w.over, w.begun = true, false
		return false
	}
	next.readBefore = w.r.handed
	w.r.current = next
	w.timer.Stop()
	w.due, w.begun = false, next.size() > 0
	if w.begun {
		w.timer.Reset(w.r.wait)
	}
	return true
}

// cutTail moves what was read after the last resume point to another batch. None of these
// rows is a resume point, so each has a name.
func (b *readBatch) cutTail(to *readBatch) {
	to.rows.add(b.rows, b.safeRows)
	to.cursors.add(b.cursors, b.safeRows)
	to.count = b.count - b.safeRows
	to.again = b.again.after(b.safeRows)
	if to.count > 0 {
		to.names = append(to.names, b.names[b.safeRows:]...)
	}
	for i := b.safeBad; i < len(b.bad); i++ {
		to.bad, to.badAt = append(to.bad, b.bad[i]), append(to.badAt, b.badAt[i]-b.safeRows)
	}
	b.cut()
}

// notesTimeout is how long a source may take for its notes.
const notesTimeout = 5 * time.Second

// told is what a flow's source was last heard to note. What is new is logged.
type told struct {
	mu    sync.Mutex
	asked bool
	notes []string
}

// notes asks the source what it has to say about a read from a cursor, nil for the beginning.
func (p sourceCursors[C]) notes(ctx context.Context, from json.RawMessage) []string {
	req := &Request[C]{}
	if from != nil && p.resumable() {
		c, err := p.decodeCursor(from)
		if err != nil {
			return nil // the run says it
		}
		req.From, req.Resumed = c, true
	}
	notes, err := p.ask(ctx, req)
	if err != nil {
		return nil // a run meets the error too
	}
	return notes
}

func (p sourceCursors[C]) ask(ctx context.Context, req any) (notes []string, err error) {
	noter, ok := p.source.(Noter[C])
	r, typed := req.(*Request[C])
	if !ok || !typed {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, notesTimeout)
	defer cancel()
	err = guard(func() (err error) {
		notes, err = noter.Notes(ctx, *r)
		return err
	})
	return notes, err
}

// tell logs what the source notes, after the first attempt in this process and after each
// that read nothing.
func (p *flowCode) tell(ctx context.Context, a *attempt, req any, empty bool) {
	p.told.mu.Lock()
	defer p.told.mu.Unlock()
	if p.told.asked && !empty || ctx.Err() != nil {
		return
	}
	notes, err := p.ask(ctx, req)
	if err != nil {
		a.log.DebugContext(ctx, "dataflow: the source could not say what is to be noted", slog.String(logError, err.Error()))
		return
	}
	for _, note := range notes {
		if !slices.Contains(p.told.notes, note) {
			a.log.WarnContext(ctx, "dataflow: note of the source", slog.String(logReason, note))
		}
	}
	p.told.asked, p.told.notes = true, notes
}
