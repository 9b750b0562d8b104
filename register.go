package dataflow

// The registrar stores the flows that this process declares, and their schedules. It knows the
// flows, the jobs, the scheduler and the gate.

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/activedataflow/dataflow/internal/schedule"
	"github.com/activedataflow/dataflow/internal/stored"
)

// registrar stores the definitions of the flows that this process declares.
type registrar struct {
	base
	flows    *registry
	jobs     *jobs
	schedule *scheduler
	gate     *gate
}

// registerNoted registers a flow and keeps the error.
func (r *registrar) registerNoted(ctx context.Context, f *Flow) error {
	err := guard(func() error { return r.register(ctx, f) })
	if err == nil {
		r.flows.noteFailure(f.Name, nil)
		return nil
	}
	err = fmt.Errorf("register flow %q: %w", f.Name, err)
	r.flows.noteFailure(f.Name, public(err))
	return err
}

// registerAll registers all declared flows, and returns the errors joined.
func (r *registrar) registerAll(ctx context.Context) error {
	var errs []error
	for _, f := range r.config.Flows {
		errs = append(errs, r.registerNoted(ctx, f))
	}
	return errors.Join(errs...)
}

// registerAtStart registers the flows of a client that starts. If a flow cannot be stored, the
// client tries it again later. If the database cannot be reached, that is an error.
func (r *registrar) registerAtStart(ctx context.Context) error {
	err := public(r.registerAll(ctx))
	if err == nil {
		return nil
	}
	if _, away := r.store.Now(ctx); away != nil {
		return err
	}
	for name, err := range r.flows.failures() {
		r.log.ErrorContext(ctx, "dataflow: could not register a flow; continuing without it, and trying again", slog.String(logFlow, name), slog.String(logError, err.Error()))
	}
	return nil
}

// registerAgain tries the flows that could not be registered.
func (r *registrar) registerAgain(ctx context.Context) error {
	var errs []error
	for name := range r.flows.failures() {
		if err := r.registerNoted(ctx, r.flows.declared[name]); err != nil {
			errs = append(errs, err)
			continue
		}
		r.log.InfoContext(ctx, "dataflow: flow is registered now", slog.String(logFlow, name))
	}
	return errors.Join(errs...)
}

// register stores the definition of a flow and its schedule, in one transaction.
func (r *registrar) register(ctx context.Context, f *Flow) error {
	declared, err := f.definition(r.config.CodeVersion)
	if err != nil {
		return err
	}
	var before, rec *FlowRecord
	var now time.Time
	kept := false
	err = r.store.InTx(ctx, func(ctx context.Context, tx Tx) error {
		q, err := r.store.With(tx)
		if err != nil {
			return err
		}
		if before, err = lockByName(ctx, q, f.Name); err != nil {
			return err
		}
		isNew := before == nil
		def := *declared
		kept = r.keepMigrated(&def, before)
		if rec, err = q.FlowUpsert(ctx, &def); err != nil {
			return err
		}
		if rec, now, err = q.FlowLock(ctx, rec.ID); err != nil {
			return err
		}
		if before == nil {
			before = rec // another process may have stored it first
		}
		if err := r.replan(ctx, q, before, rec, &def, now); err != nil {
			return err
		}
		return r.startAtRegistration(ctx, tx, q, rec, isNew)
	})
	if err != nil {
		return err
	}
	r.logMigrated(ctx, before, rec, kept)
	bound := r.flows.bind(rec)
	r.flows.know(bound)
	r.warnOfGap(ctx, bound, now)
	wasEnabled := r.flows.bind(before).Runtime.Settings().Enabled
	if !wasEnabled && bound.Runtime.Settings().Enabled && rec.State == FlowActive {
		return r.jobs.wake(ctx, bound)
	}
	return nil
}

// keepMigrated keeps the Runtime that somebody migrated the flow to, and reports whether it
// did. It does so while the code declares the Runtime that it declared at the migration. Code
// that declares another Runtime wins.
func (r *registrar) keepMigrated(def *FlowDefinition, before *FlowRecord) bool {
	if before == nil || before.MigratedFrom == nil {
		return false
	}
	from, err := parseRuntime(before.MigratedFrom, r.config.Runtimes)
	if err != nil {
		return false
	}
	was, err := marshalRuntime(from) // in the form of this version, like the definition
	if err != nil || !stored.Same(was, def.Runtime) {
		return false
	}
	def.Runtime, def.MigratedFrom = before.RuntimeJSON, before.MigratedFrom
	return true
}

// logMigrated logs whether a migrated flow keeps its Runtime.
func (r *registrar) logMigrated(ctx context.Context, before, rec *FlowRecord, kept bool) {
	was, is := r.flows.bind(before).Runtime.Type(), r.flows.bind(rec).Runtime.Type()
	switch {
	case rec.comingBack(): // both Runtimes are the same
	case kept:
		r.log.InfoContext(ctx, "dataflow: flow stays on the runtime that it was migrated to; its code still declares the earlier one", slog.String(logFlow, rec.Name), slog.String("runtime", is))
	case before.MigratedFrom != nil:
		r.log.WarnContext(ctx, "dataflow: flow leaves the runtime that it was migrated to, because its code now declares another one", slog.String(logFlow, rec.Name), slog.String("migrated", was), slog.String("runtime", is))
	}
}

