package dataflow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/activedataflow/dataflow/internal/stored"
)

// renewEvery is how often leases are renewed at least, because that is also when
// a process learns that a run of its is to be cancelled.
const renewEvery = 2 * time.Second

// track notes an attempt, so that its lease is renewed, and that it can be
// cancelled and stopped.
func (c *Client) track(ctx context.Context, a *attempt) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.attempts[a.claimed.RunID] = a
	if !c.renewing {
		c.renewing = true
		go c.renewLoop(context.WithoutCancel(ctx))
	}
}

func (c *Client) untrack(a *attempt) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.attempts[a.claimed.RunID] == a {
		delete(c.attempts, a.claimed.RunID)
	}
}

// renewLoop renews the leases of this process, with one statement for all, until
// it has none.
func (c *Client) renewLoop(ctx context.Context) {
	every := min(c.config.Lease/3, renewEvery)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for range tick.C {
		claims := c.claims()
		if claims == nil {
			return
		}
		if err := c.renew(ctx, claims); err != nil {
			c.log.WarnContext(ctx, "dataflow: renewing leases failed; trying again", slog.String(logWorker, c.config.ID), slog.String(logError, err.Error()))
		}
	}
}

// claims returns what this process works, nil if that is nothing: the loop ends
// then.
func (c *Client) claims() []LeaseRef {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.attempts) == 0 {
		c.renewing = false
		return nil
	}
	claims := make([]LeaseRef, 0, len(c.attempts))
	for _, a := range c.attempts {
		claims = append(claims, a.claimed)
	}
	return claims
}

func (c *Client) renew(ctx context.Context, claims []LeaseRef) error {
	ctx, cancel := context.WithTimeout(ctx, c.config.Lease/2)
	defer cancel()
	statuses, err := c.store.RunRenew(ctx, claims, c.config.Lease)
	if err != nil {
		return err
	}
	asked := make(map[int64]LeaseRef, len(claims))
	for _, claim := range claims {
		asked[claim.RunID] = claim
	}
	for _, s := range statuses {
		switch {
		case !s.Held:
			c.interrupt(asked[s.RunID], ErrFenced)
		case s.CancelRequested:
			c.interrupt(asked[s.RunID], errCancelled)
		}
	}
	return nil
}

// interrupt ends the attempt of this process that has a claim. Meanwhile it may
// have lost the run and claimed it again: that is another attempt. One that gives
// its run to the next slice has no lease any more when the database has committed
// that, which it must be let to hear of.
func (c *Client) interrupt(claim LeaseRef, cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := c.attempts[claim.RunID]
	if a == nil || a.claimed != claim || errors.Is(cause, ErrFenced) && a.leaving.Load() {
		return
	}
	a.cancel(cause)
}

// works reports whether an attempt of this process has a claim.
func (c *Client) works(claim LeaseRef) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := c.attempts[claim.RunID]
	return a != nil && a.claimed == claim
}

// rescue puts back the runs whose workers have died, whichever they were, and
// gives new River jobs to runs that wait for one in vain. It returns how many it
// has put back.
func (c *Client) rescue(ctx context.Context) (int, error) {
	rescued := 0
	for {
		run, err := c.rescueOne(ctx)
		if err != nil {
			return rescued, err
		}
		if run == nil {
			break
		}
		if run.State != RunInProgress { // it is this process's own
			rescued++
		}
	}
	for {
		run, err := c.unstrandOne(ctx)
		if run == nil || err != nil {
			return rescued, err
		}
	}
}

