package dataflow

// Asking for runs: a request says which run is wanted, by whom and why. It sets the key under
// which the run waits, and adds the run and its River job. It knows the flows and the jobs.

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

// request says which run is wanted, by whom and why. A Runtime gets it with the Flow. A Flow
// without a request asks for a plain run.
type request struct {
	trigger       Trigger // empty: TriggerManual
	actor, reason string
	params        json.RawMessage
	again         int64   // the run that this one retries, 0: none
	backfill      *bounds // nil: a run of the flow's own
	here          bool    // the caller works the run itself
	seen          bool    // the flow is as this process last saw it: if it has changed, errUnseen
}

// errUnseen says that a flow is not as this process last saw it, and must be read.
var errUnseen = errors.New("the flow was changed, or is inactive")

// bounds are what a backfill reads.
type bounds struct {
	scope       string // the backfill to continue, with its cursor and counters; empty: a new one
	from, until json.RawMessage
	part        int             // the number of this range, from 1; 0: not in ranges
	all         *BackfillParams // with part: what all ranges read together
}

// noted reports whether the audit log has an entry for the run.
func (r *request) noted() bool {
	return r.actor != "" || r.trigger == TriggerRetry || r.trigger == TriggerBackfill
}

// uniqueKey returns the key under which the run waits. While another run of the flow waits
// under the same key, no run is added, and the caller gets the waiting one. Processes of two
// versions share a database, so this grammar may grow, but its keys never change:
//
//	key    = [ trigger ":" ] what [ ":" digest(params) ]      a plain call has no trigger, nor has a run after another flow's
//	what   = "now" | moment                                    a call, a tick, a probe, a registration
//	       | type of the runtime                               a migration
//	       | "run " id | "backfill " scope                     a retry
//	       | [ moment ":" ] digest(from, until)                a backfill
//	       | rangesKey number                                  one of its ranges
//	moment = "at:" time in UTC
//
// A range of a first load has no key, until it is retried.
func (r *request) uniqueKey(at time.Time, rt Runtime) string {
	var key string
	if r.trigger != TriggerManual && r.trigger != TriggerAfter {
		key = string(r.trigger) + ":"
	}
	moment := ""
	if !at.IsZero() {
		moment = momentKey(at)
	}
	switch b := r.backfill; {
	case r.trigger == TriggerFirstLoad && r.again == 0:
		return "" // they are asked for once, by the run that holds the flow
	case r.again != 0 && b != nil:
		key += "backfill " + b.scope // the same key for a retry of any of its runs
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
		key += ":" + stored.Digest(r.params) // other parameters are another run
	}
	return key
}

func momentKey(at time.Time) string { return "at:" + at.UTC().Format(time.RFC3339Nano) }

// rangesKey returns the prefix of the keys of all ranges of a backfill:
//
//	"backfill:ranges:" [ moment ":" ] digest(from, until, params) ":"
func rangesKey(all *BackfillParams) string {
	key := string(TriggerBackfill) + ":ranges:"
	if !all.At.IsZero() {
		key += momentKey(all.At) + ":"
	}
	return key + stored.Digest(all.From, all.Until, all.Params) + ":"
}

// retryOf returns the request for a retry of a run that has ended.
func retryOf(old *Run, actor string) *request {
	r := &request{trigger: TriggerRetry, actor: actor, reason: fmt.Sprintf("retry of run %d", old.ID), params: old.Params, again: old.ID}
	if !old.IsBackfill() {
		return r
	}
	if old.Trigger == TriggerFirstLoad { // it stays a range of that
		r.trigger = TriggerFirstLoad
	}
	r.backfill = &bounds{scope: old.Scope, until: old.UntilCursor}
	if !stored.Same(old.FromCursor, json.RawMessage("null")) {
		r.backfill.from = old.FromCursor
	}
	return r
}

// betweenText says where a range begins and ends. A nil cursor is the beginning or the end.
func betweenText(from, until json.RawMessage) string {
	begin, end := "from the beginning", "to the end"
	if from != nil {
		begin = "after " + stored.Clip(string(from))
	}
	if until != nil {
		end = "up to " + stored.Clip(string(until))
	}
	return begin + " " + end
}

// asking returns a copy of the flow that carries the request to its Runtime.
func (f *Flow) asking(r *request) *Flow {
	own := *f
	own.request = r
	return &own
}

// asked returns the request that the flow carries, or that for a plain run.
func (f *Flow) asked() *request {
	r := request{trigger: TriggerManual}
	if f.request != nil {
		r = *f.request
		r.trigger = cmp.Or(r.trigger, TriggerManual)
	}
	return &r
}

// workedHere returns a copy of the flow that asks for a run which the caller works itself, or
// does not.
func (f *Flow) workedHere(is bool) *Flow {
	r := f.asked()
	r.here = is
	return f.asking(r)
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
	var run *Run
	err := guard(func() (err error) {
		run, err = rt.ExecuteTx(ctx, tx, f.asking(r), at)
		return err
	})
	if err == nil && run == nil {
		err = fmt.Errorf("the ExecuteTx of its runtime of type %q returned neither a run nor an error", f.Runtime.Type())
	}
	return run, err
}

