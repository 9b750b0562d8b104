package enginetest_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// heartbeats are three flows on heartbeat, one of them disabled, and one flow on a job
// queue.
func heartbeats() []*dataflow.Flow {
	return []*dataflow.Flow{
		named("busy", dataflow.Heartbeat{Interval: time.Hour, BatchSize: 7, Schedule: dataflow.Schedule{Overlap: dataflow.OverlapBufferOne}}),
		named("off", dataflow.Heartbeat{Interval: time.Minute, Disabled: true}),
		named("paused", dataflow.Heartbeat{Schedule: dataflow.Schedule{Cron: "30 6 * * *"}}),
		named("queued", dataflow.JobQueue{Queue: "own"}),
	}
}

// stored returns the Runtimes in the database, by the flows' names.
func (t *dbT) stored(client *dataflow.Client) map[string]dataflow.Runtime {
	t.Helper()
	flows, err := client.Flows(t.Context(), nil)
	require.NoError(t, err)
	all := make(map[string]dataflow.Runtime)
	for _, f := range flows {
		all[f.Name] = f.Runtime
	}
	return all
}

// waiting returns the flows' pending runs, newest first.
func (t *dbT) waiting(client *dataflow.Client, name string) []*dataflow.Run {
	t.Helper()
	runs, err := client.Runs(t.Context(), &dataflow.RunListParams{Flow: name, States: []dataflow.RunState{dataflow.RunPending}})
	require.NoError(t, err)
	return runs
}

var toQueue = &dataflow.MigrateRuntimesOptions{To: "job_queue", Queue: "etl", Priority: 2, Actor: "ann"}

// TestPlan_8_MigrateRuntimes: flows on heartbeat become job-queue flows and keep their
// settings. Their waiting runs are cancelled, and the active flows get a run. A dry run
// says so and changes nothing, and so does a second migration.
func TestPlan_8_MigrateRuntimes(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		c := newClock()
		client := t.onClock(c, heartbeats()...)
		_, err := client.Pause(t.Context(), "paused", "bob", "")
		require.NoError(t, err)
		now, err := client.Enqueue(t.Context(), "busy", nil)
		require.NoError(t, err)
		later, err := client.Trigger(t.Context(), "busy", &dataflow.TriggerOptions{At: someTime.Add(time.Hour)})
		require.NoError(t, err)
		before := t.stored(client)
		ticks := t.number("select count(*) from dataflow_flow where next_run_at is not null")

		dry := *toQueue
		dry.DryRun = true
		plan, err := client.MigrateRuntimes(t.Context(), &dry)
		require.NoError(t, err)
		require.Equal(t, before, t.stored(client))
		require.Len(t, t.waiting(client, "busy"), 2)

		report, err := client.MigrateRuntimes(t.Context(), toQueue)
		require.NoError(t, err)
		require.Len(t, report.Flows, 3)
		for i, m := range report.Flows {
			want := plan.Flows[i]
			want.Enqueued = m.Enqueued
			require.Equal(t, want, m, "as planned")
			require.Equal(t, m.Enqueue, m.Enqueued != 0)
			require.Equal(t, before[m.Flow], m.From)
		}
		require.Equal(t, []string{"busy", "off", "paused"}, []string{report.Flows[0].Flow, report.Flows[1].Flow, report.Flows[2].Flow})
		require.Equal(t, []int64{now.ID, later.ID}, report.Flows[0].Cancelled)
		require.Equal(t, map[string]dataflow.Runtime{
			"busy":   dataflow.JobQueue{Queue: "etl", Priority: 2, Interval: time.Hour, BatchSize: 7, Schedule: dataflow.Schedule{Overlap: dataflow.OverlapBufferOne}},
			"off":    dataflow.JobQueue{Queue: "etl", Priority: 2, Interval: time.Minute, Disabled: true},
			"paused": dataflow.JobQueue{Queue: "etl", Priority: 2, Schedule: dataflow.Schedule{Cron: "30 6 * * *"}},
			"queued": dataflow.JobQueue{Queue: "own"},
		}, t.stored(client))
		require.Equal(t, ticks, t.number("select count(*) from dataflow_flow where next_run_at is not null"), "ticks go on")
		for _, id := range report.Flows[0].Cancelled {
			run, err := client.Run(t.Context(), id)
			require.NoError(t, err)
			require.Equal(t, dataflow.RunCancelled, run.State)
			require.Equal(t, "ann", run.CancelledBy)
			require.Contains(t, run.CancelReason, "migrated to job_queue")
		}
		waiting := t.waiting(client, "busy")
		require.Len(t, waiting, 1)
		require.Equal(t, report.Flows[0].Enqueued, waiting[0].ID)
		require.Equal(t, dataflow.TriggerMigration, waiting[0].Trigger)
		require.Equal(t, "etl", waiting[0].Queue)
		require.NotZero(t, waiting[0].RiverJobID)
		require.EqualValues(t, 1, t.number("select count(*) from dataflow_run where state = 'pending'"), "neither paused nor disabled flows get a run")

		runs, jobs := t.number("select count(*) from dataflow_run"), t.number("select count(*) from river_job")
		again, err := client.MigrateRuntimes(t.Context(), toQueue)
		require.NoError(t, err)
		require.Empty(t, again.Flows)
		t.requireRows(runs, jobs)
	})
}

