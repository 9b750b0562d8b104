package dataflow

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/activedataflow/dataflow/internal/stored"
)

// finish ends the attempt. cause is the error of the work, nil if it succeeded.
func (e *FlowExecutor) finish(ctx context.Context, a *attempt, cause error) (*Run, error) {
	switch ended := context.Cause(ctx); {
	case cause == nil, errors.Is(cause, errSliceOver):
	case errors.Is(ended, ErrFenced), errors.Is(ended, errCancelled):
		cause = ended // the error of the work says only that it was interrupted
	}
	switch {
	case errors.Is(cause, errSliceOver): // the checkpoint's transaction added the job of the next slice
		a.report(ctx, a.run, EventRunReleased, cause)
		if a.run.IsBackfill() && !a.flow.ownSlots(a.run) { // it lets other runs go first
			e.client.jobs.wakeNext(context.WithoutCancel(ctx), a.flow, a.run)
		}
		e.client.letNext(context.WithoutCancel(ctx), a.flow)
		return a.run, nil
	case errors.Is(cause, ErrFenced):
		a.log.WarnContext(ctx, "dataflow: run was taken over by another worker; nothing of this batch is committed")
		return a.run, fmt.Errorf("work run %d of flow %q: %w", a.run.ID, a.flow.Name, ErrFenced)
	}
	p, kind := a.verdict(ctx, cause)
	interrupted := ctx.Err()
	run, next, err := e.endSurely(ctx, p)
	if err != nil {
		a.log.ErrorContext(ctx, "dataflow: could not store the end of the attempt; the run continues after its lease has lapsed", slog.String(logError, err.Error()))
		return a.run, fmt.Errorf("end run %d of flow %q: %w", a.run.ID, a.flow.Name, errors.Join(err, cause))
	}
	if run == nil {
		return e.finish(ctx, a, ErrFenced)
	}
	if run.State == RunCancelled {
		kind = EventRunCancelled
	}
	a.report(ctx, run, kind, cause)
	e.client.jobs.wakeRun(context.WithoutCancel(ctx), a.flow, next)
	e.client.letNext(ctx, a.flow)
	switch kind {
	case EventRunSucceeded:
		return run, nil
	case EventRunReleased:
		err := ErrStopped
		if interrupted != nil {
			err = fmt.Errorf("%w: %w", err, interrupted)
		}
		return run, fmt.Errorf("work run %d of flow %q: handed back: %w", run.ID, a.flow.Name, err)
	case EventRunCancelled:
		return run, run.Err()
	default:
		err := &RunError{RunID: run.ID, Flow: a.flow.Name, Err: cause, wait: p.Delay}
		if kind == EventRunFailed {
			e.client.tripped(context.WithoutCancel(ctx), run, err)
			e.client.gaveUp(context.WithoutCancel(ctx), run, err)
		}
		return run, err
	}
}

// endSurely stores the outcome, even if ctx is done. It tries again while the database is away
// for a moment. It returns the run, or nil if the run was taken over, and the run to wake.
func (e *FlowExecutor) endSurely(ctx context.Context, p *RunEndParams) (*Run, *NextRun, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), handBackTimeout)
	defer cancel()
	lost := false
	for {
		answer, err := e.end(ctx, p, &lost)
		if err == nil && answer.Run == nil && lost {
			answer.Run, err = e.ended(ctx, p)
		}
		if err == nil || !e.client.passesSoon(err) {
			return answer.Run, answer.Next, err
		}
		lost = true
		t := time.NewTimer(troubleFirst)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil, nil, err
		}
	}
}

// ended looks for the outcome of a commit whose answer was lost. It returns the run if that
// commit ended it, or else nil.
func (e *FlowExecutor) ended(ctx context.Context, p *RunEndParams) (*Run, error) {
	run, err := e.client.store.RunByID(ctx, p.RunID)
	if err == nil && (run.LeaseNumber != p.LeaseNumber || run.State != p.State) {
		return nil, nil //nolint:nilnil // the run was taken over
	}
	return run, err
}

// end stores the outcome, together with others if nothing else depends on it. It sets lost if
// that may have come about without an answer.
func (e *FlowExecutor) end(ctx context.Context, p *RunEndParams, lost *bool) (EndAnswer, error) {
	if p.State != RunSuccess && p.State != RunFailed {
		return e.endAlone(ctx, p)
	}
	answer, err := e.client.leases.ask(ctx, change{end: p})
	if e.alone(ctx, answer.end.Busy, err) {
		*lost = *lost || err != nil
		return e.endAlone(ctx, p)
	}
	return answer.end, err
}

