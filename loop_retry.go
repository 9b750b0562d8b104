package dataflow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/activedataflow/dataflow/internal/stored"
)

// heldLetters are the flow's dead letters that its runs try again, as one attempt knows them.
type heldLetters struct {
	any bool
	// byKey finds the sink keys of dead letters by the key of one row; nil: there are none,
	// or the sink is not Keyed. Some may have been written or given up since.
	byKey map[string][]string

	// Of the batch that is written now:
	keys    []string     // of its rows; nil: not asked yet
	refused map[int]bool // the rows that were not written
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
const supersededNote = "; it is not tried again: a newer record has written the same row"

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
	err := w.eachHeld(ctx, func(page []*DeadLetterRecord) error {
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
	return w.retryHeld(ctx)
}

// eachHeld reads the dead letters that are tried again, oldest first, by pages.
func (w *batchWriter) eachHeld(ctx context.Context, use func(page []*DeadLetterRecord) error) error {
	for after := int64(0); ; {
		page, err := w.a.store.DeadLetterHeld(ctx, w.a.flow.ID, after, retryPage)
		if err != nil {
			return fmt.Errorf("look for dead letters to try again: %w", err)
		}
		if len(page) == 0 {
			return nil
		}
		after = page[len(page)-1].ID
		if err := use(page); err != nil || len(page) < retryPage {
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
		return fmt.Errorf("end the tries of dead letters: %w", err)
	}
	if n > 0 {
		w.a.log.WarnContext(ctx, "dataflow: dead letters are not tried again, because newer records have written the same rows", slog.Int64("dead_letters", n))
	}
	return nil
}

// retryHeld tries the flow's dead letters again, as long as one of them is written. Then it
// counts a try for each of the others.
func (w *batchWriter) retryHeld(ctx context.Context) error {
	if !w.held.any || !w.retries() {
		return nil
	}
	if err := w.a.settle(ctx); err != nil {
		return err
	}
	w.a.acknowledge(ctx)
	for {
		written, failed := 0, []triedLetter(nil)
		err := w.eachHeld(ctx, func(page []*DeadLetterRecord) error {
			bad, err := w.tryLetters(ctx, page)
			written, failed = written+len(page)-len(bad), append(failed, bad...)
			return err
		})
		if err != nil {
			return err
		}
		if written > 0 {
			w.a.log.InfoContext(ctx, "dataflow: dead letters were written after all", slog.Int("dead_letters", written))
		}
		if len(failed) == 0 || written == 0 || w.a.stopping() {
			w.held.any = len(failed) > 0
			return w.countTries(ctx, failed)
		}
	}
}

// triedLetter is a dead letter that failed again.
type triedLetter struct {
	*DeadLetterRecord
	err error
}

// countTries stores that dead letters failed again.
func (w *batchWriter) countTries(ctx context.Context, failed []triedLetter) error {
	if len(failed) == 0 {
		return nil
	}
	return w.a.store.InTx(ctx, func(ctx context.Context, tx Tx) error {
		q, err := w.a.store.With(tx)
		if err != nil {
			return err
		}
		for _, l := range failed {
			if err := q.DeadLetterTried(ctx, l.ID, stored.Clean(l.err.Error())); err != nil {
				return fmt.Errorf("count a try of dead letter %d: %w", l.ID, err)
			}
			if l.TriesLeft <= 1 {
				w.a.log.WarnContext(ctx, "dataflow: a dead letter was tried for the last time", slog.String(logKey, l.Key), slog.String(logError, l.err.Error()))
			}
		}
		return nil
	})
}

// tryLetters writes dead letters, if need be in halves, down to those that fail again. An
// error of the database that should pass is returned: it says nothing of the dead letters.
func (w *batchWriter) tryLetters(ctx context.Context, letters []*DeadLetterRecord) ([]triedLetter, error) {
	err := guard(func() error { return w.writeLetters(ctx, letters) })
	for try := 0; try < conflictTries && err != nil && w.a.store.Classify(err) == FaultConflict; try++ {
		err = guard(func() error { return w.writeLetters(ctx, letters) })
	}
	switch {
	case err == nil:
		return nil, nil
	case ctx.Err() != nil, errors.Is(err, ErrFenced), w.a.store.Classify(err) == FaultUnavailable, w.a.store.Classify(err) == FaultConflict:
		return nil, fmt.Errorf("try dead letters again: %w", err)
	case len(letters) == 1 && errors.Is(err, errReplayed):
		return nil, nil
	case len(letters) == 1:
		return []triedLetter{{DeadLetterRecord: letters[0], err: err}}, nil
	}
	half := len(letters) / 2
	failed, err := w.tryLetters(ctx, letters[:half])
	if err != nil {
		return nil, err
	}
	more, err := w.tryLetters(ctx, letters[half:])
	return append(failed, more...), err
}

// errReplayed says that somebody else has written a dead letter.
var errReplayed = errors.New("another process has replayed it")

// errOneByOne makes tryLetters write dead letters to a sink elsewhere one by one.
var errOneByOne = errors.New("one by one")

// writeLetters writes dead letters, all or none of them. The transaction holds the run, so
// that a process that has lost it writes nothing.
func (w *batchWriter) writeLetters(ctx context.Context, letters []*DeadLetterRecord) error {
	switch {
	case w.txSink == nil && len(letters) > 1:
		return errOneByOne
	case w.txSink == nil:
		return w.p.replay(ctx, w.a.store, letters[0])
	}
	read, made := w.p.types.newRead(), w.p.types.newMade()
	read.count = len(letters)
	for _, l := range letters {
		if err := decodePayload(l, read.rows.grow()); err != nil {
			return fmt.Errorf("the record %s does not fit %s: %w", stored.Clip(string(l.Payload)), w.p.types.recordType(), err)
		}
	}
	if err := w.p.types.apply(ctx, read, made); err != nil {
		return fmt.Errorf("transform: %w", err)
	}
	made.out.dropFailed(made.rows)
	for _, err := range made.out.failed {
		return fmt.Errorf("transform: %w", err)
	}
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
		for _, l := range letters {
			ours, err := q.DeadLetterReplayed(ctx, l.ID)
			if err != nil {
				return err
			}
			if !ours {
				return errReplayed
			}
		}
		if made.rows.len() == 0 {
			return nil
		}
		if w.powers.keys {
			var sinkKeys []string
			for _, key := range w.p.sink.rowKeys(w.txSink, made.rows) {
				sinkKeys = append(sinkKeys, w.held.byKey[key]...)
			}
			if err := w.endTries(ctx, q, sinkKeys, letters[0].ID); err != nil {
				return err
			}
		}
		if err := w.p.sink.writeTx(ctx, w.txSink, made.rows, 0, made.rows.len()); err != nil {
			return fmt.Errorf("write: %w", foreign(err))
		}
		return nil
	})
}