// An interrupted migration, which has moved a flow but not cancelled its runs, is
// completed by a second one.
func TestMigrateRuntimes_Interrupted(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		client := t.registered(heartbeats()...)
		_, err := client.MigrateRuntimes(t.Context(), toQueue)
		require.NoError(t, err)
		require.NoError(t, t.exec("update dataflow_run set state = 'cancelled', ended_at = created_at"))
		left, err := client.Enqueue(t.Context(), "busy", nil)
		require.NoError(t, err)
		require.NoError(t, t.exec("update dataflow_run set queue = '' where state = 'pending'"))
		report, err := client.MigrateRuntimes(t.Context(), toQueue)
		require.NoError(t, err)
		require.Len(t, report.Flows, 1)
		require.Equal(t, []int64{left.ID}, report.Flows[0].Cancelled)
		require.Zero(t, report.Flows[0].Enqueued)
	})
}

// Only the named flows are migrated, and none if one of them does not exist.
func TestMigrateRuntimes_Flows(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		client := t.registered(named("a", nil), named("b", nil), named("c", nil))
		report, err := client.MigrateRuntimes(t.Context(), &dataflow.MigrateRuntimesOptions{To: "job_queue", Flows: []string{"a", "x"}})
		require.ErrorIs(t, err, dataflow.ErrNotFound)
		require.ErrorContains(t, err, `"x"`)
		require.Empty(t, report.Flows)
		report, err = client.MigrateRuntimes(t.Context(), &dataflow.MigrateRuntimesOptions{To: "job_queue", Flows: []string{"c", "a"}})
		require.NoError(t, err)
		require.Len(t, report.Flows, 2)
		require.IsType(t, dataflow.JobQueue{}, t.stored(client)["a"])
		require.IsType(t, dataflow.Heartbeat{}, t.stored(client)["b"])
		require.IsType(t, dataflow.JobQueue{}, t.stored(client)["c"])
	})
}

// Registering the same code does not undo a migration, and its queue is worked. Other
// code does undo it.
func TestMigrateRuntimes_Register(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.table("hb")
		flow := func(rt dataflow.Runtime) *dataflow.Flow {
			return flowTo("hb", 5, dataflow.Identity[int](), &dataflow.FlowOptions{Runtime: rt})
		}
		for _, c := range []struct {
			declared, changed dataflow.Runtime
		}{
			{nil, dataflow.Heartbeat{Interval: time.Hour}},
			{dataflow.Heartbeat{Interval: time.Hour}, dataflow.Heartbeat{Interval: time.Minute}},
		} {
			t.registered(flow(c.declared))
			l := newLogs()
			client := t.client(&dataflow.Config{Flows: []*dataflow.Flow{flow(c.declared)}, Logger: l.logger()})
			_, err := t.client(nil).MigrateRuntimes(t.Context(), toQueue) // a tool without the code
			require.NoError(t, err)
			_, early := client.Enqueue(t.Context(), "hb", nil) // makes River's client, before the queue is known
			require.NoError(t, early)
			require.NoError(t, client.Start(t.Context()))
			require.IsType(t, dataflow.JobQueue{}, t.stored(client)["hb"])
			require.NotEmpty(t, l.lines("flow stays on the runtime that it was migrated to"))
			for _, run := range t.waiting(client, "hb") {
				_, err := t.wait(client, run.ID)
				require.NoError(t, err)
			}
			t.stop(client)
			require.Zero(t, t.number("select count(*) from dataflow_run where state = 'pending'"))

			l = newLogs()
			other := t.client(&dataflow.Config{Flows: []*dataflow.Flow{flow(c.changed)}, Logger: l.logger()})
			require.NoError(t, other.Register(t.Context()))
			require.IsType(t, dataflow.Heartbeat{}, t.stored(other)["hb"])
			require.NotEmpty(t, l.lines("flow leaves the runtime that it was migrated to"))
			f, err := other.Flow(t.Context(), "hb")
			require.NoError(t, err)
			require.Nil(t, f.MigratedFrom)
		}
	})
}

