package drivertest

import (
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

func runActiveRules() []rule {
	return []rule{
		{name: "NewestFirst", run: activeNewestFirst},
		{name: "NotFinished", run: activeNotFinished},
		{name: "NotForLater", run: activeNotForLater},
	}
}

// requireActive checks which runs are listed, and that as many are counted.
func (t *test) requireActive(flowID int64, want ...int64) {
	t.Helper()
	runs, err := t.store.RunActive(t.Context(), []int64{flowID})
	require.NoError(t, err)
	require.Equal(t, append([]int64{}, want...), ids(runs))
	for _, run := range runs {
		require.Equal(t, t.run(run.ID), run)
	}
	a, err := t.store.RunActivity(t.Context(), flowID)
	require.NoError(t, err)
	require.Equal(t, len(want), a.InProgress+a.Waiting)
}

func activeNewestFirst(t *test) {
	f, g := t.flow("a").ID, t.flow("b").ID
	first, other, second := t.due(f, 1), t.due(g, 2), t.due(f, 3)
	t.requireActive(f, second, first)
	t.requireActive(g, other)
	both, err := t.store.RunActive(t.Context(), []int64{f, g})
	require.NoError(t, err)
	require.Equal(t, []int64{second, other, first}, ids(both))
	none, err := t.store.RunActive(t.Context(), nil)
	require.NoError(t, err)
	require.Empty(t, none)
}

func activeNotFinished(t *test) {
	f := t.flow("a").ID
	c := t.inProgress(f)
	t.requireActive(f, c.Run.ID)
	t.end(ending(c, dataflow.RunSuccess))
	t.finished(f, dataflow.RunCancelled)
	t.requireActive(f)
}

// Waiting for another attempt is not the same as waiting for the first.
func activeNotForLater(t *test) {
	f := t.flow("a").ID
	t.insert(dataflow.RunInsertParams{FlowID: f, At: time.Now().Add(time.Hour)})
	t.requireActive(f)
	c := t.inProgress(f)
	p := failing(c, dataflow.RunPending, "disk full")
	p.Delay = time.Hour
	t.end(p)
	t.requireActive(f, c.Run.ID)
}
