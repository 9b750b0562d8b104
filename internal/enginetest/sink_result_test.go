package enginetest_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// telling is a sink that reports the results that the test wants.
type telling struct {
	discard
	result func(row int) dataflow.RowResult
}

func (s telling) WriteResultTx(_ context.Context, rows []int, results []dataflow.RowResult) error {
	for i, row := range rows {
		results[i] = s.result(row)
	}
	return nil
}

// TestPlan_10_Collisions: the results that a sink reports are counted by input records,
// and the counters add up.
func TestPlan_10_Collisions(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		// Of 1 to 12: multiples of 4 are left out, the others make two rows each.
		twoEach := dataflow.FlatMap(func(_ context.Context, n int) ([]int, error) {
			if n%4 == 0 {
				return nil, nil
			}
			return []int{n, -n}, nil
		})
		sink := telling{result: func(n int) dataflow.RowResult {
			switch n {
			case 1, -1, 2: // one row of 2 was written
				return dataflow.RowRedundant
			case 3, 5, -5:
				return dataflow.RowUpdated
			default:
				return dataflow.RowWritten
			}
		}}
		client := t.registered(dataflow.NewFlow("f", numbers{n: 12}, twoEach, dataflow.ToTx[int](sink), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 5}}))
		run, err := t.execute(client, "f")
		require.NoError(t, err)
		want := dataflow.Counters{Read: 12, Written: 8, Redundant: 1, Filtered: 3, Updated: 2}
		require.Equal(t, want, run.Counters)
		require.True(t, run.Counters.Balanced())
		require.Equal(t, fmt.Sprint([]int64{8, 1, 2}), fmt.Sprint([]int64{
			t.number("select written from dataflow_checkpoint"), t.number("select redundant from dataflow_checkpoint"), t.number("select updated from dataflow_checkpoint"),
		}))
	})
}
