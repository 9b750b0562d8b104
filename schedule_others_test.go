package dataflow_test

import (
	"context"
	"testing"
	"time"

	"github.com/riverqueue/river"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// A process that cannot read a flow's Runtime, as one of the older version in the
// middle of a deployment, leaves the ticks to those that can.
func TestSchedule_UnknownRuntime(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		c := newClock()
		c.set(minute(5))
		old := t.onClock(c, hb(10*time.Minute, dataflow.Schedule{}))
		newer := t.client(&dataflow.Config{
			Flows: []*dataflow.Flow{dataflow.NewFlow("f", numbers{}, dataflow.Identity[int](), dataflow.ToTx(discard{}), &dataflow.FlowOptions{
				Runtime: onCall{JobQueue: dataflow.JobQueue{Interval: 10 * time.Minute}},
			})},
			Clock: c.Now, Runtimes: map[string]dataflow.RuntimeDecoder{"on_call": decodeOnCall},
		})
		require.NoError(t, newer.Register(t.Context()))
		c.set(minute(10))
		require.Empty(t, t.tick(old))
		require.Empty(t, t.skipped(old))
		require.Equal(t, minute(10), *t.next(old), "it stays due")
		report, err := newer.BeginTick(t.Context())
		require.NoError(t, err)
		require.Len(t, report.Fired, 1)
		// What it does not need the Runtime for, it does.
		c.set(minute(21))
		_, err = old.Pause(t.Context(), "f", "ann", "")
		require.NoError(t, err)
		c.set(minute(31))
		require.Empty(t, t.tick(old))
		require.Equal(t, []string{"20-20 1 missed", "30-30 1 paused"}, t.skipped(old))
		require.Equal(t, []int{10}, t.ticked(old))
	})
}

// What comes of others is decided by the policy that was registered last, whatever
// an older process was built with.
func TestSchedule_CancelOther_NotAnyMore(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		c := newClock()
		c.set(minute(-1))
		begun, open := make(chan struct{}, 10), make(chan struct{})
		flow := func(o dataflow.Overlap) *dataflow.Flow {
			return scheduled(10*time.Minute, dataflow.Schedule{Overlap: o}, func(context.Context) error {
				begun <- struct{}{}
				<-open
				return nil
			})
		}
		old := t.onClock(c, flow(dataflow.OverlapCancelOther))
		newer := t.onClock(c, flow(dataflow.OverlapBufferAll))
		c.set(minute(0))
		report, err := newer.BeginTick(t.Context())
		require.NoError(t, err)
		receive(t, begun)
		for _, m := range []int{10, 20} {
			c.set(minute(m))
			_, err = newer.BeginTick(t.Context())
			require.NoError(t, err)
		}
		_, err = old.BeginTick(t.Context())
		require.NoError(t, err)
		require.Zero(t, t.number("select count(*) from dataflow_run where cancel_requested_at is not null"))
		close(open)
		_, err = report.Wait(t.Context())
		require.NoError(t, err)
		for range 2 {
			t.tick(newer)
		}
		require.EqualValues(t, 3, t.number("select count(*) from dataflow_run where state = 'success'"))
	})
}

// A run that somebody has asked for at a time takes the place of those that were
// started meanwhile, when that time has come.
func TestSchedule_CancelOther_Later(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		c := newClock()
		c.set(minute(-1))
		begun := make(chan struct{}, 10)
		client := t.onClock(c, scheduled(10*time.Minute, dataflow.Schedule{Overlap: dataflow.OverlapCancelOther}, func(ctx context.Context) error {
			begun <- struct{}{}
			<-ctx.Done()
			return ctx.Err()
		}))
		later, err := client.Trigger(t.Context(), "f", &dataflow.TriggerOptions{At: minute(5)})
		require.NoError(t, err)
		c.set(minute(0))
		report, err := client.BeginTick(t.Context())
		require.NoError(t, err)
		require.Len(t, report.Fired, 1)
		receive(t, begun)
		c.set(minute(5))
		_, err = client.BeginTick(t.Context())
		require.NoError(t, err)
		runs, err := report.Wait(t.Context())
		require.NoError(t, err)
		require.Equal(t, dataflow.RunCancelled, runs[0].State)
		_, err = client.BeginTick(t.Context())
		require.NoError(t, err)
		receive(t, begun)
		later, err = client.Run(t.Context(), later.ID)
		require.NoError(t, err)
		require.Equal(t, dataflow.RunInProgress, later.State)
		require.Nil(t, later.CancelRequestedAt)
		t.stop(client)
	})
}

