package dataflow

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"github.com/activedataflow/dataflow/internal/batch"
	"github.com/activedataflow/dataflow/internal/stored"
)

// batchWriter writes the batches of one attempt.
type batchWriter struct {
	p *flowCode
	a *attempt

	txSink    any              // a TxSink that writes in the checkpoints' transactions; nil: the sink is elsewhere
	powers    sinkPowers       // of txSink
	cursor    json.RawMessage  // of the last checkpoint
	number    int              // of the batch in this attempt
	turnstile *batch.Turnstile // see batchesAlone; nil if no worker died on the run
	// transforming is full while the transform is in use.
	transforming chan struct{}
	// suspicious is how many coming batches to write in parts at once, because a recent one
	// held a bad record.
	suspicious int

	// Of the batch that is written now:
	batch    *readBatch
	out      *outcome
	rows     records // the outputs
	letters  []*DeadLetterRecord
	kept     int         // how many of the letters are stored already
	results  []RowResult // of the rows that were written last
	writeErr error       // of the last try to write the rows; nil: they were written
	held     heldLetters
	open     openLetters
	deferred bool  // a commit has refused the rows: parts are checked as the commit does
	cause    error // why it is written in parts; nil: it is suspicious
}

// setSink sets what writes in the checkpoints' transactions.
func (w *batchWriter) setSink(sink any) {
	w.txSink, w.powers = sink, w.p.sink.powers(sink)
}

func (w *batchWriter) writeBatch(ctx context.Context, made *madeBatch) error {
	b := made.readBatch
	w.kept = 0
	w.number++
	if w.a.quiet && b.size() > 0 {
		w.a.quiet = false
		w.a.log.InfoContext(ctx, "dataflow: run started")
	}
	w.batch, w.out, w.rows, w.letters, w.deferred = b, made.out, made.rows, nil, false
	w.held.newBatch()
	w.open.newBatch()
	w.a.slice.sourceEnded = b.ended
	w.a.slice.ends = w.a.slice.turns.EndsSlice()
	delta, err := w.account(ctx)
	if err != nil {
		return err
	}
	if err := w.lookForOpen(ctx); err != nil {
		return err
	}
	cursor := w.cursor
	if b.resume {
		if cursor, err = b.cursors.lastJSON(); err != nil {
			return Permanent(fmt.Errorf("write the source's cursor as JSON: %w", err))
		}
	}
	err = w.write(ctx, step{seq: w.a.nextSeq(), cursor: cursor, delta: delta, writeAhead: w.mayWriteAhead(), afterCommit: w.afterCommitOf(made), times: w.timesOf(made)})
	if err != nil && !errors.Is(err, errSliceOver) && !errors.Is(err, errCancelled) {
		return err
	}
	w.cursor = cursor
	return err
}

// mayWriteAhead reports whether the next batch may be written while this one is committed.
// If that commit fails, the source must be able to go on at the checkpoint before.
func (w *batchWriter) mayWriteAhead() bool {
	sink, ok := w.txSink.(Pipelined)
	return ok && sink.Pipelined() && w.p.resumable() && w.turnstile.Open() && !w.held.any
}

// timesOf returns when a batch was read and transformed. Its write begins now. Nil: nobody asks.
func (w *batchWriter) timesOf(b *madeBatch) *stepTimes {
	if w.a.config.Observer == nil {
		return nil
	}
	return &stepTimes{BatchReport{
		Read:      Period{b.began, b.began.Add(b.took)},
		Transform: Period{b.makeBegan, b.makeBegan.Add(b.makeTook)},
		Write:     Period{Began: clockNow()},
	}}
}

