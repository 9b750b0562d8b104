package enginetest_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// hb is a flow that succeeds, with a Heartbeat at an interval.
func hb(interval time.Duration, s dataflow.Schedule) *dataflow.Flow {
	return scheduled(interval, s, func(context.Context) error { return nil })
}

// scheduled is a flow named "f" whose source does something and has no records.
func scheduled(interval time.Duration, s dataflow.Schedule, work func(ctx context.Context) error) *dataflow.Flow {
	source := readFunc(func(ctx context.Context, _ dataflow.Request[int], yield func(dataflow.Item[int, int], error) bool) {
		if err := work(ctx); err != nil {
			yield(dataflow.Item[int, int]{}, err)
		}
	})
	return dataflow.NewFlow("f", source, dataflow.Identity[int](), dataflow.ToTx(discard{}), &dataflow.FlowOptions{
		Runtime: dataflow.Heartbeat{Interval: interval, Schedule: s}, MaxAttempts: 1,
	})
}

// minute returns a time in the test's hour.
func minute(m int, seconds ...int) time.Time {
	at := time.Date(2031, 2, 3, 4, m, 0, 0, time.UTC)
	for _, s := range seconds {
		at = at.Add(time.Duration(s) * time.Second)
	}
	return at
}

func (c *clock) set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = t
}

// ticked returns the ticks that started runs, oldest first, as minutes.
func (t *dbT) ticked(client *dataflow.Client) []int {
	t.Helper()
	runs, err := client.Runs(t.Context(), &dataflow.RunListParams{Flow: "f", Trigger: dataflow.TriggerSchedule})
	require.NoError(t, err)
	at := []int{}
	for i := range runs {
		at = append(at, runs[len(runs)-1-i].ScheduledFor.Minute())
	}
	return at
}

// skipped returns the ledger, oldest first, as text.
func (t *dbT) skipped(client *dataflow.Client) []string {
	t.Helper()
	all, err := client.SkippedTicks(t.Context(), &dataflow.TickListParams{Flow: "f"})
	require.NoError(t, err)
	text := []string{}
	for i := range all {
		s := all[len(all)-1-i]
		text = append(text, fmt.Sprintf("%d-%d %d %s", s.First.Minute(), s.Last.Minute(), s.Count, s.Reason))
	}
	return text
}

func (t *dbT) next(client *dataflow.Client) *time.Time {
	t.Helper()
	flow, err := client.Flow(t.Context(), "f")
	require.NoError(t, err)
	return flow.NextRunAt
}

// A tick comes at its time and starts one run. The next tick is counted from that time,
// not from when a process saw it.
func TestSchedule_Interval(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		c := newClock()
		c.set(minute(5, 6))
		client := t.onClock(c, hb(10*time.Minute, dataflow.Schedule{}))
		require.Equal(t, minute(10), *t.next(client))
		c.set(minute(10).Add(-time.Millisecond))
		require.Empty(t, t.tick(client))
		c.set(minute(10, 7))
		ids := t.tick(client)
		require.Len(t, ids, 1)
		run, err := client.Run(t.Context(), ids[0])
		require.NoError(t, err)
		require.Equal(t, dataflow.RunSuccess, run.State)
		require.Equal(t, dataflow.TriggerSchedule, run.Trigger)
		require.Equal(t, minute(10), run.ScheduledFor)
		require.Equal(t, minute(20), *t.next(client))
		require.Empty(t, t.tick(client))
		require.NoError(t, client.Register(t.Context()))
		require.Equal(t, minute(20), *t.next(client))
		c.set(minute(20))
		require.Len(t, t.tick(client), 1)
		require.Equal(t, []int{10, 20}, t.ticked(client))
		require.Empty(t, t.skipped(client))
	})
}

