package dataflow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/activedataflow/dataflow/internal/stored"
)

// heldLetters are the flow's dead letters that its runs try again, as one attempt knows them.
type heldLetters struct {
	any bool
	// byKey finds the sink keys of dead letters by the key of one row; nil: there are none,
	// or the sink is not Keyed. Some may have been written or given up since.
	byKey map[string][]string

	// due is closed when they are to be tried again although the run has not ended; nil: the
	// time is not set.
	due   <-chan struct{}
	timer *time.Timer

	// Of the batch that is written now:
	keys    []string     // of its rows; nil: not asked yet
	refused map[int]bool // the rows that were not written
}

// stop ends the wait for due.
func (h *heldLetters) stop() {
	if h.timer != nil {
		h.timer.Stop()
	}
}

func (h *heldLetters) newBatch() { h.keys, h.refused = nil, nil }

// note adds a dead letter that is tried again.
func (h *heldLetters) note(sinkKey string) {
	h.any = true
	if sinkKey == "" {
		return
	}
	if h.byKey == nil {
		h.byKey = make(map[string][]string)
	}
	for key := range strings.SplitSeq(sinkKey, keySeparator) {
		if !slices.Contains(h.byKey[key], sinkKey) {
			h.byKey[key] = append(h.byKey[key], sinkKey)
		}
	}
}

// keySeparator stands between the keys of the rows that one record makes.
const keySeparator = "\n"

// supersededNote is added to the error of a dead letter whose row was written anew.
const supersededNote = "; it is not tried again: a record that was read later has written the same row"

// retries reports whether a dead letter of the flow can be tried again by itself.
func (w *batchWriter) retries() bool {
	return w.a.flow.opts.OnBadRecord != nil && w.p.target.kind != toFenced && !w.p.replaces()
}

// loadHeld looks up the dead letters that are tried again. A run that has read something
// before, in an earlier slice, tries them now: its end may be far. Nothing else uses the
// transform yet.
func (w *batchWriter) loadHeld(ctx context.Context) error {
	if !w.retries() {
		return nil
	}
	err := w.eachHeld(ctx, 0, 0, func(page []*DeadLetterRecord) error {
		for _, l := range page {
			w.held.note(l.SinkKey)
		}
		return nil
	})
	again := w.a.begun || w.a.run.Attempt > 1 // after trouble, which spends no tries
	w.a.begun = true
	if err != nil || w.a.run.Counters.Read == 0 || again {
		return err
	}
	return w.retryHeld(ctx, w.a.config.retryLimit())
}

// eachHeld reads the dead letters that are tried again, oldest first, by pages: those with ids
// above after and, unless until is 0, not above until.
func (w *batchWriter) eachHeld(ctx context.Context, after, until int64, use func(page []*DeadLetterRecord) error) error {
	for {
		page, err := w.a.store.DeadLetterHeld(ctx, w.a.flow.ID, after, retryPage)
		if err != nil {
			return w.a.own(fmt.Errorf("look for dead letters to try again: %w", err))
		}
		more := len(page) == retryPage
		if until > 0 {
			page = slices.DeleteFunc(page, func(l *DeadLetterRecord) bool { return l.ID > until })
		}
		if len(page) == 0 {
			return nil
		}
		after = page[len(page)-1].ID
		if err := use(page); err != nil || !more {
			return err
		}
	}
}

// rowKeys returns the keys of the batch's rows, nil if the sink is not Keyed.
func (w *batchWriter) rowKeys() []string {
	if w.powers.keys && w.held.keys == nil {
		w.held.keys = w.p.sink.rowKeys(w.txSink, w.rows)
	}
	return w.held.keys
}

// hold completes the dead letter of rows[first:end], which were refused. A record that a
// later one of the batch replaces is not tried again.
func (w *batchWriter) hold(l *DeadLetterRecord, first, end int) {
	if w.held.refused == nil {
		w.held.refused = make(map[int]bool)
	}
	for i := first; i < end; i++ {
		w.held.refused[i] = true
	}
	if l.RetryFor == 0 {
		return
	}
	if keys := w.rowKeys(); keys != nil {
		l.SinkKey = strings.Join(keys[first:end], keySeparator)
		for _, key := range keys[first:end] {
			if slices.Contains(keys[end:], key) {
				l.RetryFor, l.TriesLeft, l.Error = 0, 0, l.Error+supersededNote
				return
			}
		}
	}
	w.held.note(l.SinkKey)
}