// afterCommitOf returns what to do once a batch is committed. It keeps nothing of the
// batch, which may hold other records by then.
func (w *batchWriter) afterCommitOf(b *madeBatch) func(ctx context.Context) {
	began := time.Now() //nolint:forbidigo // how long it takes, not what time it is
	size, took := b.size(), max(b.took, b.makeTook)
	var acknowledge func(ctx context.Context) error
	if b.resume && !w.a.run.IsBackfill() { // a backfill's cursors are not the flow's
		acknowledge = b.cursors.committed(w.p.source)
	}
	return func(ctx context.Context) {
		w.a.sizes.batch.Learn(size, max(took, time.Since(began)))
		if acknowledge != nil {
			if err := acknowledge(ctx); err != nil {
				w.a.log.WarnContext(ctx, "dataflow: the source failed to note a checkpoint; the checkpoint stands", slog.String(logError, err.Error()))
			}
		}
	}
}

// write hands the batch to the sink: in the checkpoint's transaction, or before it.
func (w *batchWriter) write(ctx context.Context, s step) error {
	if w.p.target.kind == toFenced {
		return w.writeFenced(ctx, s)
	}
	s.letters = w.letters
	if w.mayResolve() {
		s.writes = rowsElsewhere
	}
	switch {
	case w.changesNothing(s):
		return w.a.skip(ctx, s)
	case w.rows.len() == 0:
		return w.a.commitAgain(ctx, s)
	case w.txSink != nil:
		return w.writeInTx(ctx, s)
	}
	return w.writeTo(ctx, s)
}

// changesNothing reports whether a step needs no checkpoint: it is where the attempt was
// already, and the run's end says the rest. A run that has lost workers makes its checkpoint,
// which shows that it got so far. The last one of a slice hands the run over.
func (w *batchWriter) changesNothing(s step) bool {
	a := w.a
	return s.delta == Counters{} && len(s.letters) == 0 && a.run.Rescues == 0 && !a.slice.ends && s.cursor != nil &&
		stored.Same(s.cursor, w.cursor) && (a.sizes.total == nil || a.run.Total != nil)
}

// writeInTx writes the batch at once, or in parts if it holds bad records.
func (w *batchWriter) writeInTx(ctx context.Context, s step) error {
	if w.suspicious > 0 {
		w.suspicious--
		return w.writeDivided(ctx, s, nil)
	}
	s.writes, w.writeErr = wholeBatch, nil
	err := w.a.commitAgain(ctx, s)
	if err == nil || !w.divisible(err) {
		return err
	}
	if w.writeErr == nil { // the checkpoint or the commit failed
		w.deferred = true
		return w.writeDivided(ctx, s, err)
	}
	return w.writeDivided(ctx, s, w.writeErr)
}

// writeStep implements stepWriter.
func (w *batchWriter) writeStep(ctx context.Context, tx Tx, q Queries, s *step) error {
	switch s.writes {
	case wholeBatch:
		w.writeErr = guard(func() error { return w.writeRows(ctx, 0, w.rows.len(), &s.delta) })
		if w.writeErr != nil {
			return w.writeError(0, w.rows.len(), w.writeErr)
		}
		if err := w.supersede(ctx, q); err != nil {
			return err
		}
		return w.resolveWritten(ctx, q, s)
	case rowsElsewhere:
		return w.resolveWritten(ctx, q, s)
	case batchInParts:
		w.letters = slices.Clip(s.letters) // as they were before any part was written
		w.held.refused, w.open.refused = nil, nil
		d := divider{w: w, tx: tx, delta: &s.delta}
		if checker, ok := w.a.store.(DeferredChecker); ok && w.deferred {
			if err := checker.CheckDeferred(ctx, tx); err != nil {
				return err
			}
		}
		err := d.divide(ctx, 0, w.rows.len(), w.cause)
		if s.letters, w.writeErr = w.letters, err; err != nil {
			return err
		}
		if err := w.supersede(ctx, q); err != nil {
			return err
		}
		return w.resolveWritten(ctx, q, s)
	case replacementBegin:
		r, err := w.p.beginReplacement(ctx, w.a.flow.Name)
		w.setSink(r)
		return err
	case replacementEnd:
		return w.replace(ctx, tx, q, s)
	default:
		return nil
	}
}

