// The record loop reads, transforms and writes the records of one attempt. loop.go runs it,
// in three goroutines; each other loop_ file is one of its parts.
//
// loop_types alone knows the types T, C and Out of a flow. The loop may know the words of the library,
// internal/batch, and the attempt, which commits what it writes. It knows nothing of the
// executor, of River jobs and of what is above them.

package dataflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/activedataflow/dataflow/internal/batch"
	"github.com/activedataflow/dataflow/internal/notes"
	"github.com/activedataflow/dataflow/internal/stored"
)

// flowCode is a flow's code. It knows none of the flow's types: what must know them is behind
// cursorCode and types, and works on whole batches.
type flowCode struct {
	source    any
	transform any
	target    target
	cursorCode
	types recordCode
	sink  sinkCode
	told  *told
	// heldAfter is the dead letter after which to try others again; 0: from the oldest on.
	heldAfter *atomic.Int64
	// again is the code of what writes again: backfills, replays, and dead letters that are
	// tried again. Its target leaves newer rows alone, if it can.
	again *flowCode
	// newerBy is the column by which again does so, where the flow's own runs do not.
	newerBy string
}

func newFlowCode[T, C, Out any](source Source[T, C], transform Transform[T, Out], to Target[Out]) *flowCode {
	p := &flowCode{
		source: source, transform: transform, target: to.of,
		cursorCode: sourceCursors[C]{source: source},
		types:      &typedRecords[T, C, Out]{source: source, transform: transform},
		sink:       &typedSink[Out]{sink: to.of.sink},
		told:       &told{}, heldAfter: &atomic.Int64{},
	}
	again := *p
	p.again, again.again = &again, &again
	if ordered, ok := any(source).(ColumnOrdered); ok && !isNil(source) && to.of.newer == nil {
		if newer := to.OnlyIfNewer(ordered.OrderedBy()); newer.of.err == nil {
			again.target, again.sink, again.newerBy = newer.of, &typedSink[Out]{sink: newer.of.sink}, ordered.OrderedBy()
		}
	}
	return p
}

// parts returns the flow's source, transform and sink.
func (p *flowCode) parts() []flowPart {
	return []flowPart{{"source", p.source}, {"transform", p.transform}, {"target", p.target.part()}}
}

// guarantee returns the guarantee of the flow. A source that cannot resume yields everything
// again in each attempt, so that only a target that is replaced holds each record once.
func (p *flowCode) guarantee() Guarantee {
	if !p.resumable() && !p.replaces() {
		return AtLeastOnce
	}
	return p.target.guarantee()
}

func (p *flowCode) describe() (source, sink Description) {
	return describe(p.source), describe(p.target.part())
}

func (p *flowCode) validate() error {
	errs := []error{
		validate("Source", p.source),
		validate("Transform", p.transform),
		validate("Target", p.target.part()),
		p.target.err,
		p.checkType(),
	}
	if p.target.kind == toFenced && !p.resumable() {
		errs = append(errs, &ConfigError{Field: "Target", Reason: "it keeps the source's cursor, and the source has none: use a source with a cursor"})
	}
	if p.target.appendOnly() && !p.resumable() {
		errs = append(errs, &ConfigError{Field: "Target", Reason: "it only appends, and the source has no cursor: every run would write every record again: use a source with a cursor, or a target that upserts"})
	}
	if p.rereads() && p.target.doubles() {
		errs = append(errs, &ConfigError{Field: "Target", Reason: rereadsIntoAppend})
	}
	if p.replaces() && p.resumable() {
		errs = append(errs, &ConfigError{Field: "Target", Reason: "it replaces all that is there by what a run writes, and the source has a cursor: a run would read and keep only what is new: use a source without a cursor, such as pgtable.Select, or a target that upserts"})
	}
	return errors.Join(errs...)
}

func (p *flowCode) doubles() bool { return p.target.doubles() }

// rereadsIntoAppend is why a source that reads records again cannot go with a target that
// appends, or keeps each batch.
const rereadsIntoAppend = "it appends, or keeps each batch, and the source reads records again, as by a lookback, so that it would have them twice: use a target that upserts, such as pgtable.Upsert, or a source that reads each record once"

func (p *flowCode) rereads() bool {
	r, ok := p.source.(Rereader)
	return ok && !isNil(p.source) && r.Rereads()
}

// checkFirstLoad returns why the flow cannot have a first load in ranges.
func (p *flowCode) checkFirstLoad() error {
	switch {
	case p.replaces():
		return &ConfigError{Field: "FirstLoad", Reason: replacesAll + ": leave FirstLoad out, or use a target that upserts, such as pgtable.Upsert"}
	case p.doubles():
		return &ConfigError{Field: "FirstLoad", Reason: "the target appends, or keeps each batch, so it would have a record twice that changes while the ranges are read: leave FirstLoad out, or use a target that upserts, such as pgtable.Upsert"}
	default:
		return p.checkPowers()
	}
}

func (p *flowCode) replaces() bool { return p.target.kind == toReplace }

