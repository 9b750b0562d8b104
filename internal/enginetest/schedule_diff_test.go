package enginetest_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// TestPlan_9_Schedules: the declared schedules are compared with the stored ones,
// stored, and exported.
func TestPlan_9_Schedules(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.registered(
			named("changed", dataflow.Heartbeat{Interval: time.Hour}),
			named("gone", dataflow.JobQueue{Schedule: dataflow.Schedule{Cron: "30 6 * * mon-fri", TimeZone: "Europe/Berlin"}}),
			named("paused", dataflow.Heartbeat{Interval: time.Minute}),
			named("same", nil),
		)
		client := t.client(&dataflow.Config{Flows: []*dataflow.Flow{
			named("same", nil),
			named("changed", dataflow.Heartbeat{Interval: time.Hour, Schedule: dataflow.Schedule{Overlap: dataflow.OverlapBufferOne}}),
			named("added", dataflow.Heartbeat{Interval: 5 * time.Minute}),
			named("paused", dataflow.JobQueue{Interval: time.Minute}), // another Runtime is no other schedule
		}})
		_, err := client.Pause(t.Context(), "paused", "ann", "the disk is full")
		require.NoError(t, err)
		lines := func(diff []dataflow.ScheduleChange, err error) []string {
			require.NoError(t, err)
			all := []string{}
			for _, c := range diff {
				all = append(all, c.String())
			}
			return all
		}
		want := []string{
			`added    added: interval 5m0s`,
			`changed  changed: interval 1h0m0s, overlap "buffer_one", was interval 1h0m0s`,
			`removed  gone: cron "30 6 * * mon-fri", time_zone "Europe/Berlin"`,
			`paused   paused, by ann: the disk is full`,
		}
		flows := t.number("select count(*) from dataflow_flow")
		require.Equal(t, want, lines(client.ScheduleDiff(t.Context())))
		require.Equal(t, want, lines(client.SyncSchedules(t.Context(), true)))
		require.Equal(t, flows, t.number("select count(*) from dataflow_flow"), "a dry run changes nothing")
		require.Equal(t, want, lines(client.SyncSchedules(t.Context(), false)))
		require.Equal(t, want[2:], lines(client.ScheduleDiff(t.Context())), "what is gone or paused stays so")
		f, err := client.Flow(t.Context(), "paused")
		require.NoError(t, err)
		require.Equal(t, dataflow.FlowInactive, f.State)

		export, err := client.ExportSchedules(t.Context())
		require.NoError(t, err)
		require.Equal(t, exported, export.String())
		data, err := json.Marshal(export)
		require.NoError(t, err)
		var back dataflow.ScheduleExport
		require.NoError(t, json.Unmarshal(data, &back))
		require.Equal(t, exported, back.String())
	})
}

const exported = `flows:
  - flow: "added"
    state: active
    runtime:
      type: "heartbeat"
      enabled: true
    schedule:
      interval: 5m0s
  - flow: "changed"
    state: active
    runtime:
      type: "heartbeat"
      enabled: true
    schedule:
      interval: 1h0m0s
      overlap: "buffer_one"
  - flow: "gone"
    state: active
    runtime:
      type: "job_queue"
      queue: "active_data_flow"
      enabled: true
    schedule:
      cron: "30 6 * * mon-fri"
      time_zone: "Europe/Berlin"
  - flow: "paused"
    state: inactive
    state_by: "ann"
    state_reason: "the disk is full"
    runtime:
      type: "job_queue"
      queue: "active_data_flow"
      enabled: true
    schedule:
      interval: 1m0s
  - flow: "same"
    state: active
    runtime:
      type: "heartbeat"
      enabled: true
    schedule: {}
`

func TestClient_ExportSchedules_None(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		export, err := t.client(nil).ExportSchedules(t.Context())
		require.NoError(t, err)
		require.Equal(t, "flows: []\n", export.String())
	})
}
