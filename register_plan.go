package dataflow

import (
	"context"
	"log/slog"
	"time"

	"github.com/activedataflow/dataflow/internal/schedule"
	"github.com/activedataflow/dataflow/internal/stored"
)

// replanSet stores the schedules of flows that are being registered.
func (r *registrar) replanSet(ctx context.Context, q Queries, set []*registering, now time.Time) error {
	plans := make([]*FlowPlanParams, len(set))
	var skips []*TickSkipParams
	for i, one := range set {
		plan, skipped, err := r.replan(ctx, q, one.before, one.rec, &one.def, now)
		if err != nil {
			return err
		}
		plans[i], skips = plan, append(skips, skipped...)
	}
	if len(skips) > 0 {
		if err := q.TickSkip(ctx, skips...); err != nil {
			return err
		}
	}
	return q.FlowPlan(ctx, plans...)
}

// replan plans a flow that is being registered. While its ticks stay the same, due ticks stay due.
// Due ticks are for the ledger if the ticks change, or if the flow is disabled or enabled.
func (r *registrar) replan(ctx context.Context, q Queries, before, rec *FlowRecord, def *FlowDefinition, now time.Time) (*FlowPlanParams, []*TickSkipParams, error) {
	was, wasDisabled, err := schedule.Timing(before.ScheduleJSON)
	if err != nil {
		return nil, nil, err
	}
	is, disabled, err := schedule.Timing(def.Schedule)
	if err != nil {
		return nil, nil, err
	}
	plan := &FlowPlanParams{ID: rec.ID, ProbeAt: rec.ProbeAt, Schedule: def.Schedule}
	plan.setNext(rec.nextTick())
	var skips []*TickSkipParams
	replanned := was != is
	if replanned || disabled != wasDisabled {
		next, skip, err := skipDue(before, now, schedule.SkippedMissed)
		if err != nil {
			return nil, nil, err
		}
		if skip != nil {
			skips = append(skips, skip)
		}
		plan.setNext(next)
	}
	rec.ScheduleJSON = def.Schedule
	p, err := planOf(rec)
	if err != nil {
		return nil, nil, err
	}
	if replanned {
		plan.setNext(p.NextTick(now, nil))
		plan.ScheduleAt, rec.ScheduleAt = &now, now
	} else if skip, err := r.followZone(ctx, q, rec, p, plan, now); err != nil {
		return nil, nil, err
	} else if skip != nil {
		skips = append(skips, skip)
	}
	if rec.TrippedAt != nil {
		plan.ProbeAt = p.Reprobe(rec.ProbeAt, now)
	}
	rec.NextRunAt, rec.NextRunLocal = plan.NextRunAt, plan.NextRunLocal
	return plan, skips, nil
}

// followZone moves the next tick to where the zone data of this process has it. It returns the
// moment that it had, for the ledger. It leaves a tick that another process has moved away from
// that moment: then the processes' zone data differ, and the first one to move it wins.
func (r *registrar) followZone(ctx context.Context, q Queries, rec *FlowRecord, p *schedule.Plan, plan *FlowPlanParams, now time.Time) (*TickSkipParams, error) {
	if plan.NextRunAt == nil {
		return nil, nil //nolint:nilnil // nothing moves
	}
	stored := &schedule.Tick{At: *plan.NextRunAt, Local: plan.NextRunLocal}
	moved := p.Moved(stored, now)
	if moved == nil {
		return nil, nil //nolint:nilnil // nothing moves
	}
	log := r.log.With(slog.String(logFlow, rec.Name), slog.Time("stored", stored.At), slog.Time("tick", moved.At), slog.String("local", stored.Local))
	left, err := q.TickList(ctx, &TickListParams{Flow: rec.Name, Reason: SkipZone, Limit: 1})
	if err != nil {
		return nil, err
	}
	if len(left) > 0 && left[0].Last.Equal(moved.At) {
		log.WarnContext(ctx, "dataflow: processes have different zone data, and one of them has moved the next tick; it stays there")
		return nil, nil //nolint:nilnil // nothing moves
	}
	log.WarnContext(ctx, "dataflow: the next tick was stored under other rules of its time zone; it is moved to where this process's zone data has it")
	plan.setNext(moved)
	return skippedOf(rec.ID, schedule.Span{First: stored.At, Last: stored.At, Count: 1, Reason: schedule.SkippedZone}), nil
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
	if before.MigratedFrom == nil && !kept {
		return
	}
	was, is := r.flows.bind(before).Runtime.Type(), r.flows.bind(rec).Runtime.Type()
	switch {
	case rec.comingBack(): // both Runtimes are the same
	case kept:
		r.log.InfoContext(ctx, "dataflow: flow stays on the runtime that it was migrated to; its code still declares the earlier one", slog.String(logFlow, rec.Name), slog.String("runtime", is))
	case before.MigratedFrom != nil:
		r.log.WarnContext(ctx, "dataflow: flow leaves the runtime that it was migrated to, because its code now declares another one", slog.String(logFlow, rec.Name), slog.String("migrated", was), slog.String("runtime", is))
	}
}

// followMigrations finds flows that were migrated to another Runtime since this client
// started, and begins to work their queues.
func (r *registrar) followMigrations(ctx context.Context) error {
	moved := false
	recs, changes, err := r.store.FlowsChanged(ctx, r.changes)
	if err != nil {
		return err
	}
	look := func(f *Flow) error {
		if r.flows.knowMoved(f) {
			moved = true
			r.log.InfoContext(ctx, "dataflow: flow has another runtime now", slog.String(logFlow, f.Name), slog.String("runtime", f.Runtime.Type()))
		}
		return nil
	}
	for _, rec := range recs {
		_ = look(r.flows.bind(rec))
	}
	if r.changes == 0 {
		err = r.flows.each(ctx, look)
	}
	if err == nil {
		r.changes = changes
	}
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
