package drivertest

import (
	"fmt"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

func runWaitsRules() []rule {
	return []rule{
		{name: "Pending", run: waitsPending},
		{name: "InProgress", run: waitsInProgress},
		{name: "Advanced", run: waitsAdvanced},
		{name: "OfAnotherClaim", run: waitsOfAnotherClaim},
		{name: "Cancelled", run: waitsCancelled},
	}
}

func (t *test) waits(p dataflow.RunWaitsParams) *dataflow.Run {
	t.Helper()
	require.NoError(t, t.store.RunWaits(t.Context(), &p))
	return t.run(p.RunID)
}

// A claim ends the wait of a pending run. The time stays while the run waits for the same.
func waitsPending(t *test) {
	clock := t.clocked()
	id := t.due(t.flow("a").ID, 1)
	run := t.waits(dataflow.RunWaitsParams{RunID: id, State: dataflow.RunPending, For: "a connection", Ago: time.Minute})
	require.Equal(t, "a connection", run.WaitsFor)
	t.requireTime(clock.Now().Add(-time.Minute), run.WaitsSince)

	since := *run.WaitsSince
	clock.advance(time.Hour)
	run = t.waits(dataflow.RunWaitsParams{RunID: id, State: dataflow.RunPending, For: "a connection"})
	t.requireTime(since, run.WaitsSince)
	run = t.waits(dataflow.RunWaitsParams{RunID: id, State: dataflow.RunPending, For: "two connections"})
	t.requireTime(clock.Now(), run.WaitsSince)

	run = t.claim(id).Run
	require.Empty(t, run.WaitsFor)
	require.Nil(t, run.WaitsSince)
}

// The end of an attempt ends its wait.
func waitsInProgress(t *test) {
	c := t.claim(t.due(t.flow("a").ID, 1))
	p := dataflow.RunWaitsParams{RunID: c.Run.ID, LeaseNumber: c.Run.LeaseNumber, State: dataflow.RunInProgress, For: "its source"}
	require.NotNil(t, t.waits(p).WaitsSince)
	p.For = ""
	require.Nil(t, t.waits(p).WaitsSince)
	p.For = "its source again"
	require.Equal(t, p.For, t.waits(p).WaitsFor)
	run := t.end(failing(c, dataflow.RunPending, "no answer"))
	require.Empty(t, run.WaitsFor)
	require.Nil(t, run.WaitsSince)
}

// A run that waits, and says that it has come further, has lost no workers in a row.
func waitsAdvanced(t *test) {
	c := t.claim(t.due(t.flow("a").ID, 1))
	t.exec(fmt.Sprintf("update dataflow_run set rescues = 2 where id = %d", c.Run.ID))
	p := dataflow.RunWaitsParams{RunID: c.Run.ID, LeaseNumber: c.Run.LeaseNumber, State: dataflow.RunInProgress, For: "one of two"}
	require.Equal(t, 2, t.waits(p).Rescues)
	p.For, p.Advanced = "two of two", true
	require.Zero(t, t.waits(p).Rescues)
}

// A worker that lost the run says nothing of it any more.
func waitsOfAnotherClaim(t *test) {
	c := t.claim(t.due(t.flow("a").ID, 1))
	before := t.run(c.Run.ID)
	for _, p := range []dataflow.RunWaitsParams{
		{RunID: c.Run.ID, LeaseNumber: c.Run.LeaseNumber + 1, State: dataflow.RunInProgress, For: "x"},
		{RunID: c.Run.ID, LeaseNumber: c.Run.LeaseNumber, State: dataflow.RunPending, For: "x"},
		{RunID: c.Run.ID + 1, State: dataflow.RunPending, For: "x"},
	} {
		require.NoError(t, t.store.RunWaits(t.Context(), &p))
		require.Equal(t, before, t.run(c.Run.ID))
	}
}

// A run that was cancelled waits for nothing.
func waitsCancelled(t *test) {
	id := t.due(t.flow("a").ID, 1)
	t.waits(dataflow.RunWaitsParams{RunID: id, State: dataflow.RunPending, For: "a connection"})
	run, err := t.store.RunCancel(t.Context(), &dataflow.RunCancelParams{RunID: id})
	require.NoError(t, err)
	require.Equal(t, dataflow.RunCancelled, run.State)
	require.Empty(t, run.WaitsFor)
	require.Nil(t, run.WaitsSince)
}
