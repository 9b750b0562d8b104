package dataflow_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// A run that is due again at once is tried again at once, by River too.
func TestRetry_AtOnce(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		failures := 3
		flow := dataflow.NewFlow("n", numbers{n: 5}, dataflow.Batch(func(_ context.Context, in []int) ([]int, error) {
			if failures--; failures >= 0 {
				return nil, errors.New("not yet")
			}
			return in, nil
		}), appendTo("numbers"), &dataflow.FlowOptions{Runtime: dataflow.JobQueue{}, Backoff: func(int) time.Duration { return 0 }})
		require.NoError(t, t.exec("create table numbers (n integer)"))
		client := t.started(t.client(&dataflow.Config{Flows: []*dataflow.Flow{flow}}))
		run, err := client.Trigger(t.Context(), "n", nil)
		require.NoError(t, err)
		run, err = t.wait(client, run.ID)
		require.NoError(t, err)
		require.Equal(t, 4, run.Attempt)
		require.Less(t, run.Duration(), 15*time.Second, "River's own policy waits for 98 s")
	})
}
