package dataflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/activedataflow/dataflow/internal/batch"
)

// pipeline is a flow's source, transform and target without their types.
type pipeline interface {
	validate() error
	describe() (source, sink Description)
	resumable() bool
	work(ctx context.Context, w *attempt) error
	replay(ctx context.Context, store Store, l *DeadLetterRecord) error
	checkCursor(cursor json.RawMessage) error
	checkRequest(from, until, params json.RawMessage) error
	split(ctx context.Context, from, until, params json.RawMessage, n int) ([]json.RawMessage, error)
	appendOnly() bool
	replaces() bool
	dryRun(ctx context.Context, f *Flow, params *DryRunParams) (*DryRunReport, error)
}

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

func (p *typedPipeline[T, C, Out]) appendOnly() bool { return p.target.appendOnly() }

func (p *typedPipeline[T, C, Out]) replaces() bool { return p.target.replace != nil }

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
	sink, err := p.beginSink(ctx, a)
	if err != nil {
		return err
	}
	if a.size == nil {
		a.size = p.newSize(a.batchSize)
	}
	a.turns = batch.NewTurns(a.sliceOver)
	var firstDone chan struct{}
	if a.run.Rescues > 0 {
		firstDone = make(chan struct{})
	}
	reader := &batchReader[T, C]{source: p.source, req: req, size: a.size, firstDone: firstDone, wait: a.flow.opts.BatchWait, free: make(chan *readBatch[T, C], 3)}
	ahead := batch.Start(ctx, reader.read)
	maker := &batchMaker[T, C, Out]{typedPipeline: p, attempt: a, read: ahead, firstDone: firstDone, free: make(chan *madeBatch[T, C, Out], 2)}
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

// newSize returns the batch size that a Runtime sets; 0 is automatic. A sink outside the
// database knows a batch by its ID, and must be given the same batch again after a failure.
// So the size does not move for it, and batches depend on the records alone.
func (p *typedPipeline[T, C, Out]) newSize(set int) *batch.Size {
	if p.target.sink != nil {
		return batch.NewSize(set, DefaultBatchSize)
	}
	return batch.NewSize(set, 0)
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
	w.waiting = maker.firstDone != nil
	for {
		b, ok, err := made.Next(ctx, w.inFlight.Done())
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
			return w.endReplacement(ctx)
		}
		if err := w.writeBatch(ctx, b); err != nil {
			return err
		}
		if w.waiting {
			close(maker.firstDone)
			w.waiting = false
		}
		reader.recycle(b.readBatch)
		maker.recycle(b)
	}
}