// run is the record loop. While one batch is written, the next is transformed, and the one
// after that is read.
func (p *flowCode) run(ctx context.Context, a *attempt) error {
	if a.run.IsBackfill() {
		p = p.again
		p.noteNewer(ctx, a)
	}
	w := &batchWriter{p: p, a: a, transforming: make(chan struct{}, 1)}
	a.writer = w
	a.slice.ends = a.slice.isOver()
	if err := p.goOn(ctx, a); err != nil {
		return err
	}
	req, err := p.request(a)
	if err != nil {
		return err
	}
	p.count(ctx, a, req)
	if err := w.beginSink(ctx); err != nil {
		return err
	}
	if err := w.loadHeld(ctx); err != nil {
		return err
	}
	if a.sizes.batch == nil {
		a.sizes.batch = p.newSize(a.sizes.set)
	}
	a.slice.turns = batch.NewTurns(a.slice.isOver)
	if a.run.Rescues > 0 {
		w.turnstile = batch.NewTurnstile(batchesAlone)
	}
	reader := p.newReader(a.sizes.batch, req)
	reader.wait, reader.turnstile = a.flow.opts.BatchWait, w.turnstile
	source, _ := p.describe()
	a.watches = partWatches{source: &reader.watch, transform: newBusyWatch("transform", ""), sink: newBusyWatch("sink", describe(p.target.part()).Type)}
	a.watches.source.begin()
	abandoned, readEnded := make(chan error, 1), make(chan struct{})
	watched := notes.With(ctx, a.log)
	reading, endRead, stopWatch := a.watchParts(watched, source.Type, abandoned, readEnded)
	defer stopWatch()
	read := batch.Start(watched, func(ctx context.Context, hand func(*readBatch) bool) error {
		defer close(readEnded)
		defer context.AfterFunc(ctx, func() { endRead(context.Cause(ctx)) })()
		err := reader.read(ctx, reading, hand)
		if ctx.Err() == nil {
			a.watches.source.pause()
		}
		return err
	})
	maker := &batchMaker{p: p, a: a, read: read, abandoned: abandoned, turnstile: w.turnstile, transforming: w.transforming, watch: a.watches.transform, free: make(chan *madeBatch, 2)}
	made := batch.Start(ctx, maker.make)
	written := sync.OnceFunc(p.watchSink(ctx, a))
	defer written()                                                       // the sink may end its goroutine by runtime.Goexit, as t.FailNow does
	err = guard(func() error { return w.loop(ctx, made, maker, reader) }) // so that a panic stops the others too
	written()
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), handBackTimeout)
	defer cancel()
	if !made.Stop(grace) {
		a.leftBehind = append(a.leftBehind, made.Done())
		a.log.ErrorContext(ctx, "dataflow: the transform ignores its context; its goroutine is left behind", slog.String(logStage, string(StageTransform)), slog.String("type", fmt.Sprintf("%T", p.transform)))
	}
	if !read.Stop(grace) {
		a.leftBehind = append(a.leftBehind, read.Done())
		a.log.ErrorContext(ctx, "dataflow: the source ignores its context; its goroutine is left behind", slog.String(logStage, string(StageRead)), slog.String("type", describe(p.source).Type))
		return err
	}
	if err == nil {
		p.tell(ctx, a, req, reader.handed == 0)
	}
	return err
}

// sinkState is the state that a FencedSink keeps: the flow's cursor, and the counters of the
// last batch, in case our checkpoint lacks that batch.
type sinkState struct {
	Cursor json.RawMessage `json:"cursor"`
	Delta  Counters        `json:"delta"`
	// Seq is the sequence number of our checkpoint before the batch.
	Seq int64 `json:"seq,omitempty"`
}

// claimSink tells the sink about the claim. Then it brings our checkpoint up to the sink's,
// which is committed first, and so may be one batch ahead.
func (p *flowCode) claimSink(ctx context.Context, a *attempt) error {
	var data json.RawMessage
	err := guard(func() (err error) {
		data, err = p.sink.claim(ctx, a.sinkName(), a.place.fence)
		return err
	})
	if err != nil {
		return a.sinkFenced(ctx, fmt.Errorf("claim the sink's checkpoint: %w", err))
	}
	if data == nil {
		a.warnOfEmptySink(ctx)
		return nil
	}
	var state sinkState
	if err := json.Unmarshal(data, &state); err != nil || state.Cursor == nil {
		return Permanent(fmt.Errorf("the sink's checkpoint %s was not written by this library", stored.Clip(string(data))))
	}
	if stored.Same(state.Cursor, a.place.cursor) || state.Seq < a.place.setSeq { // it is the same, or somebody has set our cursor since
		return nil
	}
	return a.commitAgain(ctx, step{seq: a.place.seq, cursor: state.Cursor, delta: state.Delta, loaded: a.loadedRows})
}