// writeError adds to an error which rows could not be written.
func (w *batchWriter) writeError(from, to int, err error) error {
	if from == to {
		return fmt.Errorf("write checkpoint: %w", err)
	}
	return fmt.Errorf("write records %s to %s: %w", w.batch.key(w.out.origin[from]), w.batch.key(w.out.origin[to-1]), err)
}

// writeRows writes rows[from:to] in the checkpoint's transaction.
func (w *batchWriter) writeRows(ctx context.Context, from, to int, delta *Counters) error {
	if !w.powers.results {
		return foreign(w.p.sink.writeTx(ctx, w.txSink, w.rows, from, to))
	}
	return w.writeWithResults(ctx, from, to, false, delta)
}

// writeWithResults writes rows[from:to] with a sink method that reports each row's outcome.
// part says that they are a part of a batch with bad records.
func (w *batchWriter) writeWithResults(ctx context.Context, from, to int, part bool, delta *Counters) error {
	w.results = append(w.results[:0], make([]RowResult, to-from)...)
	if err := w.p.sink.writeResults(ctx, w.txSink, w.rows, from, to, w.results, part); err != nil {
		return foreign(err)
	}
	settleResults(delta, w.out.origin[from:to], w.results)
	return nil
}

// batchID names the batch by the cursors before and after it, and by its number of rows. A
// retry of the same batch so has the same ID. The cursor before it alone would not do: a
// second read from there may yield more records, and must not be taken for the batch that
// was written.
func (w *batchWriter) batchID(to json.RawMessage) string {
	from := string(w.cursor)
	if w.a.run.IsBackfill() { // which writes again what was written before
		from = fmt.Sprintf("backfill %s: %s", w.a.run.Scope, from)
	}
	if w.batch.again.size() > 0 || w.p.rereads() { // another run may read other records between the same cursors
		from = fmt.Sprintf("run %d: %s", w.a.run.ID, from)
	}
	if !w.p.resumable() {
		from = fmt.Sprintf("run %d batch %d", w.a.run.ID, w.number)
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%d:%s:%d:%s:%d:%s:%d", len(w.a.flow.Name), w.a.flow.Name, len(from), from, len(to), to, w.rows.len()))
	return hex.EncodeToString(sum[:16])
}

// outputKeys names each output by its input's key, and by a number from its second output on.
func outputKeys(b *readBatch, origin []int) []string {
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

// account counts what became of each record that was read, and applies the policy to the
// bad ones.
func (w *batchWriter) account(ctx context.Context) (Counters, error) {
	b := w.batch
	n := b.rows.len()
	delta := Counters{Read: int64(n + len(b.bad)), ReadAgain: b.again.size()}
	if delta.ReadAgain > 0 && w.p.doubles() {
		return delta, Permanent(errors.New("the flow's target: " + rereadsIntoAppend))
	}
	for i, e := range b.bad {
		e.Stage = StageRead
		if err := w.applyPolicy(ctx, e, badAt(b.badAt[i]), &delta); err != nil {
			return delta, foreign(err)
		}
	}
	for i := range n {
		if len(w.out.failed) == 0 { // as a rule
			break
		}
		err := w.out.failed[i]
		if err == nil {
			continue
		}
		if err := w.applyPolicy(ctx, b.recordError(i, StageTransform, err), rowAt(i), &delta); err != nil {
			return delta, foreign(err)
		}
	}
	written, err := w.out.inputs(n)
	if err != nil {
		return delta, err
	}
	delta.Written = written
	delta.Filtered = int64(n-len(w.out.failed)) - delta.Written
	if !delta.Balanced() || delta.Filtered < 0 {
		return delta, Permanent(fmt.Errorf("the transform's results do not add up: of %d records, it made something of %d and failed %d: it must emit the outputs of one input together", n, delta.Written, len(w.out.failed)))
	}
	return delta, nil
}
