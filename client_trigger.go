package dataflow

import (
	"context"
	"fmt"
	"time"
)

// Enqueue starts a run of a flow and leaves it to whoever works it, as TriggerTx
// does: a flow on [Heartbeat] is worked by a started client or a [Client.Tick], and
// this process need not have its code. opts may be nil.
func (c *Client) Enqueue(ctx context.Context, name string, opts *TriggerOptions) (*Run, error) {
	f, err := c.Flow(ctx, name)
	if err != nil {
		return nil, err
	}
	return f.enqueue(ctx, opts)
}

func (f *Flow) enqueue(ctx context.Context, opts *TriggerOptions) (*Run, error) {
	var run *Run
	err := f.client.store.InTx(ctx, func(ctx context.Context, tx Tx) (err error) {
		run, err = f.client.TriggerTx(ctx, tx, f.Name, opts)
		return err
	})
	if err == nil {
		err = f.client.cancelFor(ctx, f)
	}
	if err != nil {
		return nil, public(err)
	}
	return run, nil
}

// Enqueued is what [Client.EnqueueAll] did for a flow.
type Enqueued struct {
	Flow string
	// Run is the run that was started, or, with Coalesced set, one that waited already.
	// Nil: there is none, and Err says why, such as ErrDisabled.
	Run *Run
	Err error
}

// EnqueueAll enqueues a run of each flow in the database, in the order of their
// names. Of a flow that waits already no other run is started. Flows that are paused
// or disabled, or whose Runtime this process cannot read, are left out, and say so.
// actor and reason are kept with the runs. When ctx is done, it returns what it has
// done, and ctx's error.
func (c *Client) EnqueueAll(ctx context.Context, actor, reason string) ([]Enqueued, error) {
	all := []Enqueued{}
	err := c.eachFlow(ctx, func(f *Flow) error {
		run, err := f.enqueue(ctx, &TriggerOptions{Actor: actor, Reason: reason})
		if err != nil && ctx.Err() != nil {
			return err
		}
		all = append(all, Enqueued{Flow: f.Name, Run: run, Err: err})
		return nil
	})
	if err != nil {
		return all, public(fmt.Errorf("enqueue all flows: %w", err))
	}
	return all, nil
}

// eachFlow calls fn with each flow in the database, in the order of their names.
func (c *Client) eachFlow(ctx context.Context, fn func(f *Flow) error) error {
	p := &FlowListParams{Limit: defaultPage}
	for {
		recs, err := c.store.FlowList(ctx, p)
		if err != nil {
			return err
		}
		for _, rec := range recs {
			if err := fn(c.bind(rec)); err != nil {
				return err
			}
		}
		if len(recs) < p.Limit {
			return nil
		}
		p.After = recs[len(recs)-1].Name
	}
}

// Retry starts a new run of the flow of a run that has failed or was cancelled, with
// TriggerRetry and a Reason that names the old one, and with the same Params; it goes on
// at the flow's cursor, or, if it was a backfill, where that has got to. As long as it waits, another call returns it, with Coalesced set. A run in
// any other state is ErrRunState. actor is kept with the run.
func (c *Client) Retry(ctx context.Context, runID int64, actor string) (*Run, error) {
	fail := func(err error) (*Run, error) { return nil, public(fmt.Errorf("retry run %d: %w", runID, err)) }
	old, err := c.store.RunByID(ctx, runID)
	if err != nil {
		return fail(err)
	}
	if old.State != RunFailed && old.State != RunCancelled {
		return fail(fmt.Errorf("%w: it is %s, and only a run that is failed or cancelled can be retried", ErrRunState, old.State))
	}
	rec, err := c.store.FlowByID(ctx, old.FlowID)
	if err != nil {
		return fail(err)
	}
	f := c.bind(rec)
	ctx = context.WithValue(ctx, triggerKey{}, &TriggerOptions{Actor: actor, Reason: fmt.Sprintf("retry of run %d", runID)})
	var run *Run
	err = c.store.InTx(ctx, func(ctx context.Context, tx Tx) (err error) {
		run, err = f.startFor(ctx, tx, startReason{trigger: TriggerRetry, key: fmt.Sprintf("run %d", runID), asked: askedAgain(old)}, time.Time{})
		return err
	})
	if err == nil {
		err = c.cancelFor(ctx, f)
	}
	if err != nil {
		return fail(private(err))
	}
	return run, nil
}
