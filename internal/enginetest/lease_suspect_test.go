package enginetest_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// A process works one suspect at a time, until it reaches a checkpoint. A suspect is a
// run that may have killed its workers.
func TestLease_SuspectsOneAtATime(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		// Neither reaches its first checkpoint before its source is let through.
		sources := map[string]*gated{"a": newGated(20, 5), "b": newGated(20, 5)}
		client := t.client(&dataflow.Config{Flows: []*dataflow.Flow{
			t.numbersFlow("a", sources["a"], dataflow.Heartbeat{BatchSize: 10}),
			t.numbersFlow("b", sources["b"], dataflow.Heartbeat{BatchSize: 10}),
		}})
		require.NoError(t, client.Register(t.Context()))
		for name := range sources {
			_, err := client.Trigger(t.Context(), name, &dataflow.TriggerOptions{At: time.Unix(1, 0)})
			require.NoError(t, err)
		}
		require.NoError(t, t.exec("update dataflow_run set rescues = 2"))
		done := make(chan error, 1)
		go func() { _, err := client.Tick(t.Context()); done <- err }()
		select {
		case <-sources["a"].reached:
		case <-sources["b"].reached:
		}
		worked, err := client.Tick(t.Context())
		require.NoError(t, err)
		require.Empty(t, worked)
		require.Equal(t, int64(1), t.number("select count(*) from dataflow_run where state = 'pending'"))
		waiting, err := client.Runs(t.Context(), &dataflow.RunListParams{States: []dataflow.RunState{dataflow.RunPending}})
		require.NoError(t, err)
		require.Contains(t, waiting[0].WaitsFor, "another run that lost its workers: run ")
		require.NotNil(t, waiting[0].WaitsSince)
		codes, text := t.causes(t.client(nil), waiting[0].FlowName)
		require.Contains(t, codes, dataflow.CauseBlocked)
		require.Contains(t, text, "for another run that lost its workers: run ")
		require.NotContains(t, text, "connections")

		// The other may begin in the same round, once the first gets to its checkpoint.
		for _, source := range sources {
			close(source.open)
		}
		require.NoError(t, <-done)
		require.Eventually(t, func() bool {
			_, err := client.Tick(t.Context())
			require.NoError(t, err)
			return t.number("select count(*) from dataflow_run where state = 'success'") == 2
		}, patience, 5*time.Millisecond)
	})
}