// Pausing and resuming start nothing. The ticks between are accounted for.
func TestSchedule_Pause(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		c := newClock()
		c.set(minute(5))
		client := t.onClock(c, hb(10*time.Minute, dataflow.Schedule{}))
		c.set(minute(11)) // the tick of 4:10 is due, and nobody has looked
		_, err := client.Pause(t.Context(), "f", "ann", "lunch")
		require.NoError(t, err)
		require.Equal(t, minute(20), *t.next(client))
		c.set(minute(21))
		require.Empty(t, t.tick(client))
		c.set(minute(31))
		require.Empty(t, t.tick(client))
		require.NoError(t, client.Register(t.Context()))
		c.set(minute(41)) // the tick of 4:40 is due
		_, err = client.Resume(t.Context(), "f", "ann", "")
		require.NoError(t, err)
		require.Empty(t, t.tick(client))
		require.Equal(t, minute(50), *t.next(client))
		c.set(minute(50))
		_, err = client.Resume(t.Context(), "f", "ann", "") // it is active already, and its tick stays due
		require.NoError(t, err)
		require.Len(t, t.tick(client), 1)
		require.Equal(t, []int{50}, t.ticked(client))
		require.Equal(t, []string{"10-40 4 paused"}, t.skipped(client))
	})
}

// A flow that is registered with another schedule follows it from then on, and due
// ticks of the old schedule are accounted for. So it is after disabling and enabling
// it.
func TestSchedule_Edit(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		c := newClock()
		c.set(minute(5))
		t.onClock(c, hb(10*time.Minute, dataflow.Schedule{}))
		c.set(minute(21))
		client := t.onClock(c, hb(7*time.Minute, dataflow.Schedule{Start: minute(0)}))
		require.Equal(t, minute(28), *t.next(client))
		require.Empty(t, t.tick(client))
		c.set(minute(28))
		require.Len(t, t.tick(client), 1)

		c.set(minute(30))
		off := dataflow.NewFlow("f", numbers{}, dataflow.Identity[int](), dataflow.ToTx(discard{}), &dataflow.FlowOptions{
			Runtime: dataflow.Heartbeat{Interval: 7 * time.Minute, Schedule: dataflow.Schedule{Start: minute(0)}, Disabled: true},
		})
		client = t.onClock(c, off)
		c.set(minute(36))
		require.Empty(t, t.tick(client))
		c.set(minute(43))
		client = t.onClock(c, hb(7*time.Minute, dataflow.Schedule{Start: minute(0), Overlap: dataflow.OverlapBufferOne}))
		require.Empty(t, t.tick(client))
		require.Equal(t, minute(49), *t.next(client))
		c.set(minute(49))
		require.Len(t, t.tick(client), 1)
		// A change of policy leaves the ticks alone: a due tick stays due.
		c.set(minute(56))
		client = t.onClock(c, hb(7*time.Minute, dataflow.Schedule{Start: minute(0)}))
		require.Len(t, t.tick(client), 1)
		require.Equal(t, []int{28, 49, 56}, t.ticked(client))
		require.Equal(t, []string{"10-20 2 missed", "35-42 2 disabled"}, t.skipped(client))
		// Without a schedule there is no next tick.
		client = t.onClock(c, hb(0, dataflow.Schedule{}))
		require.Nil(t, t.next(client))
	})
}

// A run that somebody asks for comes besides the ticks.
func TestSchedule_Manual(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		c := newClock()
		c.set(minute(5))
		client := t.onClock(c, hb(10*time.Minute, dataflow.Schedule{}))
		c.set(minute(10)) // the tick is due
		run, err := client.Trigger(t.Context(), "f", &dataflow.TriggerOptions{Actor: "ann", Reason: "to see"})
		require.NoError(t, err)
		require.Equal(t, []any{dataflow.TriggerManual, "ann", "to see"}, []any{run.Trigger, run.Actor, run.Reason})
		require.Equal(t, minute(10), *t.next(client))
		require.Len(t, t.tick(client), 1)
		require.Equal(t, minute(20), *t.next(client))
		// A run for later does not block ticks, not even the tick of its time.
		later, err := client.Trigger(t.Context(), "f", &dataflow.TriggerOptions{At: minute(20)})
		require.NoError(t, err)
		again, err := client.Trigger(t.Context(), "f", &dataflow.TriggerOptions{At: minute(20)})
		require.NoError(t, err)
		require.True(t, again.Coalesced)
		require.Equal(t, later.ID, again.ID)
		c.set(minute(15))
		require.Empty(t, t.tick(client))
		require.Equal(t, []int{10}, t.ticked(client))
		c.set(minute(20)) // both are due: the tick finds the other waiting
		require.Equal(t, []int64{later.ID}, t.tick(client))
		require.Equal(t, []string{"20-20 1 overlap"}, t.skipped(client))
	})
}