// A process whose clock is wrong does not take a run that is for later for one that
// takes the place of others.
func TestSchedule_CancelOther_Skew(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		begun := make(chan struct{}, 10)
		client := t.skewed(time.Hour, scheduled(0, dataflow.Schedule{Overlap: dataflow.OverlapCancelOther}, func(ctx context.Context) error {
			begun <- struct{}{}
			<-ctx.Done()
			return ctx.Err()
		}))
		require.NoError(t, client.Register(t.Context()))
		_, err := client.Trigger(t.Context(), "f", &dataflow.TriggerOptions{At: time.Unix(1, 0)})
		require.NoError(t, err)
		_, err = client.BeginTick(t.Context())
		require.NoError(t, err)
		receive(t, begun)
		_, err = client.Trigger(t.Context(), "f", &dataflow.TriggerOptions{At: time.Now().Add(30 * time.Minute)})
		require.NoError(t, err)
		_, err = client.BeginTick(t.Context())
		require.NoError(t, err)
		require.Zero(t, t.number("select count(*) from dataflow_run where cancel_requested_at is not null"))
		t.stop(client)
	})
}

// The River job of a tick is worked at once, though the process's clock is behind
// the database's.
func TestSchedule_JobOfTick_Skew(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		client := t.skewed(-time.Hour, dataflow.NewFlow("f", numbers{}, dataflow.Identity[int](), dataflow.ToTx(discard{}), &dataflow.FlowOptions{
			Runtime: dataflow.JobQueue{Interval: time.Second},
		}))
		require.NoError(t, client.Register(t.Context()))
		require.Eventually(t, func() bool {
			report, err := client.BeginTick(t.Context())
			require.NoError(t, err)
			return len(report.Fired) == 1
		}, patience, 10*time.Millisecond)
		require.EqualValues(t, 1, t.number("select count(*) from river_job where state = 'available'"))
	})
}

// withoutRiver has a River client that can insert no jobs while broken holds one.
type withoutRiver struct {
	dataflow.Driver
	broken *bool
}

func (d withoutRiver) Store(opts dataflow.StoreOptions) (dataflow.Store, error) {
	s, err := d.Driver.Store(opts)
	return storeWithoutRiver{s, d.broken}, err
}

type storeWithoutRiver struct {
	dataflow.Store
	broken *bool
}

func (s storeWithoutRiver) River(config *river.Config) (dataflow.River, error) {
	rc, err := s.Store.River(config)
	return brokenRiver{rc, s.broken}, err
}

type brokenRiver struct {
	dataflow.River
	broken *bool
}

func (r brokenRiver) InsertTx(ctx context.Context, tx dataflow.Tx, args river.JobArgs, opts *river.InsertOpts) (int64, error) {
	if *r.broken {
		return 0, errBroken
	}
	return r.River.InsertTx(ctx, tx, args, opts)
}

// A tick whose run cannot be added stays due, and is in the way of no other flow.
func TestSchedule_CannotStart(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		c := newClock()
		c.set(minute(5))
		broken := true
		t.driver = withoutRiver{t.driver, &broken}
		named := func(name string, rt dataflow.Runtime) *dataflow.Flow {
			return dataflow.NewFlow(name, numbers{}, dataflow.Identity[int](), dataflow.ToTx(discard{}), &dataflow.FlowOptions{Runtime: rt})
		}
		client := t.onClock(c, named("f", dataflow.JobQueue{Interval: 5 * time.Minute}), named("g", dataflow.Heartbeat{Interval: 10 * time.Minute}))
		c.set(minute(10))
		require.Len(t, t.tick(client), 1)
		require.Empty(t, t.ticked(client))
		require.Empty(t, t.skipped(client))
		require.Equal(t, minute(10), *t.next(client))
		broken = false
		c.set(minute(11))
		report, err := client.BeginTick(t.Context())
		require.NoError(t, err)
		require.Len(t, report.Fired, 1)
		require.Equal(t, []int{10}, t.ticked(client))
		require.EqualValues(t, 1, t.number("select count(*) from river_job"))
	})
}

