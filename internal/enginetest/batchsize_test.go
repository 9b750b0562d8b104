package enginetest_test

import (
	"context"
	"iter"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// Without a set batch size, batches grow, except for a sink that must get the same
// batches again.
func TestBatchSize_Automatic(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		var tx, outside []int
		toTx := dataflow.ToTx(dataflow.TxSinkFunc[int](func(_ context.Context, rows []int) error {
			tx = append(tx, len(rows))
			return nil
		}))
		to := dataflow.To(dataflow.SinkFunc[int](func(_ context.Context, b dataflow.SinkBatch[int]) error {
			outside = append(outside, len(b.Rows))
			return nil
		}))
		client := t.registered(
			dataflow.NewFlow("tx", numbers{n: 3000}, dataflow.Identity[int](), toTx, nil),
			dataflow.NewFlow("outside", numbers{n: 3000}, dataflow.Identity[int](), to, nil),
		)
		for _, name := range []string{"tx", "outside"} {
			run, err := t.execute(client, name)
			require.NoError(t, err)
			require.EqualValues(t, 3000, run.Counters.Written)
		}
		require.Equal(t, []int{1000, 1000, 1000}, outside)
		require.Equal(t, 100, tx[0])
		for i, n := range tx[1:] {
			require.LessOrEqual(t, n, 2*max(tx[i], 100), "%v", tx)
		}
	})
}

// heavy yields records of a megabyte.
type heavy struct{ n int }

func (h heavy) Read(_ context.Context, r dataflow.Request[int]) iter.Seq2[dataflow.Item[string, int], error] {
	return func(yield func(dataflow.Item[string, int], error) bool) {
		for i := r.From; i < h.n; i++ {
			if !yield(dataflow.Item[string, int]{Value: strings.Repeat("x", 1<<20), Cursor: i + 1, Resume: true}, nil) {
				return
			}
		}
	}
}

// Memory is bounded even if records are large.
func TestBatchSize_HeavyRecords(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		sizes := make(map[string][]int)
		sink := func(name string) dataflow.Target[string] {
			return dataflow.To(dataflow.SinkFunc[string](func(_ context.Context, b dataflow.SinkBatch[string]) error {
				sizes[name] = append(sizes[name], len(b.Rows))
				return nil
			}))
		}
		client := t.registered(
			dataflow.NewFlow("auto", heavy{n: 20}, dataflow.Identity[string](), sink("auto"), nil),
			dataflow.NewFlow("set", heavy{n: 20}, dataflow.Identity[string](), sink("set"), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 20}}),
		)
		for _, name := range []string{"auto", "set"} {
			_, err := t.execute(client, name)
			require.NoError(t, err)
		}
		require.Equal(t, []int{4, 4, 4, 4, 4}, sizes["auto"], "each is weighed")
		require.Equal(t, []int{20}, sizes["set"], "the user's size is kept")
	})
}
