package enginetest_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// Of several waiting runs the oldest is worked first, and the next as soon as that has
// ended.
func TestSchedule_BufferAll_Order(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		all := dataflow.Schedule{Overlap: dataflow.OverlapBufferAll, CatchUp: dataflow.CatchUpAll}
		want := []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20}
		for name, work := range map[string]func(client *dataflow.Client){
			"Tick": func(client *dataflow.Client) { require.Len(t, t.tick(client), len(want)) },
			"Loop": func(client *dataflow.Client) { require.NoError(t, client.Start(t.Context())) },
		} {
			t.emptied()
			c := newClock()
			c.set(minute(0))
			t.onClock(c, hb(time.Minute, all))
			c.set(minute(20))
			client := t.client(&dataflow.Config{Flows: []*dataflow.Flow{hb(time.Minute, all)}, Clock: c.Now, PollInterval: time.Hour, Lease: 10 * time.Hour})
			require.NoError(t, client.Register(t.Context()))
			events, cancel := client.Subscribe(dataflow.EventRunSucceeded)
			work(client)
			var got []int
			for range want {
				got = append(got, receive(t, events).Run.ScheduledFor.Minute())
			}
			require.Equal(t, want, got, name)
			cancel()
			t.stop(client)
		}
	})
}

// A run that lost its worker goes before the ticks that wait.
func TestSchedule_BufferAll_TakeOver(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		all := dataflow.Schedule{Overlap: dataflow.OverlapBufferAll, CatchUp: dataflow.CatchUpAll}
		for _, rt := range []dataflow.Runtime{dataflow.Heartbeat{Interval: time.Minute, Schedule: all}, dataflow.JobQueue{Interval: time.Minute, Schedule: all}} {
			t.emptied()
			c := newClock()
			c.set(minute(0))
			flow := dataflow.NewFlow("f", numbers{}, dataflow.Identity[int](), dataflow.ToTx(discard{}), &dataflow.FlowOptions{Runtime: rt})
			client := t.onClock(c, flow)
			c.set(minute(1))
			t.tick(client)
			require.NoError(t, t.exec("update dataflow_run set state = 'in_progress', slot = 0, worker = 'w9', lease_no = lease_no + 1, attempt = 1, ended_at = null, lease_until = run_after"))
			require.EqualValues(t, 1, t.number("select count(*) from dataflow_run"))
			events, cancel := client.Subscribe(dataflow.EventRunSucceeded)
			c.set(minute(12))
			if rt.Type() == "job_queue" {
				_, err := client.BeginTick(t.Context()) // all wait before any is worked
				require.NoError(t, err)
				t.started(client)
			} else {
				t.tick(client)
			}
			for m := range 12 {
				require.Equal(t, minute(m+1), receive(t, events).Run.ScheduledFor, rt.Type())
			}
			cancel()
			t.stop(client)
		}
	})
}

// A run that waits for its next attempt does not count as a waiting tick.
func TestSchedule_BufferOne_BetweenAttempts(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		c := newClock()
		c.set(minute(-1))
		source := readFunc(func(_ context.Context, _ dataflow.Request[int], yield func(dataflow.Item[int, int], error) bool) {
			yield(dataflow.Item[int, int]{}, errBroken)
		})
		client := t.onClock(c, dataflow.NewFlow("f", source, dataflow.Identity[int](), dataflow.ToTx(discard{}), &dataflow.FlowOptions{
			Runtime: dataflow.Heartbeat{Interval: 10 * time.Minute, Schedule: dataflow.Schedule{Overlap: dataflow.OverlapBufferOne}},
			Backoff: func(int) time.Duration { return time.Hour },
		}))
		c.set(minute(0))
		require.Len(t, t.tick(client), 1)
		c.set(minute(10))
		report, err := client.BeginTick(t.Context())
		require.NoError(t, err)
		require.Len(t, report.Fired, 1)
		require.Empty(t, t.skipped(client))
		t.stop(client)
	})
}

// OverlapAllow(n) lets n River jobs of a flow be worked at once. Why tells a waiting
// run which runs it waits for.
func TestSchedule_Allow_JobQueue(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		source := onceSlow{begun: make(chan struct{}, 10), open: make(chan struct{})}
		j := t.working(dataflow.NewFlow("f", source, dataflow.Identity[int](), dataflow.ToTx(discard{}), &dataflow.FlowOptions{
			Runtime: dataflow.JobQueue{Schedule: dataflow.Schedule{Overlap: dataflow.OverlapAllow(2)}},
		}))
		var ids []int64
		for i := range 3 {
			run, err := j.client.Trigger(t.Context(), "f", nil)
			require.NoError(t, err)
			ids = append(ids, run.ID)
			if i < 2 {
				receive(t, source.begun)
			}
		}
		_, err := dataflow.NewFlowExecutor(j.client).Execute(t.Context(), ids[2])
		require.ErrorIs(t, err, dataflow.ErrAlreadyRunning)
		require.ErrorContains(t, err, "is in progress on worker")
		require.EqualValues(t, 1, t.number("select max(slot) from dataflow_run where state = 'in_progress'"))
		_, err = j.client.Cancel(t.Context(), ids[0], "ann", "")
		require.NoError(t, err)
		close(source.open)
		for i, id := range ids {
			run, err := t.wait(j.client, id)
			if i == 0 {
				require.Equal(t, dataflow.RunCancelled, run.State)
				continue
			}
			require.NoError(t, err)
			require.EqualValues(t, 1, run.Counters.Written)
		}
	})
}

// River jobs also work the waiting runs of ticks in their order, though the jobs of
// runs that must wait are snoozed.
func TestSchedule_BufferAll_JobQueue(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		c := newClock()
		c.set(minute(0))
		begun, open := make(chan struct{}, 10), make(chan struct{})
		source := readFunc(func(context.Context, dataflow.Request[int], func(dataflow.Item[int, int], error) bool) {
			begun <- struct{}{}
			<-open
		})
		client := t.client(&dataflow.Config{Clock: c.Now, Flows: []*dataflow.Flow{
			dataflow.NewFlow("f", source, dataflow.Identity[int](), dataflow.ToTx(discard{}), &dataflow.FlowOptions{Runtime: dataflow.JobQueue{
				Interval: time.Minute, Schedule: dataflow.Schedule{Overlap: dataflow.OverlapBufferAll, CatchUp: dataflow.CatchUpAll},
			}}),
		}})
		require.NoError(t, client.Register(t.Context()))
		events, cancel := client.Subscribe(dataflow.EventRunSucceeded)
		defer cancel()
		c.set(minute(8))
		t.started(client)
		receive(t, begun)
		require.Eventually(t, func() bool { // the others have found that they must wait
			return t.number("select count(*) from river_job where state in ('scheduled', 'available') and attempt = 0 and attempted_at is not null") == 7
		}, patience, 10*time.Millisecond)
		close(open)
		for m := range 8 {
			require.Equal(t, minute(m+1), receive(t, events).Run.ScheduledFor)
		}
		require.Greater(t, t.number("select count(*) from river_job"), int64(8), "what ends wakes the next one")
	})
}