// goOn claims the sink, and moves the flow's cursor to where a first load in ranges has come.
func (p *flowCode) goOn(ctx context.Context, a *attempt) error {
	if p.target.kind == toFenced {
		if err := p.claimSink(ctx, a); err != nil {
			return err
		}
	}
	if a.loaded == nil || a.place.cursor != nil {
		return nil
	}
	if p.target.kind == toFenced { // before our checkpoint, as with any batch
		state, err := json.Marshal(sinkState{Cursor: a.loaded, Seq: a.place.seq})
		if err != nil {
			return Permanent(fmt.Errorf("write the sink's checkpoint as JSON: %w", err))
		}
		none := p.types.newMade().rows
		if err := guard(func() error { return p.sink.writeFenced(ctx, a.sinkName(), a.place.fence, state, none, nil) }); err != nil {
			return a.sinkFenced(ctx, fmt.Errorf("write the sink's checkpoint: %w", err))
		}
	}
	return a.commitAgain(ctx, step{seq: a.place.seq, cursor: a.loaded, loaded: a.loadedRows})
}

// warnOfEmptySink logs that a sink elsewhere knows nothing of the flow, although the flow has read
// something. If its store was restored from a backup, the rows before the cursor are missing there.
func (a *attempt) warnOfEmptySink(ctx context.Context) {
	set := a.place.setSeq == a.place.fence-1 // somebody has just set the cursor
	if a.place.cursor == nil || set || a.run.IsBackfill() {
		return
	}
	a.log.WarnContext(ctx, "dataflow: the sink has no checkpoint of the flow, and the flow has a cursor: if the sink's store was emptied, or restored from an older backup, set the flow's cursor to the beginning",
		slog.String("cursor", stored.PlaceText(a.place.cursor)))
}

// sinkName is the name by which a sink elsewhere knows the flow. A backfill has its own
// checkpoint there too, under a name that no flow can have.
func (a *attempt) sinkName() string {
	if !a.run.IsBackfill() {
		return a.flow.Name
	}
	return a.flow.Name + "\tbackfill " + a.run.Scope
}

// sinkFenced checks an ErrFenced of the sink. If the claim is still ours, sink and database
// disagree: no retry can help, and the error becomes permanent.
func (a *attempt) sinkFenced(ctx context.Context, err error) error {
	if !errors.Is(err, ErrFenced) || a.reclaim(ctx) != nil {
		return err
	}
	return Permanent(fmt.Errorf("the sink holds a newer claim than the client's database has ever granted: check whether one of them was restored from a backup: %s", err.Error()))
}

// noteNewer logs that an attempt leaves newer rows alone, if its flow's own runs do not.
func (p *flowCode) noteNewer(ctx context.Context, a *attempt) {
	if p.newerBy != "" {
		a.log.InfoContext(ctx, "dataflow: rows of the target that are newer are left alone; their records count as redundant", slog.String("newer_by", p.newerBy))
	}
}

// newSize returns the batch size that a Runtime sets; 0 is automatic. A sink outside the
// database knows a batch by its ID, and must be given the same batch again after a failure.
// So the size does not move for it, and batches depend on the records alone.
func (p *flowCode) newSize(set int) *batch.Size {
	if p.target.kind == toSink {
		return batch.NewSize(set, DefaultBatchSize)
	}
	return batch.NewSize(set, 0)
}

// watchSink logs an error if the sink goes on for long after ctx is done. The attempt waits
// for the sink, because it may still be writing. The returned function ends the watch.
func (p *flowCode) watchSink(ctx context.Context, a *attempt) (written func()) {
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		grace := time.NewTimer(handBackTimeout)
		defer grace.Stop()
		select {
		case <-done:
		case <-grace.C:
			a.log.ErrorContext(ctx, "dataflow: the sink ignores its context; its run cannot end before it returns", slog.String(logStage, string(StageWrite)), slog.String("type", describe(p.target.part()).Type))
		}
	})
	return func() {
		stop()
		close(done)
	}
}

// loop writes transformed batches until the source ends. After Stop it still writes those
// that were already transformed.
func (w *batchWriter) loop(ctx context.Context, made *batch.Ahead[*madeBatch], maker *batchMaker, reader *batchReader) (err error) {
	defer func() {
		if settleErr := w.a.settle(ctx); settleErr != nil {
			err = settleErr // it came first
		}
		w.a.acknowledge(ctx)
		w.held.stop()
	}()
	if w.p.resumable() {
		w.cursor = w.a.place.cursor
	}
	for {
		b, ok, err := made.Next(ctx, w.interrupt())
		if errors.Is(err, batch.ErrInterrupted) {
			if err = w.interrupted(ctx); err == nil {
				continue
			}
		}
		if err != nil {
			return err
		}
		if !ok {
			if err := w.retryAtEnd(ctx); err != nil {
				return err
			}
			return w.endReplacement(ctx)
		}
		w.a.watches.sink.begin()
		err = w.writeBatch(ctx, b)
		w.a.watches.sink.end(ctx)
		if err != nil {
			return err
		}
		w.turnstile.Pass()
		w.batch, w.out, w.rows = nil, nil, records{}
		read := b.readBatch
		maker.recycle(b)
		reader.recycle(read)
	}
}
