package dataflow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// candidate is a run that somebody wants to work, and what is known of it. Before the claim,
// that is the flow and perhaps the run. After a claim that failed, it is everything.
type candidate struct {
	flow *Flow
	run  *Run        // nil: not read
	rec  *FlowRecord // the flow as it is stored now; nil: not read
	busy []*Run      // the runs in progress that take the places for this run
	now  time.Time
}

// refusal returns why the run cannot be worked, or nil if no known fact prevents it. Callers
// tell the reasons apart with errors.Is.
func (c *candidate) refusal() error {
	run, flow := c.run, c.flow
	unread := flow.unread()
	switch {
	case run != nil && run.State.Finished():
		return fmt.Errorf("%w: it is %s", ErrRunFinished, run.State)
	case unread != nil: // another process may read it
		return fmt.Errorf("%w: %w", ErrNotRegistered, unread)
	case !flow.Runtime.Settings().Enabled:
		return fmt.Errorf("%w: its runtime is not enabled", ErrDisabled)
	case !flow.Registered():
		return fmt.Errorf("%w: this process does not have the flow's code", ErrNotRegistered)
	case run == nil || c.rec == nil:
		return nil
	case run.State == RunInProgress:
		return fmt.Errorf("%w: it is in progress on worker %s", ErrAlreadyRunning, run.Worker)
	case c.rec.State != FlowActive:
		return inactiveError(c.rec)
	case len(c.busy) >= flow.places(run):
		return fmt.Errorf("%w: run %d is in progress on worker %s", ErrAlreadyRunning, c.busy[0].ID, c.busy[0].Worker)
	case run.RunAfter.After(c.now):
		return fmt.Errorf("%w until %s", ErrNotDue, run.RunAfter.Format(time.RFC3339Nano))
	default:
		return fmt.Errorf("%w: another run of the flow was in progress a moment ago, or goes first: the run of an earlier tick, or one of the flow's own before a backfill", ErrAlreadyRunning)
	}
}

// notClaimed finds out why a run could not be claimed. known is the reason if the caller knows
// it, or nil.
func (e *FlowExecutor) notClaimed(ctx context.Context, flow *Flow, runID int64, known error) (*Run, error) {
	c := &candidate{flow: flow, now: e.client.now()}
	err := func() (err error) {
		if c.run, err = e.client.store.RunByID(ctx, runID); err != nil || known != nil && !errors.Is(known, ErrPoolFull) {
			return err
		}
		if c.rec, err = e.client.store.FlowByID(ctx, c.run.FlowID); err != nil {
			return err
		}
		live, err := e.client.store.RunLive(ctx, flow.ID)
		c.busy = flow.inTheWay(c.run, slices.DeleteFunc(live, func(r *Run) bool { return r.State != RunInProgress }))
		return err
	}()
	switch {
	case err != nil:
	case errors.Is(known, ErrPoolFull) && c.run.State == RunPending:
		err = known
		e.client.pools.tell(ctx, c.run, known)
	case known != nil && !errors.Is(known, ErrPoolFull):
		err = known
	default:
		err = c.refusal()
	}
	return c.run, fmt.Errorf("claim run %d of flow %q: %w", runID, flow.Name, err)
}
