package dataflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"time"

	"github.com/riverqueue/river"
)

// Run returns a run by its id, or ErrNotFound.
func (c *Client) Run(ctx context.Context, id int64) (*Run, error) {
	run, err := c.store.RunByID(ctx, id)
	if err != nil {
		return nil, public(fmt.Errorf("get run %d: %w", id, err))
	}
	return run, nil
}

// Runs lists runs, newest first. params may be nil.
func (c *Client) Runs(ctx context.Context, params *RunListParams) ([]*Run, error) {
	p := RunListParams{}
	if params != nil {
		p = *params
	}
	var err error
	if p.Limit, err = pageSize(p.Limit); err != nil {
		return nil, public(fmt.Errorf("list runs: %w", err))
	}
	for _, s := range p.States {
		if !s.Valid() {
			return nil, public(fmt.Errorf("list runs: %w", &ConfigError{Field: "States", Reason: fmt.Sprintf("%q is not a state of a run: use pending, in_progress, success, failed or cancelled", s)}))
		}
	}
	runs, err := c.store.RunList(ctx, &p)
	if err != nil {
		return nil, public(fmt.Errorf("list runs: %w", err))
	}
	return runs, nil
}

// TriggerOptions are the optional settings of [Client.Trigger].
type TriggerOptions struct {
	// At is when the run starts. Zero: now.
	At time.Time
	// Actor and Reason say who asks for the run and why. They are kept with it.
	Actor  string
	Reason string
	// Params are given to the flow's source, as Request.Params: any JSON. The source
	// must take them, by the power [RequestChecker]. Nil: none.
	Params json.RawMessage
}

type triggerKey struct{}

// Trigger starts a run of a flow through its Runtime: Execute, or ExecuteAt if
// opts say when. opts may be nil.
func (c *Client) Trigger(ctx context.Context, name string, opts *TriggerOptions) (*Run, error) {
	f, err := c.Flow(ctx, name)
	if err != nil {
		return nil, err
	}
	if opts == nil {
		return f.Runtime.Execute(ctx, f)
	}
	ctx = context.WithValue(ctx, triggerKey{}, opts)
	if opts.At.IsZero() {
		return f.Runtime.Execute(ctx, f)
	}
	return f.Runtime.ExecuteAt(ctx, f, opts.At)
}

// TriggerTx starts a run in the caller's transaction: the run, and its River
// job, exist exactly if that is committed. A flow on [Heartbeat] is then worked
// by a started client or a [Client.Tick]. opts may be nil.
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
	f := c.bind(rec)
	rt, ok := f.Runtime.(TxRuntime)
	if !ok {
		return nil, public(fmt.Errorf("trigger flow %q: its runtime of type %q cannot start a run in a transaction: it has no ExecuteTx", name, f.Runtime.Type()))
	}
	at := time.Time{}
	if opts != nil {
		at = opts.At
		ctx = context.WithValue(ctx, triggerKey{}, opts)
	}
	return rt.ExecuteTx(ctx, tx, f, at)
}

// bound refuses a flow that no client has returned.
func (f *Flow) bound() error {
	if f == nil || f.client == nil {
		return public(fmt.Errorf("start run: %w: the flow was not got from a client: use client.Flow", ErrNotRegistered))
	}
	return nil
}

// start adds a run and, if job says how, its River job: in tx, or in a
// transaction of its own if that is nil.
func (f *Flow) start(ctx context.Context, tx Tx, s RuntimeSettings, at time.Time, job *river.InsertOpts) (*Run, error) {
	if err := f.bound(); err != nil {
		return nil, err
	}
	var run *Run
	insert := func(ctx context.Context, tx Tx) (err error) {
		run, err = f.insertRun(ctx, tx, s, at, job)
		return err
	}
	var err error
	if tx != nil {
		err = insert(ctx, tx)
	} else if err = f.client.store.InTx(ctx, insert); err == nil {
		err = f.client.cancelFor(ctx, f)
	}
	if err != nil {
		return nil, public(fmt.Errorf("start run of flow %q: %w", f.Name, err))
	}
	return run, nil
}

