package enginetest_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// The next batch is transformed while one is written. At the end of a slice it is left
// to the next slice, so that nothing is transformed twice.
func TestSlice_TransformsOnce(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		const n = 24
		t.table("f")
		var mu sync.Mutex
		times := make(map[int]int)
		count := dataflow.Map(func(_ context.Context, v int) (int, error) {
			mu.Lock()
			defer mu.Unlock()
			times[v]++
			return v, nil
		})
		client := t.started(t.client(&dataflow.Config{
			Flows: []*dataflow.Flow{flowTo("f", n, count, &dataflow.FlowOptions{Runtime: dataflow.JobQueue{BatchSize: 2}})},
			Slice: time.Millisecond,
		}))
		released, cancel := client.Subscribe(dataflow.EventRunReleased)
		defer cancel()
		run, err := client.Trigger(t.Context(), "f", nil)
		require.NoError(t, err)
		_, err = t.wait(client, run.ID)
		require.NoError(t, err)
		receive(t, released) // there were slices
		t.requireExactly("f", n)
		for v := 1; v <= n; v++ {
			require.Equal(t, 1, times[v], "record %d", v)
		}
	})
}
