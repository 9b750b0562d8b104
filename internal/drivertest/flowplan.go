package drivertest

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

func flowPlanRules() []rule {
	return []rule{
		{name: "Times", run: flowPlanTimes},
		{name: "LocalTime", run: flowPlanLocalTime},
		{name: "Schedule", run: flowPlanSchedule},
		{name: "Replanned", run: flowPlanReplanned},
		{name: "NotFound", run: flowPlanNotFound},
		{name: "Many", run: flowPlanMany},
		{name: "LockMany", run: flowLockMany},
		{name: "KeptByUpsert", run: flowPlanKept},
		{name: "Lock", run: flowLock},
		{name: "LockKeepsOthersOut", run: flowLockKeepsOut},
		{name: "LockTellsTheTimeThen", run: flowLockTime, needs: concurrentWriters},
		{name: "LockLetsRunsGoOn", run: flowLockLetsRuns, needs: concurrentWriters},
	}
}

// lockFlow locks a flow in a short transaction, and returns the flow with the time.
func (t *test) lockFlow(flowID int64) (*dataflow.FlowRecord, time.Time) {
	t.Helper()
	var rec *dataflow.FlowRecord
	var now time.Time
	require.NoError(t, inTx(t.Context(), t.store, func(ctx context.Context, q dataflow.Queries) (err error) {
		rec, now, err = q.FlowLock(ctx, flowID)
		return err
	}))
	return rec, now
}

// Both times are set as given, even to nil. Nothing else changes.
func flowPlanTimes(t *test) {
	clock := t.clocked()
	want, other := t.flow("orders"), t.flow("other")
	india := time.FixedZone("", 5*3600+1800)
	next, probe := clock.Now().Add(time.Hour+time.Millisecond), clock.Now().Add(-time.Hour).In(india)
	clock.advance(time.Minute)
	for _, p := range [][2]time.Time{{next, probe}, {next, {}}, {{}, probe}, {{}, {}}} {
		t.plan(want.ID, p[0], p[1])
		got := t.flowByID(want.ID)
		want.NextRunAt, want.ProbeAt = nil, nil
		if !p[0].IsZero() {
			want.NextRunAt = new(next.UTC())
		}
		if !p[1].IsZero() {
			want.ProbeAt = new(probe.UTC())
		}
		require.Equal(t, want, got)
	}
	require.Equal(t, other, t.flowByID(other.ID))
}

// The next tick is stored with its local time, and every query that returns the flow returns it.
func flowPlanLocalTime(t *test) {
	clock := t.clocked()
	next := clock.Now().Add(time.Hour)
	f := t.flow("orders")
	require.Empty(t, f.NextRunLocal)
	p := &dataflow.FlowPlanParams{ID: f.ID, NextRunAt: &next, NextRunLocal: "2026-11-30 02:00:00"}
	require.NoError(t, t.store.FlowPlan(t.Context(), p))
	require.Equal(t, p.NextRunLocal, t.flowByID(f.ID).NextRunLocal)
	rec, _ := t.lockFlow(f.ID)
	require.Equal(t, p.NextRunLocal, rec.NextRunLocal)
	got := t.upsert(definition("orders"))
	require.Equal(t, p.NextRunLocal, got.NextRunLocal)
	clock.advance(time.Hour)
	require.NoError(t, inTx(t.Context(), t.store, func(ctx context.Context, q dataflow.Queries) error {
		recs, _, err := q.FlowDue(ctx, []int64{f.ID})
		require.Equal(t, p.NextRunLocal, recs[0].NextRunLocal)
		return err
	}))
	p.NextRunLocal = ""
	require.NoError(t, t.store.FlowPlan(t.Context(), p))
	require.Empty(t, t.flowByID(f.ID).NextRunLocal)
}

// Without a schedule, FlowPlan leaves the stored one.
func flowPlanSchedule(t *test) {
	f, other := t.flow("orders"), t.flow("other")
	schedule := raw(`{"cron":"0 6 * * *","time_zone":"Europe/Paris","note":"it's \"é\" {now} $1 ?1"}`)
	for _, p := range []*dataflow.FlowPlanParams{{ID: f.ID, Schedule: schedule}, {ID: f.ID}, {ID: f.ID, ScheduleAt: &f.ScheduleAt}} {
		require.NoError(t, t.store.FlowPlan(t.Context(), p))
		t.sameJSON(schedule, t.flowByID(f.ID).ScheduleJSON)
	}
	require.NoError(t, t.store.FlowPlan(t.Context(), &dataflow.FlowPlanParams{ID: f.ID, Schedule: raw(`{}`)}))
	t.sameJSON(raw(`{}`), t.flowByID(f.ID).ScheduleJSON)
	require.Equal(t, other, t.flowByID(other.ID))
}