// mustBeBound returns an error if no client returned the flow.
func (f *Flow) mustBeBound() error {
	if f == nil || f.client == nil {
		return public(fmt.Errorf("start run: %w: no client returned this flow: get it with client.Flow", ErrNotRegistered))
	}
	return nil
}

// start adds a run and, unless job is nil, its River job. It does so in tx, or, if that is
// nil, in a transaction of its own.
func (f *Flow) start(ctx context.Context, tx Tx, s RuntimeSettings, at time.Time, job *river.InsertOpts) (*Run, error) {
	if err := f.mustBeBound(); err != nil {
		return nil, err
	}
	var run *Run
	var err error
	if tx != nil {
		run, err = f.insertRun(ctx, tx, s, at, job)
	} else if run, err = f.insertRunAlone(ctx, s, at, job); err == nil {
		f.client.hasStarted(ctx, f, run)
	}
	if err != nil {
		return nil, public(fmt.Errorf("start run of flow %q: %w", f.Name, err))
	}
	return run, nil
}

// insertRun adds a run and its River job in a transaction.
func (f *Flow) insertRun(ctx context.Context, tx Tx, s RuntimeSettings, at time.Time, job *river.InsertOpts) (*Run, error) {
	p, err := f.insertParams(ctx, s, at, job)
	if err != nil {
		return nil, err
	}
	q, err := f.client.store.With(tx)
	if err != nil {
		return nil, err
	}
	run, err := q.RunInsert(ctx, p)
	if err != nil {
		return nil, f.whyNoRun(ctx, q, err)
	}
	if err := f.noteRun(ctx, q, p, run); err != nil {
		return nil, err
	}
	return run, f.insertJob(ctx, tx, p, run, job)
}

// noteRun stores in the audit log that somebody asked for a run.
func (f *Flow) noteRun(ctx context.Context, q Queries, p *RunInsertParams, run *Run) error {
	if b := f.asked().backfill; b != nil && b.part > 0 {
		return nil // there is one entry for all ranges
	}
	e, err := p.audit(run)
	if err == nil && e != nil {
		err = q.AuditInsert(ctx, e)
	}
	if err != nil {
		return fmt.Errorf("write the audit log: %w", err)
	}
	return nil
}

// audit returns the entry of the audit log for a run that somebody asked for, or nil if nobody
// did. A plain call is a program's, unless it names an actor.
func (p *RunInsertParams) audit(run *Run) (*AuditEntry, error) {
	after := make(map[string]any)
	var action AuditAction
	switch {
	case p.Trigger == TriggerManual && p.Actor != "":
		action = AuditTrigger
	case p.Trigger == TriggerRetry, p.Trigger == TriggerFirstLoad && p.Actor != "":
		action = AuditRetry
	case p.Trigger == TriggerBackfill:
		action = AuditBackfill
		after["from"], after["until"] = p.From, p.Until
	default:
		return nil, nil //nolint:nilnil // documented: nobody asked
	}
	if p.Params != nil {
		after["params"] = p.Params
	}
	if !p.At.IsZero() {
		after["at"] = p.At.UTC()
	}
	if run.Coalesced {
		after["coalesced"] = true
	}
	return audit(action, p.FlowID, run.ID, p.Actor, p.Reason, nil, after)
}

// insertRunAlone is insertRun in a transaction of its own.
func (f *Flow) insertRunAlone(ctx context.Context, s RuntimeSettings, at time.Time, job *river.InsertOpts) (run *Run, err error) {
	store, ok := f.client.store.(RunStarter)
	if !ok {
		err = f.client.store.InTx(ctx, func(ctx context.Context, tx Tx) (err error) {
			run, err = f.insertRun(ctx, tx, s, at, job)
			return err
		})
		return run, err
	}
	p, err := f.insertParams(ctx, s, at, job)
	if err != nil {
		return nil, err
	}
	err = store.InsertInTx(ctx, p, func(ctx context.Context, tx Tx, added *Run) error {
		run = added
		if p.Actor != "" {
			q, err := f.client.store.With(tx)
			if err == nil {
				err = f.noteRun(ctx, q, p, run)
			}
			if err != nil {
				return err
			}
		}
		return f.insertJob(ctx, f.client.jobs.closing(tx), p, run, job)
	})
	if errors.Is(err, ErrNotFound) {
		err = f.whyNoRun(ctx, f.client.store, err)
	}
	return run, err
}

