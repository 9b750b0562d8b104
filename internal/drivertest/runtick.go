package drivertest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

func runTickRules() []rule {
	return []rule{
		{name: "OnceForEver", run: runTickOnce},
		{name: "OthersUnaffected", run: runTickOthers},
		{name: "Inactive", run: runTickInactive},
		{name: "AtOnce", run: runTickAtOnce},
		{name: "WaitsForCommit", run: runTickWaits},
		{name: "DoesNotWaitForItsRun", run: runTickDoesNotWait, needs: concurrentWriters},
		{name: "UniqueIndex", run: runTickIndex},
	}
}

// tickParams returns the parameters for the run of a tick.
func tickParams(flowID int64, at time.Time) *dataflow.RunInsertParams {
	return &dataflow.RunInsertParams{
		FlowID: flowID, Trigger: dataflow.TriggerSchedule, At: at, MaxAttempts: 5,
		UniqueKey: "schedule:at:" + at.UTC().Format(time.RFC3339Nano),
	}
}

// tick adds the run of a tick.
func (t *test) tick(flowID int64, at time.Time) *dataflow.Run {
	t.Helper()
	run, err := t.store.RunInsert(t.Context(), tickParams(flowID, at))
	require.NoError(t, err)
	return run
}

// requireCoalesced requires that adding the run of a tick again returns its run unchanged.
func (t *test) requireCoalesced(want *dataflow.Run) {
	t.Helper()
	t.unchanged(func() {
		t.Helper()
		for _, key := range []string{tickParams(want.FlowID, want.ScheduledFor).UniqueKey, "other", ""} {
			p := tickParams(want.FlowID, want.ScheduledFor)
			p.UniqueKey, p.MaxAttempts, p.Actor, p.Queue = key, 2, "ann", "etl"
			got, err := t.store.RunInsert(t.Context(), p)
			require.NoError(t, err)
			require.True(t, got.Coalesced, "%q", key)
			got.Coalesced = false
			require.Equal(t, want, got)
		}
	})
}

// A tick has one run, whatever the state of that run.
func runTickOnce(t *test) {
	f := t.flow("orders").ID
	at := time.Now().Add(-30 * 24 * time.Hour).Truncate(time.Minute)
	for i, state := range []dataflow.RunState{dataflow.RunSuccess, dataflow.RunFailed, dataflow.RunCancelled, dataflow.RunPending} {
		t.insert(dataflow.RunInsertParams{FlowID: f, At: at.Add(time.Duration(i) * time.Minute)}) // not a run of the tick
		run := t.tick(f, at.Add(time.Duration(i)*time.Minute))
		require.False(t, run.Coalesced, "another tick is another run")
		require.Equal(t, dataflow.TriggerSchedule, run.Trigger)
		t.requireCoalesced(run)
		c := t.claim(run.ID)
		t.requireCoalesced(c.Run)
		t.requireCoalesced(t.end(ending(c, state)))
	}
	cancelled := t.tick(f, at.Add(time.Hour))
	_, err := t.store.RunCancel(t.Context(), &dataflow.RunCancelParams{RunID: cancelled.ID})
	require.NoError(t, err)
	t.requireCoalesced(t.run(cancelled.ID))
}

// A tick does not coalesce with a run of another flow, or with a run that is not scheduled.
func runTickOthers(t *test) {
	f, g := t.flow("orders").ID, t.flow("other").ID
	at := firstTick()
	seen := make(map[int64]bool)
	for _, id := range []int64{f, g} {
		for _, trigger := range []dataflow.Trigger{dataflow.TriggerSchedule, dataflow.TriggerManual, dataflow.TriggerProbe, dataflow.TriggerManual} {
			run := t.insert(dataflow.RunInsertParams{FlowID: id, Trigger: trigger, At: at})
			require.False(t, run.Coalesced)
			require.Equal(t, trigger, run.Trigger)
			seen[run.ID] = true
		}
	}
	require.Len(t, seen, 8)
	require.False(t, t.tick(f, at.Add(time.Millisecond)).Coalesced)
}

