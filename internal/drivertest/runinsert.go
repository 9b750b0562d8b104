package drivertest

import (
	"context"
	"errors"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

func runInsertRules() []rule {
	return []rule{
		{name: "Defaults", run: insertDefaults},
		{name: "All", run: insertAll},
		{name: "Times", run: insertTimes},
		{name: "NotFound", run: insertNotFound},
		{name: "Inactive", run: insertInactive},
		{name: "NoKey", run: insertNoKey},
		{name: "Coalesced", run: insertCoalesced},
		{name: "KeysAndFlowsApart", run: insertKeysAndFlowsApart},
		{name: "KeyGivenUpByClaim", run: insertKeyGivenUp},
		{name: "CoalescedAtOnce", run: insertCoalescedAtOnce},
		{name: "WaitsForCommit", run: insertWaitsForCommit},
		{name: "WhileClaimed", run: insertWhileClaimed},
	}
}

func insertDefaults(t *test) {
	f := t.flow("orders")
	run, err := t.store.RunInsert(t.Context(), &dataflow.RunInsertParams{FlowID: f.ID, Trigger: dataflow.TriggerManual, MaxAttempts: 5})
	require.NoError(t, err)
	t.requireNow(&run.CreatedAt)
	require.Positive(t, run.ID)
	want := &dataflow.Run{
		ID: run.ID, FlowID: f.ID, FlowName: "orders", State: dataflow.RunPending, Trigger: dataflow.TriggerManual,
		ScheduledFor: run.CreatedAt, RunAfter: run.CreatedAt, CreatedAt: run.CreatedAt,
		MaxAttempts: 5, Errors: []dataflow.AttemptError{},
	}
	require.Equal(t, want, run)
	require.Equal(t, run, t.run(run.ID))
	_, err = t.store.RunByID(t.Context(), run.ID+1)
	require.ErrorIs(t, err, dataflow.ErrNotFound)
}

func insertAll(t *test) {
	f := t.flow("orders")
	at := time.Date(2031, 2, 3, 4, 5, 6, 7e6, time.UTC)
	run := t.insert(dataflow.RunInsertParams{
		FlowID: f.ID, Trigger: dataflow.TriggerSchedule, UniqueKey: "key", At: at, MaxAttempts: 3,
		Queue: "etl", RiverJobID: 1 << 40, Actor: "ann", Reason: "it's \"due\"; drop table é",
	})
	want := &dataflow.Run{
		ID: run.ID, FlowID: f.ID, FlowName: "orders", State: dataflow.RunPending, Trigger: dataflow.TriggerSchedule,
		ScheduledFor: at, RunAfter: at, CreatedAt: run.CreatedAt, MaxAttempts: 3,
		Queue: "etl", RiverJobID: 1 << 40, Actor: "ann", Reason: "it's \"due\"; drop table é", Errors: []dataflow.AttemptError{},
	}
	require.Equal(t, want, run)
	t.requireNow(&run.CreatedAt)
}

// Times are stored to at least the millisecond, and come back in UTC. They are cut, not
// rounded, so that no run is later than requested.
func insertTimes(t *test) {
	f := t.flow("orders")
	india := time.FixedZone("", 5*3600+1800)
	for _, at := range []time.Time{
		time.Date(1969, 12, 31, 23, 59, 59, 999e6, time.UTC),
		time.Date(2026, 3, 29, 2, 30, 0, 1e6, india),
		time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		time.Date(2026, 1, 2, 3, 4, 5, 999_999_999, time.UTC),
		time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC),
	} {
		run := t.run(t.insert(dataflow.RunInsertParams{FlowID: f.ID, At: at}).ID)
		t.requireTime(at, &run.RunAfter)
		require.Equal(t, run.RunAfter, run.ScheduledFor)
		require.False(t, run.RunAfter.After(at))
		t.requireNow(&run.CreatedAt)
	}
}

// requireNoRun requires ErrNotFound and no new row.
func (t *test) requireNoRun(flowID int64, key string) {
	t.Helper()
	t.unchanged(func() {
		t.Helper()
		_, err := t.store.RunInsert(t.Context(), &dataflow.RunInsertParams{
			FlowID: flowID, Trigger: dataflow.TriggerManual, UniqueKey: key, MaxAttempts: 1,
		})
		require.ErrorIs(t, err, dataflow.ErrNotFound)
	})
}

func insertNotFound(t *test) {
	f := t.flow("orders")
	for _, key := range []string{"", "now"} {
		t.requireNoRun(f.ID+1, key)
		t.requireNoRun(0, key)
	}
}

func insertInactive(t *test) {
	f := t.flow("orders")
	waiting := t.insert(dataflow.RunInsertParams{FlowID: f.ID, UniqueKey: "waiting"})
	t.setState(f.ID, dataflow.FlowInactive)
	for _, key := range []string{"", "now", "waiting"} {
		t.requireNoRun(f.ID, key)
	}
	t.setState(f.ID, dataflow.FlowActive)
	require.Equal(t, waiting.ID, t.insert(dataflow.RunInsertParams{FlowID: f.ID, UniqueKey: "waiting"}).ID)
}

