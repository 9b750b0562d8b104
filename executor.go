package dataflow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/riverqueue/river/rivertype"
)

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
// ErrNotDue, ErrDisabled, ErrAlreadyRunning (this run or another of the flow is
// in progress), ErrNotRegistered (this process does not have the flow's code).
// When ctx is done or the client stops, the batch that is being worked is rolled
// back or finished, and the run handed back, which spends no attempt: the error
// is ErrStopped, and ctx's if that is the cause. ErrFenced says that another
// process has taken the run over in the meantime.
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
	if found.Rescues >= suspectAfter {
		if !e.client.isolate(runID) {
			return found, fmt.Errorf("execute run %d of flow %q: %w: another run that has lost its workers, as this one has; such runs are worked one by one", runID, flow.Name, ErrAlreadyRunning)
		}
		defer e.client.release(runID)
	}
	a, err := e.claim(ctx, flow, found)
	if err != nil {
		return found, fmt.Errorf("claim run %d of flow %q: %w", runID, flow.Name, err)
	}
	return e.workClaimed(ctx, flow, runID, a)
}

// executeNew adds a run and claims it in the same transaction, so that no other
// process can work it first, and works it.
func (e *FlowExecutor) executeNew(ctx context.Context, flow *Flow, s RuntimeSettings) (*Run, error) {
	if err := e.client.enter(); err != nil {
		return nil, public(fmt.Errorf("execute flow %q: %w", flow.Name, err))
	}
	defer e.client.leave()
	var run *Run
	var a *attempt
	insert := func(claim bool) error {
		return e.client.store.InTx(ctx, func(ctx context.Context, tx Tx) (err error) {
			if run, err = flow.insertRun(ctx, tx, s, time.Time{}, nil); err != nil || !claim {
				return err
			}
			a, err = e.claimTx(ctx, tx, flow, run.ID)
			return err
		})
	}
	err := insert(flow.Registered())
	if errors.Is(err, ErrAlreadyRunning) {
		err = insert(false) // the claim has taken the run back with it
	}
	if err == nil && a == nil {
		err = e.client.cancelFor(ctx, flow)
	}
	switch {
	case err != nil:
		return nil, public(fmt.Errorf("start run of flow %q: %w", flow.Name, err))
	case !flow.Registered():
		return run, public(refusal(run, flow))
	}
	worked, err := e.workClaimed(ctx, flow, run.ID, a)
	if worked == nil {
		worked = run
	}
	if errors.Is(err, ErrRunFinished) {
		err = worked.Err() // somebody was quicker with the run that was found waiting
	}
	worked.Coalesced = run.Coalesced
	return worked, public(err)
}

// workClaimed works a claimed run. A nil attempt is a claim that failed.
func (e *FlowExecutor) workClaimed(ctx context.Context, flow *Flow, runID int64, a *attempt) (*Run, error) {
	if a == nil {
		return e.notClaimed(ctx, flow, runID)
	}
	ctx, a.cancel = context.WithCancelCause(ctx)
	defer a.cancel(nil)
	e.client.track(ctx, a)
	defer e.client.untrack(a)
	if a.slice.timer != nil {
		defer a.slice.timer.Stop()
	}
	a.log.InfoContext(ctx, "dataflow: run started")
	e.client.publish(EventRunStarted, a.run, nil)
	return e.finish(ctx, a, a.persevere(ctx, func() error { return flow.code.run(ctx, a) }))
}

// refusal tells why a run cannot be worked, as far as it is known without
// claiming it.
func refusal(run *Run, flow *Flow) error {
	unread, isUnread := flow.Runtime.(unreadRuntime)
	switch {
	case run.State.Finished():
		return fmt.Errorf("%w: it is %s", ErrRunFinished, run.State)
	case isUnread: // which another process may be able to read
		return fmt.Errorf("%w: %w", ErrNotRegistered, unread.err)
	case !flow.Runtime.Settings().Enabled:
		return fmt.Errorf("%w: its runtime is", ErrDisabled)
	case !flow.Registered():
		return fmt.Errorf("%w: this process does not have the flow's code", ErrNotRegistered)
	default:
		return nil
	}
}

// claim makes the run this executor's. It returns nil if that is not possible.
func (e *FlowExecutor) claim(ctx context.Context, flow *Flow, run *Run) (a *attempt, err error) {
	tries := 1
	if flow.apart(run) {
		tries += flow.opts.MaxBackfills // another claim takes one slot, and the next may be free
	}
	for range tries {
		err = e.client.store.InTx(ctx, func(ctx context.Context, tx Tx) (err error) {
			a, err = e.claimTx(ctx, tx, flow, run.ID)
			return err
		})
		if !errors.Is(err, ErrAlreadyRunning) {
			return a, err
		}
	}
	return nil, nil //nolint:nilnil // another claim was quicker
}

// claimTx claims the run in a transaction. ErrAlreadyRunning is a claim that
// another one has beaten; the transaction is spoilt then.
func (e *FlowExecutor) claimTx(ctx context.Context, tx Tx, flow *Flow, runID int64) (*attempt, error) {
	c := e.client
	q, err := c.store.With(tx)
	if err != nil {
		return nil, err
	}
	claim, err := q.RunClaim(ctx, &RunClaimParams{
		RunID:       runID,
		Worker:      c.config.ID,
		Lease:       c.config.Lease,
		CodeVersion: c.config.CodeVersion,
		Slots:       flow.slots().Slots,
		Backfills:   flow.slots().Backfills,
		Restart:     !flow.code.resumable(),
	})
	if err != nil || claim == nil {
		return nil, err
	}
	log := c.log.With(runAttrs(claim.Run)...)
	if e.job != nil {
		log = log.With(slog.Int64(logJob, e.job.ID))
	}
	a := &attempt{
		client: c, flow: flow, run: claim.Run, job: e.job, log: log, started: c.now(),
		claimed: LeaseRef{RunID: runID, LeaseNumber: claim.Run.LeaseNumber},
		place:   place{seq: claim.Seq, cursor: claim.Cursor, fence: claim.Seq, setSeq: claim.SetSeq},
		sizes:   sizes{set: flow.Runtime.Settings().BatchSize},
	}
	if e.job != nil && c.config.Slice > 0 && flow.code.resumable() {
		a.slice.timer = time.NewTimer(c.config.Slice)
	}
	return a, nil
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
		return fail(run, fmt.Errorf("%w: it is in progress on worker %s", ErrAlreadyRunning, run.Worker))
	case rec.State != FlowActive:
		return fail(run, inactiveError(rec))
	}
	live, err := e.client.store.RunLive(ctx, flow.ID)
	busy := flow.inTheWay(run, slices.DeleteFunc(live, func(r *Run) bool { return r.State != RunInProgress }))
	switch {
	case err != nil:
		return fail(run, err)
	case len(busy) >= flow.places(run):
		return fail(run, fmt.Errorf("%w: run %d is in progress on worker %s", ErrAlreadyRunning, busy[0].ID, busy[0].Worker))
	case !run.RunAfter.After(e.client.now()):
		return fail(run, fmt.Errorf("%w: another run of the flow was in progress a moment ago, or that of an earlier tick goes first, or one of its own before a backfill", ErrAlreadyRunning))
	default:
		return fail(run, fmt.Errorf("%w until %s", ErrNotDue, run.RunAfter.Format(time.RFC3339Nano)))
	}
}
