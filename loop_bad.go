package dataflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"

	"github.com/activedataflow/dataflow/internal/stored"
)

// applyPolicy asks the policy about one bad record, and at is its place in the batch. It returns
// an error if the attempt must fail. Permanent, Transient and RetryAfter are about the attempt:
// then the policy is not asked.
func (w *batchWriter) applyPolicy(ctx context.Context, e *RecordError, at int, delta *Counters) error {
	if e.Err == nil {
		e.Err = errNoCause
	}
	e.Err = w.a.marked(e.Err)
	if m := marks(e.Err); m.permanent || m.transient || m.after > 0 {
		return e
	}
	policy := w.a.flow.opts.OnBadRecord
	if policy == nil {
		policy = FailFast
	}
	run := w.a.counters()
	e.Read = run.Read + delta.Read
	switch policy(e, run.Dropped+run.DeadLettered+delta.Dropped+delta.DeadLettered+1) {
	case Drop:
		delta.Dropped++
		w.open.note(e.Stage, e.Key, at)
		w.a.log.WarnContext(ctx, "dataflow: record dropped", slog.String(logStage, string(e.Stage)), slog.String(logKey, e.Key), slog.String(logError, e.Err.Error()))
		return nil
	case DeadLetter:
		if e.retryFor > 0 && e.retries > 0 && w.p.target.ordered() {
			e.Err = Permanent(fmt.Errorf("%w; the policy RetryBadFor would write the record after newer ones, and the target (%s) needs the order of the source: use FailFast or DeadLetterUpTo", e.Err, describe(w.p.target.part()).Type))
			return e
		}
		delta.DeadLettered++
		w.open.note(e.Stage, e.Key, at)
		w.letters = append(w.letters, w.letter(e))
		w.a.log.WarnContext(ctx, "dataflow: record kept as a dead letter", slog.String(logStage, string(e.Stage)), slog.String(logKey, e.Key), slog.String(logError, e.Err.Error()))
		return nil
	default:
		return e
	}
}

// letter returns the dead letter of a bad record. A record that is not JSON becomes a JSON
// string.
func (w *batchWriter) letter(e *RecordError) *DeadLetterRecord {
	l := &DeadLetterRecord{FlowID: w.a.run.FlowID, RunID: w.a.run.ID, Stage: e.Stage, Key: stored.Clean(e.Key), Error: stored.Clean(e.Err.Error())}
	if e.Stage != StageRead && len(e.Raw) > 0 && e.retryFor > 0 && e.retries > 0 && w.retries() && (e.Stage == StageWrite || !w.powers.keys) {
		l.RetryFor, l.TriesLeft, w.held.any = e.retryFor, e.retries, true
	}
	switch {
	case len(e.Raw) == 0:
	case json.Valid(e.Raw):
		l.Payload = json.RawMessage(stored.Clean(string(e.Raw)))
	default:
		l.Payload, _ = json.Marshal(stored.Clean(string(e.Raw))) // a string can always be marshalled
	}
	switch {
	case w.p.names(e.Key):
		l.Identity = w.identity(l.Key)
		w.open.add(DeadLetterIdentity{l.Identity, l.Key}, w.identity)
	case w.p.counts(e.Key) && len(l.Payload) > 0: // the same record, if it has the same content too
		l.Identity = hashed(w.identity(l.Key), l.Payload)
	}
	return l
}

// keepLetters stores the batch's dead letters in a transaction of their own. If the batch is
// worked again, they are stored twice, or counted twice.
func (w *batchWriter) keepLetters(ctx context.Context) error {
	letters := w.letters[w.kept:]
	if len(letters) == 0 {
		return nil
	}
	err := w.a.store.InTx(ctx, func(ctx context.Context, tx Tx) error {
		q, err := w.a.store.With(tx)
		if err != nil {
			return err
		}
		if err := q.DeadLetterInsert(ctx, letters); err != nil {
			return fmt.Errorf("keep dead letters: %w", err)
		}
		return nil
	})
	if err == nil {
		w.kept = len(w.letters)
	}
	return w.a.own(err)
}

