package enginetest_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// TestPlan_7_ManualTriggering: a client without code enqueues one flow, or all. A
// client with the code works them.
func TestPlan_7_ManualTriggering(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		flows := append(heartbeats(), named("plain", nil))
		t.registered(flows...)
		tool := t.client(nil)
		_, err := tool.Pause(t.Context(), "paused", "bob", "the disk is full")
		require.NoError(t, err)
		one, err := tool.Enqueue(t.Context(), "plain", &dataflow.TriggerOptions{Actor: "ann", Reason: "one"})
		require.NoError(t, err)
		require.Equal(t, dataflow.RunPending, one.State)

		all, err := tool.EnqueueAll(t.Context(), "ann", "all")
		require.NoError(t, err)
		require.Len(t, all, 5)
		byName := map[string]dataflow.Enqueued{}
		for _, e := range all {
			byName[e.Flow] = e
			require.Equal(t, e.Err == nil, e.Run != nil)
		}
		require.ErrorIs(t, byName["off"].Err, dataflow.ErrDisabled)
		require.ErrorContains(t, byName["paused"].Err, "by bob: the disk is full")
		require.Equal(t, one.ID, byName["plain"].Run.ID)
		require.True(t, byName["plain"].Run.Coalesced)
		require.Equal(t, "ann", byName["busy"].Run.Actor)
		require.Equal(t, "all", byName["busy"].Run.Reason)
		require.NotZero(t, byName["queued"].Run.RiverJobID)
		again, err := tool.EnqueueAll(t.Context(), "ann", "")
		require.NoError(t, err)
		for _, e := range again {
			require.True(t, e.Run == nil || e.Run.Coalesced, e.Flow)
		}

		client := t.started(t.client(&dataflow.Config{Flows: flows}))
		for _, name := range []string{"busy", "queued", "plain"} {
			_, err := t.wait(client, byName[name].Run.ID)
			require.NoError(t, err)
		}
		_, err = tool.Enqueue(t.Context(), "none", nil)
		require.ErrorIs(t, err, dataflow.ErrNotFound)
		requirePublic(t, err)
	})
}

func TestClient_Retry(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.table("fails", "jq")
		client := t.registered(
			flowTo("fails", 5, broken(), &dataflow.FlowOptions{MaxAttempts: 1}),
			flowTo("jq", 5, dataflow.Identity[int](), &dataflow.FlowOptions{Runtime: dataflow.JobQueue{}}),
			named("fine", nil),
		)
		failed, err := t.execute(client, "fails")
		require.ErrorIs(t, err, errBroken)
		cancelled, err := t.execute(client, "jq")
		require.NoError(t, err)
		_, err = client.Cancel(t.Context(), cancelled.ID, "", "")
		require.NoError(t, err)
		for _, old := range []*dataflow.Run{failed, cancelled} {
			run, err := client.Retry(t.Context(), old.ID, "ann")
			require.NoError(t, err)
			require.NotEqual(t, old.ID, run.ID)
			require.Equal(t, dataflow.TriggerRetry, run.Trigger)
			require.Equal(t, "ann", run.Actor)
			require.Equal(t, fmt.Sprintf("retry of run %d", old.ID), run.Reason)
			require.Equal(t, old.Queue != "", run.RiverJobID != 0)
			again, err := client.Retry(t.Context(), old.ID, "bob")
			require.NoError(t, err)
			require.True(t, again.Coalesced)
			require.Equal(t, run.ID, again.ID)
			_, err = client.Retry(t.Context(), run.ID, "ann")
			require.ErrorIs(t, err, dataflow.ErrRunState)
			requirePublic(t, err)
			require.ErrorContains(t, err, "it is pending")
		}
		fine, err := t.execute(client, "fine")
		require.NoError(t, err)
		_, err = client.Retry(t.Context(), fine.ID, "")
		require.ErrorIs(t, err, dataflow.ErrRunState)
		require.ErrorContains(t, err, "it is success")
		_, err = client.Retry(t.Context(), 4242, "")
		require.ErrorIs(t, err, dataflow.ErrNotFound)
		_, err = client.Pause(t.Context(), "fails", "bob", "")
		require.NoError(t, err)
		_, err = client.Retry(t.Context(), failed.ID, "")
		require.ErrorIs(t, err, dataflow.ErrDisabled)
		requirePublic(t, err)
	})
}
