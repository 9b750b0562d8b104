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
		{name: "OtherRuntime", run: insertOtherRuntime},
		{name: "Many", run: insertMany},
		{name: "ManyAtOnce", run: insertManyAtOnce},
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
		Queue: "etl", RiverJobID: 1 << 40, Actor: "ann", Reason: "it's \"due\"; drop table é", TraceParent: "00-a-b-01",
	})
	want := &dataflow.Run{
		ID: run.ID, FlowID: f.ID, FlowName: "orders", State: dataflow.RunPending, Trigger: dataflow.TriggerSchedule,
		ScheduledFor: at, RunAfter: at, CreatedAt: run.CreatedAt, MaxAttempts: 3,
		Queue: "etl", RiverJobID: 1 << 40, Actor: "ann", Reason: "it's \"due\"; drop table é", TraceParent: "00-a-b-01", Errors: []dataflow.AttemptError{},
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

// A run is added only to a flow that has the Runtime of the caller's knowledge.
func insertOtherRuntime(t *test) {
	f := t.flow("orders")
	p := dataflow.RunInsertParams{FlowID: f.ID, UniqueKey: "now", Runtime: f.RuntimeJSON}
	first := t.insert(p)
	require.Equal(t, first.ID, t.insert(p).ID)
	_, err := t.store.FlowSetRuntime(t.Context(), &dataflow.FlowRuntimeParams{ID: f.ID, Runtime: []byte(`{"type":"job_queue"}`)})
	require.NoError(t, err)
	for _, key := range []string{"now", "other"} {
		p.Trigger, p.MaxAttempts, p.UniqueKey = dataflow.TriggerManual, 1, key
		_, err = t.store.RunInsert(t.Context(), &p)
		require.ErrorIs(t, err, dataflow.ErrNotFound)
	}
}

// insertAllOf adds runs in one transaction.
func insertAllOf(ctx context.Context, s dataflow.Store, ps []*dataflow.RunInsertParams) (runs []*dataflow.Run, err error) {
	err = inTx(ctx, s, func(ctx context.Context, q dataflow.Queries) error {
		runs, err = q.RunInsertMany(ctx, ps)
		return err
	})
	return runs, err
}

// Many runs are added as each would be by itself.
func insertMany(t *test) {
	f, g, off := t.flow("orders"), t.flow("other"), t.flow("off")
	t.setState(off.ID, dataflow.FlowInactive)
	waiting := t.insert(dataflow.RunInsertParams{FlowID: g.ID, UniqueKey: "now", Actor: "ann"})
	at := time.Date(2031, 2, 3, 4, 5, 6, 7e6, time.UTC)
	of := func(flow int64, key string) *dataflow.RunInsertParams {
		return &dataflow.RunInsertParams{FlowID: flow, Trigger: dataflow.TriggerManual, UniqueKey: key, MaxAttempts: 3}
	}
	all := of(f.ID, "at")
	all.Trigger, all.At, all.Queue, all.Actor, all.Reason, all.Params = dataflow.TriggerSchedule, at, "etl", "bob", "it's é", []byte(`{"a": 1}`)
	backfill := of(f.ID, "backfill")
	backfill.Backfill, backfill.From = true, []byte(`7`)
	runs, err := insertAllOf(t.Context(), t.store, []*dataflow.RunInsertParams{
		of(f.ID, "now"), of(g.ID, "now"), of(off.ID, "now"), all, of(f.ID, "now"), of(f.ID, ""), of(f.ID, ""), backfill, of(99, "now"),
	})
	require.NoError(t, err)
	require.Len(t, runs, 9)
	require.Nil(t, runs[2], "inactive")
	require.Nil(t, runs[8], "unknown")
	for _, i := range []int{0, 3, 5, 6, 7} {
		require.False(t, runs[i].Coalesced, i)
		require.Equal(t, t.run(runs[i].ID), runs[i], i)
	}
	require.Equal(t, "it's é", runs[3].Reason)
	require.Equal(t, at, runs[3].RunAfter)
	require.NotEmpty(t, runs[7].Scope)
	require.True(t, runs[1].Coalesced)
	require.Equal(t, waiting.ID, runs[1].ID)
	require.Equal(t, "ann", runs[1].Actor)
	require.True(t, runs[4].Coalesced, "with an earlier one of the call")
	require.Equal(t, runs[0].ID, runs[4].ID)
	require.EqualValues(t, 6, t.number("select count(*) from dataflow_run"))
	again, err := insertAllOf(t.Context(), t.store, []*dataflow.RunInsertParams{all, of(f.ID, "now")})
	require.NoError(t, err)
	require.Equal(t, []int64{runs[3].ID, runs[0].ID}, []int64{again[0].ID, again[1].ID})
	none, err := insertAllOf(t.Context(), t.store, nil)
	require.NoError(t, err)
	require.Empty(t, none)
}

// Two calls that name the same flows in opposite orders do not stop each other.
func insertManyAtOnce(t *test) {
	var ps, back []*dataflow.RunInsertParams
	for i := range 20 {
		f := t.flow("flow " + string(rune('a'+i)))
		p := &dataflow.RunInsertParams{FlowID: f.ID, Trigger: dataflow.TriggerManual, UniqueKey: "now", MaxAttempts: 1}
		ps, back = append(ps, p), append([]*dataflow.RunInsertParams{p}, back...)
	}
	stores := []dataflow.Store{t.store, t.another()}
	errs := make([]error, 8)
	atOnce(8, func(i int) {
		set := ps
		if i%2 == 1 {
			set = back
		}
		_, errs[i] = insertAllOf(t.Context(), stores[i%2], set)
	})
	require.NoError(t, errors.Join(errs...))
	require.EqualValues(t, 20, t.number("select count(*) from dataflow_run"))
}