// After PauseAfter failures in a row, ticks start no runs. They do again after a probe
// succeeds or somebody resumes the flow.
func TestSchedule_PauseAfter(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		c := newClock()
		c.set(minute(-1))
		broken := true
		flow := scheduled(5*time.Minute, dataflow.Schedule{PauseAfter: 2, ProbeAfter: 12 * time.Minute}, func(context.Context) error {
			if broken {
				return errBroken
			}
			return nil
		})
		l := newLogs()
		client := t.client(&dataflow.Config{Flows: []*dataflow.Flow{flow}, Clock: c.Now, Logger: l.logger()})
		require.NoError(t, client.Register(t.Context()))
		events, cancel := client.Subscribe(dataflow.EventFlowTripped)
		defer cancel()
		at := func(m int) int { c.set(minute(m)); return len(t.tick(client)) }
		require.Equal(t, 1, at(0))
		require.Equal(t, 1, at(5))
		e := receive(t, events)
		require.Equal(t, minute(5), e.Run.ScheduledFor)
		require.ErrorIs(t, e.Err, errBroken)
		require.Len(t, l.lines("ticks no longer start the flow"), 1)
		got, err := client.Flow(t.Context(), "f")
		require.NoError(t, err)
		require.Equal(t, dataflow.FlowActive, got.State)
		require.Equal(t, minute(5), *got.TrippedAt)
		require.Equal(t, minute(17), *got.ProbeAt)
		require.Equal(t, fmt.Sprintf("2 runs have failed in a row; run %d with: read: %s", e.Run.ID, errBroken), got.TrippedReason)
		require.Zero(t, at(10))
		require.Zero(t, at(15))
		require.Equal(t, 1, at(17), "the probe")
		got, err = client.Flow(t.Context(), "f")
		require.NoError(t, err)
		require.Equal(t, minute(29), *got.ProbeAt)
		require.Zero(t, at(20))
		broken = false
		require.Equal(t, 1, at(30), "the second probe, and no tick")
		require.Equal(t, 1, at(35))
		require.EqualValues(t, 2, t.number("select count(*) from dataflow_run where trigger = 'probe'"))
		require.Equal(t, []int{0, 5, 35}, t.ticked(client))
		require.Equal(t, []string{"10-30 5 paused"}, t.skipped(client))
		got, err = client.Flow(t.Context(), "f")
		require.NoError(t, err)
		require.Nil(t, got.TrippedAt)
		require.Nil(t, got.ProbeAt)

		broken = true
		require.Equal(t, 1, at(40))
		require.Equal(t, 1, at(45))
		receive(t, events)
		_, err = client.Resume(t.Context(), "f", "ann", "mended")
		require.NoError(t, err)
		broken = false
		require.Equal(t, 1, at(50))
		require.Empty(t, events)
	})
}

// Many processes look for ticks, and each tick becomes one run.
func TestSchedule_ManyProcesses(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		c := newClock()
		c.set(minute(-1))
		clients := make([]*dataflow.Client, 4)
		for i := range clients {
			clients[i] = t.onClock(c, hb(time.Minute, dataflow.Schedule{Overlap: dataflow.OverlapBufferAll}))
		}
		for m := range 10 {
			c.set(minute(m))
			var wg sync.WaitGroup
			errs := make([]error, len(clients))
			for i, client := range clients {
				wg.Go(func() { _, errs[i] = client.Tick(t.Context()) })
			}
			wg.Wait()
			require.NoError(t, errors.Join(errs...))
		}
		require.Equal(t, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, t.ticked(clients[0]))
		require.Empty(t, t.skipped(clients[0]))
	})
}

