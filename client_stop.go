package dataflow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/activedataflow/dataflow/internal/lease"
)

// Stop ends the client. It starts no more runs. The runs in progress stop after their
// present batch and are handed back, to go on elsewhere or later. That spends no
// attempt.
//
// Shortly before ctx's deadline, Stop interrupts what is left, which rolls its batch
// back. It then gives up on code that ignores even that. It takes the run of such code
// away, so that it can commit nothing more, and returns an error that names the run.
//
// Stop returns by ctx's deadline, or a second after ctx was cancelled. It does not stop
// a River client that was joined with [UseRiver]. It may be called at any time, and
// more than once.
func (c *Client) Stop(ctx context.Context) error {
	kill := c.gate.close()

	soft, hard, cancel := stopPhases(ctx)
	defer cancel()
	err := c.stopSoftly(soft)
	if err != nil {
		err = c.stopHard(hard)
	}
	if err != nil {
		err = errors.Join(err, abandon(ctx, c))
	}
	kill()
	if err != nil {
		return public(fmt.Errorf("stop: %w", err))
	}
	c.log.InfoContext(ctx, "dataflow: stopped", slog.String(logWorker, c.config.ID))
	return nil
}

// stopPhases divides the time that ctx leaves: most of it to end batches, some to
// interrupt them, the last to hand back what cannot be interrupted.
func stopPhases(ctx context.Context) (soft, hard context.Context, cancel context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return ctx, ctx, func() {}
	}
	part := min(time.Until(deadline)/5, handBackTimeout)
	soft, cancelSoft := context.WithDeadline(ctx, deadline.Add(-2*part))
	hard, cancelHard := context.WithDeadline(ctx, deadline.Add(-part))
	return soft, hard, func() { cancelSoft(); cancelHard() }
}

// stopSoftly waits until everything has ended by itself.
func (c *Client) stopSoftly(ctx context.Context) error {
	if rc := c.jobs.own(); rc != nil {
		if err := rc.Stop(ctx); err != nil {
			return err
		}
	}
	return c.gate.wait(ctx)
}

// stopHard interrupts what is left, and waits for it.
func (c *Client) stopHard(ctx context.Context) error {
	for _, a := range c.leases.Holders() {
		a.Interrupt(ErrStopped)
	}
	c.gate.close()()
	if rc := c.jobs.own(); rc != nil {
		if err := rc.StopAndCancel(ctx); err != nil {
			return err
		}
	}
	return c.gate.wait(ctx)
}

// abandon hands back the runs whose code ignores its context. This ends their claims,
// and with them the right to commit.
func abandon(ctx context.Context, c *Client) error {
	timeout := abandonTimeout
	if deadline, ok := ctx.Deadline(); ok && ctx.Err() == nil {
		timeout = min(timeout, time.Until(deadline))
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	var errs []error
	for _, a := range c.leases.Holders() {
		executor := &FlowExecutor{client: c, job: a.job}
		answer, err := executor.endAlone(ctx, &RunEndParams{
			RunID: a.claimed.RunID, FlowID: a.flow.ID, LeaseNumber: a.claimed.LeaseNumber, State: RunPending, Refund: true,
		})
		c.leases.Drop(lease.Ref(a.claimed))
		if err == nil && answer.Run == nil {
			continue // it ended meanwhile
		}
		if err == nil {
			c.publish(EventRunReleased, answer.Run, nil)
		}
		errs = append(errs, fmt.Errorf("flow %q run %d: its code ignores its context: the run was handed back, and its goroutine is still running", a.flow.Name, a.claimed.RunID), err)
	}
	return errors.Join(errs...)
}
