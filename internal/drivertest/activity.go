package drivertest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

func activityRules() []rule {
	return []rule{
		{name: "None", run: activityNone},
		{name: "Waiting", run: activityWaiting},
		{name: "InProgress", run: activityInProgress},
		{name: "NotFinished", run: activityFinished},
		{name: "NotInFuture", run: activityFuture},
		{name: "Begun", run: activityBegun},
		{name: "FlowsApart", run: activityFlowsApart},
		{name: "OfMany", run: activityOfMany},
		{name: "Crowded", run: crowded},
		{name: "FlowStats", run: flowStats},
	}
}

// requireActivity requires the numbers of a flow's runs: in progress, waiting, and
// waiting ticks.
func (t *test) requireActivity(flowID int64, inProgress, waiting, ticks int) {
	t.Helper()
	require.Equal(t, &dataflow.Activity{InProgress: inProgress, Waiting: waiting, WaitingTicks: ticks}, t.activity(flowID))
}

func activityNone(t *test) {
	f := t.flow("orders").ID
	t.requireActivity(f, 0, 0, 0)
	t.requireActivity(f+1, 0, 0, 0)
}

// A waiting run counts whatever its trigger is, with or without River.
func activityWaiting(t *test) {
	f := t.flow("orders").ID
	t.pending(f)
	t.requireActivity(f, 0, 1, 0)
	t.insert(dataflow.RunInsertParams{FlowID: f, Trigger: dataflow.TriggerProbe})
	t.insert(dataflow.RunInsertParams{FlowID: f, Queue: "etl", RiverJobID: 7, UniqueKey: "now"})
	t.requireActivity(f, 0, 3, 0)
	t.tick(f, time.Now().Add(-time.Hour))
	t.requireActivity(f, 0, 4, 1)
	t.setState(f, dataflow.FlowInactive)
	t.requireActivity(f, 0, 4, 1)
}

func activityInProgress(t *test) {
	f := t.flow("orders").ID
	run := t.tick(f, time.Now().Add(-time.Hour))
	t.claimSlot(run.ID, 3)
	t.requireActivity(f, 1, 0, 0)
	t.claimSlot(t.pending(f).ID, 3)
	t.requireActivity(f, 2, 0, 0)
	t.tick(f, time.Now().Add(-time.Minute))
	t.requireActivity(f, 2, 1, 1)
	_, err := t.store.RunCancel(t.Context(), &dataflow.RunCancelParams{RunID: run.ID})
	require.NoError(t, err)
	t.requireActivity(f, 2, 1, 1) // the cancellation is requested but has not happened yet
}

func activityFinished(t *test) {
	f := t.flow("orders").ID
	for _, state := range []dataflow.RunState{dataflow.RunSuccess, dataflow.RunFailed, dataflow.RunCancelled} {
		t.finished(f, state)
	}
	run := t.pending(f)
	_, err := t.store.RunCancel(t.Context(), &dataflow.RunCancelParams{RunID: run.ID})
	require.NoError(t, err)
	t.requireActivity(f, 0, 0, 0)
}

// A run for a later time does not count until then.
func activityFuture(t *test) {
	clock := t.clocked()
	f := t.flow("orders").ID
	at := clock.Now().Add(time.Hour)
	t.insert(dataflow.RunInsertParams{FlowID: f, At: at})
	t.tick(f, at)
	t.requireActivity(f, 0, 0, 0)
	clock.advance(time.Hour - time.Millisecond)
	t.requireActivity(f, 0, 0, 0)
	clock.advance(time.Millisecond)
	t.requireActivity(f, 0, 2, 1)
}

// A run that waits for its next attempt or slice has begun. It does not count as a waiting
// tick.
func activityBegun(t *test) {
	f := t.flow("orders").ID
	retry := failing(t.inProgress(f), dataflow.RunPending, "disk full")
	retry.Delay = time.Hour
	t.end(retry)
	t.requireActivity(f, 0, 1, 0)
	slice := ending(t.claim(t.tick(f, time.Now().Add(-time.Hour)).ID), dataflow.RunPending)
	slice.Refund, slice.Delay = true, time.Minute
	require.Zero(t, t.end(slice).Attempt)
	t.requireActivity(f, 0, 2, 0)
}

func activityFlowsApart(t *test) {
	f, g := t.flow("orders").ID, t.flow("other").ID
	t.inProgress(g)
	t.pending(g)
	t.tick(g, time.Now().Add(-time.Hour))
	t.requireActivity(f, 0, 0, 0)
	t.requireActivity(g, 1, 2, 1)
}

