package drivertest

import (
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

func totalRules() []rule {
	return []rule{
		{name: "Days", run: totalDays},
		{name: "Removed", run: totalRemoved},
	}
}

func (t *test) totals(p dataflow.TotalListParams) []dataflow.DailyTotal {
	t.Helper()
	list, err := t.store.TotalList(t.Context(), &p)
	require.NoError(t, err)
	all := make([]dataflow.DailyTotal, len(list))
	for i, one := range list {
		all[i] = *one
	}
	return all
}

// worked adds a run that read n records in d and ended in a state.
func (t *test) worked(clock *clock, flowID int64, state dataflow.RunState, n int64, d time.Duration) {
	t.Helper()
	c := t.inProgress(flowID)
	t.checkpoint(c, "1", dataflow.Counters{Read: n, Written: n})
	clock.advance(d)
	t.end(ending(c, state))
}

// total is what the runs of one day did.
func total(f *dataflow.FlowRecord, day string, state dataflow.RunState, runs, records int64, busy time.Duration) dataflow.DailyTotal {
	return dataflow.DailyTotal{
		FlowID: f.ID, FlowName: f.Name, Day: day, State: state, Runs: runs, Counters: dataflow.Counters{Read: records, Written: records}, Busy: busy,
	}
}

func totalDays(t *test) {
	clock := t.clocked() // 2031-02-03 04:05:06
	f, g := t.flow("orders"), t.flow("a flow")
	t.worked(clock, f.ID, dataflow.RunSuccess, 3, 1500*time.Millisecond)
	t.worked(clock, f.ID, dataflow.RunSuccess, 4, time.Second)
	t.worked(clock, g.ID, dataflow.RunFailed, 1, time.Second)
	t.worked(clock, f.ID, dataflow.RunSuccess, 5, 24*time.Hour) // it counts on the day of its end
	t.inProgress(g.ID)                                          // it has not ended
	whole := dataflow.TotalListParams{From: "2031-01-01", To: "2031-12-31"}
	first, last := total(f, "2031-02-03", dataflow.RunSuccess, 2, 7, 2500*time.Millisecond), total(f, "2031-02-04", dataflow.RunSuccess, 1, 5, 24*time.Hour)
	failed := total(g, "2031-02-03", dataflow.RunFailed, 1, 1, time.Second)
	require.Equal(t, []dataflow.DailyTotal{failed, first, last}, t.totals(whole))
	require.Equal(t, []dataflow.DailyTotal{first, last}, t.totals(dataflow.TotalListParams{FlowID: f.ID, From: "2031-02-03", To: "2031-02-04"}))
	require.Equal(t, []dataflow.DailyTotal{last}, t.totals(dataflow.TotalListParams{From: "2031-02-04", To: "2031-02-04"}))
	require.Empty(t, t.totals(dataflow.TotalListParams{From: "2031-02-05", To: "2031-02-06"}))
}

// A total is the same after some of its runs were removed, and after all of them were.
func totalRemoved(t *test) {
	clock := t.clocked()
	f := t.flow("orders")
	for i := range int64(7) {
		t.worked(clock, f.ID, dataflow.RunFailed, i, time.Second)
	}
	t.worked(clock, f.ID, dataflow.RunCancelled, 10, time.Second)
	t.pending(f.ID)
	whole := dataflow.TotalListParams{From: "2031-02-03", To: "2031-02-03"}
	want := []dataflow.DailyTotal{total(f, "2031-02-03", dataflow.RunCancelled, 1, 10, time.Second), total(f, "2031-02-03", dataflow.RunFailed, 7, 21, 7*time.Second)}
	require.Equal(t, want, t.totals(whole))
	clock.advance(month)
	for _, removed := range []int64{3, 3, 1} {
		require.Equal(t, removed, t.pruned(dataflow.PruneParams{State: dataflow.RunFailed, Age: time.Hour, Limit: 3}))
		require.Equal(t, want, t.totals(whole))
	}
	require.EqualValues(t, 1, t.number("select count(*) from dataflow_total"))
}

func upkeepRules() []rule {
	return []rule{
		{name: "One", run: upkeepOne},
		{name: "Dead", run: upkeepDead},
		{name: "Race", run: upkeepRace},
	}
}

func (t *test) take(task, worker string) bool {
	t.Helper()
	ok, err := t.store.UpkeepTake(t.Context(), task, worker, time.Minute)
	require.NoError(t, err)
	return ok
}

// One worker at a time does a task, and nobody does it again before the pause is over.
func upkeepOne(t *test) {
	clock := t.clocked()
	require.True(t, t.take("cleanup", "a"))
	require.False(t, t.take("cleanup", "b"))
	require.True(t, t.take("other", "b"))
	require.True(t, t.take("cleanup", "a"), "it renews its lease")
	require.NoError(t, t.store.UpkeepDone(t.Context(), "cleanup", "b", time.Hour), "it is not b's")
	require.True(t, t.take("cleanup", "a"))
	require.NoError(t, t.store.UpkeepDone(t.Context(), "cleanup", "a", time.Hour))
	require.False(t, t.take("cleanup", "a"))
	require.False(t, t.take("cleanup", "b"))
	clock.advance(time.Hour)
	require.True(t, t.take("cleanup", "b"))
	require.False(t, t.take("cleanup", "a"))
	require.NoError(t, t.store.UpkeepDone(t.Context(), "cleanup", "b", 0))
	require.True(t, t.take("cleanup", "a"), "at once")
}

// Another worker takes the task of a worker that has died.
func upkeepDead(t *test) {
	clock := t.clocked()
	require.True(t, t.take("cleanup", "a"))
	clock.advance(time.Minute)
	require.False(t, t.take("cleanup", "b"))
	clock.advance(time.Millisecond)
	require.True(t, t.take("cleanup", "b"))
	require.False(t, t.take("cleanup", "a"))
}

func upkeepRace(t *test) {
	var taken atomic.Int64
	workers := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
	atOnce(len(workers), func(i int) {
		if ok, err := t.store.UpkeepTake(t.Context(), "cleanup", workers[i], time.Minute); err == nil && ok {
			taken.Add(1)
		}
	})
	require.EqualValues(t, 1, taken.Load())
}