// startAtRegistration starts the run of a flow that is stored for the first time, if its
// schedule has RunAtRegistration. Two processes may both find the flow new. The flow is
// locked, so the second process finds the run of the first.
func (r *registrar) startAtRegistration(ctx context.Context, tx Tx, q Queries, rec *FlowRecord, isNew bool) error {
	f := r.flows.bind(rec)
	if s := f.Runtime.Settings(); !isNew || !s.Schedule.RunAtRegistration || !s.Enabled || rec.State != FlowActive {
		return nil
	}
	runs, err := q.RunList(ctx, &RunListParams{Flow: rec.Name, Trigger: TriggerRegistration, Limit: 1})
	if err != nil || len(runs) > 0 {
		return err
	}
	if _, err := f.startTx(ctx, tx, &request{trigger: TriggerRegistration}, time.Time{}); err != nil {
		return fmt.Errorf("start the run at registration: %w", err)
	}
	return nil
}

// lockByName locks a flow and returns it, nil if it is not stored yet.
func lockByName(ctx context.Context, q Queries, name string) (*FlowRecord, error) {
	rec, err := q.FlowByName(ctx, name)
	if errors.Is(err, ErrNotFound) {
		return nil, nil //nolint:nilnil // there is none
	}
	if err != nil {
		return nil, err
	}
	rec, _, err = q.FlowLock(ctx, rec.ID)
	return rec, err
}

// replan stores the schedule of a flow that is being registered. While its ticks stay the
// same, due ticks stay due. Due ticks are recorded in the ledger if the ticks change, or if
// the flow is disabled or enabled.
func (r *registrar) replan(ctx context.Context, q Queries, before, rec *FlowRecord, def *FlowDefinition, now time.Time) error {
	was, wasDisabled, err := schedule.Timing(before.ScheduleJSON)
	if err != nil {
		return err
	}
	is, disabled, err := schedule.Timing(def.Schedule)
	if err != nil {
		return err
	}
	plan := &FlowPlanParams{ID: rec.ID, ProbeAt: rec.ProbeAt, Schedule: def.Schedule}
	plan.setNext(rec.nextTick())
	replanned := was != is
	if replanned || disabled != wasDisabled {
		next, err := r.schedule.skipDue(ctx, q, before, now)
		if err != nil {
			return err
		}
		plan.setNext(next)
	}
	rec.ScheduleJSON = def.Schedule
	p, err := planOf(rec)
	if err != nil {
		return err
	}
	if replanned {
		plan.setNext(p.NextTick(now, nil))
		plan.ScheduleAt, rec.ScheduleAt = &now, now
	} else if err := r.followZone(ctx, q, rec, p, plan, now); err != nil {
		return err
	}
	if rec.TrippedAt != nil {
		plan.ProbeAt = p.Reprobe(rec.ProbeAt, now)
	}
	rec.NextRunAt, rec.NextRunLocal = plan.NextRunAt, plan.NextRunLocal
	return q.FlowPlan(ctx, plan)
}

// followZone moves the next tick to where the zone data of this process has it, and enters the
// moment that it had into the ledger. It leaves a tick that another process has moved away from
// that moment: then the processes' zone data differ, and the first one to move it wins.
func (r *registrar) followZone(ctx context.Context, q Queries, rec *FlowRecord, p *schedule.Plan, plan *FlowPlanParams, now time.Time) error {
	if plan.NextRunAt == nil {
		return nil
	}
	stored := &schedule.Tick{At: *plan.NextRunAt, Local: plan.NextRunLocal}
	moved := p.Moved(stored, now)
	if moved == nil {
		return nil
	}
	log := r.log.With(slog.String(logFlow, rec.Name), slog.Time("stored", stored.At), slog.Time("tick", moved.At), slog.String("local", stored.Local))
	left, err := q.TickList(ctx, &TickListParams{Flow: rec.Name, Reason: SkipZone, Limit: 1})
	if err != nil {
		return err
	}
	if len(left) > 0 && left[0].Last.Equal(moved.At) {
		log.WarnContext(ctx, "dataflow: processes have different zone data, and one of them has moved the next tick; it stays there")
		return nil
	}
	log.WarnContext(ctx, "dataflow: the next tick was stored under other rules of its time zone; it is moved to where this process's zone data has it")
	plan.setNext(moved)
	return q.TickSkip(ctx, skippedOf(rec.ID, schedule.Span{First: stored.At, Last: stored.At, Count: 1, Reason: schedule.SkippedZone}))
}

// gapsWithin is how far ahead warnOfGap looks.
const gapsWithin = 366 * 24 * time.Hour

// warnOfGap logs when a clock change skips the local time of a tick.
func (r *registrar) warnOfGap(ctx context.Context, f *Flow, now time.Time) {
	s := f.Runtime.Settings()
	if s.Schedule.Cron == "" || s.Schedule.TimeZone == "" {
		return
	}
	ticks, err := s.ticks(f.Name)
	if err != nil {
		return // NewClient refuses such a schedule
	}
	if wall, at, ok := ticks.Gap(now, now.Add(gapsWithin)); ok {
		r.log.WarnContext(ctx, "dataflow: a clock change skips a tick's local time; it comes at the first moment after the gap",
			slog.String(logFlow, f.Name), slog.String("local", wall), slog.String("zone", s.Schedule.TimeZone), slog.Time("tick", at))
	}
}

// followMigrations finds flows that were migrated to another Runtime since this client
// started, and begins to work their queues.
func (r *registrar) followMigrations(ctx context.Context) error {
	moved := false
	err := r.flows.each(ctx, func(f *Flow) error {
		if r.flows.knowMoved(f) {
			moved = true
			r.log.InfoContext(ctx, "dataflow: flow has another runtime now", slog.String(logFlow, f.Name), slog.String("runtime", f.Runtime.Type()))
		}
		return nil
	})
	if err != nil || !moved || r.gate.closed() {
		return err
	}
	if err := r.jobs.start(ctx); err != nil {
		return err
	}
	if rc := r.jobs.own(); rc != nil && r.gate.closed() { // Stop may have come before the River client was started
		return rc.Stop(context.WithoutCancel(ctx))
	}
	return nil
}
