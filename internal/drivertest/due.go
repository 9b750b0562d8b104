package drivertest

import (
	"slices"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

func runDueRules() []rule {
	return []rule{
		{name: "Order", run: dueOrder},
		{name: "Limit", run: dueLimit},
		{name: "After", run: dueAfter},
		{name: "OfFlows", run: dueOfFlows},
		{name: "NotInFuture", run: dueNotInFuture},
		{name: "NotWithQueue", run: dueNotWithQueue},
		{name: "NotOfInactiveFlow", run: dueNotOfInactiveFlow},
		{name: "NotBehindAnother", run: dueNotBehindAnother},
		{name: "NotFinished", run: dueNotFinished},
		{name: "AfterRetry", run: dueAfterRetry},
	}
}

func (t *test) requireDue(flows []int64, limit int, want ...int64) {
	t.Helper()
	p := &dataflow.RunDueParams{FlowIDs: append([]int64{}, flows...), Limit: limit}
	runs, err := t.store.RunDue(t.Context(), p)
	require.NoError(t, err)
	for _, run := range runs {
		require.Equal(t, t.run(run.ID), run)
	}
	require.Equal(t, append([]int64{}, want...), ids(runs))
	if len(want) < limit { // of any flow, the same come in the same order
		p.FlowIDs = nil
		all, err := t.store.RunDue(t.Context(), p)
		require.NoError(t, err)
		all = slices.DeleteFunc(all, func(r *dataflow.Run) bool { return !slices.Contains(flows, r.FlowID) })
		require.Equal(t, append([]int64{}, want...), ids(all))
	}
}

// RunDue goes on after a place. Runs that are due since the same time come in the order of their
// ids.
func dueAfter(t *test) {
	f, g := t.flow("a").ID, t.flow("b").ID
	want := []int64{t.due(g, 9), t.due(f, 5), t.due(g, 5), t.due(f, 5), t.due(f, 1)}
	for _, flows := range [][]int64{nil, {f, g}} {
		for limit := 1; limit <= len(want)+1; limit++ {
			var got []int64
			p := &dataflow.RunDueParams{FlowIDs: flows, Limit: limit}
			for more := true; more; {
				runs, err := t.store.RunDue(t.Context(), p)
				require.NoError(t, err)
				for _, run := range runs {
					got = append(got, run.ID)
					p.After = dataflow.Due{At: run.RunAfter, ID: run.ID}
				}
				more = len(runs) == limit
			}
			require.Equal(t, want, got)
		}
	}
}

// due adds a run that has been due for so many hours.
func (t *test) due(flowID int64, hours int) int64 {
	t.Helper()
	at := time.Now().Add(-time.Duration(hours) * time.Hour).Truncate(time.Hour)
	return t.insert(dataflow.RunInsertParams{FlowID: flowID, At: at}).ID
}

func dueOrder(t *test) {
	f, g := t.flow("a").ID, t.flow("b").ID
	second, third, first, fourth := t.due(f, 5), t.due(g, 5), t.due(f, 9), t.due(g, 2)
	t.requireDue([]int64{f, g}, 10, first, second, third, fourth)
}

func dueLimit(t *test) {
	f := t.flow("a").ID
	third, second, first := t.due(f, 1), t.due(f, 2), t.due(f, 3)
	t.requireDue([]int64{f}, 1, first)
	t.requireDue([]int64{f}, 2, first, second)
	t.requireDue([]int64{f}, 3, first, second, third)
}

func dueOfFlows(t *test) {
	f, g, h := t.flow("a").ID, t.flow("b").ID, t.flow("c").ID
	first, second, third := t.due(f, 3), t.due(g, 2), t.due(h, 1)
	t.requireDue(nil, 10)
	t.requireDue([]int64{}, 10)
	t.requireDue([]int64{h + 1}, 10)
	t.requireDue([]int64{g}, 10, second)
	t.requireDue([]int64{h, f, f}, 10, first, third)
}

func dueNotInFuture(t *test) {
	f := t.flow("a").ID
	t.due(f, -2)
	now := t.pending(f).ID
	t.requireDue([]int64{f}, 10, now)
}

func dueNotWithQueue(t *test) {
	f := t.flow("a").ID
	t.insert(dataflow.RunInsertParams{FlowID: f, Queue: "etl", RiverJobID: 1})
	later := t.pending(f)
	t.requireDue([]int64{f}, 10, later.ID)
	require.NoError(t, t.store.RunSetJob(t.Context(), later.ID, 2, "etl"))
	t.requireDue([]int64{f}, 10)
}

func dueNotOfInactiveFlow(t *test) {
	f, g := t.flow("a").ID, t.flow("b").ID
	first, second := t.due(f, 2), t.due(g, 1)
	t.setState(f, dataflow.FlowInactive)
	t.requireDue([]int64{f, g}, 10, second)
	t.setState(f, dataflow.FlowActive)
	t.requireDue([]int64{f, g}, 10, first, second)
}

// Runs that must wait do not use up the limit.
func dueNotBehindAnother(t *test) {
	f, g := t.flow("a").ID, t.flow("b").ID
	working, behind, other := t.due(f, 9), t.due(f, 8), t.due(g, 1)
	c := t.claim(working)
	t.requireDue([]int64{f, g}, 1, other)
	t.end(ending(c, dataflow.RunSuccess))
	t.requireDue([]int64{f, g}, 10, behind, other)
}

func dueNotFinished(t *test) {
	f := t.flow("a").ID
	for _, state := range []dataflow.RunState{dataflow.RunSuccess, dataflow.RunFailed, dataflow.RunCancelled} {
		t.finished(f, state)
	}
	t.requireDue([]int64{f}, 10)
}

func dueAfterRetry(t *test) {
	f := t.flow("a").ID
	c := t.inProgress(f)
	p := failing(c, dataflow.RunPending, "disk full")
	p.Delay = time.Hour
	t.end(p)
	t.requireDue([]int64{f}, 10)
	c = t.inProgress(f)
	t.end(ending(c, dataflow.RunPending))
	t.requireDue([]int64{f}, 10, c.Run.ID)
}