// endAlone stores the outcome in a transaction of its own. If the run goes back to waiting and
// has no River job that will work it, endAlone adds one in the same transaction. Another process
// can take that job at once.
func (e *FlowExecutor) endAlone(ctx context.Context, p *RunEndParams) (answer EndAnswer, err error) {
	var ranges []*Run
	err = e.client.store.InTx(ctx, func(ctx context.Context, tx Tx) error {
		q, err := e.client.store.With(tx)
		if err != nil {
			return err
		}
		if p.State == RunCancelled { // an earlier request to cancel keeps its actor and reason
			if _, err := q.RunCancel(ctx, &RunCancelParams{RunID: p.RunID, Actor: "River", Reason: "its job was cancelled"}); err != nil {
				return err
			}
		}
		run, err := q.RunEnd(ctx, p)
		if err != nil {
			return err
		}
		if run == nil {
			return ErrFenced // this rolls back RunCancel too
		}
		if answer.Next, err = q.RunNext(ctx, run, p.Backfills); err != nil {
			return err
		}
		if run.State == RunPending && run.CancelRequestedAt != nil {
			// The request came while the attempt failed.
			if run, err = q.RunCancel(ctx, &RunCancelParams{RunID: p.RunID}); err != nil {
				return err
			}
		}
		answer.Run = run
		if ranges, err = cancelRangesOf(ctx, q, run); err != nil || run.State != RunPending || !e.needsJob(run, p) {
			return err
		}
		opts := river.InsertOpts{Queue: run.Queue}
		if p.Delay > 0 { // otherwise it is due by the database's clock, and this process's may be slow
			opts.ScheduledAt = e.client.dueAt(run, p.Delay)
		}
		if e.job != nil {
			opts.Priority = e.job.Priority
		}
		return e.client.jobs.insert(ctx, tx, run, opts)
	})
	if errors.Is(err, ErrFenced) {
		return EndAnswer{}, nil
	}
	if err == nil {
		e.client.tellCancelled(ctx, ranges)
	}
	return answer, err
}

// cancelRanges cancels those of a flow's live runs that are ranges of a first load, and returns them.
func cancelRanges(ctx context.Context, q Queries, live []*Run, reason string) (ranges []*Run, err error) {
	for _, run := range live {
		if err == nil && run.Trigger == TriggerFirstLoad {
			run, err = q.RunCancel(ctx, &RunCancelParams{RunID: run.ID, Actor: "first load", Reason: reason})
			ranges = append(ranges, run)
		}
	}
	return ranges, err
}

// cancelRangesOf cancels the ranges of a first load if the run that waited for them was cancelled: one
// that was worked before, while no other run of the flow waits for them. It is called in the same
// transaction, and tellCancelled after that.
func cancelRangesOf(ctx context.Context, q Queries, run *Run) (ranges []*Run, err error) {
	if run.State != RunCancelled || run.IsBackfill() || run.LeaseNumber == 0 {
		return nil, nil
	}
	live, err := q.RunLive(ctx, run.FlowID)
	waits := func(r *Run) bool { return r.State == RunInProgress && !r.IsBackfill() }
	if err != nil || slices.ContainsFunc(live, waits) {
		return nil, err
	}
	return cancelRanges(ctx, q, live, fmt.Sprintf("run %d was cancelled, which waited for it", run.ID))
}

// tellCancelled tells of those runs that waited, and have ended. Who works one of the others tells of that.
func (b base) tellCancelled(ctx context.Context, runs []*Run) {
	for _, run := range runs {
		if run.State == RunCancelled {
			b.log.InfoContext(ctx, "dataflow: run cancelled", append(runAttrs(run), slog.String("actor", run.CancelledBy), slog.String(logReason, run.CancelReason))...)
			b.publish(ctx, EventRunCancelled, run, run.Err())
		}
	}
}

// needsJob reports whether a waiting run has no River job left. The job of this attempt ends
// when the run is handed back without an error, or when the job has no attempts left. If the run was worked
// without a job, its job may have found nothing to do meanwhile, and ended.
func (e *FlowExecutor) needsJob(run *Run, p *RunEndParams) bool {
	if e.job == nil {
		return run.Queue != ""
	}
	old := e.job.AttemptedAt != nil && e.client.now().Sub(*e.job.AttemptedAt) > riverRescue
	return p.Refund && p.Error == nil || old || e.job.Attempt >= e.job.MaxAttempts
}

