package dataflow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"time"

	"github.com/activedataflow/dataflow/internal/schedule"
	"github.com/activedataflow/dataflow/internal/stored"
)

// Register stores the definitions of Config.Flows. It never changes whether a
// flow is active, and starts no run, except for Schedule.RunAtRegistration: a
// schedule that is new, or has changed, begins with its next tick. One flow that
// cannot be stored does not stop the others; the errors are returned joined, and
// kept for [Client.RegistrationErrors]. Start calls it.
func (c *Client) Register(ctx context.Context) error {
	var errs []error
	for _, f := range c.config.Flows {
		if err := c.registerNoted(ctx, f); err != nil {
			errs = append(errs, err)
		}
	}
	return public(errors.Join(errs...))
}

// RegistrationErrors returns, by the flows' names, why this client could not store
// flows when it tried last; it is empty if all is well. A started client tries again
// now and then. The caller may change the map.
func (c *Client) RegistrationErrors() map[string]error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.unregistered)
}

// registerNoted registers a flow and keeps the error.
func (c *Client) registerNoted(ctx context.Context, f *Flow) error {
	err := guard(func() error { return c.register(ctx, f) })
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		delete(c.unregistered, f.Name)
		return nil
	}
	err = fmt.Errorf("register flow %q: %w", f.Name, err)
	c.unregistered[f.Name] = public(err)
	return err
}

// registerAtStart registers the flows of a client that starts. Flows that cannot be
// stored are left for later, but a database that cannot be reached is an error.
func (c *Client) registerAtStart(ctx context.Context) error {
	err := c.Register(ctx)
	if err == nil {
		return nil
	}
	if _, away := c.store.Now(ctx); away != nil {
		return err
	}
	for name, err := range c.RegistrationErrors() {
		c.log.ErrorContext(ctx, "dataflow: flow could not be registered; going on without it, and trying again", slog.String(logFlow, name), slog.String(logError, err.Error()))
	}
	return nil
}

// registerAgain tries the flows that could not be registered.
func (c *Client) registerAgain(ctx context.Context) error {
	var errs []error
	for name := range c.RegistrationErrors() {
		if err := c.registerNoted(ctx, c.flows[name]); err != nil {
			errs = append(errs, err)
			continue
		}
		c.log.InfoContext(ctx, "dataflow: flow is registered now", slog.String(logFlow, name))
	}
	return errors.Join(errs...)
}

func (c *Client) register(ctx context.Context, f *Flow) error {
	declared, err := f.definition(c.config.CodeVersion)
	if err != nil {
		return err
	}
	var before, rec *FlowRecord
	var now time.Time
	kept := false
	err = c.store.InTx(ctx, func(ctx context.Context, tx Tx) error {
		q, err := c.store.With(tx)
		if err != nil {
			return err
		}
		if before, err = lockByName(ctx, q, f.Name); err != nil {
			return err
		}
		isNew := before == nil
		def := *declared
		kept = c.keepMigrated(&def, before)
		if rec, err = q.FlowUpsert(ctx, &def); err != nil {
			return err
		}
		if rec, now, err = q.FlowLock(ctx, rec.ID); err != nil {
			return err
		}
		if before == nil {
			before = rec // another process may have been quicker to store it
		}
		if err := c.replan(ctx, q, before, rec, &def, now); err != nil {
			return err
		}
		return c.startAtRegistration(ctx, tx, q, rec, isNew)
	})
	if err != nil {
		return err
	}
	c.logMigrated(ctx, before, rec, kept)
	bound := c.bind(rec)
	c.mu.Lock()
	c.byID[rec.ID] = bound
	c.mu.Unlock()
	c.warnOfGap(ctx, bound, now)
	wasEnabled := c.bind(before).Runtime.Settings().Enabled
	if !wasEnabled && bound.Runtime.Settings().Enabled && rec.State == FlowActive {
		return c.wake(ctx, bound)
	}
	return nil
}

// keepMigrated puts the Runtime to which somebody has migrated a flow into its
// definition, as long as the code declares what it declared then, and reports
// whether it did. Code that declares another Runtime wins.
func (c *Client) keepMigrated(def *FlowDefinition, before *FlowRecord) bool {
	if before == nil || before.MigratedFrom == nil {
		return false
	}
	from, err := parseRuntime(before.MigratedFrom, c.config.Runtimes)
	if err != nil {
		return false
	}
	was, err := marshalRuntime(from) // in this version's form, as the definition is
	if err != nil || !stored.Same(was, def.Runtime) {
		return false
	}
	def.Runtime, def.MigratedFrom = before.RuntimeJSON, before.MigratedFrom
	return true
}

