package dataflow

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/activedataflow/dataflow/internal/notes"
	"github.com/activedataflow/dataflow/internal/stored"
)

// MigrateRuntimesOptions are the settings of [Client.MigrateRuntimes].
type MigrateRuntimesOptions struct {
	// To is the Type of the Runtime that flows are migrated to, such as "job_queue" for flows on
	// "heartbeat". It must be a Type of this package.
	To string
	// Flows are the names of the flows to migrate. Empty: all flows. If one is not in the
	// database, the error is ErrNotFound, and none is migrated.
	Flows []string
	// Queue and Priority are those of the [JobQueue]. Zero: its defaults.
	Queue    string
	Priority int
	// Actor is stored with the runs that are cancelled and started. Empty: "migration".
	Actor string
	// DryRun reports what would be done, and does nothing.
	DryRun bool
}

// MigrateRuntimesReport is what [Client.MigrateRuntimes] did, or would do.
type MigrateRuntimesReport struct {
	To     string
	DryRun bool
	// Flows are the flows that were migrated, and those whose interrupted migration was
	// completed, in the order of their names. It is empty if nothing was left to do.
	Flows []MigratedFlow
}

// MigratedFlow is what happened to a flow.
type MigratedFlow struct {
	Flow string
	// From and To are the Runtime before and after. They are equal if only an interrupted
	// migration was completed.
	From Runtime
	To   Runtime
	// Cancelled are the ids of the runs that waited on the Runtime before, and were cancelled.
	Cancelled []int64
	// Enqueue is true if a run is started on the Runtime after, as for each active and enabled
	// flow. Enqueued is the id of that run, 0 in a dry run.
	Enqueue  bool
	Enqueued int64
}

// MigrateRuntimes moves flows in the database from one Runtime of this package to another:
// from [Heartbeat] to [JobQueue], or back. A flow on a Runtime type of the user is not moved.
// The flow keeps its Interval, Schedule, BatchSize, next tick and cursor, and whether it is
// enabled.
//
// Runs that wait on the old Runtime are cancelled, except for the ranges of a first load. A run in
// progress goes on. A flow that is active and enabled gets one run on the new Runtime, with
// TriggerMigration. A second call changes nothing, or completes a migration that was interrupted.
//
// Registering a flow does not undo its migration while the code declares the Runtime that it
// declared before, or none. Code that declares another Runtime wins, and the log says so.
//
// Started clients that have the flow's code notice the migration within a Config.Lease, and
// then work its queue. A client with a River client of the service does not: that River client
// must work the queue.
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
	step := notes.Step{What: "flows", Total: int64(len(o.Flows))}
	err := c.flows.each(ctx, func(f *Flow) error {
		if len(o.Flows) > 0 && !slices.Contains(o.Flows, f.Name) {
			return nil
		}
		step.Now = f.Name
		notes.Progress(ctx, step)
		step.Done++
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
	cancel func(ctx context.Context, p *RunCancelParams) (*Run, error) // Client.cancel
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

// convert returns the Runtime that a flow is migrated to, or nil if it is not migrated.
func (o *MigrateRuntimesOptions) convert(rt Runtime) Runtime {
	to := builtinOfType(o.To)
	if to == nil || rt.Type() == o.To || !isBuiltin(rt) {
		return nil
	}
	return to.migrate(rt.Settings(), o.Queue, o.Priority)
}

// migrateRuntime migrates a flow. It returns nil if there is nothing to do.
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
		return nil, nil //nolint:nilnil // there is nothing to do
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

// moveRuntime changes the Runtime and starts the first run on the new one, in one transaction.
// Runs on the old one are cancelled afterwards, because locks go from a run to its flow. It
// reports whether the flow came back to the Runtime that its code declares.
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
			return nil // another caller was first
		}
		p, err := r.migrated(rec, m.To)
		if err != nil {
			return err
		}
		if rec, err = q.FlowSetRuntime(ctx, p); err != nil {
			return err
		}
		if err := noteAction(ctx, q, AuditMigrateRuntime, id, 0, o.Actor, "", map[string]any{"runtime": m.From.Type()}, map[string]any{"runtime": m.To.Type()}); err != nil {
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

// migrated returns what to store of a flow's new Runtime. If the code declares it, it is
// stored as MigratedFrom too, until the runs on the other Runtime are cancelled. So an
// interrupted migration can be recognized.
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
		return p, nil //nolint:nilerr // registered code will declare another Runtime
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

// endMigration makes a flow that has come back look as if it had never been migrated.
func (r *runtimeMover) endMigration(ctx context.Context, id int64) error {
	return r.store.InTx(ctx, func(ctx context.Context, tx Tx) error {
		q, err := r.store.With(tx)
		if err != nil {
			return err
		}
		rec, _, err := q.FlowLock(ctx, id)
		if err != nil || !rec.comingBack() {
			return err // another caller has migrated it again
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
				continue // it was claimed meanwhile, and goes on
			}
			if err != nil {
				return err
			}
		}
		m.Cancelled = append(m.Cancelled, id)
	}
	return nil
}

// waitingOnOld lists the runs that wait on the old Runtime, oldest first: those without a
// queue if the new one takes River jobs, otherwise those in a queue. A run may wait for the ranges
// of a first load, and would fail without them. So they stay, and go on.
func (r *runtimeMover) waitingOnOld(ctx context.Context, o *MigrateRuntimesOptions, flow string) (ids []int64, err error) {
	_, takesJobs := queuedOf(builtinOfType(o.To).zero)
	for run, err := range r.flows.runsOf(ctx, flow, RunPending) {
		if err != nil {
			return nil, err
		}
		if (run.Queue != "") != takesJobs && run.Trigger != TriggerFirstLoad {
			ids = append(ids, run.ID)
		}
	}
	slices.Reverse(ids)
	return ids, nil
}
