package dataflow

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/activedataflow/dataflow/internal/stored"
)

// MigrateRuntimesOptions are the settings of [Client.MigrateRuntimes].
type MigrateRuntimesOptions struct {
	// To is the Type of the Runtime that flows are migrated to, such as "job_queue" for flows on
	// "heartbeat". It must be that of a Runtime of this package.
	To string
	// Flows are the names of the flows to migrate. Empty: all of them. One that is not
	// in the database is ErrNotFound, and then none is migrated.
	Flows []string
	// Queue and Priority are those of the [JobQueue]. Zero: its defaults.
	Queue    string
	Priority int
	// Actor is kept with the runs that are cancelled and started. Empty: "migration".
	Actor string
	// DryRun reports what would be done, and does nothing.
	DryRun bool
}

// MigrateRuntimesReport is what [Client.MigrateRuntimes] has done, or would do.
type MigrateRuntimesReport struct {
	To     string
	DryRun bool
	// Flows are those that were migrated, in the order of their names, and those for
	// which a migration that was interrupted has been completed. There are none if
	// nothing was left to be done.
	Flows []MigratedFlow
}

// MigratedFlow is what became of a flow.
type MigratedFlow struct {
	Flow string
	// From and To are its Runtime before and after, which are equal if only an
	// interrupted migration was completed.
	From Runtime
	To   Runtime
	// Cancelled are the waiting runs of the Runtime before, which were cancelled.
	Cancelled []int64
	// Enqueue says that a run of the Runtime after is started, which is so for flows
	// that are active and enabled. Enqueued is that run, 0 in a dry run.
	Enqueue  bool
	Enqueued int64
}

// MigrateRuntimes moves the flows in the database from one Runtime of this package to
// another: flows on [Heartbeat] to [JobQueue], or back. A flow on a type of the user's stays.
// Interval, Schedule, BatchSize and whether it is enabled stay as they are, and so do the next
// tick and the cursor. Runs of a flow that wait on the old Runtime are cancelled; one in
// progress goes on. A flow that is active and enabled gets one run on the new
// Runtime, with TriggerMigration. Doing it again changes nothing; if it was
// interrupted, doing it again completes it.
//
// Registering a flow does not undo it, as long as its code declares the Runtime that
// it declared before, or none. Code that declares another Runtime wins, which is
// logged. Started clients that have the flow's code take note of it within a
// Config.Lease, and work its queue from then on, unless they have joined a River
// client of the service's own: that must work the queue.
func (c *Client) MigrateRuntimes(ctx context.Context, opts *MigrateRuntimesOptions) (*MigrateRuntimesReport, error) {
	o := MigrateRuntimesOptions{}
	if opts != nil {
		o = *opts
	}
	o.Actor = cmp.Or(o.Actor, "migration")
	r := &MigrateRuntimesReport{To: o.To, DryRun: o.DryRun}
	if err := o.validate(); err != nil {
		return r, public(fmt.Errorf("migrate runtimes: %w", err))
	}
	for _, name := range o.Flows {
		if _, err := c.store.FlowByName(ctx, name); err != nil {
			return r, public(fmt.Errorf("migrate runtimes to %s: flow %q: %w", o.To, stored.Clip(name), err))
		}
	}
	mover := &runtimeMover{base: c.base, flows: c.flows, cancel: c.cancel}
	err := c.flows.each(ctx, func(f *Flow) error {
		if len(o.Flows) > 0 && !slices.Contains(o.Flows, f.Name) {
			return nil
		}
		m, err := mover.migrateRuntime(ctx, f, &o)
		if err != nil {
			return fmt.Errorf("flow %q: %w", f.Name, err)
		}
		if m != nil {
			r.Flows = append(r.Flows, *m)
		}
		return nil
	})
	if err != nil {
		return r, public(fmt.Errorf("migrate runtimes to %s: %w", o.To, err))
	}
	return r, nil
}

// runtimeMover moves flows from one Runtime to another.
type runtimeMover struct {
	base
	flows  *registry
	cancel func(ctx context.Context, p *RunCancelParams) (*Run, error) // the client's
}

func (o *MigrateRuntimesOptions) validate() error {
	to := builtinOfType(o.To)
	if to == nil {
		return &ConfigError{Field: "To", Reason: fmt.Sprintf("%q is not supported: use %s", stored.Clip(o.To), builtinTypes())}
	}
	if _, takesJobs := queuedOf(to.zero); !takesJobs && (o.Queue != "" || o.Priority != 0) {
		return &ConfigError{Field: "Queue", Reason: fmt.Sprintf("a %s flow has no queue and no priority: leave them out", o.To)}
	}
	return validateRuntime(to.migrate(RuntimeSettings{Enabled: true}, o.Queue, o.Priority))
}

// convert returns the Runtime that a flow is migrated to, nil if it is not.
func (o *MigrateRuntimesOptions) convert(rt Runtime) Runtime {
	to := builtinOfType(o.To)
	if to == nil || rt.Type() == o.To || !isBuiltin(rt) {
		return nil
	}
	return to.migrate(rt.Settings(), o.Queue, o.Priority)
}