// logMigrated says what became of a Runtime to which somebody has migrated the flow.
func (c *Client) logMigrated(ctx context.Context, before, rec *FlowRecord, kept bool) {
	was, is := c.bind(before).Runtime.Type(), c.bind(rec).Runtime.Type()
	switch {
	case rec.comingBack(): // and so both are the same
	case kept:
		c.log.InfoContext(ctx, "dataflow: flow stays on the runtime to which it was migrated; its code still declares the one before", slog.String(logFlow, rec.Name), slog.String("runtime", is))
	case before.MigratedFrom != nil:
		c.log.WarnContext(ctx, "dataflow: flow leaves the runtime to which it was migrated, because its code declares another one now", slog.String(logFlow, rec.Name), slog.String("migrated", was), slog.String("runtime", is))
	}
}

// startAtRegistration starts the run of a flow that is stored for the first time, if
// its schedule wants one. Two processes may believe that: the flow is locked, and
// the run of the first tells the second.
func (c *Client) startAtRegistration(ctx context.Context, tx Tx, q Queries, rec *FlowRecord, isNew bool) error {
	f := c.bind(rec)
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

// replan stores the schedule of a flow that is registered. As long as its ticks are
// the same, those that are due stay due. If they are others, or if the flow was, or
// is to be, disabled, what is due is entered into the ledger.
func (c *Client) replan(ctx context.Context, q Queries, before, rec *FlowRecord, def *FlowDefinition, now time.Time) error {
	was, wasDisabled, err := schedule.Timing(before.ScheduleJSON)
	if err != nil {
		return err
	}
	is, disabled, err := schedule.Timing(def.Schedule)
	if err != nil {
		return err
	}
	plan := &FlowPlanParams{ID: rec.ID, NextRunAt: rec.NextRunAt, ProbeAt: rec.ProbeAt, Schedule: def.Schedule}
	replanned := was != is
	if replanned || disabled != wasDisabled {
		if plan.NextRunAt, err = c.settle(ctx, q, before, now); err != nil {
			return err
		}
	}
	rec.ScheduleJSON = def.Schedule
	p, err := planOf(rec)
	if err != nil {
		return err
	}
	if replanned {
		plan.NextRunAt, plan.ScheduleAt = p.Next(now), &now
		rec.ScheduleAt = now
	}
	if rec.TrippedAt != nil {
		plan.ProbeAt = p.Reprobe(rec.ProbeAt, now)
	}
	rec.NextRunAt = plan.NextRunAt
	return q.FlowPlan(ctx, plan)
}

// gapsWithin is how far ahead skipped local times are looked for.
const gapsWithin = 366 * 24 * time.Hour

// warnOfGap says when a clock change skips the local time of one of a flow's ticks.
func (c *Client) warnOfGap(ctx context.Context, f *Flow, now time.Time) {
	s := f.Runtime.Settings()
	if s.Schedule.Cron == "" || s.Schedule.TimeZone == "" {
		return
	}
	ticks, err := s.ticks(f.Name)
	if err != nil {
		return // NewClient has refused that
	}
	if wall, at, ok := ticks.Gap(now, now.Add(gapsWithin)); ok {
		c.log.WarnContext(ctx, "dataflow: a clock change skips a tick's local time; it comes at the first moment after the gap",
			slog.String(logFlow, f.Name), slog.String("local", wall), slog.String("zone", s.Schedule.TimeZone), slog.Time("tick", at))
	}
}

// followMigrations takes note of flows that were migrated to another Runtime while
// this client runs, and works their queues from then on.
func (c *Client) followMigrations(ctx context.Context) error {
	moved := false
	err := c.eachFlow(ctx, func(f *Flow) error {
		c.mu.Lock()
		defer c.mu.Unlock()
		known := c.byID[f.ID]
		if known == nil || stored.Same(known.RuntimeJSON, f.RuntimeJSON) {
			return nil
		}
		c.byID[f.ID], moved = f, true
		c.log.InfoContext(ctx, "dataflow: flow has another runtime now", slog.String(logFlow, f.Name), slog.String("runtime", f.Runtime.Type()))
		return nil
	})
	if err != nil || !moved {
		return err
	}
	return c.workMore(ctx)
}

// workMore has River work the queues that flows have now, and starts it if it has had
// no work before.
func (c *Client) workMore(ctx context.Context) error {
	c.mu.Lock()
	if c.stopped {
		c.mu.Unlock()
		return nil
	}
	before := len(c.riverQueues)
	rc, queues, err := c.startable()
	c.mu.Unlock()
	if err != nil || rc == nil {
		return err
	}
	if err := c.addQueues(rc, queues); err != nil || before > 0 {
		return err
	}
	if err := rc.Start(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("start River: %w", err)
	}
	c.mu.Lock()
	stopped := c.stopped
	c.mu.Unlock()
	if stopped { // meanwhile, and Stop may have come before it was started
		return rc.Stop(context.WithoutCancel(ctx))
	}
	return nil
}
