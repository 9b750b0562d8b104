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

// step takes an attempt from one checkpoint to the next.
type step struct {
	// seq is the number of the checkpoint before the step, fixed when its batch is written.
	// If that checkpoint was not committed, or somebody moved it, the database rejects the
	// step.
	seq     int64
	cursor  json.RawMessage
	delta   Counters
	loaded  int64               // rows of the ranges of a first load
	letters []*DeadLetterRecord // the batch's dead letters, kept with the checkpoint
	writes  content
	// writeAhead: the next batch may be written while this one is committed.
	writeAhead bool
	// afterCommit is called once the step is committed, and must not fail; nil: nothing is.
	afterCommit func(ctx context.Context)
	times       *stepTimes // of its batch; nil: it has none, or nobody asks
}

// stepTimes says when a batch was worked, for the [Observer].
type stepTimes struct {
	BatchReport
}

// written notes that what the step writes is written.
func (t *stepTimes) written() {
	if t != nil {
		t.Write.Ended = clockNow()
	}
}

// sent notes that the commit is asked for.
func (t *stepTimes) sent() {
	if t != nil {
		t.Checkpoint.Began = clockNow()
	}
}

// answered notes that the answer has come.
func (t *stepTimes) answered() {
	if t != nil {
		t.Checkpoint.Ended = clockNow()
	}
}

func clockNow() time.Time { return time.Now() } //nolint:forbidigo // how long it takes, and where it is in a trace

// content is what a step writes beside its checkpoint.
type content int

const (
	nothing       content = iota
	wholeBatch            // all rows at once
	batchInParts          // parts of the batch, to find bad records
	rowsElsewhere         // what the database keeps of rows that a sink elsewhere has written
	replacementBegin
	replacementEnd
)

// stepWriter is the record loop, as the attempt sees it.
type stepWriter interface {
	// writeStep writes the content of a step in the transaction of its checkpoint. It corrects
	// the step's counters and dead letters by what became of the rows.
	writeStep(ctx context.Context, tx Tx, q Queries, s *step) error
}

// chain holds the commits of an attempt together: none is sent before its predecessor is
// answered.
type chain struct {
	inFlight     batch.Behind[step, LeaseStatus]
	noWriteAhead bool                        // no batch is written while another is committed
	progressed   bool                        // a checkpoint was made since the last trouble
	afterCommit  []func(ctx context.Context) // of committed steps, not called yet
}

// errPredecessorLost says that a commit failed while the next batch was written, or may
// have been. Both are worked again from the last checkpoint, one after the other.
var errPredecessorLost = errors.New("a batch could not be committed while the next was written")

// errPredecessorSlow says that the commit of the batch before has taken too long.
var errPredecessorSlow = errors.New("the batch before it is not committed yet")

// commit writes a step and makes its checkpoint in one transaction. If the slice ends with
// the step, the same transaction adds the run's next job; the error is errSliceOver.
//
// A step with writeAhead is still in flight when commit returns, and the next commit or
// settle waits for it.
func (a *attempt) commit(ctx context.Context, s step) error {
	defer a.acknowledge(ctx)
	together, can := a.store.(CheckpointCommitter)
	if !can || a.slice.handsOver() {
		if err := a.settle(ctx); err != nil {
			return err
		}
		return a.commitAlone(ctx, s)
	}
	if s.writeAhead && !a.chain.noWriteAhead {
		_, overlaps := a.chain.inFlight.InFlight()
		err := a.send(ctx, together, s)
		if err == nil {
			return nil
		}
		if predecessorErr := a.settle(ctx); predecessorErr != nil {
			return predecessorErr // it came first
		}
		if !overlaps || !a.causedByOverlap(err) {
			return err
		}
		a.chain.noWriteAhead = true
	}
	s.writeAhead = false
	if err := a.settle(ctx); err != nil {
		return err
	}
	if err := a.send(ctx, together, s); err != nil {
		return err
	}
	return a.settle(ctx)
}

