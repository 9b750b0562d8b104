package drivertest

import (
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

func runLiveRules() []rule {
	return []rule{
		{name: "None", run: liveNone},
		{name: "OldestFirst", run: liveOldestFirst},
		{name: "NotFinished", run: liveNotFinished},
	}
}

func (t *test) requireLive(flowID int64, want ...int64) {
	t.Helper()
	runs, err := t.store.RunLive(t.Context(), flowID)
	require.NoError(t, err)
	for _, run := range runs {
		require.Equal(t, t.run(run.ID), run)
	}
	require.Equal(t, append([]int64{}, want...), ids(runs))
}

func liveNone(t *test) {
	f := t.flow("a").ID
	t.requireLive(f)
	t.requireLive(f + 1)
}

// RunLive returns runs whether or not they are due, with or without River.
func liveOldestFirst(t *test) {
	f, g := t.flow("a").ID, t.flow("b").ID
	later, working := t.due(f, -2), t.due(f, 1)
	queued := t.insert(dataflow.RunInsertParams{FlowID: f, Queue: "etl", RiverJobID: 1}).ID
	other := t.due(g, 1)
	c := t.claim(working)
	t.requireLive(f, later, working, queued)
	t.requireLive(g, other)
	p := failing(c, dataflow.RunPending, "disk full")
	p.Delay = time.Hour
	t.end(p)
	t.setState(f, dataflow.FlowInactive)
	t.requireLive(f, later, working, queued)
}

func liveNotFinished(t *test) {
	f := t.flow("a").ID
	for _, state := range []dataflow.RunState{dataflow.RunSuccess, dataflow.RunFailed, dataflow.RunCancelled} {
		t.finished(f, state)
	}
	t.requireLive(f)
}