// supersede ends the tries of dead letters of earlier batches whose rows were written now.
func (w *batchWriter) supersede(ctx context.Context, q Queries) error {
	if len(w.held.byKey) == 0 {
		return nil
	}
	var sinkKeys []string
	for i, key := range w.rowKeys() {
		if !w.held.refused[i] {
			sinkKeys = append(sinkKeys, w.held.byKey[key]...)
		}
	}
	return w.endTries(ctx, q, sinkKeys, 0)
}

// endTries ends the tries of dead letters with some sink keys, and ids below before if that
// is not 0.
func (w *batchWriter) endTries(ctx context.Context, q Queries, sinkKeys []string, before int64) error {
	if len(sinkKeys) == 0 {
		return nil
	}
	n, err := q.DeadLetterSuperseded(ctx, &DeadLetterSupersededParams{FlowID: w.a.flow.ID, SinkKeys: sinkKeys, Before: before, Note: supersededNote})
	if err != nil {
		return w.a.own(fmt.Errorf("end the tries of dead letters: %w", err))
	}
	if n > 0 {
		w.a.log.WarnContext(ctx, "dataflow: dead letters are not tried again, because records that were read later have written the same rows", slog.Int64("dead_letters", n))
	}
	return nil
}

// retryAtEnd tries the dead letters again when the source has ended. A River job must end in
// time.
func (w *batchWriter) retryAtEnd(ctx context.Context) error {
	if w.a.slice.timer == nil {
		return w.retryHeld(ctx, 0)
	}
	return w.retryHeld(ctx, w.a.config.retryLimit())
}

// retryHeld tries the flow's dead letters again, as long as one of them is written. Then it
// counts a try for each of the others. After limit, unless that is 0, it counts those that it
// has tried, and the next call goes on after them. When the client stops, it counts none.
func (w *batchWriter) retryHeld(ctx context.Context, limit time.Duration) error {
	if !w.held.any || !w.retries() {
		return nil
	}
	if err := w.a.settle(ctx); err != nil {
		return err
	}
	w.a.acknowledge(ctx)
	p := &retryPass{w: w, limit: limit, began: time.Now()} //nolint:forbidigo // how long it takes, not what time it is
	err := p.run(ctx)
	if p.written > 0 {
		w.a.log.InfoContext(ctx, "dataflow: dead letters were written after all", slog.Int("dead_letters", p.written))
	}
	switch {
	case errors.Is(err, errPassStopped):
		return nil
	case errors.Is(err, errPassOver):
		w.p.heldAfter.Store(p.last)
		w.a.log.InfoContext(ctx, "dataflow: there are more dead letters to try again than time; going on with the others later", slog.Duration("limit", limit))
	case err != nil:
		return err
	default:
		w.p.heldAfter.Store(0)
		w.held.any = p.left
	}
	return w.countTries(ctx, p.failed)
}

// retryPass goes through the dead letters that are tried again.
type retryPass struct {
	w       *batchWriter
	began   time.Time
	limit   time.Duration // 0: none
	written int
	tried   bool          // at least one dead letter was
	last    int64         // the id of the dead letter that was tried last
	failed  []triedLetter // in this round
	left    bool          // some were not written in this round
}

// triedLetter is a dead letter that failed again.
type triedLetter struct {
	*DeadLetterRecord
	err    error
	passes bool // it spends no try, unless the time is over by the database's clock
}

// Why a pass ends before all dead letters were tried.
var (
	errPassStopped = errors.New("the client stops")
	errPassOver    = errors.New("the time for dead letters is over")
)

// run makes rounds, as long as one writes a dead letter that others may have waited for. A
// round begins where the pass before has run out of time.
func (p *retryPass) run(ctx context.Context) error {
	after := p.w.p.heldAfter.Load()
	try := func(page []*DeadLetterRecord) error { return p.try(ctx, page) }
	for {
		before := p.written
		p.failed, p.left = nil, false
		err := p.w.eachHeld(ctx, after, 0, try)
		if err == nil && after > 0 {
			err = p.w.eachHeld(ctx, 0, after, try)
		}
		if err != nil || !p.left || p.written == before {
			return err
		}
	}
}