// schedule_at changes only with another schedule.
func flowPlanReplanned(t *test) {
	clock := t.clocked()
	f := t.flow("orders")
	t.requireTime(clock.Now(), &f.ScheduleAt)
	now := clock.advance(time.Hour)
	p := &dataflow.FlowPlanParams{ID: f.ID, NextRunAt: &now, Schedule: raw(`{"interval":60}`)}
	require.NoError(t, t.store.FlowPlan(t.Context(), p))
	require.Equal(t, f.ScheduleAt, t.flowByID(f.ID).ScheduleAt)
	p.ScheduleAt = &now
	require.NoError(t, t.store.FlowPlan(t.Context(), p))
	got := t.flowByID(f.ID)
	t.requireTime(now, &got.ScheduleAt)
	require.Equal(t, f.UpdatedAt, got.UpdatedAt)
}

func flowPlanNotFound(t *test) {
	f := t.flow("orders")
	t.unchanged(func() {
		require.ErrorIs(t, t.store.FlowPlan(t.Context(), &dataflow.FlowPlanParams{ID: f.ID + 1}), dataflow.ErrNotFound)
		err := inTx(t.Context(), t.store, func(ctx context.Context, q dataflow.Queries) error {
			_, _, err := q.FlowLock(ctx, f.ID+1)
			return err
		})
		require.ErrorIs(t, err, dataflow.ErrNotFound)
	})
}

// FlowUpsert leaves the schedule and its times to FlowPlan.
func flowPlanKept(t *test) {
	clock := t.clocked()
	f := t.flow("orders")
	next, probe := clock.Now().Add(time.Hour), clock.Now().Add(2*time.Hour)
	require.NoError(t, t.store.FlowPlan(t.Context(), &dataflow.FlowPlanParams{
		ID: f.ID, NextRunAt: &next, ProbeAt: &probe, Schedule: raw(`{"interval":60}`), ScheduleAt: &next,
	}))
	want := t.flowByID(f.ID)
	clock.advance(time.Minute)
	d := definition("orders")
	d.Schedule, d.PauseAfter, d.ProbeAfter = raw(`{"interval":7}`), 3, time.Minute
	got := t.upsert(d)
	require.Equal(t, want, got)
	require.Equal(t, want, t.flowByID(f.ID))
}

// Many plans are stored as each would be.
func flowPlanMany(t *test) {
	at := t.clocked().Now()
	var plans []*dataflow.FlowPlanParams
	var want []*dataflow.FlowRecord
	for i := range 40 {
		rec := t.flow(strconv.Itoa(100 + i))
		p := &dataflow.FlowPlanParams{ID: rec.ID, NextRunLocal: strconv.Itoa(i)}
		rec.NextRunLocal = p.NextRunLocal
		when := at.Add(time.Duration(i) * time.Hour)
		switch i % 4 {
		case 0:
			p.NextRunAt, rec.NextRunAt = &when, &when
		case 1:
			p.ProbeAt, rec.ProbeAt = &when, &when
		case 2:
			p.Schedule, rec.ScheduleJSON = raw(`{"interval":%d}`, i), raw(`{"interval":%d}`, i)
		case 3:
			p.ScheduleAt, rec.ScheduleAt = &when, when
		}
		plans, want = append(plans, p), append(want, rec)
	}
	require.NoError(t, t.store.FlowPlan(t.Context(), plans...))
	require.NoError(t, t.store.FlowPlan(t.Context()))
	for _, rec := range want {
		got := t.flowByID(rec.ID)
		t.sameJSON(rec.ScheduleJSON, got.ScheduleJSON)
		rec.ScheduleJSON = got.ScheduleJSON
		require.Equal(t, rec, got)
	}
	missing := &dataflow.FlowPlanParams{ID: 1 << 40}
	require.ErrorIs(t, inTx(t.Context(), t.store, func(ctx context.Context, q dataflow.Queries) error {
		return q.FlowPlan(ctx, plans[0], missing)
	}), dataflow.ErrNotFound)
}

