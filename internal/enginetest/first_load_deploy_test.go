package enginetest_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// A deploy takes FirstLoad away while an older process still reads a range. The range ends before the flow
// reads on, and does not write the older rows that it has read over newer ones.
func TestFirstLoad_TakenAway(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		l := newChanging(40)
		older, run := t.halfway(l)
		reached, goOn := make(chan struct{}), make(chan struct{})
		var once sync.Once
		l.onRead = func() { once.Do(func() { close(reached); <-goOn }) }
		atWork := t.number("select min(id) from dataflow_run where trigger = 'first_load' and state = 'pending'")
		ended := make(chan error, 1)
		go func() {
			_, err := dataflow.NewFlowExecutor(older).Execute(t.Context(), atWork)
			ended <- err
		}()
		receive(t, reached)
		for id := range 40 {
			l.change(id + 1)
		}

		newer := t.registered(dataflow.NewFlow("l", l, dataflow.Identity[version](), dataflow.ToTx(versions{}), &dataflow.FlowOptions{
			Runtime: dataflow.Heartbeat{BatchSize: 3}, MaxBackfills: 2,
		}))
		worked := make(chan error, 1)
		go func() {
			_, err := dataflow.NewFlowExecutor(newer).Execute(t.Context(), run.ID)
			worked <- err
		}()
		require.Eventually(t, func() bool {
			now, err := newer.Run(t.Context(), run.ID)
			return err == nil && (now.WaitsFor != "" || now.State == dataflow.RunSuccess)
		}, patience, 10*time.Millisecond)
		close(goOn)
		_ = receive(t, ended)
		require.NoError(t, receive(t, worked))
		t.requireLoaded(newer, l)
		require.Zero(t, t.number(liveRanges))
		require.Contains(t, t.loadRanges(newer)[3].CancelReason, "the flow has no FirstLoad any more")
	})
}

// While a flow is paused, its first load waits for the ranges, and does not warn of them at each look.
func TestFirstLoad_PausedMeanwhile(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		l, said := newChanging(40), newLogs()
		client := t.client(&dataflow.Config{Logger: said.logger(), PollInterval: 20 * time.Millisecond, Flows: []*dataflow.Flow{t.loads(l, dataflow.Heartbeat{BatchSize: 3})}})
		require.NoError(t, client.Register(t.Context()))
		var once sync.Once
		var pauseErr error
		l.onRead = func() {
			once.Do(func() { _, pauseErr = client.Pause(context.WithoutCancel(t.Context()), "l", "ann", "a look") })
		}
		worked := make(chan error, 1)
		go func() {
			_, err := client.Trigger(t.Context(), "l", nil)
			worked <- err
		}()
		const tried = "could not work a range of the first load"
		require.Eventually(t, func() bool { return len(said.lines(tried)) > 3 }, patience, 10*time.Millisecond)
		require.NoError(t, pauseErr)
		for _, line := range said.lines(tried) {
			require.Contains(t, line, "level=DEBUG")
			require.Contains(t, line, "it is paused, by ann: a look")
		}
		_, err := client.Resume(t.Context(), "l", "ann", "")
		require.NoError(t, err)
		require.NoError(t, receive(t, worked))
		t.requireLoaded(client, l)
	})
}

// A flow that is migrated to another Runtime during its first load goes on with it: the migration cancels no range,
// without which the run that waits for them would fail.
func TestFirstLoad_MigratedMeanwhile(t *testing.T) {
	t.Parallel()
	for _, rt := range []dataflow.Runtime{dataflow.Heartbeat{BatchSize: 3}, dataflow.JobQueue{Queue: "etl", BatchSize: 3}} {
		t.Run(rt.Type(), func(t *testing.T) {
			t.Parallel()
			onBoth(t, func(t *dbT) {
				l := newChanging(40)
				reached, goOn := make(chan struct{}), make(chan struct{})
				var once sync.Once
				l.onRead = func() { once.Do(func() { close(reached); <-goOn }) }
				client := t.started(t.client(&dataflow.Config{Flows: []*dataflow.Flow{t.loads(l, rt)}, MaxWorkers: 4, PollInterval: 20 * time.Millisecond, Lease: time.Second}))
				run, err := client.Enqueue(t.Context(), "l", nil)
				require.NoError(t, err)
				receive(t, reached)
				to := "job_queue"
				if rt.Type() == to {
					to = "heartbeat"
				}
				report, err := client.MigrateRuntimes(t.Context(), &dataflow.MigrateRuntimesOptions{To: to, Actor: "ann"})
				require.NoError(t, err)
				for _, one := range t.loadRanges(client) {
					require.NotContains(t, report.Flows[0].Cancelled, one.ID)
				}
				close(goOn)
				_, err = t.wait(client, report.Flows[0].Enqueued)
				require.NoError(t, err)
				t.requireLoaded(client, l)
				run, _ = t.wait(client, run.ID)
				require.NotEqual(t, dataflow.RunFailed, run.State, run.Error) // cancelled, if it waited between two slices
			})
		})
	}
}
