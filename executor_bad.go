package dataflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
)

// judge asks the policy about one bad record. A marked error says what is to
// become of the attempt, and no more of the record than that it came by.
func (w *batchWriter[T, C, Out]) judge(ctx context.Context, e *RecordError, delta *Counters) error {
	if m := marks(e.Err); m.permanent || m.transient || m.after > 0 {
		return e
	}
	policy := w.flow.opts.OnBadRecord
	if policy == nil {
		policy = FailFast
	}
	run := w.counters()
	e.Read = run.Read + delta.Read
	switch policy(e, run.Dropped+run.DeadLettered+delta.Dropped+delta.DeadLettered+1) {
	case Drop:
		delta.Dropped++
		w.log.WarnContext(ctx, "dataflow: record dropped", slog.String(logStage, string(e.Stage)), slog.String(logKey, e.Key), slog.String(logError, e.Err.Error()))
		return nil
	case DeadLetter:
		delta.DeadLettered++
		w.letters = append(w.letters, w.letter(e))
		w.log.WarnContext(ctx, "dataflow: record kept as a dead letter", slog.String(logStage, string(e.Stage)), slog.String(logKey, e.Key), slog.String(logError, e.Err.Error()))
		return nil
	default:
		return e
	}
}

// letter is what is kept of a bad record. What is no JSON is kept as a text.
func (w *batchWriter[T, C, Out]) letter(e *RecordError) *DeadLetterRecord {
	l := &DeadLetterRecord{FlowID: w.run.FlowID, RunID: w.run.ID, Stage: e.Stage, Key: storable(e.Key), Error: storable(e.Err.Error())}
	switch {
	case len(e.Raw) == 0:
	case json.Valid(e.Raw):
		l.Payload = json.RawMessage(storable(string(e.Raw)))
	default:
		l.Payload, _ = json.Marshal(storable(string(e.Raw))) // a text can be written
	}
	return l
}

// insertLetters keeps the batch's dead letters, in the checkpoint's transaction.
func (w *batchWriter[T, C, Out]) insertLetters(ctx context.Context, _ Tx, q Queries, _ *Counters) error {
	if len(w.letters) == 0 {
		return nil
	}
	if err := q.DeadLetterInsert(ctx, w.letters); err != nil {
		return fmt.Errorf("keep dead letters: %w", err)
	}
	return nil
}

// keepLetters keeps the batch's dead letters in a transaction of their own. If the
// batch is worked again, they are kept twice.
func (w *batchWriter[T, C, Out]) keepLetters(ctx context.Context) error {
	if len(w.letters) == 0 {
		return nil
	}
	return w.client.store.InTx(ctx, func(ctx context.Context, tx Tx) error {
		q, err := w.client.store.With(tx)
		if err != nil {
			return err
		}
		return w.insertLetters(ctx, tx, q, nil)
	})
}

// divisible reports whether a batch failed for what is in it, and the flow's policy
// may have an opinion about the records of which that is.
func (w *batchWriter[T, C, Out]) divisible(err error) bool {
	if w.flow.opts.OnBadRecord == nil || errors.Is(err, errApart) {
		return false
	}
	if m := marks(err); m.permanent || m.transient || m.after > 0 {
		return false
	}
	var bad *RecordError
	return errors.As(err, &bad) || w.client.store.Classify(err) == FaultData
}

// Where a batch had a bad record, so may the next ones. For so many batches, they are
// written in so many parts, so that one that fails is not all in vain.
const (
	waryBatches = 8
	waryParts   = 4
	leastPart   = 256 // rows
)

// writeDivided writes a batch by parts, each behind a savepoint, and those that fail for
// what is in them by smaller ones, down to the records that are bad. The others are
// written. It is done in the checkpoint's transaction, and so anew when that has to be
// repeated. cause is why the batch as a whole has failed, nil if that was not tried.
func (w *batchWriter[T, C, Out]) writeDivided(ctx context.Context, b *readBatch[T, C], s step, cause error) error {
	letters := w.letters
	s.write = func(ctx context.Context, tx Tx, q Queries, delta *Counters) error {
		w.letters = letters[:len(letters):len(letters)]
		d := divider[T, C, Out]{batchWriter: w, batch: b, tx: tx, delta: delta}
		if err := d.divide(ctx, 0, len(w.out.rows), cause); err != nil {
			return err
		}
		return w.insertLetters(ctx, tx, q, delta)
	}
	return w.commitAgain(ctx, s)
}

// divider writes parts of a batch in one transaction.
type divider[T, C, Out any] struct {
	*batchWriter[T, C, Out]
	batch *readBatch[T, C]
	tx    Tx
	delta *Counters
}

// write writes the outputs from one up to another, which are all that their inputs
// have given.
func (d *divider[T, C, Out]) write(ctx context.Context, from, to int) error {
	err := d.client.store.Savepoint(ctx, d.tx, func() error {
		return guard(func() error { return d.writeTx(ctx, from, to, d.delta) })
	})
	if err == nil {
		return nil
	}
	origin := d.out.origin
	if !d.divisible(err) {
		return fmt.Errorf("write records %s to %s: %w", d.batch.key(origin[from]), d.batch.key(origin[to-1]), err)
	}
	if origin[from] == origin[to-1] {
		var said *RecordError
		if errors.As(err, &said) {
			err = said.Err // which row of the batch it is, is known better here
		}
		e := d.batch.recordError(origin[from], StageWrite, err)
		d.delta.Written--
		return d.judge(ctx, e, d.delta)
	}
	return d.divide(ctx, from, to, err)
}

// divide writes a part that has failed, or not been tried: in several parts; or what
// stands before the record that the error names, the record, and what stands behind it;
// or the halves.
func (d *divider[T, C, Out]) divide(ctx context.Context, from, to int, cause error) error {
	ends := []int{to}
	if cause == nil {
		ends = d.parts(from, to)
	} else {
		d.wary = waryBatches
		if row, named := d.named(from, to, cause); named {
			first, end := d.siblings(from, to, row)
			ends = []int{first, end, to}
		} else if d.out.origin[from] != d.out.origin[to-1] {
			ends = []int{d.middle(from, to), to}
		}
	}
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

// parts returns where the parts of a batch end.
func (d *divider[T, C, Out]) parts(from, to int) []int {
	size := max((to-from)/waryParts, leastPart)
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

// siblings returns from where to where the outputs stand that come of the same input
// as one.
func (d *divider[T, C, Out]) siblings(from, to, row int) (first, end int) {
	origin := d.out.origin
	for first = row; first > from && origin[first-1] == origin[row]; {
		first--
	}
	for end = row + 1; end < to && origin[end] == origin[row]; {
		end++
	}
	return first, end
}

// named returns the row that an error of writing a part names.
func (d *divider[T, C, Out]) named(from, to int, err error) (int, bool) {
	var row *RowError
	if !errors.As(err, &row) || row.Row < 0 || row.Row >= to-from {
		return 0, false
	}
	return from + row.Row, true
}

// middle divides a part between two inputs.
func (d *divider[T, C, Out]) middle(from, to int) int {
	origin := d.out.origin
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
