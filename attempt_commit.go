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

// step is what takes an attempt from one checkpoint to the next.
type step struct {
	// seq is the number of the checkpoint before it. It is not asked for when the checkpoint
	// is sent: if there is another by then, or that has not come about, the database refuses this one.
	seq    int64
	cursor json.RawMessage
	delta  Counters
	// letters are the batch's bad records that are to be kept.
	letters []*DeadLetterRecord
	write   writeFunc // nil: there is nothing but the checkpoint
	// writeAhead: the next batch may be written while this one is committed.
	writeAhead bool
	// afterCommit is called when it is committed, nil: nothing is. It must not fail.
	afterCommit func(ctx context.Context)
}

// writeFunc writes a batch in a transaction, and corrects what the step counts, and which
// letters it keeps, by what became of the rows.
type writeFunc func(ctx context.Context, tx Tx, q Queries, s *step) error

// errPredecessorLost says that a batch could not be committed, and that the one behind it was on its
// way by then: both are worked again from the last checkpoint, one after the other.
var errPredecessorLost = errors.New("a batch could not be committed while the next was written")

// errPredecessorSlow says that the commit of the batch before has taken too long.
var errPredecessorSlow = errors.New("the batch before it is not committed yet")

// predecessorWait is how long a batch that is written waits for the commit of the one before it,
// before it lets go of the rows that it has locked: somebody who waits for those may have
// locked the run, which no database can see.
const predecessorWait = 2 * time.Second

// commit writes and checkpoints a batch in one transaction. When the slice is
// over and the source is not, the run's next job is in that transaction too, and the
// error is errSliceOver.
//
// With writeAhead, it returns before the database has answered, which settle waits for, as does
// the next commit: no checkpoint is sent before the one behind it is made.
func (a *attempt) commit(ctx context.Context, s step) error {
	err := a.commitStep(ctx, s)
	a.acknowledge(ctx)
	return err
}

func (a *attempt) commitStep(ctx context.Context, s step) error {
	together, can := a.client.store.(CheckpointCommitter)
	over := !a.ended && a.ending
	s.writeAhead = s.writeAhead && can && !over && !a.noWriteAhead
	if !s.writeAhead {
		if err := a.settle(ctx); err != nil {
			return err
		}
	}
	if over || !can {
		return a.commitAlone(ctx, s, over)
	}
	_, beside := a.inFlight.InFlight()
	if err := a.send(ctx, together, s); err != nil {
		if settleErr := a.settle(ctx); settleErr != nil {
			return settleErr // it came first
		}
		if beside && !errors.Is(err, errPredecessorLost) && (errors.Is(err, errPredecessorSlow) || a.client.store.Classify(err) == FaultConflict) {
			a.noWriteAhead = true
			return a.commitStep(ctx, s)
		}
		return err
	}
	if s.writeAhead {
		return nil
	}
	return a.settle(ctx)
}

// send writes a batch, waits until the one before it is committed, and sends its
// checkpoint and the commit.
func (a *attempt) send(ctx context.Context, together CheckpointCommitter, s step) error {
	txCtx, tx, err := together.BeginCheckpoint(ctx)
	if err != nil {
		return err
	}
	err = guard(func() error { return a.writeIn(txCtx, tx, &s) })
	if err == nil && !a.inFlight.Wait(min(predecessorWait, a.client.config.Lease/2)) {
		err = errPredecessorSlow
	}
	if err == nil {
		err = a.settle(ctx)
	}
	if err != nil {
		return tx.Rollback(ctx, err)
	}
	a.inFlight.Send(s, tx.Commit(ctx, a.checkpoint(s)))
	return nil
}

func (a *attempt) writeIn(ctx context.Context, tx Tx, s *step) error {
	q, err := a.client.store.With(tx)
	if err != nil || s.write == nil {
		return err
	}
	return s.write(ctx, tx, q, s)
}

