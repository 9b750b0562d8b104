package enginetest_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// TestPlan_4_RuntimeAdapter: flows that name no Runtime have the adapter's. Others have
// their own. One flow may be declared to two clients.
func TestPlan_4_RuntimeAdapter(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		unnamed := dataflow.NewFlow("unnamed", numbers{}, dataflow.Identity[int](), dataflow.ToTx(discard{}), nil)
		named := dataflow.NewFlow("named", numbers{}, dataflow.Identity[int](), dataflow.ToTx(discard{}), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{}})
		timed := dataflow.NewFlow("timed", numbers{}, dataflow.Identity[int](), dataflow.ToTx(discard{}), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{Interval: time.Hour}})
		for adapter, want := range map[string]dataflow.Runtime{
			"": dataflow.Heartbeat{}, "heartbeat": dataflow.Heartbeat{},
			"job_queue": dataflow.JobQueue{Queue: dataflow.DefaultQueue},
		} {
			client := t.client(&dataflow.Config{Flows: []*dataflow.Flow{unnamed, named, timed}, RuntimeAdapter: adapter})
			require.NoError(t, client.Register(t.Context()))
			for name, want := range map[string]dataflow.Runtime{
				"unnamed": want, "named": dataflow.Heartbeat{}, "timed": dataflow.Heartbeat{Interval: time.Hour},
			} {
				flow, err := client.Flow(t.Context(), name)
				require.NoError(t, err)
				require.Equal(t, want, flow.Runtime, "%s with adapter %q", name, adapter)
			}
			require.Equal(t, dataflow.Heartbeat{}, unnamed.Runtime, "the declared flow is as it was")
		}
		// The adapter's queue is worked.
		client := t.started(t.client(&dataflow.Config{Flows: []*dataflow.Flow{unnamed}, RuntimeAdapter: "job_queue"}))
		run, err := t.execute(client, "unnamed")
		require.NoError(t, err)
		require.NotZero(t, run.RiverJobID)
		_, err = t.wait(client, run.ID)
		require.NoError(t, err)
	})
}