// over returns an error if the pass must end. At least one dead letter has its turn before the
// time is over.
func (p *retryPass) over() error {
	switch {
	case p.w.a.stopping():
		return errPassStopped
	case p.limit > 0 && p.tried && time.Since(p.began) > p.limit:
		return errPassOver
	default:
		return nil
	}
}

// try writes dead letters, if need be in halves, down to those that fail again. It returns an
// error that says nothing of the dead letters, such as one of the database that should pass.
func (p *retryPass) try(ctx context.Context, letters []*DeadLetterRecord) error {
	if err := p.over(); err != nil {
		return err
	}
	w := p.w
	err := guard(func() error { return w.writeLetters(ctx, letters) })
	for try := 0; err != nil && ctx.Err() == nil; try++ {
		fault := w.a.store.Classify(err)
		if (fault != FaultConflict || try >= conflictTries) && (fault != FaultStale || try >= staleTries) {
			break
		}
		err = guard(func() error { return w.writeLetters(ctx, letters) })
	}
	switch {
	case err == nil:
		p.written += len(letters)
	case ctx.Err() != nil, errors.Is(err, ErrFenced), w.a.store.Classify(err) == FaultConflict, w.a.passes(err):
		return fmt.Errorf("try dead letters again: %w", err)
	case len(letters) > 1:
		half := len(letters) / 2
		if err := p.try(ctx, letters[:half]); err != nil {
			return err
		}
		return p.try(ctx, letters[half:])
	case errors.Is(err, errReplayed):
	default:
		p.left = true
		m := marks(err)
		p.failed = append(p.failed, triedLetter{DeadLetterRecord: letters[0], err: err, passes: m.transient || m.after > 0 || w.tooMuch(err)})
	}
	p.tried, p.last = true, letters[len(letters)-1].ID
	return nil
}

// countTries stores that dead letters failed again.
func (w *batchWriter) countTries(ctx context.Context, failed []triedLetter) error {
	if len(failed) == 0 {
		return nil
	}
	return w.whileHeld(ctx, func(ctx context.Context, q Queries) error {
		for _, l := range failed {
			if err := q.DeadLetterTried(ctx, l.ID, stored.Clean(l.err.Error()), l.passes); err != nil {
				return fmt.Errorf("count a try of dead letter %d: %w", l.ID, err)
			}
			if l.TriesLeft <= 1 && !l.passes {
				w.a.log.WarnContext(ctx, "dataflow: a dead letter was tried for the last time", slog.String(logKey, l.Key), slog.String(logError, l.err.Error()))
			}
		}
		return nil
	})
}

// whileHeld runs fn in a transaction that holds the run, so that a process that has lost it
// does nothing.
func (w *batchWriter) whileHeld(ctx context.Context, fn func(ctx context.Context, q Queries) error) error {
	return w.a.store.InTx(ctx, func(ctx context.Context, tx Tx) error {
		q, err := w.a.store.With(tx)
		if err != nil {
			return err
		}
		claim, err := q.RunHeld(ctx, w.a.claimed, w.a.config.Lease)
		if err != nil {
			return err
		}
		if claim == nil {
			return ErrFenced
		}
		return fn(ctx, q)
	})
}

// interrupt returns a channel that is closed when the loop has something else to do than to
// wait for the next batch.
func (w *batchWriter) interrupt() <-chan struct{} {
	switch {
	case w.a.chain.inFlight.Done() != nil:
		return w.a.chain.inFlight.Done()
	case !w.held.any || !w.retries():
		return nil
	case w.held.due == nil:
		due := make(chan struct{})
		w.held.due, w.held.timer = due, time.AfterFunc(w.a.config.retryEvery(), func() { close(due) })
	}
	return w.held.due
}

// interrupted does what interrupt was closed for.
func (w *batchWriter) interrupted(ctx context.Context) error {
	if _, is := w.a.chain.inFlight.InFlight(); is {
		err := w.a.settle(ctx)
		w.a.acknowledge(ctx)
		return err
	}
	w.held.due = nil
	return w.retryHeld(ctx, w.a.config.retryLimit())
}
