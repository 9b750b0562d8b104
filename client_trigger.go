package dataflow

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/activedataflow/dataflow/internal/notes"
)

// Enqueue starts a run of a flow and leaves the work to others, like TriggerTx. A started
// client or a [Client.Tick] works a flow on [Heartbeat]. This process need not have the flow's
// code. opts may be nil.
func (c *Client) Enqueue(ctx context.Context, name string, opts *TriggerOptions) (*Run, error) {
	at := time.Time{}
	if opts != nil {
		at = opts.At
	}
	if f := c.flows.askable(name); f != nil {
		if run, err := f.startTx(ctx, nil, opts.ofSeen(), at); !errors.Is(err, errUnseen) {
			return run, err
		}
	}
	f, err := c.Flow(ctx, name)
	if err != nil {
		return nil, err
	}
	c.flows.noteAsked(f)
	return f.enqueue(ctx, opts)
}

func (f *Flow) enqueue(ctx context.Context, opts *TriggerOptions) (*Run, error) {
	var run *Run
	err := f.client.store.InTx(ctx, func(ctx context.Context, tx Tx) (err error) {
		run, err = f.client.TriggerTx(ctx, tx, f.Name, opts)
		return err
	})
	if err != nil {
		return nil, public(err)
	}
	f.client.hasStarted(ctx, f, run)
	return run, nil
}

// TriggerMany starts runs of many flows, and leaves the work to others, like Enqueue. It is far
// quicker than as many calls of Enqueue, because it sends one statement for all runs, and one for
// their River jobs. Runs coalesce as those of Trigger do, also with earlier ones of params.
//
// It returns an outcome for each of params, in their order. A run that cannot be started, such
// as one of a paused flow, has its error there, and does not stop the others. All others are
// committed together. If that fails, no run is started, and TriggerMany returns the error.
//
// A call takes at most [TriggerManyMax] params. With more, the error is a *[ConfigError].
func (c *Client) TriggerMany(ctx context.Context, params []TriggerManyParams) ([]Enqueued, error) {
	var all []Enqueued
	err := checkMany(params)
	if err == nil && len(params) > 0 {
		all, err = enqueueMany(ctx, c, params, nil)
	}
	if err != nil {
		err = fmt.Errorf("trigger %d runs: %w", len(params), private(err))
	}
	return all, public(err)
}

// TriggerManyTx is TriggerMany in the caller's transaction. The runs and their River jobs exist
// only if the transaction is committed.
func (c *Client) TriggerManyTx(ctx context.Context, tx Tx, params []TriggerManyParams) ([]Enqueued, error) {
	fail := func(err error) ([]Enqueued, error) {
		return nil, public(fmt.Errorf("trigger %d runs: %w", len(params), private(err)))
	}
	if isNil(tx) {
		return fail(errNilTx())
	}
	if err := checkMany(params); err != nil {
		return fail(err)
	}
	all, err := startMany(ctx, c, tx, params, nil)
	if err != nil {
		return fail(err)
	}
	return all, nil
}

func checkMany(params []TriggerManyParams) error {
	if len(params) > TriggerManyMax {
		return &ConfigError{Field: "params", Reason: fmt.Sprintf("there are %d of them: use at most %d in one call", len(params), TriggerManyMax)}
	}
	return nil
}

// enqueueTries is how often enqueueMany tries. Each deadlock takes the database's deadlock_timeout, mostly a second.
const enqueueTries = 10

// enqueueMany is startMany in a transaction of its own. It tries again if the database has rolled that back for
// another one: two calls may deadlock while claims free the keys of runs that both want to add.
func enqueueMany(ctx context.Context, c *Client, params []TriggerManyParams, flows map[string]*Flow) ([]Enqueued, error) {
	var all []Enqueued
	var err error
	for try := 1; ; try++ {
		err = c.store.InTx(ctx, func(ctx context.Context, tx Tx) (err error) {
			all, err = startMany(ctx, c, tx, params, flows)
			return err
		})
		if err == nil {
			break
		}
		if try == enqueueTries || c.store.Classify(err) != FaultConflict {
			return nil, err
		}
	}
	cancelled := make(map[string]bool)
	for _, e := range all {
		if e.Run == nil || cancelled[e.Flow] {
			continue
		}
		cancelled[e.Flow] = true
		f := flows[e.Flow]
		if f == nil {
			f = c.flows.lastSeen(e.Flow)
		}
		if f != nil {
			c.hasStarted(ctx, f, e.Run)
		}
	}
	return all, nil
}

