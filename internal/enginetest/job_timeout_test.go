package enginetest_test

import (
	"testing"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// A job may take a slice and a minute. A job that cannot be sliced has no limit.
// River's rescuer ignores jobs without a limit, so it is told a limit: it asks about
// jobs that were fetched an hour ago.
func TestDataFlowJob_Timeout(t *testing.T) {
	t.Parallel()
	db := sqlite(t, migratedFile(t))
	sliced := flowTo("sliced", 3, dataflow.Identity[int](), nil)
	whole := dataflow.NewFlow("whole", onceNumbers{n: 3}, dataflow.Identity[int](), dataflow.ToTx[int](discard{}), nil)
	timeout := func(slice time.Duration, name string, ago time.Duration) time.Duration {
		client := db.client(&dataflow.Config{Flows: []*dataflow.Flow{sliced, whole}, Slice: slice})
		require.NoError(t, client.Register(t.Context()))
		id := int64(999)
		if name != "unknown" {
			flow, err := client.Flow(t.Context(), name)
			require.NoError(t, err)
			id = flow.ID
		}
		at := time.Now().Add(-ago)
		return dataflow.NewDataFlowJob(client).Timeout(&river.Job[dataflow.DataFlowArgs]{
			JobRow: &rivertype.JobRow{AttemptedAt: &at}, Args: dataflow.DataFlowArgs{FlowID: dataflow.FlowRef(id)},
		})
	}
	require.Equal(t, 2*time.Minute, timeout(0, "sliced", 0))
	require.Equal(t, 61*time.Second, timeout(time.Second, "sliced", 0))
	require.Equal(t, 61*time.Second, timeout(time.Second, "sliced", time.Hour))
	for name, slice := range map[string]time.Duration{"sliced": -1, "whole": 0, "unknown": 0} {
		require.Equal(t, time.Duration(-1), timeout(slice, name, 0), name)
		require.Positive(t, timeout(slice, name, time.Hour), name)
		require.Less(t, timeout(slice, name, time.Hour), time.Hour, name)
	}
}