// divisible reports whether parts of a batch may be written although the batch as a whole
// failed: it failed for its data, or was too much for one statement. So the bad record is
// found even if the policy is to fail.
func (w *batchWriter) divisible(err error) bool {
	if errors.Is(err, errPredecessorLost) {
		return false
	}
	if m := marks(w.a.marked(err)); m.permanent || m.transient || m.after > 0 {
		return false
	}
	var bad *RecordError
	var row *RowError
	fault := w.a.store.Classify(err)
	if errors.As(err, &bad) || errors.As(err, &row) && fault == FaultOther {
		return true
	}
	return fault == FaultData || fault == FaultTooMuch
}

// tooMuch reports whether a batch was too much for one statement. A record that is too much
// alone is no bad record: the attempt fails.
func (w *batchWriter) tooMuch(err error) bool {
	var bad *RecordError
	return !errors.As(err, &bad) && w.a.store.Classify(err) == FaultTooMuch
}

// After a batch with a bad record, the next batches may have some too. So many of them are
// written in so many parts, so that a bad record costs one part only.
const (
	suspiciousBatches = 8
	suspiciousParts   = 4
	minPart           = 256 // rows
)

// writeDivided writes a batch in parts, each after a savepoint. It divides the parts that
// fail for their data further, down to the bad records; the others are written. It does so
// in the checkpoint's transaction, and so anew when that is repeated. cause is why the
// batch as a whole failed; nil: that was not tried.
func (w *batchWriter) writeDivided(ctx context.Context, s step, cause error) error {
	if cause != nil && w.tooMuch(cause) {
		w.a.log.WarnContext(ctx, "dataflow: the batch was too much for one statement; writing it in parts", slog.Int("rows", w.rows.len()), slog.String(logError, cause.Error()))
	}
	s.writes, w.cause, w.writeErr = batchInParts, cause, nil
	err := w.a.commitAgain(ctx, s)
	if err == nil || w.deferred || w.writeErr != nil || !w.divisible(err) {
		return err
	}
	// The parts were written, but the commit refused one of their records.
	w.deferred, w.cause = true, err
	return w.a.commitAgain(ctx, s)
}

// divider writes parts of a batch, down to its bad records.
type divider struct {
	w     *batchWriter
	tx    Tx
	delta *Counters
	// outside writes rows[from:to] to a sink outside the database; nil: it is in the
	// transaction tx.
	outside func(ctx context.Context, from, to int) error
	// refusedOnce are the inputs that the policy was asked about; nil: none can be refused
	// twice.
	refusedOnce map[int]bool
	failed      error // what the policy said, if it ends the attempt
}

// part writes rows[from:to].
func (d *divider) part(ctx context.Context, from, to int) error {
	if d.outside != nil {
		return d.outside(ctx, from, to)
	}
	return d.writePart(ctx, from, to)
}

// write writes rows[from:to], which are all outputs of their inputs. It divides them further
// if they fail for their data.
func (d *divider) write(ctx context.Context, from, to int) error {
	err := d.part(ctx, from, to)
	if d.failed != nil { // whatever a sink makes of that
		return d.failed
	}
	if err == nil {
		return nil
	}
	origin := d.w.out.origin
	if !d.w.divisible(err) {
		return d.w.writeError(from, to, err)
	}
	switch alone := origin[from] == origin[to-1]; {
	case alone && d.w.tooMuch(err):
		return d.w.writeError(from, to, err)
	case alone:
		return d.refused(ctx, from, err)
	default:
		return d.divide(ctx, from, to, err)
	}
}

// writePart writes rows[from:to], or leaves the transaction as it was. After a commit has
// refused the batch, it checks what the commit would check.
func (d *divider) writePart(ctx context.Context, from, to int) error {
	if checker, ok := d.w.a.store.(DeferredChecker); ok && d.w.deferred {
		return d.w.a.store.Savepoint(ctx, d.tx, func() error {
			before := *d.delta
			err := guard(func() error { return d.w.writeRows(ctx, from, to, d.delta) })
			if err == nil {
				err = checker.CheckDeferred(ctx, d.tx)
			}
			if err != nil {
				*d.delta = before
			}
			return err
		})
	}
	if d.w.powers.parts {
		return guard(func() error { return d.w.writeWithResults(ctx, from, to, true, d.delta) })
	}
	return d.w.a.store.Savepoint(ctx, d.tx, func() error {
		return guard(func() error { return d.w.writeRows(ctx, from, to, d.delta) })
	})
}

