package enginetest_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// TestStart_UniqueKeys holds the keys under which at most one run of a flow waits, for each
// way to start a run. Processes of two versions work on one database, so a key is a contract.
func TestStart_UniqueKeys(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		ctx := t.Context()
		flow := func(name string, rt dataflow.Runtime) *dataflow.Flow {
			return dataflow.NewFlow(name, splitting{ranged: ranged{n: 40}}, dataflow.Identity[int](), dataflow.ToTx(discard{}), &dataflow.FlowOptions{Runtime: rt})
		}
		client := t.registered(
			flow("called", dataflow.JobQueue{}),
			flow("ticking", dataflow.JobQueue{Interval: time.Hour}),
			flow("moved", dataflow.Heartbeat{}),
			flow("first", dataflow.JobQueue{Schedule: dataflow.Schedule{Cron: "@yearly", RunAtRegistration: true}}),
			flow("broken", dataflow.JobQueue{}),
			dataflow.NewFlow("given", spans(new([]*acking)), dataflow.Identity[int](), dataflow.ToTx(discard{}), &dataflow.FlowOptions{Runtime: dataflow.JobQueue{}}),
			flow("probed", dataflow.JobQueue{Schedule: dataflow.Schedule{Cron: "@yearly", PauseAfter: 1}}),
		)
		keys := make(map[string]string)
		key := func(name string, run *dataflow.Run, err error) *dataflow.Run {
			t.Helper()
			require.NoError(t, err, name)
			keys[name] = t.text(fmt.Sprintf("select unique_key from dataflow_run where id = %d", run.ID))
			return run
		}
		at := time.Date(2040, 2, 3, 4, 5, 6, 700_000_000, time.UTC)
		params := &dataflow.TriggerOptions{Params: json.RawMessage(`{"last": 3}`)}

		run, err := client.Trigger(ctx, "called", nil)
		key("trigger", run, err)
		run, err = client.Trigger(ctx, "called", &dataflow.TriggerOptions{At: at})
		key("trigger at", run, err)
		run, err = client.Enqueue(ctx, "given", nil)
		key("enqueue", run, err)
		run, err = client.Enqueue(ctx, "given", params)
		given := key("enqueue with params", run, err).ID
		params.At = at
		run, err = client.Enqueue(ctx, "given", params)
		key("enqueue at with params", run, err)

		run, err = client.Backfill(ctx, "called", nil)
		key("backfill", run, err)
		run, err = client.Backfill(ctx, "called", &dataflow.BackfillParams{From: cursorAt(3), Until: cursorAt(9)})
		backfill := key("backfill of a part", run, err)
		run, err = client.Backfill(ctx, "called", &dataflow.BackfillParams{From: cursorAt(3), Until: cursorAt(9), At: at})
		key("backfill of a part at", run, err)
		run, err = client.Backfill(ctx, "given", &dataflow.BackfillParams{Params: params.Params, At: at})
		key("backfill with params at", run, err)
		ranges, err := client.BackfillRanges(ctx, "called", 2, &dataflow.BackfillParams{Until: cursorAt(9)})
		require.NoError(t, err)
		key("range 1", ranges[0], nil)
		key("range 2", ranges[1], nil)
		ranges, err = client.BackfillRanges(ctx, "called", 2, &dataflow.BackfillParams{Until: cursorAt(9), At: at})
		require.NoError(t, err)
		key("range 2 at", ranges[1], nil)

		_, err = client.Cancel(ctx, backfill.ID, "ann", "")
		require.NoError(t, err)
		run, err = client.Retry(ctx, backfill.ID, "ann")
		again := key("retry of a backfill", run, err)
		_, err = client.Cancel(ctx, again.ID, "ann", "")
		require.NoError(t, err)
		run, err = client.Retry(ctx, again.ID, "ann")
		key("retry of a retry of a backfill", run, err)
		run, err = client.Trigger(ctx, "broken", nil)
		require.NoError(t, err)
		_, err = client.Cancel(ctx, run.ID, "ann", "")
		require.NoError(t, err)
		broken := run.ID
		run, err = client.Retry(ctx, broken, "ann")
		key("retry", run, err)
		_, err = client.Cancel(ctx, given, "ann", "")
		require.NoError(t, err)
		run, err = client.Retry(ctx, given, "ann")
		key("retry with params", run, err)

		require.NoError(t, t.exec("update dataflow_flow set next_run_at = '2020-02-03 04:00:00.000' where name = 'ticking'"))
		require.NoError(t, t.exec("update dataflow_flow set tripped_at = '2020-02-03 04:00:00.000', probe_at = '2020-02-03 04:00:00.000' where name = 'probed'"))
		tick, err := client.BeginTick(ctx)
		require.NoError(t, err)
		require.Len(t, tick.Fired, 2)
		var tickAt time.Time
		for _, run := range tick.Fired {
			key(string(run.Trigger), run, nil)
			if run.Trigger == dataflow.TriggerSchedule {
				tickAt = run.ScheduledFor
			}
		}
		report, err := client.MigrateRuntimes(ctx, &dataflow.MigrateRuntimesOptions{To: "job_queue", Flows: []string{"moved"}})
		require.NoError(t, err)
		key("migration", &dataflow.Run{ID: report.Flows[0].Enqueued}, nil)
		runs, err := client.Runs(ctx, &dataflow.RunListParams{Flow: "first"})
		require.NoError(t, err)
		key("registration", runs[0], nil)

		require.Equal(t, map[string]string{
			"trigger":                        "now",
			"trigger at":                     "at:2040-02-03T04:05:06.7Z",
			"enqueue":                        "now",
			"enqueue with params":            "now:00e4ee61b39186f1",
			"enqueue at with params":         "at:2040-02-03T04:05:06.7Z:00e4ee61b39186f1",
			"schedule":                       "schedule:at:" + tickAt.UTC().Format(time.RFC3339Nano),
			"probe":                          "probe:now",
			"registration":                   "registration:now",
			"migration":                      "migration:job_queue",
			"backfill":                       "backfill:390feabc786e369e",
			"backfill of a part":             "backfill:f35cb8c25f0a34c9",
			"backfill of a part at":          "backfill:at:2040-02-03T04:05:06.7Z:f35cb8c25f0a34c9",
			"backfill with params at":        "backfill:at:2040-02-03T04:05:06.7Z:390feabc786e369e:00e4ee61b39186f1",
			"range 1":                        "backfill:ranges:e65f3ccac9435e9c:1",
			"range 2":                        "backfill:ranges:e65f3ccac9435e9c:2",
			"range 2 at":                     "backfill:ranges:at:2040-02-03T04:05:06.7Z:e65f3ccac9435e9c:2",
			"retry":                          fmt.Sprintf("retry:run %d", broken),
			"retry with params":              fmt.Sprintf("retry:run %d:00e4ee61b39186f1", given),
			"retry of a backfill":            fmt.Sprintf("retry:backfill %d", backfill.ID),
			"retry of a retry of a backfill": fmt.Sprintf("retry:backfill %d", backfill.ID),
		}, keys)
	})
}
