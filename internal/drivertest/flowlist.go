package drivertest

import (
	"fmt"
	"slices"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

func flowListRules() []rule {
	return []rule{
		{name: "None", run: flowListNone},
		{name: "OrderedByBytes", run: flowListOrder},
		{name: "Pages", run: flowListPages},
		{name: "ByState", run: flowListByState},
		{name: "Due", run: flowListDue},
		{name: "Trouble", run: flowListTrouble},
	}
}

// flowNamesOf pages through all flows.
func (t *test) flowNamesOf(p dataflow.FlowListParams) []string {
	t.Helper()
	var names []string
	for {
		flows, err := t.store.FlowList(t.Context(), &p)
		require.NoError(t, err)
		require.LessOrEqual(t, len(flows), p.Limit)
		if len(flows) == 0 {
			return names
		}
		for _, f := range flows {
			require.Equal(t, f, t.flowByID(f.ID))
			names = append(names, f.Name)
		}
		p.After = names[len(names)-1]
	}
}

func flowListNone(t *test) {
	flows, err := t.store.FlowList(t.Context(), &dataflow.FlowListParams{Limit: 10})
	require.NoError(t, err)
	require.Empty(t, flows)
}

func flowListOrder(t *test) {
	want := oddNames()
	for _, name := range want {
		t.flow(name)
	}
	slices.Sort(want) // Go compares bytes
	require.Equal(t, want, t.flowNamesOf(dataflow.FlowListParams{Limit: 100}))
	require.Equal(t, want, t.flowNamesOf(dataflow.FlowListParams{Limit: 1}))
}

func flowListPages(t *test) {
	var want []string
	for i := range 25 {
		want = append(want, t.flow(fmt.Sprintf("flow %02d", (i*7)%25)).Name)
	}
	slices.Sort(want)
	for _, limit := range []int{1, 5, 7, 24, 25, 26, 10_000} {
		require.Equal(t, want, t.flowNamesOf(dataflow.FlowListParams{Limit: limit}), "pages of %d", limit)
	}
	require.Equal(t, want[10:], t.flowNamesOf(dataflow.FlowListParams{After: want[9], Limit: 4}))
	require.Equal(t, want[10:], t.flowNamesOf(dataflow.FlowListParams{After: want[9] + "!", Limit: 4}), "there is no such flow")
}

func flowListByState(t *test) {
	t.flow("a")
	t.setState(t.flow("b").ID, dataflow.FlowInactive)
	t.flow("c")
	t.setState(t.flow("d").ID, dataflow.FlowInactive)
	for state, want := range map[dataflow.FlowState][]string{
		"": {"a", "b", "c", "d"}, dataflow.FlowActive: {"a", "c"}, dataflow.FlowInactive: {"b", "d"},
	} {
		require.Equal(t, want, t.flowNamesOf(dataflow.FlowListParams{State: state, Limit: 1}), state)
	}
}

func flowListDue(t *test) {
	now := t.clocked().Now()
	for name, in := range map[string]time.Duration{
		"a": time.Millisecond, "b": 0, "c": -time.Hour + time.Millisecond, "d": -time.Hour, "e": -48 * time.Hour,
	} {
		at := now.Add(in)
		require.NoError(t, t.store.FlowPlan(t.Context(), &dataflow.FlowPlanParams{ID: t.flow(name).ID, NextRunAt: &at}))
	}
	t.flow("never")
	t.setState(t.flow("e").ID, dataflow.FlowInactive)
	due := t.flowNamesOf(dataflow.FlowListParams{Due: true, Limit: 2})
	require.Equal(t, []string{"b", "c", "d"}, due)
	overdue := t.flowNamesOf(dataflow.FlowListParams{Overdue: true, Limit: 2})
	require.Equal(t, []string{"d"}, overdue)
	for _, f := range t.rows("select name from dataflow_flow") {
		name, _ := f[0].(string)
		rec, err := t.store.FlowByName(t.Context(), name)
		require.NoError(t, err)
		require.Equal(t, slices.Contains(due, name), rec.IsDue(now), name)
		require.Equal(t, slices.Contains(overdue, name), rec.IsOverdue(now), name)
	}
}

// Flows are in trouble after failures of any kind, and if they are late.
func flowListTrouble(t *test) {
	clock := t.clocked()
	for _, name := range []string{"fine", "failed", "late", "paused and late", "soon"} {
		t.flow(name)
	}
	at := func(name string, in time.Duration) {
		f, err := t.store.FlowByName(t.Context(), name)
		require.NoError(t, err)
		next := clock.Now().Add(in)
		require.NoError(t, t.store.FlowPlan(t.Context(), &dataflow.FlowPlanParams{ID: f.ID, NextRunAt: &next}))
	}
	at("late", -2*dataflow.LateAfter)
	at("paused and late", -2*dataflow.LateAfter)
	at("soon", dataflow.LateAfter)
	paused, err := t.store.FlowByName(t.Context(), "paused and late")
	require.NoError(t, err)
	t.setState(paused.ID, dataflow.FlowInactive)
	failed, err := t.store.FlowByName(t.Context(), "failed")
	require.NoError(t, err)
	e := ending(t.inProgress(failed.ID), dataflow.RunFailed)
	e.Error = &dataflow.AttemptError{Error: "no"}
	t.end(e)
	trouble := func(p dataflow.FlowListParams) (names []string) {
		p.Limit = max(p.Limit, 1)
		for {
			flows, err := t.store.FlowTrouble(t.Context(), &p)
			require.NoError(t, err)
			if len(flows) == 0 {
				return names
			}
			for _, f := range flows {
				names = append(names, f.Name)
			}
			p.After = names[len(names)-1]
		}
	}
	require.Equal(t, []string{"failed", "late"}, trouble(dataflow.FlowListParams{}))
	require.Equal(t, []string{"failed", "late"}, trouble(dataflow.FlowListParams{Limit: 10, State: dataflow.FlowActive}))
	require.Empty(t, trouble(dataflow.FlowListParams{State: dataflow.FlowInactive}))
	t.end(ending(t.inProgress(failed.ID), dataflow.RunSuccess))
	require.Equal(t, []string{"late"}, trouble(dataflow.FlowListParams{}))
}
