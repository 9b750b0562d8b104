package dataflow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Register stores the definitions of Config.Flows. It never changes whether a
// flow is active, and never starts a run: a schedule that is new, or has changed,
// begins with its next tick. Start calls it.
func (c *Client) Register(ctx context.Context) error {
	for _, f := range c.config.Flows {
		if err := c.register(ctx, f); err != nil {
			return public(fmt.Errorf("register flow %q: %w", f.Name, err))
		}
	}
	return nil
}

func (c *Client) register(ctx context.Context, f *Flow) error {
	def, err := f.definition(c.config.CodeVersion)
	if err != nil {
		return err
	}
	var before, rec *FlowRecord
	var now time.Time
	err = c.store.InTx(ctx, func(ctx context.Context, tx Tx) error {
		q, err := c.store.With(tx)
		if err != nil {
			return err
		}
		if before, err = lockByName(ctx, q, f.Name); err != nil {
			return err
		}
		if rec, err = q.FlowUpsert(ctx, def); err != nil {
			return err
		}
		if rec, now, err = q.FlowLock(ctx, rec.ID); err != nil {
			return err
		}
		if before == nil {
			before = rec // another process may have been quicker to store it
		}
		return c.replan(ctx, q, before, rec, def, now)
	})
	if err != nil {
		return err
	}
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
	was, wasDisabled, err := timing(before.ScheduleJSON)
	if err != nil {
		return err
	}
	is, disabled, err := timing(def.Schedule)
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
		plan.NextRunAt, plan.ScheduleAt = p.next(now), &now
		rec.ScheduleAt = now
	}
	if rec.TrippedAt != nil {
		plan.ProbeAt = p.reprobe(rec.ProbeAt, now)
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