func runTickInactive(t *test) {
	f := t.flow("orders").ID
	past := time.Now().Add(-time.Hour)
	t.end(ending(t.claim(t.tick(f, past).ID), dataflow.RunSuccess))
	t.tick(f, tickAt(1))
	t.setState(f, dataflow.FlowInactive)
	t.unchanged(func() {
		for _, at := range []time.Time{past, tickAt(1), tickAt(2)} {
			_, err := t.store.RunInsert(t.Context(), tickParams(f, at))
			require.ErrorIs(t, err, dataflow.ErrNotFound)
		}
	})
}

// If many processes add the run of one tick at once, one run is added, even with different
// keys.
func runTickAtOnce(t *test) {
	stores := []dataflow.Store{t.store, t.another()}
	f := t.flow("orders").ID
	for round := range t.rounds() {
		runs, errs := make([]*dataflow.Run, 4), make([]error, 4)
		atOnce(len(runs), func(i int) {
			p := tickParams(f, tickAt(round))
			p.UniqueKey = []string{p.UniqueKey, fmt.Sprint("round ", round), p.UniqueKey, ""}[i]
			runs[i], errs[i] = stores[i%2].RunInsert(t.Context(), p)
		})
		require.NoError(t, errors.Join(errs...))
		made := 0
		for _, run := range runs {
			require.Equal(t, runs[0].ID, run.ID)
			if !run.Coalesced {
				made++
			}
		}
		require.Equal(t, 1, made)
	}
	require.Len(t, t.runsOf(dataflow.RunListParams{Limit: 100}), t.rounds())
}

// A second insert for a tick waits for the transaction of the first.
func runTickWaits(t *test) {
	other, f := t.another(), t.flow("orders").ID
	for n, commit := range []bool{false, true} {
		var first, second *dataflow.Run
		result := make(chan error, 1)
		outside := func() {
			var err error
			second, err = other.RunInsert(t.Context(), tickParams(f, tickAt(n)))
			result <- err
		}
		err := inTx(t.Context(), t.store, func(ctx context.Context, q dataflow.Queries) (err error) {
			if first, err = q.RunInsert(ctx, tickParams(f, tickAt(n))); err != nil {
				return err
			}
			go outside()
			if !commit {
				return errUndo
			}
			return nil
		})
		require.Equal(t, !commit, errors.Is(err, errUndo), err)
		require.NoError(t, <-result)
		require.Equal(t, commit, second.Coalesced)
		if commit {
			require.Equal(t, first.ID, second.ID)
		}
	}
}

// The transaction that fires a tick has locked the flow, and the end of a run may wait for that
// lock. So the insert must not wait for a run that is about to end, even a run of the same tick.
func runTickDoesNotWait(t *test) {
	f := t.flow("orders").ID
	c := t.claim(t.tick(f, time.Now().Add(-time.Hour)).ID)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	outside := func() (*dataflow.Run, error) { return t.store.RunInsert(ctx, tickParams(f, c.Run.ScheduledFor)) }
	require.NoError(t, inTx(ctx, t.store, func(ctx context.Context, q dataflow.Queries) error {
		_, err := q.RunEnd(ctx, ending(c, dataflow.RunSuccess))
		require.NoError(t, err)
		run, err := outside()
		require.NoError(t, err, "it waits for the run to end")
		require.True(t, run.Coalesced)
		require.Equal(t, c.Run, uncoalesced(run))
		return nil
	}))
}

func uncoalesced(run *dataflow.Run) *dataflow.Run {
	own := *run
	own.Coalesced = false
	return &own
}

// The database enforces the rule, whatever the statements do.
func runTickIndex(t *test) {
	f := t.flow("orders").ID
	t.tick(f, tickAt(0))
	other := t.tick(f, tickAt(1))
	manual := t.insert(dataflow.RunInsertParams{FlowID: f, At: tickAt(0)})
	t.unchanged(func() {
		for id, set := range map[int64]string{
			other.ID:  "scheduled_for = (select min(scheduled_for) from dataflow_run)",
			manual.ID: "trigger = 'schedule'",
		} {
			require.Error(t, t.db.Exec(t.Context(), fmt.Sprintf("update dataflow_run set %s where id = %d", set, id)), set)
		}
	})
}