// migrateRuntime migrates a flow. It returns nil if there is nothing to be done.
func (r *runtimeMover) migrateRuntime(ctx context.Context, f *Flow, o *MigrateRuntimesOptions) (*MigratedFlow, error) {
	m := &MigratedFlow{Flow: f.Name, From: f.Runtime, To: o.convert(f.Runtime)}
	moves, back := m.To != nil, f.comingBack()
	switch {
	case moves && o.DryRun:
		m.Enqueue = f.State == FlowActive && m.To.Settings().Enabled
	case moves:
		var err error
		if back, err = r.moveRuntime(ctx, f.ID, o, m); err != nil || m.To == nil {
			return nil, err
		}
	case f.MigratedFrom == nil || f.Runtime.Type() != o.To:
		return nil, nil //nolint:nilnil // it is not on the other Runtime
	default: // the migration may have been interrupted before the runs were cancelled
		m.To = f.Runtime
	}
	if err := r.cancelMigrated(ctx, o, m); err != nil {
		return nil, err
	}
	if !moves && !back && len(m.Cancelled) == 0 {
		return nil, nil //nolint:nilnil // there is nothing to be done
	}
	if !o.DryRun {
		if back {
			if err := r.endMigration(ctx, f.ID); err != nil {
				return nil, err
			}
		}
		r.log.InfoContext(ctx, "dataflow: flow migrated to another runtime", slog.String(logFlow, m.Flow), slog.String("from", m.From.Type()),
			slog.String("to", m.To.Type()), slog.String("actor", o.Actor), slog.Int("cancelled", len(m.Cancelled)), slog.Int64(logRun, m.Enqueued))
	}
	return m, nil
}

// moveRuntime changes the Runtime and starts the new one's first run, in one
// transaction. The old one's runs are cancelled after it, because that locks runs,
// and locks go from a run to its flow. It reports whether the flow has come back to
// the Runtime that its code declares.
func (r *runtimeMover) moveRuntime(ctx context.Context, id int64, o *MigrateRuntimesOptions, m *MigratedFlow) (back bool, err error) {
	err = r.store.InTx(ctx, func(ctx context.Context, tx Tx) error {
		q, err := r.store.With(tx)
		if err != nil {
			return err
		}
		rec, _, err := q.FlowLock(ctx, id)
		if err != nil {
			return err
		}
		f := r.flows.bind(rec)
		m.From = f.Runtime
		if m.To = o.convert(f.Runtime); m.To == nil {
			return nil // somebody else was quicker
		}
		p, err := r.migrated(rec, m.To)
		if err != nil {
			return err
		}
		if rec, err = q.FlowSetRuntime(ctx, p); err != nil {
			return err
		}
		f = r.flows.bind(rec)
		back = f.comingBack()
		m.Enqueue = f.State == FlowActive && f.Runtime.Settings().Enabled
		if !m.Enqueue {
			return nil
		}
		run, err := f.startTx(ctx, tx, &request{
			trigger: TriggerMigration, actor: o.Actor, reason: "the flow was migrated from " + m.From.Type() + " to " + m.To.Type(),
		}, time.Time{})
		if err != nil {
			return err
		}
		m.Enqueued = run.ID
		return nil
	})
	return back, err
}

// migrated says what is stored of a flow's new Runtime. If it is the one that the
// code declares, that is stored as both until the runs of the other are cancelled: by
// it, a migration that was interrupted is known.
func (r *runtimeMover) migrated(rec *FlowRecord, to Runtime) (*FlowRuntimeParams, error) {
	data, err := marshalRuntime(to)
	if err != nil {
		return nil, err
	}
	p := &FlowRuntimeParams{ID: rec.ID, Runtime: data, MigratedFrom: rec.MigratedFrom}
	if p.MigratedFrom == nil {
		p.MigratedFrom = rec.RuntimeJSON
	}
	from, err := parseRuntime(p.MigratedFrom, r.config.Runtimes)
	if err != nil {
		return p, nil //nolint:nilerr // the code, when it is registered, will not be the same
	}
	was, err := marshalRuntime(from)
	if err != nil {
		return nil, err
	}
	if stored.Same(was, data) {
		p.MigratedFrom = data
	}
	return p, nil
}

// endMigration makes a flow that has come back as if it had never been migrated.
func (r *runtimeMover) endMigration(ctx context.Context, id int64) error {
	return r.store.InTx(ctx, func(ctx context.Context, tx Tx) error {
		q, err := r.store.With(tx)
		if err != nil {
			return err
		}
		rec, _, err := q.FlowLock(ctx, id)
		if err != nil || !rec.comingBack() {
			return err // somebody has migrated it again meanwhile
		}
		_, err = q.FlowSetRuntime(ctx, &FlowRuntimeParams{ID: id, Runtime: rec.RuntimeJSON})
		return err
	})
}

// cancelMigrated cancels the runs that wait on the old Runtime, oldest first.
func (r *runtimeMover) cancelMigrated(ctx context.Context, o *MigrateRuntimesOptions, m *MigratedFlow) error {
	ids, err := r.waitingOnOld(ctx, o, m.Flow)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if !o.DryRun {
			cancelled, err := r.cancel(ctx, &RunCancelParams{RunID: id, Actor: o.Actor, Reason: "the flow was migrated to " + o.To, PendingOnly: true})
			if errors.Is(err, ErrRunFinished) || err == nil && cancelled.State != RunCancelled {
				continue // it has been claimed meanwhile, and goes on
			}
			if err != nil {
				return err
			}
		}
		m.Cancelled = append(m.Cancelled, id)
	}
	return nil
}

// waitingOnOld lists the runs that wait on the old Runtime, oldest first: the runs without a queue
// if the new one takes River jobs, and the runs in a queue if it does not.
func (r *runtimeMover) waitingOnOld(ctx context.Context, o *MigrateRuntimesOptions, flow string) (ids []int64, err error) {
	_, takesJobs := queuedOf(builtinOfType(o.To).zero)
	for run, err := range r.flows.runsOf(ctx, flow, RunPending) {
		if err != nil {
			return nil, err
		}
		if (run.Queue != "") != takesJobs {
			ids = append(ids, run.ID)
		}
	}
	slices.Reverse(ids)
	return ids, nil
}