// checkpoint is the next one.
func (a *attempt) checkpoint(s step) *RunCheckpointParams {
	return &RunCheckpointParams{
		RunID: a.run.ID, FlowID: a.run.FlowID, LeaseNumber: a.run.LeaseNumber, Scope: a.run.Scope, Slot: a.run.Slot,
		Seq: s.seq, From: a.from(), Cursor: s.cursor, Delta: s.delta, Total: a.total, Lease: a.client.config.Lease, Letters: s.letters,
	}
}

// settle waits for the batch that is being committed, if one is.
func (a *attempt) settle(ctx context.Context) error {
	s, status, was, err := a.inFlight.Settle() // when ctx is done, at the latest
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
		if s.writeAhead && ctx.Err() == nil && !errors.Is(err, ErrFenced) && a.client.store.Classify(err) != FaultUnavailable {
			err = fmt.Errorf("%w: %w", errPredecessorLost, err)
		}
		return err
	}
	return a.committedStep(s, status)
}

// committedStep notes that a step is made.
func (a *attempt) committedStep(s step, status LeaseStatus) error {
	a.progress(s.cursor, s.delta)
	if s.afterCommit != nil {
		a.afterCommit = append(a.afterCommit, s.afterCommit)
	}
	if status.CancelRequested {
		return errCancelled
	}
	return nil
}

// nextSeq is the number of the checkpoint that the next step is behind.
func (a *attempt) nextSeq() int64 {
	if _, is := a.inFlight.InFlight(); is {
		return a.seq + 1
	}
	return a.seq
}

// acknowledge does what is to be done for the steps that are committed. It may take its time,
// and may want a connection, so that none of ours is open meanwhile but to be committed.
func (a *attempt) acknowledge(ctx context.Context) {
	for len(a.afterCommit) > 0 {
		then := a.afterCommit[0]
		a.afterCommit = a.afterCommit[1:]
		then(ctx)
	}
}

// counters are the run's, with those of the batch that is being committed.
func (a *attempt) counters() Counters {
	s, _ := a.inFlight.InFlight()
	return a.run.Counters.Add(s.delta)
}

// commitAlone makes the checkpoint before the commit, and in between hands a run over
// whose slice is over.
func (a *attempt) commitAlone(ctx context.Context, s step, over bool) error {
	var status LeaseStatus
	var next *Run
	err := a.client.store.InTx(ctx, func(ctx context.Context, tx Tx) error {
		if err := a.writeIn(ctx, tx, &s); err != nil {
			return err
		}
		q, err := a.client.store.With(tx)
		if err != nil {
			return err
		}
		if status, err = q.RunCheckpoint(ctx, a.checkpoint(s)); err != nil {
			return fmt.Errorf("checkpoint: %w", err)
		}
		if !status.Held {
			return ErrFenced
		}
		if over && !status.CancelRequested {
			next, err = a.handOver(ctx, tx, q)
		}
		return err
	})
	if err != nil {
		a.leaving.Store(false)
		return err
	}
	if err := a.committedStep(s, status); err != nil || next == nil {
		return err
	}
	a.run = next
	return errSliceOver
}

// progress notes a committed batch.
func (a *attempt) progress(cursor json.RawMessage, delta Counters) {
	a.seq++
	a.stored, a.progressed = cursor, true
	run := *a.run
	run.Counters, run.Total, run.ToCursor = run.Counters.Add(delta), a.total, cursor
	if cursor != nil { // else the next claim begins again, and this is no progress
		run.Rescues = 0
		a.client.release(run.ID)
	}
	a.run = &run
	a.client.publish(EventRunProgress, a.run, nil)
}

// commitAgain commits a batch, and again if another transaction was in the way.
func (a *attempt) commitAgain(ctx context.Context, s step) error {
	for try := 0; ; try++ {
		err := a.commit(ctx, s)
		if err == nil || try == conflictTries || errors.Is(err, errPredecessorLost) || a.client.store.Classify(err) != FaultConflict {
			return err
		}
		a.log.WarnContext(ctx, "dataflow: another transaction was in the way; writing the batch again", slog.String(logError, err.Error()))
		if !a.pause(ctx, conflictWait) {
			return errors.Join(ErrStopped, err)
		}
	}
}