// The ticks of a flow that is in no code any more are nobody's, and Why says so.
// When it is there again, they are accounted for.
func TestSchedule_FlowDeleted(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		c := newClock()
		c.set(minute(5))
		t.onClock(c, hb(10*time.Minute, dataflow.Schedule{}))
		c.set(minute(31))
		without := t.started(t.client(&dataflow.Config{ID: "without", Clock: c.Now}))
		require.Eventually(t, func() bool { return t.number("select count(*) from dataflow_process") == 1 }, patience, 10*time.Millisecond)
		codes, text := t.causes(without, "f")
		require.Equal(t, []dataflow.CauseCode{dataflow.CauseNotRegistered, dataflow.CauseOverdue}, codes)
		require.Contains(t, text, "Its tick of 2031-02-03T04:10:00Z (21m0s ago) is overdue: no started client that has its code has looked since.")
		again := t.onClock(c, hb(10*time.Minute, dataflow.Schedule{}))
		require.Len(t, t.tick(again), 1)
		require.Equal(t, []int{30}, t.ticked(again))
		require.Equal(t, []string{"10-20 2 missed"}, t.skipped(again))
	})
}

// A probe comes also when failures did not pause the schedule for a while.
func TestSchedule_PauseAfter_Again(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		c := newClock()
		c.set(minute(-1))
		flow := func(s dataflow.Schedule) *dataflow.Flow {
			return scheduled(10*time.Minute, s, func(context.Context) error { return errBroken })
		}
		pausing := dataflow.Schedule{PauseAfter: 1, ProbeAfter: 30 * time.Minute}
		client := t.onClock(c, flow(pausing))
		c.set(minute(0))
		require.Len(t, t.tick(client), 1)
		c.set(minute(5))
		client = t.onClock(c, flow(dataflow.Schedule{PauseAfter: 1, ProbeAfter: -1}))
		c.set(minute(30))
		require.Empty(t, t.tick(client))
		got, err := client.Flow(t.Context(), "f")
		require.NoError(t, err)
		require.Nil(t, got.ProbeAt)
		c.set(minute(35))
		client = t.onClock(c, flow(pausing))
		got, err = client.Flow(t.Context(), "f")
		require.NoError(t, err)
		require.Equal(t, minute(65), *got.ProbeAt)
		c.set(minute(36))
		client = t.onClock(c, flow(pausing))
		got, err = client.Flow(t.Context(), "f")
		require.NoError(t, err)
		require.Equal(t, minute(65), *got.ProbeAt, "a registration does not put it off")
		client = t.onClock(c, flow(dataflow.Schedule{PauseAfter: 1, ProbeAfter: 5 * time.Minute}))
		c.set(minute(41))
		require.Len(t, t.tick(client), 1)
		require.EqualValues(t, 1, t.number("select count(*) from dataflow_run where trigger = 'probe'"))
	})
}

// A clock that is put back makes no tick come again, also when a probe is due.
func TestSchedule_ClockPutBack(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		c := newClock()
		c.set(minute(-1))
		client := t.onClock(c, scheduled(10*time.Minute, dataflow.Schedule{PauseAfter: 1, ProbeAfter: time.Minute}, func(context.Context) error { return errBroken }))
		c.set(minute(0))
		require.Len(t, t.tick(client), 1)
		c.set(minute(20))
		require.Len(t, t.tick(client), 1, "the probe")
		require.NoError(t, t.exec("update dataflow_flow set probe_at = schedule_at"))
		c.set(minute(5))
		require.Len(t, t.tick(client), 1, "the probe")
		require.Equal(t, minute(30), *t.next(client))
		c.set(minute(11))
		require.Len(t, t.tick(client), 1, "the probe")
		require.Equal(t, []string{"10-20 2 paused"}, t.skipped(client))
	})
}

// Of runs that wait for each other, the first is worked first, and the next as soon
// as it has ended.
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

// A run that has begun and waits for its next attempt is no tick that waits.
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

// Up to so many River jobs of a flow are worked at once, and what waits is told for
// which run.
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

// So it is with River jobs, though those of runs that must wait are snoozed.
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
