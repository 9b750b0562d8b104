package dataflow

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"
)

// batchWriter writes the batches of one attempt.
type batchWriter[T, C, Out any] struct {
	*typedPipeline[T, C, Out]
	*attempt
	txSink TxSink[Out]     // writes in the checkpoints' transactions; nil: the sink is elsewhere
	out    *Results[Out]   // of the batch
	cursor json.RawMessage // of the last checkpoint
	number int             // of the batch in this attempt
	// letters are the batch's bad records that are to be kept.
	letters    []*DeadLetterRecord
	results    []RowResult // of the batch's rows
	suspicious int         // for so many batches, each is taken to have a bad record
	waiting    bool        // the batches behind the first one wait for its commit
}

func (w *batchWriter[T, C, Out]) writeBatch(ctx context.Context, made *madeBatch[T, C, Out]) error {
	b := made.readBatch
	w.number++
	w.out = &made.out
	w.letters = nil
	w.ended = b.ended
	w.ending = w.turns.EndsSlice()
	delta, err := w.account(ctx, b)
	if err != nil {
		return err
	}
	cursor := w.cursor
	if b.resume {
		if cursor, err = json.Marshal(b.cursor); err != nil {
			return Permanent(fmt.Errorf("write the source's cursor as JSON: %w", err))
		}
	}
	err = w.write(ctx, b, step{seq: w.nextSeq(), cursor: cursor, delta: delta, writeAhead: w.mayWriteAhead(), afterCommit: w.afterCommitOf(made)})
	if err != nil && !errors.Is(err, errSliceOver) && !errors.Is(err, errCancelled) {
		return err
	}
	w.cursor = cursor
	return err
}

// mayWriteAhead reports whether the next batch may be written while this one is committed.
// If that fails, the source must be able to go on at the one before.
func (w *batchWriter[T, C, Out]) mayWriteAhead() bool {
	sink, ok := w.txSink.(Pipelined)
	return ok && sink.Pipelined() && w.resumable() && !w.waiting
}

// afterCommitOf returns what is to be done when a batch is committed. It keeps nothing of the
// batch, which may be filled again by then.
func (w *batchWriter[T, C, Out]) afterCommitOf(b *madeBatch[T, C, Out]) func(ctx context.Context) {
	began := time.Now() //nolint:forbidigo // how long it takes, not what time it is
	size, took := b.size(), max(b.took, b.makeTook)
	cursor, resume := b.cursor, b.resume
	return func(ctx context.Context) {
		w.size.Learn(size, max(took, time.Since(began)))
		if acker, ok := w.source.(Acker[C]); ok && resume && !w.run.IsBackfill() { // whose places are not the flow's
			if err := acker.Committed(ctx, cursor); err != nil {
				w.log.WarnContext(ctx, "dataflow: the source did not take note of a checkpoint", slog.String(logError, err.Error()))
			}
		}
	}
}

// write hands the batch to the sink: in the checkpoint's transaction, or before
// it.
func (w *batchWriter[T, C, Out]) write(ctx context.Context, b *readBatch[T, C], s step) error {
	rows := w.out.rows
	failed := func(err error) error {
		if len(rows) == 0 {
			return fmt.Errorf("write checkpoint: %w", err)
		}
		return fmt.Errorf("write records %s to %s: %w", b.key(w.out.origin[0]), b.key(w.out.origin[len(rows)-1]), err)
	}
	if w.target.fenced != nil {
		return w.writeFenced(ctx, s, failed)
	}
	if s.letters = w.letters; len(rows) == 0 {
		return w.commitAgain(ctx, s)
	}
	if w.txSink != nil {
		if w.suspicious > 0 {
			w.suspicious--
			return w.writeDivided(ctx, b, s, nil)
		}
		var cause error
		s.write = func(ctx context.Context, _ Tx, _ Queries, s *step) error {
			if cause = guard(func() error { return w.writeRows(ctx, 0, len(rows), &s.delta) }); cause != nil {
				return failed(cause)
			}
			return nil
		}
		err := w.commitAgain(ctx, s)
		if err == nil || !w.divisible(err) {
			return err
		}
		if cause == nil { // it came up behind the writing
			cause = err
		}
		return w.writeDivided(ctx, b, s, cause)
	}
	sb := SinkBatch[Out]{ID: w.batchID(s.cursor), Rows: rows, Keys: outputKeys(b, w.out.origin)}
	if err := w.target.sink.Write(ctx, sb); err != nil {
		return failed(foreign(err))
	}
	return w.commitAgain(ctx, s)
}

