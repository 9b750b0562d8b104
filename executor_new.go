package dataflow

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// executeNew adds a run, claims it in the same transaction, and works it. So no other process
// can work the run first. Without room for its connections, the run waits as pending.
func (e *FlowExecutor) executeNew(ctx context.Context, flow *Flow, s RuntimeSettings) (*Run, error) {
	if err := e.client.gate.enter(); err != nil {
		return nil, public(fmt.Errorf("execute flow %q: %w", flow.Name, err))
	}
	defer e.client.gate.leave()
	leave, full := e.client.pools.enter(flow)
	if full != nil {
		leave = func() {}
	}
	var run *Run
	var a *attempt
	release := func() {}
	defer func() { release() }()
	insert := func(claim bool) error {
		return e.client.store.InTx(ctx, func(ctx context.Context, tx Tx) (err error) {
			if run, err = flow.workedHere(claim).insertRun(ctx, tx, s, time.Time{}, nil); err != nil {
				return err
			}
			if !claim {
				release = e.client.pools.hold(run.ID) // before the loop can see the run
				return nil
			}
			a, err = e.claimTx(ctx, tx, flow, run.ID)
			return err
		})
	}
	err := insert(flow.Registered() && full == nil)
	if errors.Is(err, ErrAlreadyRunning) {
		a = nil
		err = insert(false) // the rollback of the claim removed the run too
	}
	if err == nil && a == nil {
		err = e.client.hasStarted(ctx, flow)
	}
	switch {
	case err != nil:
		leave()
		return nil, public(fmt.Errorf("start run of flow %q: %w", flow.Name, err))
	case !flow.Registered():
		leave()
		return run, public((&candidate{flow: flow, run: run}).refusal())
	}
	var worked *Run
	switch {
	case a != nil:
		a.connections = leave
		worked, err = e.workClaimed(ctx, flow, run.ID, a)
	case full != nil:
		worked, err = e.executeLater(ctx, flow, run, full)
	default:
		leave()
		worked, err = e.notClaimed(ctx, flow, run.ID, nil)
	}
	if worked == nil {
		worked = run
	}
	if errors.Is(err, ErrRunFinished) {
		err = worked.Err() // another process worked the waiting run first
	}
	worked.Coalesced = run.Coalesced
	return worked, public(err)
}

// executeLater waits until there is room for the connections of a pending run, and works it.
func (e *FlowExecutor) executeLater(ctx context.Context, flow *Flow, run *Run, full error) (*Run, error) {
	e.client.pools.tell(ctx, run, full)
	leave, err := e.client.pools.wait(ctx, flow, func() bool {
		now, err := e.client.store.RunByID(ctx, run.ID)
		return err == nil && now.State != RunPending || errors.Is(err, ErrNotFound)
	})
	if errors.Is(err, errWaitOver) { // it was cancelled, or another process works it
		return e.notClaimed(ctx, flow, run.ID, nil)
	}
	if err != nil {
		return run, fmt.Errorf("claim run %d of flow %q: %w", run.ID, flow.Name, err)
	}
	return e.executeWith(ctx, flow, run.ID, leave)
}