// The activities of many flows are counted at once. Flows without any are left out.
func activityOfMany(t *test) {
	want := make(map[int64]*dataflow.Activity)
	ids := []int64{t.flow("idle").ID, 1 << 40}
	for i := range 5 {
		f := t.flow(fmt.Sprint("flow ", i)).ID
		ids = append(ids, f)
		t.inProgress(f)
		for range i {
			t.pending(f)
		}
		want[f] = &dataflow.Activity{InProgress: 1, Waiting: i}
	}
	got, err := t.store.RunActivity(t.Context(), ids)
	require.NoError(t, err)
	require.Equal(t, want, got)
	got, err = t.store.RunActivity(t.Context(), []int64{})
	require.NoError(t, err)
	require.Empty(t, got)
}

// A flow is crowded if more than one run of its own is in progress, is due, or has begun, and its
// newest run takes the place of the others.
func crowded(t *test) {
	requireCrowded := func(want ...int64) {
		t.Helper()
		got, err := t.store.FlowsCrowded(t.Context())
		require.NoError(t, err)
		require.Equal(t, append([]int64{}, want...), append([]int64{}, got...))
	}
	flow := func(name, overlap string) int64 {
		id := t.flow(name).ID
		require.NoError(t, t.store.FlowPlan(t.Context(), &dataflow.FlowPlanParams{ID: id, Schedule: raw(`{"overlap":%q}`, overlap)}))
		return id
	}
	f, g, other := flow("f", "cancel_other"), flow("g", "cancel_other"), flow("other", "buffer_all")
	for range 2 {
		t.pending(other)
	}
	t.inProgress(f)
	t.insert(dataflow.RunInsertParams{FlowID: f, At: time.Now().Add(time.Hour)})
	t.backfill(f, "")
	requireCrowded()
	retry := failing(t.inProgress(g), dataflow.RunPending, "disk full")
	retry.Delay = time.Hour
	t.end(retry)
	t.pending(f)
	requireCrowded(f)
	second := t.pending(g)
	requireCrowded(f, g)
	_, err := t.store.RunCancel(t.Context(), &dataflow.RunCancelParams{RunID: second.ID})
	require.NoError(t, err)
	requireCrowded(f)
}

// FlowStats counts what waits and is worked now, and leaves out what is for later, has ended or
// was replayed.
func flowStats(t *test) {
	c := t.clocked()
	idle, busy := t.flow("idle"), t.flow("busy")
	run := t.inProgress(busy.ID)
	t.kept(run.Run, 3)
	_, err := t.store.DeadLetterReplayed(t.Context(), t.letters(dataflow.DeadLetterListParams{})[0].ID, "", "", false)
	require.NoError(t, err)
	t.end(failing(run, dataflow.RunFailed, "disk full"))
	t.inProgress(busy.ID)
	t.pending(busy.ID)
	since := c.Now()
	c.advance(time.Hour)
	t.insert(dataflow.RunInsertParams{FlowID: busy.ID, UniqueKey: "another"})
	t.insert(dataflow.RunInsertParams{FlowID: busy.ID, UniqueKey: "later", At: c.Now().Add(time.Hour)})

	require.NoError(t, t.store.InTx(t.Context(), func(ctx context.Context, tx dataflow.Tx) error {
		q, err := t.store.With(tx)
		require.NoError(t, err)
		_, err = q.CursorLock(ctx, idle.ID)
		require.NoError(t, err)
		return q.CursorSet(ctx, &dataflow.CursorSetParams{FlowID: idle.ID, To: raw(`7`)})
	}))
	moved := c.Now()
	c.advance(time.Minute)

	stats, err := t.store.FlowStats(t.Context(), []int64{busy.ID, idle.ID, 1 << 40})
	require.NoError(t, err)
	require.Len(t, stats, 2)
	slices.SortFunc(stats, func(a, b *dataflow.FlowStats) int { return strings.Compare(a.Flow, b.Flow) })
	require.Equal(t, &dataflow.FlowStats{
		FlowID: idle.ID, Flow: "idle", At: c.Now(), State: dataflow.FlowActive, Cursor: raw(`7`), CursorAt: &moved,
	}, stats[1])
	require.Equal(t, &dataflow.FlowStats{
		FlowID: busy.ID, Flow: "busy", At: c.Now(), State: dataflow.FlowActive, Failures: 1, InProgress: 1, Due: 2, DueSince: &since, DeadLetters: 2,
	}, stats[0])

	none, err := t.store.FlowStats(t.Context(), []int64{})
	require.NoError(t, err)
	require.Empty(t, none)
}