// writeRows writes the outputs from one up to another in the checkpoint's transaction.
func (w *batchWriter[T, C, Out]) writeRows(ctx context.Context, from, to int, delta *Counters) error {
	rows := w.out.rows[from:to]
	sink, reports := w.txSink.(ResultSink[Out])
	if !reports {
		return foreign(w.txSink.WriteTx(ctx, rows))
	}
	return w.writeWithResults(ctx, sink.WriteResultTx, from, to, delta)
}

// writeWithResults writes the outputs from one up to another by what reports what becomes of them.
func (w *batchWriter[T, C, Out]) writeWithResults(ctx context.Context, write func(context.Context, []Out, []RowResult) error, from, to int, delta *Counters) error {
	rows := w.out.rows[from:to]
	w.results = append(w.results[:0], make([]RowResult, len(rows))...)
	if err := write(ctx, rows, w.results); err != nil {
		return foreign(err)
	}
	settleResults(delta, w.out.origin[from:to], w.results)
	return nil
}

// batchID names the batch by where it begins and ends, and how much is in it,
// which a retry has in common with the attempt before it. The beginning alone
// would not do: what is read again from there may have grown, and must not be
// taken for what was written before.
func (w *batchWriter[T, C, Out]) batchID(to json.RawMessage) string {
	from := string(w.cursor)
	if w.run.IsBackfill() { // which is to write again what was written before
		from = fmt.Sprintf("backfill %s: %s", w.run.Scope, from)
	}
	if !w.resumable() {
		from = fmt.Sprintf("run %d batch %d", w.run.ID, w.number)
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%d:%s:%d:%s:%d:%s:%d", len(w.flow.Name), w.flow.Name, len(from), from, len(to), to, len(w.out.rows)))
	return hex.EncodeToString(sum[:16])
}

// outputKeys names the outputs by the inputs that they came of.
func outputKeys[T, C any](b *readBatch[T, C], origin []int) []string {
	keys := make([]string, len(origin))
	last, n := -1, 0
	for j, i := range origin {
		if i == last {
			n++
			keys[j] = b.key(i) + "/" + strconv.Itoa(n)
			continue
		}
		last, n = i, 1
		keys[j] = b.key(i)
	}
	return keys
}

// account settles what became of each record that was read, and asks the policy
// about the bad ones.
func (w *batchWriter[T, C, Out]) account(ctx context.Context, b *readBatch[T, C]) (Counters, error) {
	delta := Counters{Read: int64(len(b.rows) + len(b.bad))}
	for _, e := range b.bad {
		e.Stage = StageRead
		if err := w.applyPolicy(ctx, e, &delta); err != nil {
			return delta, foreign(err)
		}
	}
	for i := range b.rows {
		if len(w.out.failed) == 0 { // as a rule
			break
		}
		err := w.out.failed[i]
		if err == nil {
			continue
		}
		if err := w.applyPolicy(ctx, b.recordError(i, StageTransform, err), &delta); err != nil {
			return delta, foreign(err)
		}
	}
	written, err := w.out.inputs(len(b.rows))
	if err != nil {
		return delta, err
	}
	delta.Written = written
	delta.Filtered = int64(len(b.rows)-len(w.out.failed)) - delta.Written
	if !delta.Balanced() || delta.Filtered < 0 {
		return delta, Permanent(fmt.Errorf("the transform's results do not add up: of %d records, it made something of %d and failed %d: it must emit the outputs of one input together", len(b.rows), delta.Written, len(w.out.failed)))
	}
	return delta, nil
}