// refused applies the policy to the input of a row that cannot be written.
func (d *divider) refused(ctx context.Context, row int, err error) error {
	var said *RecordError
	if errors.As(err, &said) {
		err = said.Err // which record it is, is known better here
	}
	input := d.w.out.origin[row]
	if d.refusedOnce[input] {
		return nil
	}
	if d.refusedOnce != nil {
		d.refusedOnce[input] = true
	}
	d.delta.Written--
	before := len(d.w.letters)
	if d.failed = d.w.applyPolicy(ctx, d.w.batch.recordError(input, StageWrite, err), rowAt(input), d.delta); d.failed != nil {
		return d.failed
	}
	if len(d.w.letters) > before {
		first, end := d.siblings(0, d.w.rows.len(), row)
		d.w.hold(d.w.letters[before], first, end)
	}
	return nil
}

// divide writes rows[from:to] in smaller parts. cause decides how:
//   - nil, the rows were not tried yet: several equal parts;
//   - an error that names a row: the rows before that record, the record, the rows after it;
//   - another error: halves.
func (d *divider) divide(ctx context.Context, from, to int, cause error) error {
	if cause == nil {
		return d.writeAll(ctx, from, d.parts(from, to))
	}
	d.w.suspicious = suspiciousBatches
	if row, alone, named := d.named(from, to, cause); named {
		first, end := d.siblings(from, to, row)
		if !alone {
			return d.writeAll(ctx, from, []int{first, end, to})
		}
		if err := d.writeAll(ctx, from, []int{first}); err != nil {
			return err
		}
		if err := d.refused(ctx, first, cause); err != nil {
			return err
		}
		return d.writeAll(ctx, end, []int{to})
	}
	if d.w.out.origin[from] == d.w.out.origin[to-1] {
		return d.write(ctx, from, to)
	}
	return d.writeAll(ctx, from, []int{d.middle(from, to), to})
}

// writeAll writes parts that end at ends. Each begins where the one before it ends.
func (d *divider) writeAll(ctx context.Context, from int, ends []int) error {
	for _, end := range ends {
		if end == from {
			continue
		}
		if err := d.write(ctx, from, end); err != nil {
			return err
		}
		from = end
	}
	return nil
}

// parts returns where the parts of rows[from:to] end. No record is split.
func (d *divider) parts(from, to int) []int {
	size := max((to-from)/suspiciousParts, minPart)
	var ends []int
	for from+size < to {
		_, from = d.siblings(from, to, from+size-1)
		ends = append(ends, from)
	}
	if from < to {
		ends = append(ends, to)
	}
	return ends
}

// siblings returns the range of rows that came of the same input as row.
func (d *divider) siblings(from, to, row int) (first, end int) {
	origin := d.w.out.origin
	for first = row; first > from && origin[first-1] == origin[row]; {
		first--
	}
	for end = row + 1; end < to && origin[end] == origin[row]; {
		end++
	}
	return first, end
}

// named returns the row that an error names, and whether it was already tried alone.
func (d *divider) named(from, to int, err error) (row int, alone, named bool) {
	var e *RowError
	if !errors.As(err, &e) || e.Row < 0 || e.Row >= to-from {
		return 0, false, false
	}
	return from + e.Row, e.Alone, true
}

// middle returns where to divide rows[from:to] in two, between the rows of two inputs.
func (d *divider) middle(from, to int) int {
	origin := d.w.out.origin
	middle := (from + to) / 2
	for middle > from && origin[middle] == origin[middle-1] {
		middle--
	}
	if middle > from {
		return middle
	}
	for middle = (from + to) / 2; origin[middle] == origin[middle-1]; {
		middle++
	}
	return middle
}