// EnqueueAll enqueues a run of each flow in the database, in the order of their names. A flow
// with a waiting run gets no other. For a flow that is paused or disabled, or whose Runtime
// this process cannot read, Err says so. actor and reason are stored with the runs. If ctx is
// done, or the database fails, it returns what it did so far, and the error.
func (c *Client) EnqueueAll(ctx context.Context, actor, reason string) ([]Enqueued, error) {
	all := []Enqueued{}
	opts := &TriggerOptions{Actor: actor, Reason: reason}
	p := &FlowListParams{Limit: enqueuePage}
	for {
		recs, err := c.store.FlowList(ctx, p)
		params, flows := make([]TriggerManyParams, len(recs)), make(map[string]*Flow, len(recs))
		for i, rec := range recs {
			params[i], flows[rec.Name] = TriggerManyParams{Flow: rec.Name, Options: opts}, c.flows.bind(rec)
		}
		var page []Enqueued
		if err == nil && len(recs) > 0 {
			page, err = enqueueMany(ctx, c, params, flows)
		}
		all = append(all, page...)
		if err != nil {
			return all, public(fmt.Errorf("enqueue all flows: %w", private(err)))
		}
		if len(recs) < p.Limit {
			return all, nil
		}
		notes.Progress(ctx, notes.Step{What: "flows", Done: int64(len(all))})
		p.After = recs[len(recs)-1].Name
	}
}

// enqueuePage is how many flows EnqueueAll enqueues in one transaction.
const enqueuePage = 1000

func errNilTx() error {
	return &ConfigError{Field: "tx", Reason: "it is nil: use dataflowpgx.Tx(tx) or dataflowsqlite.Tx(tx)"}
}

// Trigger starts a run of a flow through its Runtime: by ExecuteAt if opts has a time,
// otherwise by Execute. opts may be nil.
func (c *Client) Trigger(ctx context.Context, name string, opts *TriggerOptions) (*Run, error) {
	execute := func(f *Flow) (*Run, error) {
		if opts == nil || opts.At.IsZero() {
			return f.Runtime.Execute(ctx, f)
		}
		return f.Runtime.ExecuteAt(ctx, f, opts.At)
	}
	if f := c.flows.askable(name); f != nil {
		if run, err := execute(f.asking(opts.ofSeen())); !errors.Is(err, errUnseen) {
			return run, err
		}
	}
	f, err := c.Flow(ctx, name)
	if err != nil {
		return nil, err
	}
	c.flows.noteAsked(f)
	return execute(f.asking(opts.request()))
}

// TriggerTx starts a run in the caller's transaction. The run and its River job exist only if
// the transaction is committed. A started client or a [Client.Tick] then works a flow on
// [Heartbeat]. opts may be nil.
//
// On Postgres the transaction also notifies other processes, so it cannot be prepared for a
// two-phase commit: PREPARE TRANSACTION fails.
func (c *Client) TriggerTx(ctx context.Context, tx Tx, name string, opts *TriggerOptions) (*Run, error) {
	if isNil(tx) {
		return nil, public(fmt.Errorf("trigger flow %q: %w", name, errNilTx()))
	}
	at := time.Time{}
	if opts != nil {
		at = opts.At
	}
	if f := c.flows.askable(name); f != nil {
		if run, err := f.startTx(ctx, tx, opts.ofSeen(), at); !errors.Is(err, errUnseen) {
			return run, err
		}
	}
	q, err := c.store.With(tx)
	if err != nil {
		return nil, public(fmt.Errorf("trigger flow %q: %w", name, err))
	}
	rec, err := q.FlowByName(ctx, name)
	if err != nil {
		return nil, public(fmt.Errorf("trigger flow %q: %w", name, c.flows.unstored(name, err)))
	}
	f := c.flows.bind(rec)
	c.flows.noteAsked(f)
	rt, ok := f.Runtime.(TxRuntime)
	if !ok {
		return nil, public(fmt.Errorf("trigger flow %q: its runtime of type %q cannot start a run in a transaction: it has no ExecuteTx", name, f.Runtime.Type()))
	}
	return rt.ExecuteTx(ctx, tx, f.asking(opts.request()), at)
}

