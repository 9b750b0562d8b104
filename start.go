package dataflow

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/riverqueue/river"

	"github.com/activedataflow/dataflow/internal/stored"
)

// request is what a run is asked for, and by whom. It travels on the Flow that a Runtime is
// handed; a Flow without one asks for a plain run, as a call does.
type request struct {
	trigger       Trigger // empty: TriggerManual
	actor, reason string
	params        json.RawMessage
	again         int64   // the run in whose place this one is tried, 0: none
	backfill      *bounds // nil: a run of the flow's own
}

// bounds are what a backfill reads.
type bounds struct {
	scope       string // the backfill whose cursor and counters it continues; empty: a new one
	from, until json.RawMessage
	part        int             // it is the n-th of a backfill in ranges, 0: it is whole
	all         *BackfillParams // with part: what all ranges read together
}

// uniqueKey returns the key under which the run waits: while another one of the flow waits
// under the same key, that is returned in its place. Processes of two versions work on one
// database, so this grammar may grow and not change:
//
//	key    = [ trigger ":" ] what [ ":" digest(params) ]      a plain call has no trigger
//	what   = "now" | moment                                    a call, a tick, a probe, a registration
//	       | type of the runtime                               a migration
//	       | "run " id | "backfill " scope                     a retry
//	       | [ moment ":" ] digest(from, until)                a backfill
//	       | rangesKey number                                  one of its ranges
//	moment = "at:" time in UTC
func (r *request) uniqueKey(at time.Time, rt Runtime) string {
	var key string
	if r.trigger != TriggerManual {
		key = string(r.trigger) + ":"
	}
	moment := ""
	if !at.IsZero() {
		moment = momentKey(at)
	}
	switch b := r.backfill; {
	case r.again != 0 && b != nil:
		key += "backfill " + b.scope // whichever of its runs is tried again
	case r.again != 0:
		key += "run " + strconv.FormatInt(r.again, 10)
	case b != nil && b.part > 0:
		key = rangesKey(b.all) + strconv.Itoa(b.part)
	case b != nil && moment != "":
		key += moment + ":" + stored.Digest(b.from, b.until)
	case b != nil:
		key += stored.Digest(b.from, b.until)
	case r.trigger == TriggerMigration:
		key += rt.Type()
	default:
		key += cmp.Or(moment, "now")
	}
	if r.params != nil {
		key += ":" + stored.Digest(r.params) // another run than one with other parameters
	}
	return key
}

func momentKey(at time.Time) string { return "at:" + at.UTC().Format(time.RFC3339Nano) }

// rangesKey is how the keys of all ranges of a backfill begin:
//
//	"backfill:ranges:" [ moment ":" ] digest(from, until, params) ":"
func rangesKey(all *BackfillParams) string {
	key := string(TriggerBackfill) + ":ranges:"
	if !all.At.IsZero() {
		key += momentKey(all.At) + ":"
	}
	return key + stored.Digest(all.From, all.Until, all.Params) + ":"
}

// retryOf is the request for a run in the place of one that has ended.
func retryOf(old *Run, actor string) *request {
	r := &request{trigger: TriggerRetry, actor: actor, reason: fmt.Sprintf("retry of run %d", old.ID), params: old.Params, again: old.ID}
	if !old.IsBackfill() {
		return r
	}
	r.backfill = &bounds{scope: old.Scope, until: old.UntilCursor}
	if !stored.Same(old.FromCursor, json.RawMessage("null")) {
		r.backfill.from = old.FromCursor
	}
	return r
}

// asking returns a copy of the flow that asks its Runtime for a run.
func (f *Flow) asking(r *request) *Flow {
	own := *f
	own.request = r
	return &own
}

// asked is what the flow asks its Runtime for.
func (f *Flow) asked() *request {
	r := request{trigger: TriggerManual}
	if f.request != nil {
		r = *f.request
		r.trigger = cmp.Or(r.trigger, TriggerManual)
	}
	return &r
}

// startTx starts a run through the flow's Runtime, in a transaction. The zero time is now.
func (f *Flow) startTx(ctx context.Context, tx Tx, r *request, at time.Time) (*Run, error) {
	if err := f.unread(); err != nil {
		return nil, err
	}
	rt, ok := f.Runtime.(TxRuntime)
	if !ok {
		return nil, fmt.Errorf("its runtime of type %q cannot start a run in a transaction: it has no ExecuteTx", f.Runtime.Type())
	}
	return rt.ExecuteTx(ctx, tx, f.asking(r), at)
}

// mustBeBound refuses a flow that no client has returned.
func (f *Flow) mustBeBound() error {
	if f == nil || f.client == nil {
		return public(fmt.Errorf("start run: %w: the flow was not got from a client: use client.Flow", ErrNotRegistered))
	}
	return nil
}

// start adds a run and, if job says how, its River job: in tx, or in a
// transaction of its own if that is nil.
func (f *Flow) start(ctx context.Context, tx Tx, s RuntimeSettings, at time.Time, job *river.InsertOpts) (*Run, error) {
	if err := f.mustBeBound(); err != nil {
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
		err = f.client.hasStarted(ctx, f)
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
	r := f.asked()
	if r.params != nil {
		if err := f.checkParams(r.params); err != nil {
			return nil, err
		}
	}
	p := &RunInsertParams{
		FlowID: f.ID, Trigger: r.trigger, UniqueKey: r.uniqueKey(at, f.Runtime), At: at, MaxAttempts: f.maxAttempts(),
		Actor: r.actor, Reason: r.reason, Params: r.params,
	}
	if b := r.backfill; b != nil {
		p.Backfill, p.Scope, p.From, p.Until = true, b.scope, b.from, b.until
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
	if err := f.client.jobs.insert(ctx, tx, run, opts); err != nil {
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

// checkParams refuses parameters that the flow's source does not take, as far as this
// process knows.
func (f *Flow) checkParams(params json.RawMessage) error {
	if !json.Valid(params) {
		return &ConfigError{Field: "Params", Reason: fmt.Sprintf("%s is not JSON: a text, for one, stands in double quotes", stored.Clip(string(params)))}
	}
	if !f.Registered() {
		return nil
	}
	return f.code.checkRequest(nil, nil, params)
}

// BackfillParams say what a [Client.Backfill] reads. The zero value reads everything
// again.
type BackfillParams struct {
	// From is the cursor behind which it begins, as JSON. Nil: the beginning.
	From json.RawMessage
	// Until is the cursor up to which it goes, itself included. Nil: to the end. The
	// source must heed it, by the power [RequestChecker], as the Keyset of pgtable and
	// of sqltable does.
	Until json.RawMessage
	// Params are given to the source, as Request.Params: any JSON. The source must
	// take them, by the power [RequestChecker]. Nil: none.
	Params json.RawMessage

	// Append lets it write to a sink that only appends, where records that are there
	// already will be there twice.
	Append bool

	// At is when it starts. Zero: now.
	At time.Time
	// Actor and Reason say who asks for it and why. They are kept with the run.
	Actor  string
	Reason string
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

// request returns what a call asks for. o may be nil.
func (o *TriggerOptions) request() *request {
	if o == nil {
		return nil
	}
	return &request{actor: o.Actor, reason: o.Reason, params: o.Params}
}

func (p *BackfillParams) request(b *bounds) *request {
	return &request{trigger: TriggerBackfill, actor: p.Actor, reason: p.Reason, params: p.Params, backfill: b}
}