func flowLockMany(t *test) {
	clock := t.clocked()
	a, b, c := t.flow("a"), t.flow("b"), t.flow("c")
	require.NoError(t, inTx(t.Context(), t.store, func(ctx context.Context, q dataflow.Queries) error {
		recs, now, err := q.FlowsLock(ctx, []int64{c.ID, 1 << 40, a.ID, b.ID})
		require.NoError(t, err)
		require.Equal(t, []*dataflow.FlowRecord{a, b, c}, recs)
		t.requireTime(clock.Now(), &now)
		recs, _, err = q.FlowsLock(ctx, []int64{})
		require.NoError(t, err)
		require.Empty(t, recs)
		return nil
	}))
}

func flowLock(t *test) {
	clock := t.clocked()
	f := t.planned("orders", clock.Now(), time.Time{})
	want := t.flowByID(f)
	now := clock.advance(time.Hour)
	t.unchanged(func() {
		rec, at := t.lockFlow(f)
		require.Equal(t, want, rec)
		t.requireTime(now, &at)
		require.Equal(t, time.UTC, at.Location())
	})
}

// A locked flow does not change until the transaction ends. If many transactions add one to
// the value they read, no addition is lost.
func flowLockKeepsOut(t *test) {
	stores := []dataflow.Store{t.store, t.another()}
	f := t.flow("orders").ID
	require.NoError(t, t.store.FlowPlan(t.Context(), &dataflow.FlowPlanParams{ID: f, Schedule: raw("0")}))
	errs := make([]error, 4)
	atOnce(len(errs), func(i int) {
		for range t.rounds() {
			errs[i] = errors.Join(errs[i], inTx(t.Context(), stores[i%2], func(ctx context.Context, q dataflow.Queries) error {
				rec, _, err := q.FlowLock(ctx, f)
				if err != nil {
					return err
				}
				n, err := strconv.Atoi(string(rec.ScheduleJSON))
				if err != nil {
					return err
				}
				return q.FlowPlan(ctx, &dataflow.FlowPlanParams{ID: f, Schedule: raw("%d", n+1)})
			}))
		}
	})
	require.NoError(t, errors.Join(errs...))
	t.sameJSON(raw("%d", 4*t.rounds()), t.flowByID(f).ScheduleJSON)
}

// The time that FlowLock returns is after everything that others did to the flow, even if the
// transaction began before that. Otherwise handled ticks would be planned again.
func flowLockTime(t *test) {
	f := t.planned("orders", time.Now().Add(-time.Hour), time.Time{})
	outside := func() time.Time {
		_, now := t.flowDue(t.Context(), f)
		t.skip(f, now.Add(-time.Hour), now, 60, dataflow.SkipOverlap)
		return now
	}
	require.NoError(t, inTx(t.Context(), t.store, func(ctx context.Context, q dataflow.Queries) error {
		_, err := q.FlowByID(ctx, f)
		require.NoError(t, err)
		handled := outside()
		_, now, err := q.FlowLock(ctx, f)
		require.NoError(t, err)
		require.False(t, now.Before(handled), "%s is before %s", now, handled)
		return nil
	}))
}

// While a flow is locked, its runs can be added and claimed, and make checkpoints.
func flowLockLetsRuns(t *test) {
	f := t.planned("orders", time.Now().Add(-time.Hour), time.Time{})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	outside := func() (bool, error) {
		run, err := t.store.RunInsert(ctx, &dataflow.RunInsertParams{FlowID: f, Trigger: dataflow.TriggerManual, MaxAttempts: 1})
		if err != nil {
			return false, err
		}
		c, err := tryClaim(ctx, t.store, claimParams(run.ID))
		if err != nil {
			return false, err
		}
		return tryCheckpoint(ctx, t.store, progress(c))
	}
	require.NoError(t, inTx(ctx, t.store, func(ctx context.Context, q dataflow.Queries) error {
		recs, _, err := q.FlowDue(ctx, []int64{f})
		require.NoError(t, err)
		_, _, err = q.FlowLock(ctx, recs[0].ID)
		require.NoError(t, err)
		held, err := outside()
		require.NoError(t, err, "it waits for the lock")
		require.True(t, held)
		return nil
	}))
}