// A started client sleeps until the next tick and works the run that it starts, with
// and without River.
func TestSchedule_Loop(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		var flows []*dataflow.Flow
		for name, rt := range map[string]dataflow.Runtime{"hb": dataflow.Heartbeat{Interval: time.Second}, "jq": dataflow.JobQueue{Interval: time.Second}} {
			flows = append(flows, dataflow.NewFlow(name, numbers{}, dataflow.Identity[int](), dataflow.ToTx(discard{}), &dataflow.FlowOptions{Runtime: rt}))
		}
		client := t.client(&dataflow.Config{Flows: flows, PollInterval: time.Hour})
		events, cancel := client.Subscribe(dataflow.EventRunSucceeded)
		defer cancel()
		t.started(client)
		seen := map[string]int{}
		for seen["hb"] < 2 || seen["jq"] < 2 {
			e := receive(t, events)
			require.Equal(t, dataflow.TriggerSchedule, e.Run.Trigger)
			require.Zero(t, e.Run.ScheduledFor.Nanosecond())
			seen[e.Run.FlowName]++
		}
	})
}

// A flow whose tick cannot be handled does not block others.
func TestSchedule_Unreadable(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		c := newClock()
		c.set(minute(5))
		other := dataflow.NewFlow("other", numbers{}, dataflow.Identity[int](), dataflow.ToTx(discard{}), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{Interval: 10 * time.Minute}})
		l := newLogs()
		client := t.client(&dataflow.Config{Flows: []*dataflow.Flow{hb(10*time.Minute, dataflow.Schedule{}), other}, Clock: c.Now, Logger: l.logger()})
		require.NoError(t, client.Register(t.Context()))
		require.NoError(t, t.exec(`update dataflow_flow set schedule = '{"cron":"* * * * *","time_zone":"Mars/Base"}' where name = 'f'`))
		c.set(minute(10))
		require.Len(t, t.tick(client), 1)
		require.Len(t, l.lines("Mars/Base"), 1)
		require.Equal(t, minute(10), *t.next(client), "it stays due")
		_, err := client.Pause(t.Context(), "f", "", "")
		require.NoError(t, err)
		why, err := client.Why(t.Context(), "f")
		require.NoError(t, err)
		require.Contains(t, why.String(), "cannot read its schedule")
	})
}

func TestFlow_Next(t *testing.T) {
	t.Parallel()
	daily := dataflow.Schedule{Cron: "30 2 * * *", TimeZone: "Europe/Berlin"}
	next, err := hb(0, daily).Next(time.Date(2027, 3, 27, 12, 0, 0, 0, time.UTC), 2)
	require.NoError(t, err)
	require.Equal(t, []time.Time{time.Date(2027, 3, 28, 1, 0, 0, 0, time.UTC), time.Date(2027, 3, 29, 0, 30, 0, 0, time.UTC)}, next)
	next, err = hb(0, dataflow.Schedule{}).Next(minute(0), 3)
	require.NoError(t, err)
	require.Empty(t, next)
	next, err = hb(10*time.Minute, dataflow.Schedule{End: minute(15)}).Next(minute(0), 3)
	require.NoError(t, err)
	require.Equal(t, []time.Time{minute(10)}, next)
	_, err = hb(time.Hour, dataflow.Schedule{}).Next(minute(0), -1)
	require.ErrorContains(t, err, "-1 is out of range: use 0 to 10000")
	requirePublic(t, err)
}

// A clock change that skips a tick's local time is reported when the flow is
// registered.
func TestSchedule_Gap(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		l := newLogs()
		c := newClock()
		client := t.client(&dataflow.Config{
			Flows: []*dataflow.Flow{hb(0, dataflow.Schedule{Cron: "30 2 * * *", TimeZone: "Europe/Berlin"})}, Clock: c.Now, Logger: l.logger(),
		})
		require.NoError(t, client.Register(t.Context()))
		lines := l.lines("a clock change skips")
		require.Len(t, lines, 1)
		require.Contains(t, lines[0], `local="2031-03-30 02:30:00" zone=Europe/Berlin tick=2031-03-30T01:00:00.000Z`)
	})
}
