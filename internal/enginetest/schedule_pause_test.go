package enginetest_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// A probe also comes if failures did not pause the schedule for a while.
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

// A poison run counts as a failed run. A probe that somebody cancels says nothing, and
// another one follows.
func TestSchedule_PauseAfter_Deaths(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		c := newClock()
		c.set(minute(-1))
		flow := dataflow.NewFlow("f", numbers{}, dataflow.Identity[int](), dataflow.ToTx(discard{}), &dataflow.FlowOptions{Runtime: dataflow.JobQueue{
			Interval: time.Hour, Schedule: dataflow.Schedule{PauseAfter: 1, ProbeAfter: 10 * time.Minute},
		}})
		client := t.client(&dataflow.Config{Flows: []*dataflow.Flow{flow}, Clock: c.Now, MaxRescues: 1})
		require.NoError(t, client.Register(t.Context()))
		events, cancel := client.Subscribe(dataflow.EventFlowTripped)
		defer cancel()
		fired := func(m int) []*dataflow.Run {
			c.set(minute(m))
			report, err := client.BeginTick(t.Context())
			require.NoError(t, err)
			return report.Fired
		}
		run := fired(0)[0]
		require.NoError(t, t.exec("update dataflow_run set state = 'in_progress', slot = 0, worker = 'w9', lease_no = 1, attempt = 1, lease_until = run_after"))
		require.Empty(t, fired(1))
		e := receive(t, events)
		require.Equal(t, run.ID, e.Run.ID)
		require.ErrorContains(t, e.Err, "killed its worker")
		probe := fired(11)[0]
		require.Equal(t, dataflow.TriggerProbe, probe.Trigger)
		_, err := client.Cancel(t.Context(), probe.ID, "ann", "")
		require.NoError(t, err)
		require.Empty(t, fired(20))
		require.Equal(t, dataflow.TriggerProbe, fired(21)[0].Trigger)
		require.Empty(t, fired(31), "the other one still waits")
		require.Empty(t, events)
	})
}

// A clock that is put back repeats no tick, even if a probe is due.
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