// skip notes a step that needs no checkpoint of its own, because the one before it says the
// same. It waits until that is committed.
func (a *attempt) skip(ctx context.Context, s step) error {
	defer a.acknowledge(ctx)
	if err := a.settle(ctx); err != nil {
		return err
	}
	if s.afterCommit != nil {
		a.chain.afterCommit = append(a.chain.afterCommit, s.afterCommit)
	}
	return nil
}

// causedByOverlap reports whether a step may have failed only because its predecessor was
// not committed yet when it was written.
func (a *attempt) causedByOverlap(err error) bool {
	return !errors.Is(err, errPredecessorLost) &&
		(errors.Is(err, errPredecessorSlow) || a.store.Classify(err) == FaultConflict)
}

// send writes a step, waits until its predecessor is committed, and sends the checkpoint
// together with the commit.
func (a *attempt) send(ctx context.Context, together CheckpointCommitter, s step) error {
	txCtx, tx, err := together.BeginCheckpoint(ctx)
	if err != nil {
		return err
	}
	q, err := a.store.With(tx)
	if err == nil && s.writes != nothing {
		if _, overlaps := a.chain.inFlight.InFlight(); overlaps {
			txCtx = batch.WithPredecessor(txCtx, a.awaitPredecessor)
		}
		err = guard(func() error { return a.writer.writeStep(txCtx, tx, q, &s) })
	}
	s.times.written()
	if err == nil {
		err = a.awaitPredecessor()
	}
	if err == nil {
		err = a.settle(ctx)
	}
	if err != nil {
		return tx.Rollback(ctx, err)
	}
	s.times.sent()
	answer := tx.Commit(ctx, a.checkpoint(s))
	a.chain.inFlight.Send(s, func() (LeaseStatus, error) {
		defer s.times.answered()
		return answer()
	})
	return nil
}

// awaitPredecessor waits for the answer to the commit of the step before.
func (a *attempt) awaitPredecessor() error {
	if !a.chain.inFlight.Wait(min(predecessorWait, a.config.Lease/2)) {
		return errPredecessorSlow
	}
	return nil
}

// checkpoint is the checkpoint that a step makes.
func (a *attempt) checkpoint(s step) *RunCheckpointParams {
	return &RunCheckpointParams{
		RunID: a.run.ID, FlowID: a.run.FlowID, LeaseNumber: a.run.LeaseNumber, Scope: a.run.Scope, Slot: a.run.Slot,
		Seq: s.seq, From: a.place.from(), Cursor: s.cursor, Delta: s.delta, Loaded: s.loaded, Total: a.sizes.total, Lease: a.config.Lease, Letters: s.letters,
	}
}

// settle waits until the step in flight is committed. It does nothing if there is none.
func (a *attempt) settle(ctx context.Context) error {
	s, status, was, err := a.chain.inFlight.Settle() // returns once ctx is done, at the latest
	if !was {
		return nil
	}
	var panicked *batch.PanicError
	if errors.As(err, &panicked) {
		err = &PanicError{Value: panicked.Value, Stack: panicked.Stack}
	}
	if err == nil && !status.Held {
		err = ErrFenced
	}
	if err != nil {
		if s.writeAhead && ctx.Err() == nil && !errors.Is(err, ErrFenced) && a.store.Classify(err) != FaultUnavailable {
			err = fmt.Errorf("%w: %w", errPredecessorLost, err)
		}
		return err
	}
	return a.committed(ctx, s, status)
}

// committed notes that a step is committed.
func (a *attempt) committed(ctx context.Context, s step, status LeaseStatus) error {
	a.progress(ctx, s.cursor, s.delta)
	if s.times != nil {
		s.times.Run, s.times.Counters = a.run, s.delta
		a.observe(ctx, "BatchCommitted", func(o Observer) { o.BatchCommitted(ctx, &s.times.BatchReport) })
	}
	if s.afterCommit != nil {
		a.chain.afterCommit = append(a.chain.afterCommit, s.afterCommit)
	}
	if status.CancelRequested {
		return errCancelled
	}
	return nil
}

