package dataflow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/riverqueue/river/rivertype"

	"github.com/activedataflow/dataflow/internal/lease"
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
	if err := e.client.gate.enter(); err != nil {
		return nil, public(fmt.Errorf("execute run %d: %w", runID, err))
	}
	defer e.client.gate.leave()
	run, err := e.execute(ctx, runID)
	return run, public(err)
}

// executeKnown is Execute for a run of a flow that the caller knows already.
func (e *FlowExecutor) executeKnown(ctx context.Context, flow *Flow, runID int64) (*Run, error) {
	if err := e.client.gate.enter(); err != nil {
		return nil, public(fmt.Errorf("execute run %d of flow %q: %w", runID, flow.Name, err))
	}
	defer e.client.gate.leave()
	run, err := e.executeOf(ctx, flow, runID)
	return run, public(err)
}

// execute works a run that is known by its id alone.
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

// executeOf works a run that is said to be the flow's. The run that it returns is nil where
// the flow alone stands in the way.
func (e *FlowExecutor) executeOf(ctx context.Context, flow *Flow, runID int64) (*Run, error) {
	if err := (&candidate{flow: flow}).refusal(); err != nil {
		return nil, fmt.Errorf("execute run %d of flow %q: %w", runID, flow.Name, err)
	}
	a, err := e.claim(ctx, flow, runID)
	switch {
	case errors.Is(err, errOtherFlow):
		return e.execute(ctx, runID)
	case err != nil && !errors.Is(err, ErrAlreadyRunning):
		return nil, fmt.Errorf("claim run %d of flow %q: %w", runID, flow.Name, err)
	case a == nil:
		return e.notClaimed(ctx, flow, runID, err)
	}
	return e.workClaimed(ctx, flow, runID, a)
}

// executeNew adds a run and claims it in the same transaction, so that no other
// process can work it first, and works it.
func (e *FlowExecutor) executeNew(ctx context.Context, flow *Flow, s RuntimeSettings) (*Run, error) {
	if err := e.client.gate.enter(); err != nil {
		return nil, public(fmt.Errorf("execute flow %q: %w", flow.Name, err))
	}
	defer e.client.gate.leave()
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
		err = e.client.hasStarted(ctx, flow)
	}
	switch {
	case err != nil:
		return nil, public(fmt.Errorf("start run of flow %q: %w", flow.Name, err))
	case !flow.Registered():
		return run, public((&candidate{flow: flow, run: run}).refusal())
	}
	var worked *Run
	if a == nil {
		worked, err = e.notClaimed(ctx, flow, run.ID, nil)
	} else {
		worked, err = e.workClaimed(ctx, flow, run.ID, a)
	}
	if worked == nil {
		worked = run
	}
	if errors.Is(err, ErrRunFinished) {
		err = worked.Err() // somebody was quicker with the run that was found waiting
	}
	worked.Coalesced = run.Coalesced
	return worked, public(err)
}

// workClaimed works a claimed run.
func (e *FlowExecutor) workClaimed(ctx context.Context, flow *Flow, runID int64, a *attempt) (*Run, error) {
	defer e.client.leases.Release(runID)
	ctx, a.cancel = context.WithCancelCause(ctx)
	defer a.cancel(nil)
	defer e.client.leases.Hold(ctx, lease.Ref(a.claimed), a)()
	if a.slice.timer != nil {
		defer a.slice.timer.Stop()
	}
	a.log.InfoContext(ctx, "dataflow: run started")
	e.client.publish(EventRunStarted, a.run, nil)
	return e.finish(ctx, a, a.persevere(ctx, func() error { return flow.code.run(ctx, a) }))
}

// suspectAfter is how many workers in a row a run has lost when it counts as a suspect: it
// may be a poison run, which kills them. A process works one suspect at a time, until the
// suspect gets to a checkpoint. So a poison run does not take the others down with it again
// and again.
const suspectAfter = 2

// Why a claim is taken back.
var (
	errOtherFlow  = errors.New("the run is another flow's")
	errOneSuspect = fmt.Errorf("%w: another run that has lost its workers, as this one has: such runs are worked one by one", ErrAlreadyRunning)
)

// claim makes the run this executor's. It returns nil if that is not possible now.
func (e *FlowExecutor) claim(ctx context.Context, flow *Flow, runID int64) (a *attempt, err error) {
	// Of two claims that take one slot at once, one is taken back; the next slot may be free.
	for range 1 + flow.opts.MaxBackfills {
		err = e.client.store.InTx(ctx, func(ctx context.Context, tx Tx) (err error) {
			a, err = e.claimTx(ctx, tx, flow, runID)
			return err
		})
		if err != nil {
			a = nil
			e.client.leases.Release(runID)
		}
		if !errors.Is(err, ErrAlreadyRunning) || errors.Is(err, errOneSuspect) {
			return a, err
		}
	}
	return nil, nil //nolint:nilnil // another claim was quicker
}

// claimTx claims the run in a transaction. ErrAlreadyRunning is a claim that
// another one has beaten, or one that must wait; the transaction must be rolled back then.
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
	switch {
	case err != nil || claim == nil:
		return nil, err
	case claim.Run.FlowID != flow.ID:
		return nil, errOtherFlow
	case claim.Run.Rescues >= suspectAfter && !c.leases.Isolate(runID):
		return nil, errOneSuspect
	}
	log := c.log.With(runAttrs(claim.Run)...)
	if e.job != nil {
		log = log.With(slog.Int64(logJob, e.job.ID))
	}
	a := &attempt{
		base: c.base, gate: c.gate, leases: c.leases, jobs: c.jobs, flow: flow, run: claim.Run, job: e.job, log: log, started: c.now(),
		claimed: LeaseRef{RunID: runID, LeaseNumber: claim.Run.LeaseNumber},
		place:   place{seq: claim.Seq, cursor: claim.Cursor, fence: claim.Seq, setSeq: claim.SetSeq},
		sizes:   sizes{set: flow.Runtime.Settings().BatchSize},
	}
	if e.job != nil && c.config.Slice > 0 && flow.code.resumable() {
		a.slice.timer = time.NewTimer(c.config.Slice)
	}
	return a, nil
}
