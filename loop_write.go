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

	"github.com/activedataflow/dataflow/internal/batch"
)

// typedPipeline is a flow's code. Here the types T, C and Out end.
type typedPipeline[T, C, Out any] struct {
	source    Source[T, C]
	transform Transform[T, Out]
	target    Target[Out]
}

func (p *typedPipeline[T, C, Out]) resumable() bool { return hasCursor[C]() }

func (p *typedPipeline[T, C, Out]) describe() (source, sink Description) {
	return describe(p.source), p.target.Describe()
}

func (p *typedPipeline[T, C, Out]) validate() error {
	errs := []error{
		validate("Source", p.source),
		validate("Transform", p.transform),
		validate("Target", p.target.part()),
	}
	if p.target.fenced != nil && !p.resumable() {
		errs = append(errs, &ConfigError{Field: "Target", Reason: "it keeps the source's cursor, and the source has none: use a source with a cursor"})
	}
	if p.target.appendOnly() && !p.resumable() {
		errs = append(errs, &ConfigError{Field: "Target", Reason: "it only appends, and the source has no cursor: every run would write every record again: use a source with a cursor, or a target that upserts"})
	}
	if p.replaces() && p.resumable() {
		errs = append(errs, &ConfigError{Field: "Target", Reason: "it replaces all that is there by what a run writes, and the source has a cursor, behind which a run reads only what is new: use a source without a cursor, such as pgtable.Select, or a target that upserts"})
	}
	return errors.Join(errs...)
}

// work is the record loop: while one batch is written, the next is transformed, and
// the one behind it read.
func (p *typedPipeline[T, C, Out]) work(ctx context.Context, a *attempt) error {
	a.ending = a.sliceOver()
	if p.target.fenced != nil {
		if err := p.claimSink(ctx, a); err != nil {
			return err
		}
	}
	req, err := p.request(a)
	if err != nil {
		return err
	}
	p.count(ctx, a, req)
	sink, err := p.inTx(ctx, a)
	if err != nil {
		return err
	}
	if a.size == nil {
		a.size = newBatchSize(a.batchSize, p.target.sink != nil)
	}
	a.turns = &turns{}
	var first chan struct{}
	if a.run.Rescues > 0 {
		first = make(chan struct{})
	}
	reader := &batchReader[T, C]{source: p.source, req: req, size: a.size, first: first, wait: a.flow.opts.BatchWait, free: make(chan *readBatch[T, C], 3)}
	ahead := batch.Start(ctx, reader.read)
	maker := &batchMaker[T, C, Out]{typedPipeline: p, attempt: a, read: ahead, first: first, free: make(chan *madeBatch[T, C, Out], 2)}
	made := batch.Start(ctx, maker.make)
	written := p.watchSink(ctx, a)
	w := &batchWriter[T, C, Out]{typedPipeline: p, attempt: a, txSink: sink}
	err = guard(func() error { return w.loop(ctx, made, maker, reader) }) // so that a panic stops the others too
	written()
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), handBackTimeout)
	defer cancel()
	if !made.Stop(grace) {
		a.log.ErrorContext(ctx, "dataflow: the transform ignores its context; its goroutine is left behind", slog.String(logStage, string(StageTransform)), slog.String("type", fmt.Sprintf("%T", p.transform)))
	}
	if !ahead.Stop(grace) {
		a.log.ErrorContext(ctx, "dataflow: the source ignores its context; its goroutine is left behind", slog.String(logStage, string(StageRead)), slog.String("type", describe(p.source).Type))
	}
	return err
}

// watchSink says so when the sink goes on for long after it was told to end: the attempt
// waits for it, since it may be writing. The function that it returns ends the watch.
func (p *typedPipeline[T, C, Out]) watchSink(ctx context.Context, a *attempt) (written func()) {
	done := make(chan struct{})
	go func() {
		select {
		case <-done:
			return
		case <-ctx.Done():
		}
		grace := time.NewTimer(handBackTimeout)
		defer grace.Stop()
		select {
		case <-done:
		case <-grace.C:
			a.log.ErrorContext(ctx, "dataflow: the sink ignores its context; its run cannot end before it returns", slog.String(logStage, string(StageWrite)), slog.String("type", p.target.Describe().Type))
		}
	}()
	return func() { close(done) }
}