func (c *Client) rescueOne(ctx context.Context) (*Run, error) {
	var run *Run
	var dead string
	own := false
	err := c.store.InTx(ctx, func(ctx context.Context, tx Tx) error {
		q, err := c.store.With(tx)
		if err != nil {
			return err
		}
		lapsed, err := q.RunLapsed(ctx)
		if err != nil || lapsed == nil {
			return err
		}
		// It was this process that was stalled, or cut off from the database, and it
		// still works the run.
		claim := LeaseRef{RunID: lapsed.ID, LeaseNumber: lapsed.LeaseNumber}
		if own = c.works(claim); own {
			_, err = q.RunHeld(ctx, claim, c.config.Lease)
			run = lapsed
			return err
		}
		dead = lapsed.Worker
		if run, err = q.RunEnd(ctx, c.rescueParams(lapsed)); err != nil || run == nil {
			return err
		}
		if run.State != RunPending || run.Queue == "" {
			return nil
		}
		return c.requeue(ctx, tx, q, run)
	})
	if err != nil || run == nil || own {
		return run, err
	}
	log := c.log.With(runAttrs(run)...)
	switch run.State {
	case RunPending:
		log.WarnContext(ctx, "dataflow: run put back, because its worker has died", slog.String("dead", dead), slog.Int("rescues", run.Rescues))
		c.publish(EventRunRescued, run, nil)
	case RunCancelled:
		c.publish(EventRunCancelled, run, run.Err())
	default:
		log.ErrorContext(ctx, "dataflow: run failed", slog.String(logError, run.Error))
		c.publish(EventRunFailed, run, run.Err())
		c.tripped(ctx, run, run.Err())
		c.gaveUp(ctx, run, run.Err())
	}
	return run, nil
}

// unstrandOne gives a run that waits for a River job in vain a new one. If
// somebody has cancelled the job, that was meant for the run.
func (c *Client) unstrandOne(ctx context.Context) (*Run, error) {
	flows := c.enabledFlows()
	if len(flows) == 0 {
		return nil, nil //nolint:nilnil // there is none
	}
	ids := make([]int64, len(flows))
	for i, f := range flows {
		ids[i] = f.FlowID
	}
	var run *Run
	var dead int64
	err := c.store.InTx(ctx, func(ctx context.Context, tx Tx) error {
		q, err := c.store.With(tx)
		if err != nil {
			return err
		}
		run, err = q.RunStranded(ctx, ids, c.config.Lease)
		if err != nil || run == nil {
			return err
		}
		dead = run.RiverJobID
		cancelled, err := c.jobCancelled(ctx, tx, dead)
		if err != nil {
			return err
		}
		if cancelled {
			run, err = q.RunCancel(ctx, &RunCancelParams{RunID: run.ID, Actor: "River", Reason: "its job was cancelled"})
			return err
		}
		return c.requeue(ctx, tx, q, run)
	})
	if err != nil || run == nil {
		return nil, err
	}
	log := c.log.With(runAttrs(run)...)
	if run.State == RunCancelled {
		log.InfoContext(ctx, "dataflow: run cancelled", slog.String("actor", run.CancelledBy), slog.String(logReason, run.CancelReason))
		c.publish(EventRunCancelled, run, run.Err())
		return run, nil
	}
	log.WarnContext(ctx, "dataflow: run got a new River job, because its last one will not work it", slog.Int64("dead", dead), slog.Int64(logJob, run.RiverJobID))
	return run, nil
}

// rescueParams decides what becomes of a run whose worker has died.
func (c *Client) rescueParams(run *Run) *RunEndParams {
	p := &RunEndParams{RunID: run.ID, FlowID: run.FlowID, LeaseNumber: run.LeaseNumber, State: RunPending, Refund: true, Rescue: true}
	deaths := run.Rescues + 1
	switch {
	case run.CancelRequestedAt != nil:
		p.State, p.Refund = RunCancelled, false
	case deaths >= c.config.MaxRescues:
		where := "its beginning"
		if run.ToCursor != nil {
			where = "cursor " + stored.Clip(string(run.ToCursor))
		}
		p.State, p.Refund = RunFailed, false
		p.Error = &AttemptError{Attempt: run.Attempt, At: c.now().UTC(), Worker: run.Worker, Error: stored.Clean(fmt.Sprintf(
			"it has killed its worker %d times in a row, in the batch behind %s: look for a record there that ends the process, or exhausts its memory", deaths, where))}
	default:
		p.Error = &AttemptError{Attempt: run.Attempt, At: c.now().UTC(), Worker: run.Worker, Error: "its worker has died: the lease lapsed"}
	}
	return p
}
