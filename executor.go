package dataflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

// leaseDuration is for how long a claim is granted.
const leaseDuration = 10 * time.Second

// handBackTimeout bounds the statements that end an attempt whose own context
// is done.
const handBackTimeout = 5 * time.Second

// FlowExecutor takes a run through its lifecycle: it claims the run, works it,
// and ends it or puts it back.
type FlowExecutor struct {
	client *Client
	// job is set when a River job works the run.
	job *rivertype.JobRow
}

// NewFlowExecutor returns an executor of this client's runs. It is safe for
// concurrent use.
func NewFlowExecutor(client *Client) *FlowExecutor { return &FlowExecutor{client: client} }

// Execute makes one attempt at a run and returns the run as it is then. The
// error of a failed attempt is a *[RunError]; the run is failed then, or pending
// with a later RunAfter.
//
// A run that cannot be worked now is left as it is: ErrNotFound, ErrRunFinished,
// ErrNotDue, ErrDisabled, ErrAlreadyRunning (another run of the flow is in
// progress), ErrFenced (this run is), ErrNotRegistered (this process does not
// have the flow's code). When ctx is done or the client stops, the batch that is
// being worked is rolled back or finished, and the run handed back, which spends
// no attempt: the error is ErrStopped, and ctx's if that is the cause.
func (e *FlowExecutor) Execute(ctx context.Context, runID int64) (*Run, error) {
	if e.client == nil {
		return nil, public(fmt.Errorf("execute run %d: %w: the flow was not got from a client", runID, ErrNotRegistered))
	}
	if err := e.client.enter(); err != nil {
		return nil, public(fmt.Errorf("execute run %d: %w", runID, err))
	}
	defer e.client.leave()
	run, err := e.execute(ctx, runID)
	return run, public(err)
}

func (e *FlowExecutor) execute(ctx context.Context, runID int64) (*Run, error) {
	found, err := e.client.store.RunByID(ctx, runID)
	if err != nil {
		return nil, fmt.Errorf("execute run %d: %w", runID, err)
	}
	flow, err := e.client.flowByID(ctx, found.FlowID)
	if err != nil {
		return found, fmt.Errorf("execute run %d: %w", runID, err)
	}
	if err := refusal(found, flow); err != nil {
		return found, fmt.Errorf("execute run %d of flow %q: %w", runID, flow.Name, err)
	}
	a, err := e.claim(ctx, flow, runID)
	if err != nil {
		return found, fmt.Errorf("claim run %d of flow %q: %w", runID, flow.Name, err)
	}
	if a == nil {
		return e.notClaimed(ctx, flow, runID)
	}
	a.log.InfoContext(ctx, "dataflow: run started")
	e.client.publish(EventRunStarted, a.run, nil)
	return e.finish(ctx, a, guard(func() error { return flow.code.work(ctx, a) }))
}

// refusal tells why a run cannot be worked, as far as it is known without
// claiming it.
func refusal(run *Run, flow *Flow) error {
	switch {
	case run.State.Finished():
		return fmt.Errorf("%w: it is %s", ErrRunFinished, run.State)
	case !flow.Runtime.Settings().Enabled:
		return fmt.Errorf("%w: its runtime is", ErrDisabled)
	case !flow.Registered():
		return fmt.Errorf("%w: this process does not have the flow's code", ErrNotRegistered)
	default:
		return nil
	}
}

// claim makes the run this executor's. It returns nil if that is not possible.
func (e *FlowExecutor) claim(ctx context.Context, flow *Flow, runID int64) (*attempt, error) {
	c := e.client
	var claim *Claim
	err := c.store.InTx(ctx, func(ctx context.Context, tx Tx) error {
		q, err := c.store.With(tx)
		if err != nil {
			return err
		}
		claim, err = q.RunClaim(ctx, &RunClaimParams{
			RunID:       runID,
			Worker:      c.config.ID,
			Lease:       leaseDuration,
			CodeVersion: c.config.CodeVersion,
			Restart:     !flow.code.resumable(),
		})
		return err
	})
	if errors.Is(err, ErrAlreadyRunning) {
		return nil, nil //nolint:nilnil // another claim was quicker
	}
	if err != nil || claim == nil {
		return nil, err
	}
	log := c.log.With(runAttrs(claim.Run)...)
	if e.job != nil {
		log = log.With(slog.Int64(logJob, e.job.ID))
	}
	return &attempt{
		client: c, flow: flow, run: claim.Run, log: log, started: c.now(),
		seq: claim.Seq, stored: claim.Cursor, batchSize: flow.Runtime.Settings().BatchSize,
	}, nil
}

