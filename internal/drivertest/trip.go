package drivertest

import (
	"errors"
	"fmt"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

func tripRules() []rule {
	return []rule{
		{name: "AfterFailuresInARow", run: tripAfterFailures},
		{name: "FailurePutsProbeOff", run: tripPutsOff},
		{name: "NoProbe", run: tripNoProbe},
		{name: "Never", run: tripNever},
		{name: "SuccessClears", run: tripSuccess},
		{name: "OthersNeitherCountNorClear", run: tripOthers},
		{name: "FewerAllowed", run: tripFewer},
		{name: "MoreAllowed", run: tripMore},
		{name: "ActiveClears", run: tripActive},
		{name: "AtOnce", run: tripAtOnce},
	}
}

// tripping registers a flow that trips after so many failures in a row.
func (t *test) tripping(name string, pauseAfter int, probeAfter time.Duration) int64 {
	t.Helper()
	d := definition(name)
	d.PauseAfter, d.ProbeAfter = pauseAfter, probeAfter
	return t.upsert(d).ID
}

// fail adds a run that fails, and returns whether it trips the flow.
func (t *test) fail(flowID int64, message string) (tripped bool, runID int64) {
	t.Helper()
	return t.failClaimed(t.inProgress(flowID), message)
}

func (t *test) failClaimed(c *dataflow.Claim, message string) (tripped bool, runID int64) {
	t.Helper()
	run, err := tryEnd(t.Context(), t.store, failing(c, dataflow.RunFailed, message))
	require.NoError(t, err)
	require.NotNil(t, run)
	require.False(t, t.run(run.ID).Tripped, "Tripped is not stored")
	return run.Tripped, run.ID
}

// requireTripped requires that so many failures trip a flow, and returns the flow.
func (t *test) requireTripped(flowID int64, failures int) *dataflow.FlowRecord {
	t.Helper()
	for n := 1; n <= failures; n++ {
		tripped, _ := t.fail(flowID, "disk full")
		require.Equal(t, n == failures, tripped, "after %d failures", n)
	}
	f := t.flowByID(flowID)
	require.NotNil(t, f.TrippedAt)
	return f
}

func (t *test) requireNotTripped(flowID int64, failures int) {
	t.Helper()
	f := t.flowByID(flowID)
	require.Equal(t, failures, f.Failures)
	require.Nil(t, f.TrippedAt)
	require.Empty(t, f.TrippedReason)
	require.Nil(t, f.ProbeAt)
}

// Only the end of the run that trips the flow returns Tripped.
func tripAfterFailures(t *test) {
	clock := t.clocked()
	id := t.tripping("orders", 3, 90*time.Second)
	other := t.flowByID(t.tripping("other", 1, time.Minute))
	for n := 1; n <= 2; n++ {
		tripped, _ := t.fail(id, "disk full")
		require.False(t, tripped)
		t.requireNotTripped(id, n)
		clock.advance(time.Minute)
	}
	want := t.flowByID(id)
	message := "it's \"full\": 100% of é %s {now} $1 ?1\n日本"
	tripped, run := t.fail(id, message)
	require.True(t, tripped)
	now := clock.Now()
	want.Failures, want.LastError, want.LastRunAt = 3, message, &now
	want.TrippedAt, want.ProbeAt = &now, new(now.Add(90*time.Second))
	want.TrippedReason = fmt.Sprintf("3 runs have failed in a row; run %d with: %s", run, message)
	require.Equal(t, want, t.flowByID(id))
	require.Equal(t, other, t.flowByID(other.ID))
}

// Each further failure postpones the next probe and updates the reason. It does not return
// Tripped again.
func tripPutsOff(t *test) {
	clock := t.clocked()
	id := t.tripping("orders", 2, time.Hour)
	f := t.requireTripped(id, 2)
	for n := 3; n <= 4; n++ {
		now := clock.advance(10 * time.Minute)
		tripped, run := t.fail(id, "disk still full")
		require.False(t, tripped)
		got := t.flowByID(id)
		require.Equal(t, f.TrippedAt, got.TrippedAt)
		t.requireTime(now.Add(time.Hour), got.ProbeAt)
		require.Equal(t, fmt.Sprintf("%d runs have failed in a row; run %d with: disk still full", n, run), got.TrippedReason)
	}
}

func tripNoProbe(t *test) {
	id := t.tripping("orders", 2, 0)
	require.Nil(t, t.requireTripped(id, 2).ProbeAt)
	t.tripping("orders", 2, time.Millisecond)
	t.fail(id, "disk full")
	require.NotNil(t, t.flowByID(id).ProbeAt)
	t.tripping("orders", 2, 0)
	t.fail(id, "disk full")
	require.Nil(t, t.flowByID(id).ProbeAt)
}

func tripNever(t *test) {
	id := t.tripping("orders", 0, time.Hour)
	for n := range 5 {
		tripped, _ := t.fail(id, "disk full")
		require.False(t, tripped)
		t.requireNotTripped(id, n+1)
	}
}

func tripSuccess(t *test) {
	id := t.tripping("orders", 2, time.Hour)
	for range 2 {
		t.requireTripped(id, 2)
		require.False(t, t.finished(id, dataflow.RunSuccess).Tripped)
		t.requireNotTripped(id, 0)
	}
	t.fail(id, "disk full")
	t.finished(id, dataflow.RunSuccess)
	t.requireTripped(id, 2)
}

// A run that is cancelled, retried or handed back is neither a failure nor a success.
func tripOthers(t *test) {
	id := t.tripping("orders", 2, time.Hour)
	end := func() {
		t.Helper()
		require.False(t, t.end(failing(t.inProgress(id), dataflow.RunCancelled, "by River")).Tripped)
		require.False(t, t.end(failing(t.inProgress(id), dataflow.RunPending, "disk full")).Tripped)
		p := ending(t.inProgress(id), dataflow.RunPending)
		p.Refund = true
		require.False(t, t.end(p).Tripped)
	}
	t.fail(id, "disk full")
	end()
	t.requireNotTripped(id, 1)
	f := t.requireTripped(id, 1)
	end()
	got := t.flowByID(id)
	require.Equal(t,
		[]any{2, f.TrippedAt, f.TrippedReason, f.ProbeAt},
		[]any{got.Failures, got.TrippedAt, got.TrippedReason, got.ProbeAt})
}

// If the limit is lowered below a flow's failures, the flow trips with its next failure.
func tripFewer(t *test) {
	id := t.tripping("orders", 9, time.Hour)
	for range 4 {
		t.fail(id, "disk full")
	}
	t.tripping("orders", 2, time.Hour)
	t.requireNotTripped(id, 4)
	require.Contains(t, t.requireTripped(id, 1).TrippedReason, "5 runs have failed in a row")
}

// If the limit is raised, a tripped flow stays tripped until a run succeeds.
func tripMore(t *test) {
	id := t.tripping("orders", 2, time.Hour)
	f := t.requireTripped(id, 2)
	t.tripping("orders", 9, time.Minute)
	tripped, _ := t.fail(id, "disk full")
	require.False(t, tripped)
	require.Equal(t, f.TrippedAt, t.flowByID(id).TrippedAt)
	t.finished(id, dataflow.RunSuccess)
	t.requireNotTripped(id, 0)
}

// Setting a flow active, even if it is active already, resets its failures and the trip.
func tripActive(t *test) {
	clock := t.clocked()
	for _, before := range []dataflow.FlowState{dataflow.FlowActive, dataflow.FlowInactive} {
		id := t.tripping("was "+string(before), 2, time.Hour)
		next := clock.Now().Add(time.Minute)
		f := t.requireTripped(id, 2)
		t.plan(id, next, *f.ProbeAt)
		if before == dataflow.FlowInactive {
			t.setState(id, dataflow.FlowInactive)
			got := t.flowByID(id)
			require.Equal(t,
				[]any{2, f.TrippedAt, f.TrippedReason, f.ProbeAt},
				[]any{got.Failures, got.TrippedAt, got.TrippedReason, got.ProbeAt}, "making it inactive clears nothing")
		}
		t.setState(id, dataflow.FlowActive)
		t.requireNotTripped(id, 0)
		got := t.flowByID(id)
		t.requireTime(next, got.NextRunAt)
		require.Equal(t, "disk full", got.LastError, "the trip is still stored")
		t.requireTripped(id, 2)
	}
}

// Of runs that fail at the same time, exactly one trips the flow.
func tripAtOnce(t *test) {
	stores := []dataflow.Store{t.store, t.another()}
	for round := range t.rounds() {
		id := t.tripping(fmt.Sprint("round ", round), 2, time.Hour)
		claims := make([]*dataflow.Claim, 4)
		for i := range claims {
			claims[i] = t.claimSlot(t.pending(id).ID, len(claims))
		}
		tripped, errs := make([]bool, 4), make([]error, 4)
		atOnce(len(claims), func(i int) {
			run, err := tryEnd(t.Context(), stores[i%2], failing(claims[i], dataflow.RunFailed, "disk full"))
			tripped[i], errs[i] = run != nil && run.Tripped, err
		})
		require.NoError(t, errors.Join(errs...))
		require.ElementsMatch(t, []bool{true, false, false, false}, tripped)
		require.Equal(t, 4, t.flowByID(id).Failures)
	}
}
