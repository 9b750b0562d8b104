package dataflow

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// Cancel ends a run, whichever process works it: a pending one at once, one in
// progress at its next checkpoint, or in the middle of a batch, which is rolled
// back, within a few seconds. actor and reason are kept with the run; the first
// to ask is. It returns the run as it is then, which for one in progress is
// still that; [Client.Wait] waits for its end. One that is cancelled already is returned
// as it is; any other that has ended is ErrRunFinished.
func (c *Client) Cancel(ctx context.Context, runID int64, actor, reason string) (*Run, error) {
	run, err := c.cancel(ctx, &RunCancelParams{RunID: runID, Actor: actor, Reason: reason})
	if err != nil {
		return nil, public(fmt.Errorf("cancel run %d: %w", runID, err))
	}
	return run, nil
}

// cancel cancels a run. With PendingOnly, one that is in progress is returned as it
// is.
func (c *Client) cancel(ctx context.Context, p *RunCancelParams) (*Run, error) {
	var run *Run
	err := c.store.InTx(ctx, func(ctx context.Context, tx Tx) error {
		q, err := c.store.With(tx)
		if err != nil {
			return err
		}
		if run, err = q.RunCancel(ctx, p); err != nil {
			return err
		}
		if run.State.Finished() && run.CancelRequestedAt == nil || run.State == RunSuccess || run.State == RunFailed {
			return fmt.Errorf("%w: it is %s", ErrRunFinished, run.State)
		}
		if run.State != RunCancelled || run.RiverJobID == 0 {
			return nil
		}
		rc, err := c.riverClient()
		if err != nil {
			return err
		}
		return rc.JobCancelTx(ctx, tx, run.RiverJobID)
	})
	if err != nil {
		return nil, err
	}
	if !p.PendingOnly {
		c.interrupt(LeaseRef{RunID: run.ID, LeaseNumber: run.LeaseNumber}, errCancelled)
	}
	if run.State == RunCancelled {
		c.log.InfoContext(ctx, "dataflow: run cancelled", append(runAttrs(run), slog.String("actor", p.Actor), slog.String(logReason, p.Reason))...)
		c.publish(EventRunCancelled, run, run.Err())
	}
	return run, nil
}

// CancelFlow cancels all runs of a flow that are pending or in progress, and
// returns them. Runs that are started meanwhile are not among them; see Pause.
func (c *Client) CancelFlow(ctx context.Context, name, actor, reason string) ([]*Run, error) {
	if _, err := c.Flow(ctx, name); err != nil {
		return nil, err
	}
	cancelled := []*Run{}
	for run, err := range c.runsOf(ctx, name, RunPending, RunInProgress) {
		if err != nil {
			return cancelled, public(err)
		}
		run, err = c.Cancel(ctx, run.ID, actor, reason)
		if errors.Is(err, ErrRunFinished) {
			continue // it has just ended by itself
		}
		if err != nil {
			return cancelled, err
		}
		cancelled = append(cancelled, run)
	}
	return cancelled, nil
}

// cancelOthers cancels, of each flow that has OverlapCancelOther, the runs that are
// older than its newest. It is done after the newest is committed, so that no lock
// on a flow is held while one on a run is waited for, and again and again, since
// that run may be another process's, which has died.
func (c *Client) cancelOthers(ctx context.Context) error {
	c.mu.Lock()
	var ids []int64
	for id, f := range c.byID {
		if f.Runtime.Settings().Schedule.Overlap == OverlapCancelOther {
			ids = append(ids, id)
		}
	}
	c.mu.Unlock()
	for _, id := range ids {
		if err := c.cancelOlder(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// cancelFor is cancelOthers for a flow of which a run has just been started.
func (c *Client) cancelFor(ctx context.Context, f *Flow) error {
	if f.Runtime.Settings().Schedule.Overlap != OverlapCancelOther {
		return nil
	}
	return c.cancelOlder(ctx, f.ID)
}

// cancelOlder cancels the runs of a flow that are older than its newest.
func (c *Client) cancelOlder(ctx context.Context, flowID int64) error {
	runs, err := c.store.RunLive(ctx, flowID)
	if err != nil || len(runs) < 2 {
		return err
	}
	rec, err := c.store.FlowByID(ctx, flowID)
	if err != nil {
		return err
	}
	if p, err := planOf(rec); err != nil || p.Overlap != OverlapCancelOther {
		return err // another version of the code has been registered since
	}
	now, err := c.store.Now(ctx)
	if err != nil {
		return err
	}
	runs = slices.DeleteFunc(runs, func(run *Run) bool { // backfills, and what is for later
		return run.IsBackfill() || run.State == RunPending && run.LeaseNumber == 0 && run.RunAfter.After(now)
	})
	if len(runs) == 0 {
		return nil
	}
	newest := slices.MaxFunc(runs, func(a, b *Run) int {
		return cmp.Or(a.wantedAt().Compare(b.wantedAt()), cmp.Compare(a.ID, b.ID))
	})
	for _, run := range runs {
		if run == newest || run.CancelRequestedAt != nil {
			continue
		}
		reason := fmt.Sprintf("run %d takes its place", newest.ID)
		if _, err := c.Cancel(ctx, run.ID, "schedule", reason); err != nil && !errors.Is(err, ErrRunFinished) {
			return err
		}
	}
	return nil
}

// wantedAt is since when a run is to be worked: one for later may have been started
// long before its time, and that of a tick long after.
func (r *Run) wantedAt() time.Time {
	if r.CreatedAt.After(r.ScheduledFor) {
		return r.CreatedAt
	}
	return r.ScheduledFor
}
