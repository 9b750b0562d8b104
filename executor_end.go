package dataflow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

// finish ends the attempt, by what came of it.
func (e *FlowExecutor) finish(ctx context.Context, a *attempt, cause error) (*Run, error) {
	if errors.Is(cause, ErrFenced) {
		a.log.WarnContext(ctx, "dataflow: run was taken over by another worker; nothing of this batch is committed")
		return a.run, fmt.Errorf("work run %d of flow %q: %w", a.run.ID, a.flow.Name, ErrFenced)
	}
	p, kind := a.verdict(ctx, cause)
	interrupted := ctx.Err()
	if interrupted != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), handBackTimeout)
		defer cancel()
	}
	run, err := e.end(ctx, p)
	if err != nil {
		return a.run, fmt.Errorf("end run %d of flow %q: %w", a.run.ID, a.flow.Name, errors.Join(err, cause))
	}
	if run == nil {
		return e.finish(ctx, a, ErrFenced)
	}
	a.report(ctx, run, kind, cause)
	switch kind {
	case EventRunSucceeded:
		return run, nil
	case EventRunReleased:
		err := ErrStopped
		if interrupted != nil {
			err = fmt.Errorf("%w: %w", err, interrupted)
		}
		return run, fmt.Errorf("work run %d of flow %q: handed back: %w", run.ID, a.flow.Name, err)
	default:
		return run, &RunError{RunID: run.ID, Flow: a.flow.Name, Err: cause}
	}
}

// end writes the outcome. A run that goes back to waiting and that no River job
// will work again gets a new job in the same transaction.
func (e *FlowExecutor) end(ctx context.Context, p *RunEndParams) (*Run, error) {
	var run *Run
	err := e.client.store.InTx(ctx, func(ctx context.Context, tx Tx) error {
		q, err := e.client.store.With(tx)
		if err != nil {
			return err
		}
		if run, err = q.RunEnd(ctx, p); err != nil || run == nil {
			return err
		}
		if run.State != RunPending || !e.needsJob(run, p) {
			return nil
		}
		opts := river.InsertOpts{Queue: run.Queue, ScheduledAt: run.RunAfter}
		if e.job != nil {
			opts.Priority = e.job.Priority
		}
		return e.client.insertJob(ctx, tx, run, opts)
	})
	return run, err
}

// needsJob reports whether a waiting run has no River job left: that of this
// attempt has no attempt of its own left, or the run was worked without one, and
// its job may have come by in the meantime and found nothing to do.
func (e *FlowExecutor) needsJob(run *Run, p *RunEndParams) bool {
	if e.job == nil {
		return run.Queue != ""
	}
	return p.Error != nil && e.job.Attempt >= e.job.MaxAttempts
}

// verdict decides what becomes of a run after an attempt.
func (a *attempt) verdict(ctx context.Context, cause error) (*RunEndParams, EventKind) {
	p := &RunEndParams{RunID: a.run.ID, FlowID: a.run.FlowID, LeaseNumber: a.run.LeaseNumber}
	if cause == nil {
		p.State = RunSuccess
		return p, EventRunSucceeded
	}
	p.Error = &AttemptError{Attempt: a.run.Attempt, At: a.client.now().UTC(), Worker: a.run.Worker, Error: storable(cause.Error())}
	var pe *PanicError
	if errors.As(cause, &pe) {
		p.Error.Stack = storable(pe.Stack)
	}
	switch {
	case errors.Is(context.Cause(ctx), rivertype.ErrJobCancelledRemotely):
		p.State, p.Error.Error = RunCancelled, "its River job was cancelled"
		return p, EventRunCancelled
	case errors.Is(cause, ErrStopped), ctx.Err() != nil:
		p.State, p.Refund, p.Error = RunPending, true, nil
		return p, EventRunReleased
	case IsPermanent(cause), a.run.Attempt >= a.run.MaxAttempts:
		p.State = RunFailed
		return p, EventRunFailed
	}
	p.State, p.Delay = RunPending, a.flow.backoff(a.run.Attempt)
	if d, ok := retryDelay(cause); ok {
		p.Delay = d
	}
	return p, EventRunRetrying
}

// report says how the attempt ended, once, in the log and as an event.
func (a *attempt) report(ctx context.Context, run *Run, kind EventKind, cause error) {
	attrs := []any{
		slog.Duration(logDuration, a.client.now().Sub(a.started)),
		slog.Int64(logRecords, run.Counters.Read),
	}
	switch kind {
	case EventRunSucceeded:
		a.log.InfoContext(ctx, "dataflow: run succeeded", attrs...)
	case EventRunReleased:
		a.log.InfoContext(ctx, "dataflow: run handed back unfinished", attrs...)
	case EventRunRetrying:
		attrs = append(attrs, slog.String(logError, cause.Error()), slog.Time("retry_at", run.RunAfter))
		a.log.WarnContext(ctx, "dataflow: attempt failed; trying again", attrs...)
	default:
		attrs = append(attrs, slog.String(logError, cause.Error()))
		a.log.ErrorContext(ctx, "dataflow: run "+string(run.State), attrs...)
	}
	if kind == EventRunSucceeded || kind == EventRunReleased {
		cause = nil
	}
	a.client.publish(kind, run, cause)
}

func (c *Client) publish(kind EventKind, run *Run, err error) {
	own := *run // the caller of Execute gets the other one
	c.events.publish(&Event{Kind: kind, At: c.now(), Run: &own, Err: err})
}
