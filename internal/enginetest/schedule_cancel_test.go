package enginetest_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// The policy that was registered last decides about other runs, whatever policy an
// older process was built with.
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

// A run that somebody asked for at a time replaces, at that time, the runs that were
// started in the meantime.
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

// A process with a wrong clock does not mistake a run for later for one that replaces
// others.
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

// Who asks for a run gets it, also if the runs that it replaces cannot be cancelled just then. A tick does that later.
func TestSchedule_CancelOther_Refused(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		l := newLogs()
		client := t.client(&dataflow.Config{Logger: l.logger(), Flows: []*dataflow.Flow{scheduled(24*time.Hour, dataflow.Schedule{Overlap: dataflow.OverlapCancelOther}, func(context.Context) error { return nil })}})
		require.NoError(t, client.Register(t.Context()))
		refuse, allow := "create trigger refuse before update on dataflow_run when new.cancel_requested_at is not null begin select raise(abort, 'not now'); end", "drop trigger refuse"
		if t.isPostgres {
			require.NoError(t, t.exec("create function refuse() returns trigger language plpgsql as $$ begin raise 'not now'; end $$"))
			refuse, allow = "create trigger refuse before update on dataflow_run for each row when (new.cancel_requested_at is not null) execute function refuse()", allow+" on dataflow_run"
		}
		first, err := client.Enqueue(t.Context(), "f", nil)
		require.NoError(t, err)
		require.NoError(t, t.exec(refuse))

		soon := &dataflow.TriggerOptions{At: time.Unix(1, 0)}
		second, err := client.Enqueue(t.Context(), "f", soon)
		require.NoError(t, err)
		require.NotEqual(t, first.ID, second.ID)
		again, err := client.Trigger(t.Context(), "f", soon)
		require.NoError(t, err)
		require.Equal(t, second.ID, again.ID)
		many, err := client.TriggerMany(t.Context(), []dataflow.TriggerManyParams{{Flow: "f", Options: soon}})
		require.NoError(t, err)
		require.Equal(t, second.ID, many[0].Run.ID)
		require.Len(t, l.lines("could not cancel the runs that a new one replaces"), 3)

		require.NoError(t, t.exec(allow))
		t.tick(client)
		require.Equal(t, int64(1), t.number("select count(*) from dataflow_run where state = 'cancelled'"))
	})
}
