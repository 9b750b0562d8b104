package dataflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/activedataflow/dataflow/internal/batch"
)

// attempt is one attempt at a run, as the record loop sees it.
type attempt struct {
	client    *Client
	flow      *Flow
	run       *Run // Counters grow with each checkpoint
	claimed   LeaseRef
	job       *rivertype.JobRow // nil: worked without River
	log       *slog.Logger
	started   time.Time
	seq       int64
	fence     int64           // for a sink elsewhere: seq as the claim has set it
	setSeq    int64           // for a sink elsewhere: seq when somebody has set the cursor last
	stored    json.RawMessage // the cursor of the last checkpoint, nil if there is none
	batchSize int             // 0: automatic
	size      *batch.Size     // nil: not worked yet
	total     *int64

	slice        *time.Timer // nil: not sliced
	over         bool        // it has fired
	ending       bool        // the slice ends with the batch that is written
	turns        *batch.Turns
	ended        bool                            // the source has: there is nothing left for another slice
	progressed   bool                            // a checkpoint since the last trouble
	leaving      atomic.Bool                     // it is giving its lease away
	inFlight     batch.Behind[step, LeaseStatus] // the batch that is being committed
	afterCommit  []func(ctx context.Context)     // see acknowledge
	noWriteAhead bool                            // no batch is written while another is committed
	cancel       context.CancelCauseFunc
}

// Why an attempt ends other than by its own work.
var (
	errCancelled = errors.New("cancelled")
	errSliceOver = errors.New("the slice is over")
)

// stopping reports whether the client wants its runs back.
func (a *attempt) stopping() bool {
	select {
	case <-a.client.stopping:
		return true
	default:
		return false
	}
}

// sliceOver reports whether the run is to go on in another job.
func (a *attempt) sliceOver() bool {
	if a.slice == nil || a.over {
		return a.over
	}
	select {
	case <-a.slice.C:
		a.over = true
	default:
	}
	return a.over
}

// from is where the attempt began: JSON null is the beginning.
func (a *attempt) from() json.RawMessage {
	if a.stored == nil {
		return json.RawMessage("null")
	}
	return a.stored
}

// handOver makes the run pending, with a new River job, in the transaction of
// its last checkpoint.
func (a *attempt) handOver(ctx context.Context, tx Tx, q Queries) (*Run, error) {
	a.leaving.Store(true)
	run, err := q.RunEnd(ctx, &RunEndParams{
		RunID: a.run.ID, FlowID: a.run.FlowID, LeaseNumber: a.run.LeaseNumber, State: RunPending, Refund: true,
	})
	if err != nil {
		return nil, fmt.Errorf("hand over to the next slice: %w", err)
	}
	if run == nil {
		return nil, ErrFenced
	}
	return run, a.client.insertJob(ctx, tx, run, river.InsertOpts{Queue: a.job.Queue, Priority: a.job.Priority})
}

// persevere works until it is done. When the database or a server cannot be
// reached, it goes on from the last checkpoint as soon as that has passed.
func (a *attempt) persevere(ctx context.Context, work func() error) error {
	var since time.Time
	var trouble error
	wait := troubleFirst
	for {
		a.progressed = false
		err := guard(func() error {
			// A batch must not be made before it is known where the last one has got to.
			if !since.IsZero() {
				if err := a.reclaim(ctx); err != nil {
					return err
				}
				if a.beyondRepair() { // by a commit whose answer was lost
					return trouble
				}
			}
			return work()
		})
		if err == nil || !a.passing(ctx, err) {
			return err
		}
		trouble = err
		if errors.Is(err, errPredecessorLost) {
			a.noWriteAhead = true
		}
		now := time.Now() //nolint:forbidigo // how long it takes, not what time it is
		if a.progressed || since.IsZero() {
			since, wait = now, troubleFirst
			a.log.WarnContext(ctx, "dataflow: trouble that should pass; going on at the last checkpoint", slog.String(logError, err.Error()))
		}
		if now.Sub(since) > troubleWindow {
			return err
		}
		if !a.pause(ctx, wait) {
			return errors.Join(ErrStopped, context.Cause(ctx), err)
		}
		wait = min(2*wait, troubleMost)
	}
}

// beyondRepair reports whether the attempt cannot go on: a source without a cursor cannot
// in the middle.
func (a *attempt) beyondRepair() bool { return !a.flow.code.resumable() && a.run.Counters.Read > 0 }

// passing reports whether an error should pass by itself.
func (a *attempt) passing(ctx context.Context, err error) bool {
	if errors.Is(err, errPredecessorLost) {
		return ctx.Err() == nil
	}
	m := marks(err)
	if ctx.Err() != nil || m.permanent || m.after > 0 || a.beyondRepair() {
		return false
	}
	var bad *RecordError
	return m.transient || !errors.As(err, &bad) && a.client.store.Classify(err) == FaultUnavailable
}

// pause waits, unless the attempt is to end.
func (a *attempt) pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-a.client.stopping:
		return false
	case <-ctx.Done():
		return false
	}
}

// reclaim asks the database where the run is. A commit whose answer was lost may
// have gone through; no other process can have moved the checkpoint as long as
// the claim is ours.
func (a *attempt) reclaim(ctx context.Context) error {
	var claim *Claim
	err := a.client.store.InTx(ctx, func(ctx context.Context, tx Tx) error {
		q, err := a.client.store.With(tx)
		if err != nil {
			return err
		}
		claim, err = q.RunHeld(ctx, a.claimed, a.client.config.Lease)
		return err
	})
	switch {
	case err != nil:
		return fmt.Errorf("look at the checkpoint: %w", err)
	case claim == nil:
		return ErrFenced
	case claim.Run.CancelRequestedAt != nil:
		return errCancelled
	}
	a.run, a.seq, a.stored = claim.Run, claim.Seq, claim.Cursor
	return nil
}
