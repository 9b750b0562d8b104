package dataflow

// One run, from its claim to its end. The executor knows the attempt, the record loop, the
// flows, the jobs and the gate.

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/riverqueue/river/rivertype"

	"github.com/activedataflow/dataflow/internal/lease"
)

// FlowExecutor works one run: it claims the run, makes an attempt, and ends the run or puts it
// back. Make one with [NewFlowExecutor]. The zero value returns ErrNotRegistered. It is safe
// for concurrent use.
type FlowExecutor struct {
	client *Client
	// job is the River job that works the run. Nil: none.
	job *rivertype.JobRow
}

// NewFlowExecutor returns an executor of the client's runs.
func NewFlowExecutor(client *Client) *FlowExecutor { return &FlowExecutor{client: client} }

// Execute makes one attempt at a run and returns the run as it is afterwards. The error of a
// failed attempt is a *[RunError]. The run is then failed, or pending with a later RunAfter.
//
// A run that cannot be worked now is not changed. The error says why:
//
//   - ErrNotFound, ErrRunFinished, ErrNotDue or ErrDisabled.
//   - ErrAlreadyRunning: this run is in progress, or another run of the flow takes its place.
//   - ErrNotRegistered: this process does not have the flow's code.
//
// When ctx is done or the client stops, the present batch is finished or rolled back. The run
// is then handed back, which spends no attempt. The error is ErrStopped, joined with ctx's
// error if ctx is the cause. ErrFenced means that another process took the run over.
func (e *FlowExecutor) Execute(ctx context.Context, runID int64) (*Run, error) {
	if e.client == nil {
		return nil, public(fmt.Errorf("execute run %d: %w: no client made this executor: use NewFlowExecutor", runID, ErrNotRegistered))
	}
	if err := e.client.gate.enter(); err != nil {
		return nil, public(fmt.Errorf("execute run %d: %w", runID, err))
	}
	defer e.client.gate.leave()
	run, err := e.execute(ctx, runID)
	return run, public(err)
}

// executeKnown is Execute for a caller that has the flow of the run.
func (e *FlowExecutor) executeKnown(ctx context.Context, flow *Flow, runID int64) (*Run, error) {
	if err := e.client.gate.enter(); err != nil {
		return nil, public(fmt.Errorf("execute run %d of flow %q: %w", runID, flow.Name, err))
	}
	defer e.client.gate.leave()
	run, err := e.executeOf(ctx, flow, runID)
	return run, public(err)
}

// execute works a run of which only the id is known.
func (e *FlowExecutor) execute(ctx context.Context, runID int64) (*Run, error) {
	run, err := e.client.store.RunByID(ctx, runID)
	if err != nil {
		return nil, fmt.Errorf("execute run %d: %w", runID, err)
	}
	flow, err := e.client.flows.get(ctx, run.FlowID)
	if err != nil {
		return run, fmt.Errorf("execute run %d: %w", runID, err)
	}
	if err := (&candidate{flow: flow, run: run}).refusal(); err != nil {
		return run, fmt.Errorf("execute run %d of flow %q: %w", runID, flow.Name, err)
	}
	worked, err := e.executeOf(ctx, flow, runID)
	if worked == nil {
		worked = run
	}
	return worked, err
}

// executeOf works a run that should be the flow's. It returns a nil run if it refuses because
// of the flow, or if the claim fails.
func (e *FlowExecutor) executeOf(ctx context.Context, flow *Flow, runID int64) (*Run, error) {
	if err := (&candidate{flow: flow}).refusal(); err != nil {
		return e.execute(ctx, runID) // the run may have ended, be gone, or be another flow's
	}
	leave, err := e.client.pools.enter(flow)
	if err != nil {
		return e.notClaimed(ctx, flow, runID, err)
	}
	return e.executeWith(ctx, flow, runID, leave)
}

// executeWith works a run that has its connections. leave gives them back.
func (e *FlowExecutor) executeWith(ctx context.Context, flow *Flow, runID int64, leave func()) (*Run, error) {
	done := e.client.leases.enter()
	a, err := e.claim(ctx, flow, runID)
	if a == nil || err != nil {
		done()
		leave()
	}
	switch {
	case err != nil && !errors.Is(err, ErrAlreadyRunning):
		return nil, fmt.Errorf("claim run %d of flow %q: %w", runID, flow.Name, err)
	case a == nil:
		return e.notClaimed(ctx, flow, runID, err)
	}
	defer done()
	a.connections = leave
	return e.workClaimed(ctx, flow, runID, a)
}

// workClaimed works a claimed run.
func (e *FlowExecutor) workClaimed(ctx context.Context, flow *Flow, runID int64, a *attempt) (worked *Run, err error) {
	defer a.leave()
	defer e.client.leases.Release(runID)
	ctx = e.client.attemptStarted(ctx, a.run)
	defer func() {
		e.client.observe(ctx, "AttemptEnded", func(o Observer) { o.AttemptEnded(ctx, worked, err) })
	}()
	ctx, a.cancel = context.WithCancelCause(ctx)
	defer a.cancel(nil)
	defer e.client.leases.Hold(ctx, lease.Ref(a.claimed), a)()
	if a.slice.timer != nil {
		defer a.slice.timer.Stop()
	}
	if a.quiet = a.run.Trigger == TriggerSchedule && a.run.Attempt == 1 && a.run.Counters.Read == 0; a.quiet {
		a.log.DebugContext(ctx, "dataflow: run claimed")
	} else {
		a.log.InfoContext(ctx, "dataflow: run started")
	}
	e.client.publish(ctx, EventRunStarted, a.run, nil)
	return e.finish(ctx, a, a.persevere(ctx, func() error { return e.work(ctx, flow, a) }))
}

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
		return fmt.Errorf("%w, with the state %s", ErrRunFinished, run.State)
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
	case strings.HasPrefix(run.WaitsFor, WaitsForGroup):
		return fmt.Errorf("%w: it waits for %s", errGroupFull, run.WaitsFor)
	default:
		return fmt.Errorf("%w: another run of the flow was in progress a moment ago, or goes first: the run of an earlier tick, one that lost its worker, or one of the flow's own before a backfill", ErrAlreadyRunning)
	}
}

// notClaimed finds out why a run could not be claimed. known is the reason if the caller knows
// it, or nil.
func (e *FlowExecutor) notClaimed(ctx context.Context, flow *Flow, runID int64, known error) (*Run, error) {
	c := &candidate{flow: flow, now: e.client.now()}
	err := func() (err error) {
		if c.run, err = e.client.store.RunByID(ctx, runID); err != nil || known != nil && !errors.Is(known, ErrPoolFull) || c.run.FlowID != flow.ID {
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
	case err == nil && c.run.FlowID != flow.ID:
		return e.execute(ctx, runID)
	case err != nil:
	case errors.Is(known, ErrPoolFull) && c.run.State == RunPending:
		err = known
		e.client.pools.tell(ctx, c.run, known)
	case known != nil && !errors.Is(known, ErrPoolFull):
		err = known
		if first := e.client.leases.Isolated(); errors.Is(known, errOneSuspect) && first != 0 && first != runID {
			e.client.pools.tellText(ctx, c.run, fmt.Sprintf("%s: run %d, which is on worker %s", waitsForSuspect, first, e.client.config.ID))
		}
	default:
		err = c.refusal()
	}
	return c.run, fmt.Errorf("claim run %d of flow %q: %w", runID, flow.Name, err)
}
