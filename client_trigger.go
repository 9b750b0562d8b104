package dataflow

import (
	"context"
	"fmt"
	"time"
)

// Enqueue starts a run of a flow and leaves the work to others, like TriggerTx. A started
// client or a [Client.Tick] works a flow on [Heartbeat]. This process need not have the flow's
// code. opts may be nil.
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
		err = f.client.hasStarted(ctx, f)
	}
	if err != nil {
		return nil, public(err)
	}
	return run, nil
}

// Enqueued is what [Client.EnqueueAll] did for a flow.
type Enqueued struct {
	Flow string
	// Run is the run that was started, or, with Coalesced set, a run that was waiting already.
	// Nil: there is none, and Err says why, such as ErrDisabled.
	Run *Run
	Err error
}

// EnqueueAll enqueues a run of each flow in the database, in the order of their names. A flow
// with a waiting run gets no other. For a flow that is paused or disabled, or whose Runtime
// this process cannot read, Err says so. actor and reason are stored with the runs. If ctx is
// done, it returns what it did so far, and ctx's error.
func (c *Client) EnqueueAll(ctx context.Context, actor, reason string) ([]Enqueued, error) {
	all := []Enqueued{}
	err := c.flows.each(ctx, func(f *Flow) error {
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

// Trigger starts a run of a flow through its Runtime: by ExecuteAt if opts has a time,
// otherwise by Execute. opts may be nil.
func (c *Client) Trigger(ctx context.Context, name string, opts *TriggerOptions) (*Run, error) {
	f, err := c.Flow(ctx, name)
	if err != nil {
		return nil, err
	}
	f = f.asking(opts.request())
	if opts == nil || opts.At.IsZero() {
		return f.Runtime.Execute(ctx, f)
	}
	return f.Runtime.ExecuteAt(ctx, f, opts.At)
}

// TriggerTx starts a run in the caller's transaction. The run and its River job exist only if
// the transaction is committed. A started client or a [Client.Tick] then works a flow on
// [Heartbeat]. opts may be nil.
func (c *Client) TriggerTx(ctx context.Context, tx Tx, name string, opts *TriggerOptions) (*Run, error) {
	if isNil(tx) {
		return nil, public(fmt.Errorf("trigger flow %q: %w", name, &ConfigError{Field: "tx", Reason: "it is nil: use dataflowpgx.Tx(tx) or dataflowsqlite.Tx(tx)"}))
	}
	q, err := c.store.With(tx)
	if err != nil {
		return nil, public(fmt.Errorf("trigger flow %q: %w", name, err))
	}
	rec, err := q.FlowByName(ctx, name)
	if err != nil {
		return nil, public(fmt.Errorf("trigger flow %q: %w", name, err))
	}
	f := c.flows.bind(rec)
	rt, ok := f.Runtime.(TxRuntime)
	if !ok {
		return nil, public(fmt.Errorf("trigger flow %q: its runtime of type %q cannot start a run in a transaction: it has no ExecuteTx", name, f.Runtime.Type()))
	}
	at := time.Time{}
	if opts != nil {
		at = opts.At
	}
	return rt.ExecuteTx(ctx, tx, f.asking(opts.request()), at)
}

// hasStarted does what follows after a started run was committed.
func (c *Client) hasStarted(ctx context.Context, f *Flow) error { return c.schedule.cancelFor(ctx, f) }
