package enginetest_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// backwards yields a batch from its end.
type backwards struct{}

func (backwards) Apply(_ context.Context, in []int, out *dataflow.Results[int]) error {
	for i := len(in) - 1; i >= 0; i-- {
		out.Emit(i, in[i])
	}
	return nil
}

// A fenced batch whose outputs come in another order than its inputs is not divided: a cursor in
// the middle would pass records whose rows are not written.
func TestToFenced_AnotherOrder(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		sink := &elsewhere{before: refusing(func(int) error { return &dataflow.RecordError{Err: errBroken} }, 3)}
		client := t.registered(dataflow.NewFlow("far", numbers{n: 10}, backwards{}, dataflow.ToFenced(sink),
			&dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 10}, OnBadRecord: dataflow.SkipUpTo(9), MaxAttempts: 1}))
		_, err := client.Trigger(t.Context(), "far", nil)
		require.ErrorContains(t, err, "no resume point between them")
		require.Empty(t, sink.rows)
	})
}