// notClaimed finds out why a run could not be claimed.
func (e *FlowExecutor) notClaimed(ctx context.Context, flow *Flow, runID int64) (*Run, error) {
	fail := func(run *Run, err error) (*Run, error) {
		return run, fmt.Errorf("claim run %d of flow %q: %w", runID, flow.Name, err)
	}
	run, err := e.client.store.RunByID(ctx, runID)
	if err != nil {
		return fail(nil, err)
	}
	rec, err := e.client.store.FlowByID(ctx, run.FlowID)
	if err != nil {
		return fail(run, err)
	}
	switch {
	case run.State.Finished():
		return fail(run, fmt.Errorf("%w: it is %s", ErrRunFinished, run.State))
	case run.State == RunInProgress:
		return fail(run, fmt.Errorf("%w: worker %s has it", ErrFenced, run.Worker))
	case rec.State != FlowActive:
		return fail(run, inactiveError(rec))
	}
	busy, err := e.client.store.RunList(ctx, &RunListParams{Flow: flow.Name, States: []RunState{RunInProgress}, Limit: 1})
	switch {
	case err != nil:
		return fail(run, err)
	case len(busy) > 0:
		return fail(run, fmt.Errorf("%w: run %d is in progress on worker %s", ErrAlreadyRunning, busy[0].ID, busy[0].Worker))
	case !run.RunAfter.After(e.client.now()):
		return fail(run, fmt.Errorf("%w: another run of the flow was in progress a moment ago", ErrAlreadyRunning))
	default:
		return fail(run, fmt.Errorf("%w until %s", ErrNotDue, run.RunAfter.Format(time.RFC3339Nano)))
	}
}

// finish ends the attempt, by what came of it.
func (e *FlowExecutor) finish(ctx context.Context, a *attempt, cause error) (*Run, error) {
	if errors.Is(cause, ErrFenced) {
		a.log.WarnContext(ctx, "dataflow: run was taken over by another worker; nothing of this batch is committed")
		return a.run, fmt.Errorf("work run %d of flow %q: %w", a.run.ID, a.flow.Name, ErrFenced)
	}
	p, kind := a.verdict(ctx, cause)
	if ctx.Err() != nil {
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
		return run, fmt.Errorf("work run %d of flow %q: handed back: %w", run.ID, a.flow.Name, errors.Join(ErrStopped, ctxCause(cause)))
	default:
		return run, &RunError{RunID: run.ID, Flow: a.flow.Name, Err: cause}
	}
}

// end writes the outcome. A run that waits for another attempt when its River
// job has none left gets a new job in the same transaction.
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
		if run.State == RunPending && p.Error != nil && e.job != nil && e.job.Attempt >= e.job.MaxAttempts {
			opts := river.InsertOpts{Queue: e.job.Queue, Priority: e.job.Priority, ScheduledAt: run.RunAfter}
			return e.client.insertJob(ctx, tx, run, opts)
		}
		return nil
	})
	return run, err
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
	case isPermanent(cause), a.run.Attempt >= a.run.MaxAttempts:
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
	c.events.publish(&Event{Kind: kind, At: c.now(), Run: run, Err: err})
}

// ctxCause returns err if it is a context's, to be told apart by the caller.
func ctxCause(err error) error {
	switch {
	case errors.Is(err, context.Canceled):
		return context.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return context.DeadlineExceeded
	default:
		return nil
	}
}

// attempt is one attempt at a run, as the record loop sees it.
type attempt struct {
	client    *Client
	flow      *Flow
	run       *Run // Counters grow with each checkpoint
	log       *slog.Logger
	started   time.Time
	seq       int64
	stored    json.RawMessage // the cursor at the start, nil if there is none
	batchSize int
	total     *int64
}

// stopping reports whether the client wants its runs back.
func (a *attempt) stopping() bool {
	select {
	case <-a.client.stopping:
		return true
	default:
		return false
	}
}

// from is where the attempt began: JSON null is the beginning.
func (a *attempt) from() json.RawMessage {
	if a.stored == nil {
		return json.RawMessage("null")
	}
	return a.stored
}

// commit writes and checkpoints a batch in one transaction.
func (a *attempt) commit(ctx context.Context, cursor json.RawMessage, delta Counters, write func(ctx context.Context) error) error {
	err := a.client.store.InTx(ctx, func(ctx context.Context, tx Tx) error {
		if write != nil {
			if err := write(ctx); err != nil {
				return err
			}
		}
		q, err := a.client.store.With(tx)
		if err != nil {
			return err
		}
		ok, err := q.RunCheckpoint(ctx, &RunCheckpointParams{
			RunID: a.run.ID, FlowID: a.run.FlowID, LeaseNumber: a.run.LeaseNumber,
			Seq: a.seq, From: a.from(), Cursor: cursor, Delta: delta, Total: a.total,
		})
		if err != nil {
			return fmt.Errorf("checkpoint: %w", err)
		}
		if !ok {
			return ErrFenced
		}
		return nil
	})
	if err != nil {
		return err
	}
	a.seq++
	run := *a.run
	run.Counters, run.Total, run.ToCursor = run.Counters.Add(delta), a.total, cursor
	a.run = &run
	a.client.publish(EventRunProgress, a.run, nil)
	return nil
}