// insertParams returns what is stored of the run that the flow is asked for.
func (f *Flow) insertParams(ctx context.Context, s RuntimeSettings, at time.Time, job *river.InsertOpts) (*RunInsertParams, error) {
	if !s.Enabled {
		return nil, fmt.Errorf("%w: its runtime is not enabled", ErrDisabled)
	}
	r := f.asked()
	if r.params != nil {
		if err := f.checkParams(r.params); err != nil {
			return nil, err
		}
	}
	p := &RunInsertParams{
		FlowID: f.ID, Trigger: r.trigger, UniqueKey: r.uniqueKey(at, f.Runtime), At: at, MaxAttempts: f.maxAttempts(),
		Actor: r.actor, Reason: r.reason, Params: r.params, TraceParent: f.client.traceParent(ctx),
	}
	if job != nil {
		p.Queue, p.ReserveJob = job.Queue, true
	}
	p.Quiet = r.here
	if r.seen {
		p.Runtime = f.RuntimeJSON
	}
	if b := r.backfill; b != nil {
		p.Backfill, p.Scope, p.From, p.Until = true, b.scope, b.from, b.until
	}
	return p, nil
}

// insertJob adds the River job of a run that was added, unless job is nil.
func (f *Flow) insertJob(ctx context.Context, tx Tx, p *RunInsertParams, run *Run, job *river.InsertOpts) error {
	if run.Coalesced || job == nil {
		return nil
	}
	if err := f.client.jobs.insertReserved(ctx, tx, run, jobOpts(p, run, job)); err != nil {
		return err
	}
	f.client.log.InfoContext(ctx, "dataflow: job enqueued", slog.String(logFlow, f.Name), slog.Int64(logRun, run.ID), slog.Int64(logJob, run.RiverJobID),
		slog.String("queue", run.Queue), slog.Time("run_after", run.RunAfter))
	return nil
}

// jobOpts returns the options of the River job of a run.
func jobOpts(p *RunInsertParams, run *Run, job *river.InsertOpts) river.InsertOpts {
	opts := *job
	if !p.At.IsZero() && p.Trigger != TriggerSchedule { // a tick is due by the database's clock already, and this process's may be slow
		opts.ScheduledAt = run.RunAfter
	}
	return opts
}

// whyNoRun explains the error with which a run was not added.
func (f *Flow) whyNoRun(ctx context.Context, q Queries, err error) error {
	if !errors.Is(err, ErrNotFound) {
		return err
	}
	if f.asked().seen {
		return errUnseen
	}
	rec, err := q.FlowByID(ctx, f.ID)
	if err != nil {
		return err
	}
	return inactiveError(rec)
}

// checkParams returns an error if the flow's source does not take the parameters. A process
// without the flow's code checks only that they are JSON.
func (f *Flow) checkParams(params json.RawMessage) error {
	if !json.Valid(params) {
		return &ConfigError{Field: "Params", Reason: fmt.Sprintf("%s is not JSON: put a text in double quotes", stored.Clip(string(params)))}
	}
	if !f.Registered() {
		return nil
	}
	return f.code.checkRequest(nil, nil, params)
}

// BackfillParams are the settings of a [Client.Backfill]. The zero value reads everything
// again.
type BackfillParams struct {
	// From is a cursor, as JSON. The backfill begins after it. Nil: the beginning.
	From json.RawMessage
	// Until is the cursor at which the backfill ends, as JSON. It reads the record there too.
	// Nil: the end. The source must support Until through the power [RequestChecker], as the
	// Keyset of pgtable and of sqltable does.
	Until json.RawMessage
	// FromTime and UntilTime are times in place of From and Until: the backfill reads the
	// records from FromTime on, and only those before UntilTime. Zero: the beginning, and the
	// end. The source looks up their cursors at once, through the power [TimeSeeker], as the
	// Keyset of pgtable and of sqltable does if its key begins with a time. So a record that is
	// added later may be left to the flow's own runs. Where the times of the records have no
	// zone, the wall clock counts, in the Location of FromTime and UntilTime.
	FromTime, UntilTime time.Time
	// Params is any JSON. The source gets it as Request.Params, and must support it through
	// the power [RequestChecker]. Nil: none.
	Params json.RawMessage

	// Append allows a backfill into a sink that only appends, or keeps each batch ([PerBatch]). The
	// sink then has a record twice if it has it already.
	Append bool

	// At is when the run starts. Zero: now.
	At time.Time
	// Actor and Reason say who asks for the run and why. They are stored with it.
	Actor  string
	Reason string
}

// TriggerOptions are the optional settings of [Client.Trigger].
type TriggerOptions struct {
	// At is when the run starts. Zero: now.
	At time.Time
	// Actor and Reason say who asks for the run and why. They are stored with it.
	Actor  string
	Reason string
	// Params is any JSON. The flow's source gets it as Request.Params, and must support it
	// through the power [RequestChecker]. Nil: none.
	Params json.RawMessage
}

// request returns what a call asks for. o may be nil.
func (o *TriggerOptions) request() *request {
	if o == nil {
		return nil
	}
	return &request{actor: o.Actor, reason: o.Reason, params: o.Params}
}

// ofSeen is request for a flow that was not read again.
func (o *TriggerOptions) ofSeen() *request {
	r := o.request()
	if r == nil {
		r = &request{}
	}
	r.seen = true
	return r
}

func (p *BackfillParams) request(b *bounds) *request {
	return &request{trigger: TriggerBackfill, actor: p.Actor, reason: p.Reason, params: p.Params, backfill: b}
}