// hasStarted does what follows after started runs of a flow were committed. River wakes who works their jobs.
func (c *Client) hasStarted(ctx context.Context, f *Flow, runs ...*Run) {
	if _, ok := queuedOf(f.Runtime); !ok {
		c.worker.wakeHere(f.ID, runs...)
	}
	c.schedule.cancelReplaced(ctx, f)
}

// letNext wakes who may work the next run of a flow, after a run without a River job has ended or
// was handed back. The loop of this client looks by itself, unless it is stopping. If the flow has
// a group, it wakes also who may work the run that waits longest for a place there.
func (c *Client) letNext(ctx context.Context, f *Flow) {
	if f.opts.Group != "" {
		c.jobs.letNextOfGroup(context.WithoutCancel(ctx), f, c.worker.wakeAll)
	}
	if _, ok := queuedOf(f.Runtime); ok {
		return
	}
	c.worker.wakeHere(f.ID)
	if !c.worker.polling.Load() || c.gate.closed() {
		c.wakeOthers(ctx, f.ID)
	}
}

// DryRun takes the next records of a flow through its code and leaves no trace. The flow's
// cursor, counters and dead letters stay as they are, and there is no run. params may be nil.
//
// With a target of [ToTx], DryRun writes the records as a run does, one by one where the
// database refuses some, and then rolls back. It does so with [ToReplace] too, but replaces
// nothing. It does not call other sinks.
//
// Some effects cannot be rolled back. What the transform does elsewhere stays done. Numbers
// that the database gives to new rows are used up. Constraints that are checked at a commit
// are not checked. The rows that DryRun writes are locked until it ends.
//
// An error that would end the attempt of a run, such as that of a source that cannot be read,
// is DryRun's error. The process must have the flow's code. Otherwise the error is
// ErrNotRegistered. While this process works a run of the flow, which uses the same source,
// the error is ErrAlreadyRunning.
func (c *Client) DryRun(ctx context.Context, name string, params *DryRunParams) (*DryRunReport, error) {
	fail := func(err error) (*DryRunReport, error) {
		return nil, public(fmt.Errorf("dry run of flow %q: %w", name, private(err)))
	}
	p := DryRunParams{}
	if params != nil {
		p = *params
	}
	f, err := c.Flow(ctx, name)
	if err != nil {
		return fail(err)
	}
	if !f.Registered() {
		return fail(fmt.Errorf("%w: this process does not have the flow's code", ErrNotRegistered))
	}
	if err := c.gate.enter(); err != nil {
		return fail(err)
	}
	defer c.gate.leave()
	if err := notWorking(c.leases.Holders(), f); err != nil {
		return fail(err)
	}
	leave, err := c.pools.wait(ctx, f, nil)
	if err != nil {
		return fail(err)
	}
	defer leave()
	if err := p.fillIn(ctx, f); err != nil {
		return fail(err)
	}
	var report *DryRunReport
	given := params != nil && params.From != nil
	err = guard(func() error {
		report, err = f.code.dryRun(ctx, c.pools.runs, f, &p, given)
		return err
	})
	if err != nil {
		return fail(err)
	}
	return report, nil
}

// notWorking returns an error while this process works a run of the flow.
func notWorking(holders []*attempt, f *Flow) error {
	for _, a := range holders {
		if a.flow.ID == f.ID {
			return fmt.Errorf("%w: this process works run %d, with the same source: try again when it has ended, or in another process", ErrAlreadyRunning, a.claimed.RunID)
		}
	}
	return nil
}

// dryRunDefault is how many records a dry run reads if Limit is 0.
const dryRunDefault = 10

// fillIn checks the parameters and fills in where the dry run begins.
func (p *DryRunParams) fillIn(ctx context.Context, f *Flow) error {
	if p.Limit < 0 || p.Limit > maxPage {
		return &ConfigError{Field: "Limit", Reason: fmt.Sprintf("%d is out of range: use 1 to %d, or 0 for the default, %d", p.Limit, maxPage, dryRunDefault)}
	}
	p.Limit = cmp.Or(p.Limit, dryRunDefault)
	given := p.From != nil
	if err := errors.Join(checkPlace("From", &p.From, f.code.checkCursor), checkPlace("Params", &p.Params, f.checkParams)); err != nil {
		return err
	}
	if given {
		return nil
	}
	cur, err := f.client.store.CursorGet(ctx, f.ID)
	if err == nil {
		p.From = cur.Cursor
	}
	return err
}