func insertNoKey(t *test) {
	f := t.flow("orders")
	first, second := t.pending(f.ID), t.pending(f.ID)
	require.Less(t, first.ID, second.ID, "ids grow")
	require.False(t, second.Coalesced)
}

// A coalesced insert returns the waiting run unchanged.
func insertCoalesced(t *test) {
	f := t.flow("orders")
	at := time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)
	first := t.insert(dataflow.RunInsertParams{FlowID: f.ID, UniqueKey: "now", At: at, Actor: "ann", Queue: "etl", RiverJobID: 3, MaxAttempts: 2})
	require.False(t, first.Coalesced)
	second := t.insert(dataflow.RunInsertParams{FlowID: f.ID, UniqueKey: "now", Actor: "bob", Trigger: dataflow.TriggerSchedule})
	require.True(t, second.Coalesced)
	require.False(t, t.run(first.ID).Coalesced, "Coalesced is not stored")
	second.Coalesced = false
	require.Equal(t, first, second)
	require.EqualValues(t, 1, t.number("select count(*) from dataflow_run"))
}

func insertKeysAndFlowsApart(t *test) {
	f, g := t.flow("orders"), t.flow("other")
	seen := make(map[int64]bool)
	for _, id := range []int64{f.ID, g.ID} {
		for _, key := range []string{"now", "Now", "now ", "é", "at:2026-01-02T03:04:05Z"} {
			run := t.insert(dataflow.RunInsertParams{FlowID: id, UniqueKey: key})
			require.False(t, run.Coalesced, key)
			require.Equal(t, id, run.FlowID)
			seen[run.ID] = true
		}
	}
	require.Len(t, seen, 10)
}

// After a run is claimed, another run with its key can wait, and later the first can wait
// again beside it.
func insertKeyGivenUp(t *test) {
	f := t.flow("orders")
	now := dataflow.RunInsertParams{FlowID: f.ID, UniqueKey: "now"}
	first := t.insert(now)
	c := t.claim(first.ID)
	second := t.insert(now)
	require.False(t, second.Coalesced)
	require.Equal(t, second.ID, t.insert(now).ID)
	require.Equal(t, dataflow.RunPending, t.end(ending(c, dataflow.RunPending)).State)
	require.Equal(t, second.ID, t.insert(now).ID, "the waiting run that has the key")
	t.end(ending(t.claim(second.ID), dataflow.RunSuccess))
	require.False(t, t.insert(now).Coalesced, "the first has no key any more")
}

func insertCoalescedAtOnce(t *test) {
	f := t.flow("orders")
	stores := []dataflow.Store{t.store, t.another()}
	runs, errs := make([]*dataflow.Run, 8), make([]error, 8)
	p := &dataflow.RunInsertParams{FlowID: f.ID, Trigger: dataflow.TriggerManual, UniqueKey: "now", MaxAttempts: 1}
	atOnce(8, func(i int) { runs[i], errs[i] = stores[i%2].RunInsert(t.Context(), p) })
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

// A second insert with the same key waits for the transaction of the first.
func insertWaitsForCommit(t *test) {
	f, other := t.flow("orders"), t.another()
	for _, commit := range []bool{false, true} {
		p := &dataflow.RunInsertParams{FlowID: f.ID, Trigger: dataflow.TriggerManual, UniqueKey: "now", MaxAttempts: 1}
		var first, second *dataflow.Run
		result := make(chan error, 1)
		outside := func() {
			var err error
			second, err = other.RunInsert(t.Context(), p)
			result <- err
		}
		err := inTx(t.Context(), t.store, func(ctx context.Context, q dataflow.Queries) (err error) {
			if first, err = q.RunInsert(ctx, p); err != nil {
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
		t.claim(second.ID)
		f = t.flow("other") // for the second round
	}
}

// While runs are added and claimed at once, at most one run waits with a key.
func insertWhileClaimed(t *test) {
	f, other := t.flow("orders"), t.another()
	p := &dataflow.RunInsertParams{FlowID: f.ID, Trigger: dataflow.TriggerManual, UniqueKey: "now", MaxAttempts: 1}
	errs := make([]error, 2)
	atOnce(2, func(i int) {
		for range 20 {
			if i == 0 {
				_, err := other.RunInsert(t.Context(), p)
				errs[i] = errors.Join(errs[i], err)
				continue
			}
			run, err := t.store.RunInsert(t.Context(), p)
			if err == nil {
				err = claimAndEnd(t.Context(), t.store, run.ID)
			}
			errs[i] = errors.Join(errs[i], err)
		}
	})
	require.NoError(t, errors.Join(errs...))
	require.LessOrEqual(t, t.number("select count(*) from dataflow_run where state = 'pending'"), int64(1))
	require.EqualValues(t, 20, t.number("select count(*) from dataflow_run where state = 'success'"))
}

func claimAndEnd(ctx context.Context, s dataflow.Store, runID int64) error {
	claim, err := tryClaim(ctx, s, claimParams(runID))
	if err != nil {
		return err
	}
	_, err = tryEnd(ctx, s, ending(claim, dataflow.RunSuccess))
	return err
}