// loop writes what is made, to its end: what was made when the client stops, too.
func (w *batchWriter[T, C, Out]) loop(ctx context.Context, made *batch.Ahead[*madeBatch[T, C, Out]], maker *batchMaker[T, C, Out], reader *batchReader[T, C]) (err error) {
	defer func() {
		if settleErr := w.settle(ctx); settleErr != nil {
			err = settleErr // it came first
		}
		w.acknowledge(ctx)
	}()
	if w.resumable() {
		w.cursor = w.stored
	}
	w.waiting = maker.first != nil
	for {
		b, ok, err := made.Next(ctx, w.onItsWay())
		if errors.Is(err, batch.ErrInterrupted) {
			err = w.settle(ctx)
			w.acknowledge(ctx)
			if err == nil {
				continue
			}
		}
		if err != nil {
			return err
		}
		if !ok {
			return w.end(ctx)
		}
		if err := w.work(ctx, b); err != nil {
			return err
		}
		if w.waiting {
			close(maker.first)
			w.waiting = false
		}
		reader.recycle(b.readBatch)
		maker.recycle(b)
	}
}

// request decodes the stored cursor.
func (p *typedPipeline[T, C, Out]) request(a *attempt) (Request[C], error) {
	req := Request[C]{Params: a.run.Params}
	if err := p.bound(&req, a.run.UntilCursor); err != nil {
		return req, Permanent(err)
	}
	if a.stored == nil || !p.resumable() {
		return req, nil
	}
	if err := decodeStrict(a.stored, &req.From); err != nil {
		return req, Permanent(fmt.Errorf("the stored cursor %s is not one of this source (%s): %w: restore the source that wrote it, or give the changed flow a new name", clip(string(a.stored)), describe(p.source).Type, err))
	}
	req.Resumed = true
	return req, nil
}

// countTimeout bounds what a source may take to count its records.
const countTimeout = 5 * time.Second

// count asks the source how much there is, once in a run. That it does not know,
// or not soon enough, does not stop the run.
func (p *typedPipeline[T, C, Out]) count(ctx context.Context, a *attempt, req Request[C]) {
	a.total = a.run.Total
	counter, ok := p.source.(Counter[C])
	if !ok || a.total != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, countTimeout)
	defer cancel()
	n, err := counter.Count(ctx, req)
	if err != nil {
		a.log.DebugContext(ctx, "dataflow: the source could not count its records", slog.String(logError, err.Error()))
		return
	}
	n += a.run.Counters.Read
	a.total = &n
}

// batchWriter writes the batches of one attempt.
type batchWriter[T, C, Out any] struct {
	*typedPipeline[T, C, Out]
	*attempt
	txSink TxSink[Out]     // writes in the checkpoints' transactions; nil: the sink is elsewhere
	out    *Results[Out]   // of the batch
	cursor json.RawMessage // of the last checkpoint
	number int             // of the batch in this attempt
	// letters are the batch's bad records that are to be kept.
	letters []*DeadLetterRecord
	results []RowResult // of the batch's rows
	wary    int         // for so many batches, each is taken to have a bad record
	waiting bool        // the batches behind the first one wait for its commit
}

func (w *batchWriter[T, C, Out]) work(ctx context.Context, made *madeBatch[T, C, Out]) error {
	b := made.readBatch
	w.number++
	w.out = &made.out
	w.letters = nil
	w.ended = b.ended
	w.ending = w.turns.write(w.attempt)
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
	err = w.write(ctx, b, step{seq: w.next(), cursor: cursor, delta: delta, ahead: w.mayWriteAhead(), then: w.committed(made)})
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

// committed returns what is to be done when a batch is committed. It keeps nothing of the
// batch, which may be filled again by then.
func (w *batchWriter[T, C, Out]) committed(b *madeBatch[T, C, Out]) func(ctx context.Context) {
	began := time.Now() //nolint:forbidigo // how long it takes, not what time it is
	size, took := b.size(), max(b.took, b.makeTook)
	cursor, resume := b.cursor, b.resume
	return func(ctx context.Context) {
		w.size.learn(size, max(took, time.Since(began)))
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
		if w.wary > 0 {
			w.wary--
			return w.writeDivided(ctx, b, s, nil)
		}
		var cause error
		s.write = func(ctx context.Context, _ Tx, _ Queries, s *step) error {
			if cause = guard(func() error { return w.writeTx(ctx, 0, len(rows), &s.delta) }); cause != nil {
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

// writeTx writes the outputs from one up to another in the checkpoint's transaction.
func (w *batchWriter[T, C, Out]) writeTx(ctx context.Context, from, to int, delta *Counters) error {
	rows := w.out.rows[from:to]
	sink, tells := w.txSink.(ResultSink[Out])
	if !tells {
		return foreign(w.txSink.WriteTx(ctx, rows))
	}
	return w.tell(ctx, sink.WriteResultTx, from, to, delta)
}

// tell writes the outputs from one up to another by what tells what becomes of them.
func (w *batchWriter[T, C, Out]) tell(ctx context.Context, write func(context.Context, []Out, []RowResult) error, from, to int, delta *Counters) error {
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
		if err := w.judge(ctx, e, &delta); err != nil {
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
		if err := w.judge(ctx, b.recordError(i, StageTransform, err), &delta); err != nil {
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
