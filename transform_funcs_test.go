package dataflow_test

import (
	"context"
	"errors"
	"slices"
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

// A transform can be tested without a flow.
func TestResults_Rows(t *testing.T) {
	t.Parallel()
	half := dataflow.FlatMap(func(_ context.Context, n int) ([]int, error) {
		if n < 0 {
			return nil, errors.New("negative")
		}
		return slices.Repeat([]int{n / 2}, n%3), nil
	})
	var out dataflow.Results[int]
	require.NoError(t, half.Apply(t.Context(), []int{4, -1, 5, 3}, &out))
	require.Equal(t, []int{2, 2, 2}, out.Rows())
	require.Equal(t, map[int]error{1: errors.New("negative")}, out.Failed())
}