func (f *Flow) insertRun(ctx context.Context, tx Tx, s RuntimeSettings, at time.Time, job *river.InsertOpts) (*Run, error) {
	if !s.Enabled {
		return nil, fmt.Errorf("%w: its runtime is", ErrDisabled)
	}
	q, err := f.client.store.With(tx)
	if err != nil {
		return nil, err
	}
	p := &RunInsertParams{FlowID: f.ID, Trigger: TriggerManual, UniqueKey: "now", At: at, MaxAttempts: f.maxAttempts()}
	if !at.IsZero() {
		p.UniqueKey = "at:" + at.UTC().Format(time.RFC3339Nano)
	}
	if opts, ok := ctx.Value(triggerKey{}).(*TriggerOptions); ok {
		p.Actor, p.Reason, p.Params = opts.Actor, opts.Reason, opts.Params
	}
	if why, ok := ctx.Value(startKey{}).(startReason); ok {
		if at.IsZero() {
			p.UniqueKey = why.key
		}
		p.Trigger, p.UniqueKey = why.trigger, string(why.trigger)+":"+p.UniqueKey
		why.asked.fill(p)
	}
	if p.Params != nil {
		if err := f.checkParams(p.Params); err != nil {
			return nil, err
		}
		p.UniqueKey += ":" + digest(p.Params) // another run than one with other parameters
	}
	run, err := q.RunInsert(ctx, p)
	if errors.Is(err, ErrNotFound) {
		return nil, f.whyNoRun(ctx, q)
	}
	if err != nil || run.Coalesced || job == nil {
		return run, err
	}
	opts := *job
	if !at.IsZero() && p.Trigger != TriggerSchedule { // a tick is due by the database's clock, if not by this process's
		opts.ScheduledAt = run.RunAfter
	}
	if err := f.client.insertJob(ctx, tx, run, opts); err != nil {
		return nil, err
	}
	f.client.log.InfoContext(ctx, "dataflow: job enqueued", slog.String(logFlow, f.Name), slog.Int64(logRun, run.ID), slog.Int64(logJob, run.RiverJobID),
		slog.String("queue", run.Queue), slog.Time("run_after", run.RunAfter))
	return run, nil
}

// whyNoRun explains why a run could not be added.
func (f *Flow) whyNoRun(ctx context.Context, q Queries) error {
	rec, err := q.FlowByID(ctx, f.ID)
	if err != nil {
		return err
	}
	return inactiveError(rec)
}

func inactiveError(rec *FlowRecord) error {
	why := "it is inactive"
	if rec.StateBy != "" {
		why += ", by " + rec.StateBy
	}
	if rec.StateReason != "" {
		why += ": " + rec.StateReason
	}
	return fmt.Errorf("%w: %s", ErrDisabled, why)
}

// waitInterval is how often Wait looks at a run that another process works.
const waitInterval = 200 * time.Millisecond

// Wait returns a run when it has ended, or ctx's error. A run that has failed
// or was cancelled is returned together with its [Run.Err]. It may be worked by
// any process.
func (c *Client) Wait(ctx context.Context, id int64) (*Run, error) {
	events, cancel := c.Subscribe(EventRunSucceeded, EventRunFailed, EventRunCancelled)
	defer cancel()
	tick := time.NewTicker(waitInterval)
	defer tick.Stop()
	for {
		run, err := c.store.RunByID(ctx, id)
		if err != nil {
			return nil, public(fmt.Errorf("wait for run %d: %w", id, err))
		}
		if run.State.Finished() {
			return run, run.Err()
		}
		select {
		case <-ctx.Done():
			return run, public(fmt.Errorf("wait for run %d: %w", id, ctx.Err()))
		case <-events:
		case <-tick.C:
		}
	}
}

// Progress tells how far a run has come, wherever it is worked.
func (c *Client) Progress(ctx context.Context, id int64) (*Progress, error) {
	run, err := c.Run(ctx, id)
	if err != nil {
		return nil, err
	}
	return c.progressOf(run), nil
}

func (c *Client) progressOf(run *Run) *Progress {
	p := &Progress{RunID: run.ID, State: run.State, Counters: run.Counters, Total: run.Total}
	switch {
	case run.StartedAt == nil:
		return p
	case run.EndedAt != nil:
		p.Elapsed = run.Duration()
	default:
		p.Elapsed = max(c.now().Sub(*run.StartedAt), 0)
	}
	if s := p.Elapsed.Seconds(); s > 0 {
		p.Rate = float64(p.Counters.Read) / s
	}
	if p.Rate > 0 && p.Total != nil && !run.State.Finished() {
		left := time.Duration(float64(max(*p.Total-p.Counters.Read, 0)) / p.Rate * float64(time.Second))
		p.Left = &left
	}
	return p
}

// runsOf yields all runs of a flow in some states, newest first. What is yielded may be
// changed meanwhile.
func (c *Client) runsOf(ctx context.Context, flow string, states ...RunState) iter.Seq2[*Run, error] {
	return func(yield func(*Run, error) bool) {
		p := &RunListParams{Flow: flow, States: states, Limit: pageOfRuns}
		for {
			runs, err := c.store.RunList(ctx, p)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, run := range runs {
				if !yield(run, nil) {
					return
				}
			}
			if len(runs) < p.Limit {
				return
			}
			p.Before = runs[len(runs)-1].ID
		}
	}
}

// pageOfRuns is how many runs are in memory at once.
const pageOfRuns = 1000