// nextSeq is the number of the checkpoint before the next step: the step in flight counts
// as committed.
func (a *attempt) nextSeq() int64 {
	if _, is := a.chain.inFlight.InFlight(); is {
		return a.place.seq + 1
	}
	return a.place.seq
}

// acknowledge calls what the committed steps asked for. That may be slow, and may need a
// connection. So it is called only while no transaction of ours is open, except one that
// waits for its commit.
func (a *attempt) acknowledge(ctx context.Context) {
	for len(a.chain.afterCommit) > 0 {
		afterCommit := a.chain.afterCommit[0]
		a.chain.afterCommit = a.chain.afterCommit[1:]
		afterCommit(ctx)
	}
}

// counters are the run's, with those of the step in flight.
func (a *attempt) counters() Counters {
	s, _ := a.chain.inFlight.InFlight()
	return a.run.Counters.Add(s.delta)
}

// commitAlone makes the checkpoint by a statement of its own before the commit, with nothing
// else in flight. If the slice is over, it hands the run over in between.
func (a *attempt) commitAlone(ctx context.Context, s step) error {
	var status LeaseStatus
	var next *Run
	err := a.store.InTx(ctx, func(ctx context.Context, tx Tx) error {
		q, err := a.store.With(tx)
		if err != nil {
			return err
		}
		if s.writes != nothing {
			if err := a.writer.writeStep(ctx, tx, q, &s); err != nil {
				return err
			}
		}
		s.times.written()
		s.times.sent()
		if status, err = q.RunCheckpoint(ctx, a.checkpoint(s)); err != nil {
			return fmt.Errorf("checkpoint: %w", err)
		}
		if !status.Held {
			return ErrFenced
		}
		if a.slice.handsOver() && !status.CancelRequested {
			next, err = a.handOver(ctx, tx, q)
		}
		return err
	})
	s.times.answered()
	if err != nil {
		a.leaving.Store(false)
		return err
	}
	if err := a.committed(ctx, s, status); err != nil || next == nil {
		return err
	}
	a.run = next
	return errSliceOver
}

// progress moves the attempt to a checkpoint that was committed.
func (a *attempt) progress(ctx context.Context, cursor json.RawMessage, delta Counters) {
	a.place.seq++
	run := *a.run
	run.Counters, run.Total, run.ToCursor = run.Counters.Add(delta), a.sizes.total, cursor
	if cursor != nil { // without one, the next claim begins anew: that is no progress
		run.Rescues = 0
		a.moved = a.moved || string(cursor) != string(a.place.cursor)
		a.leases.Release(run.ID)
	}
	a.place.cursor, a.chain.progressed = cursor, true
	a.run = &run
	a.publish(ctx, EventRunProgress, a.run, nil)
}

// commitAgain commits a step. It tries again if another transaction was in the way, or if a
// migration has made a prepared statement stale.
func (a *attempt) commitAgain(ctx context.Context, s step) error {
	for conflicts, stale := 0, 0; ; {
		err := a.commit(ctx, s)
		if err == nil || errors.Is(err, errPredecessorLost) {
			return err
		}
		fault := a.store.Classify(err)
		if fault == FaultStale && stale < staleTries && ctx.Err() == nil {
			stale++
			a.log.InfoContext(ctx, "dataflow: a table was altered, or a text has to be escaped; writing the batch again", slog.String(logError, err.Error()))
			continue
		}
		if fault != FaultConflict || conflicts == conflictTries {
			return err
		}
		conflicts++
		a.log.WarnContext(ctx, "dataflow: another transaction was in the way; writing the batch again", slog.String(logError, err.Error()))
		if !a.pause(ctx, conflictWait) {
			return errors.Join(ErrStopped, err)
		}
	}
}
