package dataflow_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// RateLimit passes on no more records than the rate allows, even for two flows at once.
func TestRateLimit(t *testing.T) {
	t.Parallel()
	limit := dataflow.RateLimit[int](1000)
	began := time.Now()
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for range 5 {
				var out dataflow.Results[int]
				if err := limit.Apply(context.Background(), make([]int, 20), &out); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	require.GreaterOrEqual(t, time.Since(began), 200*time.Millisecond)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, dataflow.RateLimit[int](0.001).Apply(ctx, make([]int, 20), nil), context.Canceled)
	for _, rate := range []float64{0, -1} {
		flow := dataflow.NewFlow("f", numbers{}, dataflow.RateLimit[int](rate), dataflow.ToTx(discard{}), nil)
		_, err := dataflow.NewClient(noDatabase{}, &dataflow.Config{Flows: []*dataflow.Flow{flow}})
		requireFaults(t, err, map[string]string{`Flows["f"].Transform`: "above 0"})
	}
}