// verdict decides the outcome of an attempt.
func (a *attempt) verdict(ctx context.Context, cause error) (*RunEndParams, EventKind) {
	p := &RunEndParams{RunID: a.run.ID, FlowID: a.run.FlowID, LeaseNumber: a.claimed.LeaseNumber, Backfills: a.flow.opts.MaxBackfills}
	switch {
	case cause == nil:
		p.State = RunSuccess
		return p, EventRunSucceeded
	case errors.Is(cause, errCancelled), errors.Is(context.Cause(ctx), rivertype.ErrJobCancelledRemotely):
		p.State = RunCancelled
		return p, EventRunCancelled
	case a.timedOut(ctx) && a.watches.slow(silenceTold) != nil:
		part := a.watches.slow(silenceTold)
		cause = fmt.Errorf("a batch did not end within %s and the %s after it: the %s had worked on it since %s: use a smaller BatchSize, or a longer Config.Slice: %w",
			a.config.Slice, sliceGrace, part, a.now().Add(-part.busy()).UTC().Format(time.RFC3339), cause)
	case a.timedOut(ctx) && a.silentSince() > 0:
		cause = fmt.Errorf("the job's time ended, %s and the %s after it, while the source (%s) had said nothing since %s: its server or the network may be silent; FlowOptions.ReadTimeout says how long it may be: %w",
			a.config.Slice, sliceGrace, a.sourceType(), a.now().Add(-a.silentSince()).UTC().Format(time.RFC3339), cause)
	case a.timedOut(ctx):
		cause = fmt.Errorf("a batch did not end within %s and the %s after it: use a smaller BatchSize, or a longer Config.Slice: %w", a.config.Slice, sliceGrace, cause)
	case errors.Is(cause, ErrStopped), ctx.Err() != nil:
		p.State, p.Refund, p.Works = RunPending, true, a.moved
		return p, EventRunReleased
	}
	p.Error = &AttemptError{Attempt: a.run.Attempt, At: a.now().UTC(), Worker: a.run.Worker, Error: stored.Clean(cause.Error())}
	var pe *PanicError
	if errors.As(cause, &pe) {
		p.Error.Stack = stored.Clean(pe.Stack)
	}
	after := marks(cause).after
	p.Refund = after > 0 && a.moved // a wait that somebody asks for costs no attempt while the run advances
	if IsPermanent(cause) || a.store.Classify(cause) == FaultPermanent || a.run.Attempt >= a.run.MaxAttempts && !p.Refund {
		p.State, p.Refund = RunFailed, false
		return p, EventRunFailed
	}
	p.State, p.Delay = RunPending, cmp.Or(after, a.flow.backoff(a.run.Attempt))
	return p, EventRunRetrying
}

// timedOut reports whether River's timeout for the job ended in the middle of a batch. A run
// that is handed back would only time out again.
func (a *attempt) timedOut(ctx context.Context) bool {
	return a.slice.timer != nil && errors.Is(context.Cause(ctx), context.DeadlineExceeded)
}

// silentSince returns for how long the source has said nothing, 0 if that is not long.
func (a *attempt) silentSince() time.Duration {
	if a.watches.source == nil || a.watches.source.silence() < silenceTold {
		return 0
	}
	return a.watches.source.silence()
}

func (a *attempt) sourceType() string {
	source, _ := a.flow.code.describe()
	return source.Type
}

// report logs the end of the attempt and publishes its event.
func (a *attempt) report(ctx context.Context, run *Run, kind EventKind, cause error) {
	attrs := []any{
		slog.Duration(logDuration, a.now().Sub(a.started)),
		slog.Int64(logRecords, run.Counters.Read),
	}
	if again := run.Counters.ReadAgain; again > 0 {
		attrs = append(attrs, slog.Int64(logReadAgain, again))
	}
	switch kind {
	case EventRunSucceeded:
		level := slog.LevelInfo
		if a.quiet { // it read nothing
			level = slog.LevelDebug
		}
		a.log.Log(ctx, level, "dataflow: run succeeded", attrs...)
	case EventRunReleased:
		a.log.InfoContext(ctx, "dataflow: run handed back unfinished", attrs...)
	case EventRunCancelled:
		attrs = append(attrs, slog.String("actor", run.CancelledBy), slog.String(logReason, run.CancelReason))
		a.log.InfoContext(ctx, "dataflow: run cancelled", attrs...)
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
	a.publish(ctx, kind, run, cause)
}