// A client that runs during the migration works the new queue, and the next one,
// without a restart.
func TestMigrateRuntimes_Running(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		client := t.client(&dataflow.Config{Flows: []*dataflow.Flow{named("a", nil), named("b", nil)}, Lease: time.Second})
		require.NoError(t, client.Start(t.Context()))
		defer t.stop(client)
		tool := t.client(nil)
		for _, queue := range []string{"one", "two"} {
			report, err := tool.MigrateRuntimes(t.Context(), &dataflow.MigrateRuntimesOptions{To: "job_queue", Queue: queue})
			require.NoError(t, err)
			require.Len(t, report.Flows, 2)
			for _, m := range report.Flows {
				run, err := t.wait(tool, m.Enqueued)
				require.NoError(t, err)
				require.Equal(t, queue, run.Queue)
			}
			report, err = tool.MigrateRuntimes(t.Context(), &dataflow.MigrateRuntimesOptions{To: "heartbeat"})
			require.NoError(t, err)
			_, err = t.wait(tool, report.Flows[1].Enqueued)
			require.NoError(t, err)
		}
	})
}

// The way back leaves a flow as if it had never been migrated.
func TestMigrateRuntimes_Back(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		client := t.registered(named("a", dataflow.Heartbeat{Interval: time.Hour}), named("b", dataflow.JobQueue{}))
		before := t.stored(client)
		_, err := client.MigrateRuntimes(t.Context(), toQueue)
		require.NoError(t, err)
		queued := t.waiting(client, "a")
		require.Len(t, queued, 1)
		report, err := client.MigrateRuntimes(t.Context(), &dataflow.MigrateRuntimesOptions{To: "heartbeat"})
		require.NoError(t, err)
		require.Len(t, report.Flows, 2)
		require.Equal(t, []int64{queued[0].ID}, report.Flows[0].Cancelled)
		require.Equal(t, before["a"], t.stored(client)["a"])
		require.Empty(t, t.waiting(client, "a")[0].Queue)
		a, err := client.Flow(t.Context(), "a")
		require.NoError(t, err)
		require.Nil(t, a.MigratedFrom)
		b, err := client.Flow(t.Context(), "b")
		require.NoError(t, err)
		require.NotNil(t, b.MigratedFrom)
	})
}

func TestMigrateRuntimes_Refused(t *testing.T) {
	t.Parallel()
	client, err := dataflow.NewClient(noDatabase{}, nil)
	require.NoError(t, err)
	for text, o := range map[string]*dataflow.MigrateRuntimesOptions{
		`To: "" is not supported: use "heartbeat" or "job_queue"`:              nil,
		`To: "cron" is not supported`:                                          {To: "cron"},
		"Queue: a heartbeat flow has no queue and no priority: leave them out": {To: "heartbeat", Queue: "etl"},
		`Queue: "no queue" is not a River queue`:                               {To: "job_queue", Queue: "no queue"},
		"Priority: 5 is not a priority of River":                               {To: "job_queue", Priority: 5},
	} {
		_, err := client.MigrateRuntimes(t.Context(), o)
		requirePublic(t, err)
		require.ErrorContains(t, err, text)
		var ce *dataflow.ConfigError
		require.ErrorAs(t, err, &ce)
	}
}
