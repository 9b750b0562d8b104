package drivertest

import (
	"fmt"
	"slices"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

func runJobRules() []rule {
	return []rule{
		{name: "Set", run: jobSet},
		{name: "Newest", run: jobNewest},
		{name: "NotFound", run: jobNotFound},
		{name: "Own", run: jobOwn},
	}
}

func jobSet(t *test) {
	f := t.flow("orders")
	other, want := t.pending(f.ID), t.pending(f.ID)
	require.NoError(t, t.store.RunSetJob(t.Context(), want.ID, 77, "etl"))
	want.RiverJobID, want.Queue = 77, "etl"
	require.Equal(t, want, t.run(want.ID))
	require.Equal(t, other, t.run(other.ID))
	got, err := t.store.RunByJob(t.Context(), 77)
	require.NoError(t, err)
	require.Equal(t, want, got)
	require.NoError(t, t.store.RunSetJob(t.Context(), want.ID, 78, "etl"))
	_, err = t.store.RunByJob(t.Context(), 77)
	require.ErrorIs(t, err, dataflow.ErrNotFound)
}

func jobNewest(t *test) {
	f := t.flow("orders")
	runs := []*dataflow.Run{t.pending(f.ID), t.pending(f.ID), t.pending(f.ID)}
	for _, i := range []int{1, 2, 0} {
		require.NoError(t, t.store.RunSetJob(t.Context(), runs[i].ID, 77, "etl"))
	}
	got, err := t.store.RunByJob(t.Context(), 77)
	require.NoError(t, err)
	require.Equal(t, runs[2].ID, got.ID)
}

// The run of a job that names none is found by it, after its end too. A job that was made for a run
// names it, and finds no other.
func jobOwn(t *test) {
	f := t.flow("orders").ID
	run := t.insert(dataflow.RunInsertParams{FlowID: f, RiverJobID: 77})
	t.end(ending(t.claim(run.ID), dataflow.RunSuccess))
	got, err := t.store.RunByJob(t.Context(), 77)
	require.NoError(t, err)
	require.Equal(t, t.run(run.ID), got)
	named := t.insert(dataflow.RunInsertParams{FlowID: f, ReserveJob: true})
	require.NoError(t, t.store.RunSetJob(t.Context(), named.ID, 78, "etl"))
	_, err = t.store.RunByJob(t.Context(), 78)
	require.ErrorIs(t, err, dataflow.ErrNotFound)
}

func jobNotFound(t *test) {
	run := t.pending(t.flow("orders").ID)
	require.ErrorIs(t, t.store.RunSetJob(t.Context(), run.ID+1, 1, "etl"), dataflow.ErrNotFound)
	for _, id := range []int64{0, 1} {
		_, err := t.store.RunByJob(t.Context(), id)
		require.ErrorIs(t, err, dataflow.ErrNotFound)
	}
}

func runListRules() []rule {
	return []rule{
		{name: "None", run: runListNone},
		{name: "Filters", run: runListFilters},
		{name: "Pages", run: runListPages},
		{name: "LastOfEach", run: runsLast},
		{name: "Backfill", run: runListBackfill},
		{name: "Due", run: runListDue},
		{name: "Triggers", run: runListTriggers},
	}
}

func runListNone(t *test) {
	runs, err := t.store.RunList(t.Context(), &dataflow.RunListParams{Limit: 10})
	require.NoError(t, err)
	require.Empty(t, runs)
}

// runsOf pages through all runs.
func (t *test) runsOf(p dataflow.RunListParams) []int64 {
	t.Helper()
	all := []int64{}
	for {
		runs, err := t.store.RunList(t.Context(), &p)
		require.NoError(t, err)
		require.LessOrEqual(t, len(runs), p.Limit)
		if len(runs) == 0 {
			return all
		}
		for _, run := range runs {
			require.Equal(t, t.run(run.ID), run)
		}
		all = append(all, ids(runs)...)
		p.Before = all[len(all)-1]
	}
}

func runListFilters(t *test) {
	f, g := t.flow("a"), t.flow("b")
	success := t.finished(f.ID, dataflow.RunSuccess).ID
	failed := t.finished(g.ID, dataflow.RunFailed).ID
	waiting := t.pending(f.ID).ID
	scheduled := t.insert(dataflow.RunInsertParams{FlowID: g.ID, Trigger: dataflow.TriggerSchedule}).ID
	working := t.inProgress(g.ID).Run.ID
	for _, c := range []struct {
		p    dataflow.RunListParams
		want []int64
	}{
		{dataflow.RunListParams{}, []int64{working, scheduled, waiting, failed, success}},
		{dataflow.RunListParams{Flow: "a"}, []int64{waiting, success}},
		{dataflow.RunListParams{Flow: "A"}, []int64{}},
		{dataflow.RunListParams{Flow: "gone"}, []int64{}},
		{dataflow.RunListParams{States: []dataflow.RunState{dataflow.RunPending}}, []int64{scheduled, waiting}},
		{dataflow.RunListParams{States: []dataflow.RunState{dataflow.RunFailed, dataflow.RunInProgress, dataflow.RunFailed}}, []int64{working, failed}},
		{dataflow.RunListParams{States: []dataflow.RunState{dataflow.RunCancelled}}, []int64{}},
		{dataflow.RunListParams{Trigger: dataflow.TriggerSchedule}, []int64{scheduled}},
		{dataflow.RunListParams{Flow: "b", States: []dataflow.RunState{dataflow.RunPending, dataflow.RunFailed}, Trigger: dataflow.TriggerManual}, []int64{failed}},
		{dataflow.RunListParams{Before: waiting}, []int64{failed, success}},
	} {
		c.p.Limit = 2
		require.Equal(t, c.want, t.runsOf(c.p), "%+v", c.p)
	}
}

func runListPages(t *test) {
	f := t.flow("orders")
	var want []int64
	for range 25 {
		// The times are out of order, because RunList must not depend on them.
		at := time.Now().Add(time.Duration(len(want)*7%25) * time.Minute)
		want = append(want, t.insert(dataflow.RunInsertParams{FlowID: f.ID, At: at}).ID)
	}
	slices.Reverse(want)
	for _, limit := range []int{1, 5, 7, 24, 25, 26, 10_000} {
		require.Equal(t, want, t.runsOf(dataflow.RunListParams{Limit: limit}), "pages of %d", limit)
		require.Equal(t, want, t.runsOf(dataflow.RunListParams{Limit: limit, Flow: "orders"}), "pages of %d", limit)
	}
}

func runListDue(t *test) {
	c := t.clocked()
	f, g := t.flow("orders"), t.flow("other")
	var all []int64
	for _, in := range []time.Duration{time.Millisecond, 0, -time.Hour + time.Millisecond, -time.Hour, -48 * time.Hour} {
		all = append(all, t.insert(dataflow.RunInsertParams{FlowID: f.ID, At: c.Now().Add(in)}).ID)
	}
	t.finished(g.ID, dataflow.RunFailed)
	t.inProgress(g.ID)
	due := t.runsOf(dataflow.RunListParams{Due: true, Limit: 2})
	require.Equal(t, []int64{all[4], all[3], all[2], all[1]}, due)
	overdue := t.runsOf(dataflow.RunListParams{Overdue: true, Limit: 2})
	require.Equal(t, []int64{all[4], all[3]}, overdue)
	for _, id := range t.runsOf(dataflow.RunListParams{Limit: 100}) {
		run := t.run(id)
		require.Equal(t, slices.Contains(due, id), run.IsDue(c.Now()))
		require.Equal(t, slices.Contains(overdue, id), run.IsOverdue(c.Now()))
		require.Equal(t, run.State == dataflow.RunFailed, run.Completed())
	}
}

// Runs of every trigger are listed.
func runListTriggers(t *test) {
	f := t.flow("orders")
	all := []int64{}
	for _, trigger := range dataflow.Triggers() {
		run := t.insert(dataflow.RunInsertParams{FlowID: f.ID, Trigger: trigger})
		t.end(ending(t.claim(run.ID), dataflow.RunFailed))
		require.Equal(t, []int64{run.ID}, t.runsOf(dataflow.RunListParams{Trigger: trigger, Limit: 10}))
		all = append([]int64{run.ID}, all...)
	}
	require.Equal(t, all, t.runsOf(dataflow.RunListParams{Limit: 100}))
	require.Equal(t, all, t.runsOf(dataflow.RunListParams{Flow: "orders", States: []dataflow.RunState{dataflow.RunFailed}, Limit: 100}))
}

// The newest runs of each flow are those that a list of the flow begins with.
func runsLast(t *test) {
	var ids []int64
	for _, name := range []string{"none", "one", "many", "not asked for"} {
		ids = append(ids, t.flow(name).ID)
	}
	for i := range 9 {
		for _, id := range []int64{ids[2], ids[3]} {
			state := []dataflow.RunState{dataflow.RunSuccess, dataflow.RunFailed, dataflow.RunCancelled}[i%3]
			t.end(ending(t.inProgress(id), state))
		}
	}
	t.pending(ids[1])
	t.inProgress(ids[2])
	t.pending(ids[2])
	got, err := t.store.RunsLast(t.Context(), ids[:3], 4)
	require.NoError(t, err)
	of := make(map[int64][]*dataflow.RunSummary)
	for _, run := range got {
		of[run.FlowID] = append(of[run.FlowID], run)
	}
	require.Len(t, of, 2)
	for i, name := range []string{"one", "many"} {
		list, err := t.store.RunList(t.Context(), &dataflow.RunListParams{Flow: name, Limit: 4})
		require.NoError(t, err)
		want := make([]*dataflow.RunSummary, len(list))
		for i, r := range list {
			want[i] = &dataflow.RunSummary{
				ID: r.ID, FlowID: r.FlowID, State: r.State, Trigger: r.Trigger, CreatedAt: r.CreatedAt, StartedAt: r.StartedAt, EndedAt: r.EndedAt,
				Read: r.Counters.Read, Written: r.Counters.Written,
			}
		}
		require.Equal(t, want, of[ids[i+1]], name)
	}
	none, err := t.store.RunsLast(t.Context(), nil, 4)
	require.NoError(t, err)
	require.Empty(t, none)
}

// The runs of a backfill are those of all its ranges, with those that were retried, and no others.
func runListBackfill(t *test) {
	f := t.flow("orders")
	insert := func(scope string) *dataflow.Run {
		return t.insert(dataflow.RunInsertParams{FlowID: f.ID, Trigger: dataflow.TriggerBackfill, Backfill: true, Scope: scope})
	}
	first := insert("")
	second, last := insert(first.Scope+"/2"), insert(fmt.Sprintf("%s/%d", first.Scope, dataflow.MaxRanges))
	for _, scope := range []string{first.Scope + "0", first.Scope + "0/2", "0" + first.Scope, first.Scope + "x"} {
		insert(scope)
	}
	t.end(ending(t.claim(first.ID), dataflow.RunFailed))
	again := t.insert(dataflow.RunInsertParams{FlowID: f.ID, Trigger: dataflow.TriggerRetry, Backfill: true, Scope: first.Scope})
	t.pending(f.ID)
	for _, c := range []struct {
		p    dataflow.RunListParams
		want []int64
	}{
		{dataflow.RunListParams{Backfill: first.Scope, Limit: 100}, []int64{again.ID, last.ID, second.ID, first.ID}},
		{dataflow.RunListParams{Backfill: first.Scope, Limit: 1}, []int64{again.ID, last.ID, second.ID, first.ID}},
		{dataflow.RunListParams{Backfill: first.Scope, Before: last.ID, Limit: 1}, []int64{second.ID, first.ID}},
		{dataflow.RunListParams{Backfill: second.Scope, Limit: 100}, []int64{second.ID}},
		{dataflow.RunListParams{Backfill: first.Scope, States: []dataflow.RunState{dataflow.RunFailed}, Limit: 100}, []int64{first.ID}},
		{dataflow.RunListParams{Backfill: first.Scope, Trigger: dataflow.TriggerRetry, Limit: 100}, []int64{again.ID}},
		{dataflow.RunListParams{Backfill: "none", Limit: 100}, []int64{}},
	} {
		c.p.Flow = "orders"
		require.Equal(t, c.want, t.runsOf(c.p), "%+v", c.p)
	}
	t.flow("other")
	require.Empty(t, t.runsOf(dataflow.RunListParams{Flow: "other", Backfill: first.Scope, Limit: 100}))
}
