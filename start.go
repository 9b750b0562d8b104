package dataflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/riverqueue/river"
)

type triggerKey struct{}

type startKey struct{}

// startReason is why a run is started that nobody has called for: its trigger, and,
// if it is not for a time, under which key at most one waits.
type startReason struct {
	trigger Trigger
	key     string
	asked   *askedRun // nil: nothing more
}

// startBy starts a run through the flow's Runtime for another reason than a call.
func (f *Flow) startBy(ctx context.Context, tx Tx, trigger Trigger, at time.Time) (*Run, error) {
	return f.startFor(ctx, tx, startReason{trigger: trigger, key: "now"}, at)
}

func (f *Flow) startFor(ctx context.Context, tx Tx, why startReason, at time.Time) (*Run, error) {
	if unread, ok := f.Runtime.(unreadRuntime); ok {
		return nil, unread.err // another process may be able to read it
	}
	rt, ok := f.Runtime.(TxRuntime)
	if !ok {
		return nil, fmt.Errorf("its runtime of type %q cannot start a run in a transaction: it has no ExecuteTx", f.Runtime.Type())
	}
	return rt.ExecuteTx(context.WithValue(ctx, startKey{}, why), tx, f, at)
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

// askedRun is what a run is asked for that is not one of the flow's usual ones.
type askedRun struct {
	backfill    bool
	scope       string          // empty: a new one
	from, until json.RawMessage // of a backfill
	params      json.RawMessage // of a retry
	key         string          // under which at most one waits; empty: the usual one
}

// askedAgain is what a run was asked for, for one in its place.
func askedAgain(r *Run) *askedRun {
	a := &askedRun{backfill: r.IsBackfill(), scope: r.Scope, until: r.UntilCursor, params: r.Params}
	if !a.backfill {
		return a
	}
	a.key = "backfill " + r.Scope // whichever of its runs is tried again
	if !sameJSON(r.FromCursor, json.RawMessage("null")) {
		a.from = r.FromCursor
	}
	return a
}

// fill puts what is asked for into the parameters of a run. a may be nil.
func (a *askedRun) fill(p *RunInsertParams) {
	if a == nil {
		return
	}
	p.Backfill, p.Scope, p.From, p.Until = a.backfill, a.scope, a.from, a.until
	if a.params != nil {
		p.Params = a.params
	}
	if a.key != "" {
		p.UniqueKey = string(p.Trigger) + ":" + a.key
	}
}

// checkParams refuses parameters that the flow's source does not take, as far as this
// process knows.
func (f *Flow) checkParams(params json.RawMessage) error {
	if !json.Valid(params) {
		return &ConfigError{Field: "Params", Reason: fmt.Sprintf("%s is not JSON: a text, for one, stands in double quotes", clip(string(params)))}
	}
	if !f.Registered() {
		return nil
	}
	return f.code.checkRequest(nil, nil, params)
}
