package enginetest_test

import (
	"context"
	"fmt"
	"iter"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// The ticks come every ten minutes from 4:10 on. No process looks until 4:42.
func TestSchedule_CatchUp(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		for name, c := range map[string]struct {
			schedule dataflow.Schedule
			now      time.Time
			runs     []int
			skipped  []string
		}{
			"Default":     {dataflow.Schedule{}, minute(42), []int{40}, []string{"10-30 3 missed"}},
			"Latest":      {dataflow.Schedule{CatchUp: dataflow.CatchUpLatest}, minute(42), []int{40}, []string{"10-30 3 missed"}},
			"LatestOne":   {dataflow.Schedule{}, minute(12), []int{10}, []string{}},
			"Window":      {dataflow.Schedule{CatchUpWindow: 15 * time.Minute}, minute(42), []int{40}, []string{"10-20 2 outside_window", "30-30 1 missed"}},
			"WindowNone":  {dataflow.Schedule{CatchUpWindow: time.Minute}, minute(42), []int{}, []string{"10-40 4 outside_window"}},
			"None":        {dataflow.Schedule{CatchUp: dataflow.CatchUpNone}, minute(42), []int{}, []string{"10-40 4 missed"}},
			"NoneInTime":  {dataflow.Schedule{CatchUp: dataflow.CatchUpNone}, minute(41), []int{40}, []string{"10-30 3 missed"}},
			"All":         {dataflow.Schedule{CatchUp: dataflow.CatchUpAll, Overlap: dataflow.OverlapBufferAll}, minute(42), []int{10, 20, 30, 40}, []string{}},
			"AllMax":      {dataflow.Schedule{CatchUp: dataflow.CatchUpAll, Overlap: dataflow.OverlapBufferAll, CatchUpMax: 2}, minute(42), []int{30, 40}, []string{"10-20 2 missed"}},
			"AllWindow":   {dataflow.Schedule{CatchUp: dataflow.CatchUpAll, Overlap: dataflow.OverlapBufferAll, CatchUpWindow: 22 * time.Minute}, minute(42), []int{20, 30, 40}, []string{"10-10 1 outside_window"}},
			"EndedBefore": {dataflow.Schedule{End: minute(25)}, minute(42), []int{20}, []string{"10-10 1 missed"}},
		} {
			t.emptied()
			clock := newClock()
			clock.set(minute(5))
			client := t.onClock(clock, hb(10*time.Minute, c.schedule))
			clock.set(c.now)
			for range 5 { // of those that wait, one is worked at a time
				t.tick(client)
			}
			require.Equal(t, c.runs, t.ticked(client), name)
			require.Equal(t, c.skipped, t.skipped(client), name)
			if c.schedule.End.IsZero() {
				require.True(t, t.next(client).After(c.now), name)
			} else {
				require.Nil(t, t.next(client), name)
			}
		}
	})
}

// emptied empties all tables.
func (t *dbT) emptied() {
	t.Helper()
	for _, table := range []string{"dataflow_tick", "dataflow_run", "dataflow_checkpoint", "dataflow_flow"} {
		require.NoError(t, t.exec("delete from "+table))
	}
}

// The run of 4:00 takes until 4:35, over the ticks of 4:10, 4:20 and 4:30.
func TestSchedule_Overlap(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		for policy, want := range map[dataflow.Overlap]struct {
			runs    []int
			skipped []string
		}{
			"":                        {[]int{0, 40}, []string{"10-30 3 overlap"}},
			dataflow.OverlapSkip:      {[]int{0, 40}, []string{"10-30 3 overlap"}},
			dataflow.OverlapAllow(1):  {[]int{0, 40}, []string{"10-30 3 overlap"}},
			dataflow.OverlapBufferOne: {[]int{0, 10, 40}, []string{"20-30 2 overlap"}},
			dataflow.OverlapBufferAll: {[]int{0, 10, 20, 30, 40}, []string{}},
		} {
			t.emptied()
			clock := newClock()
			clock.set(minute(-1))
			begun, open := make(chan struct{}, 10), make(chan struct{})
			flow := scheduled(10*time.Minute, dataflow.Schedule{Overlap: policy}, func(context.Context) error {
				begun <- struct{}{}
				<-open
				return nil
			})
			client := t.onClock(clock, flow)
			clock.set(minute(0))
			first, err := client.BeginTick(t.Context())
			require.NoError(t, err)
			require.Len(t, first.Fired, 1)
			<-begun
			for _, m := range []int{10, 20, 30} {
				clock.set(minute(m))
				report, err := client.BeginTick(t.Context())
				require.NoError(t, err)
				require.Empty(t, report.Due)
			}
			clock.set(minute(35))
			close(open)
			_, err = first.Wait(t.Context())
			require.NoError(t, err)
			for range 4 {
				t.tick(client)
			}
			clock.set(minute(40))
			t.tick(client)
			require.Equal(t, want.runs, t.ticked(client), policy)
			require.Equal(t, want.skipped, t.skipped(client), policy)
			require.Zero(t, t.number("select count(*) from dataflow_run where state <> 'success'"))
		}
	})
}

// The run of a tick replaces the runs that are in progress or waiting.
func TestSchedule_CancelOther(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		clock := newClock()
		clock.set(minute(-1))
		begun := make(chan struct{}, 10)
		flow := scheduled(10*time.Minute, dataflow.Schedule{Overlap: dataflow.OverlapCancelOther}, func(ctx context.Context) error {
			begun <- struct{}{}
			<-ctx.Done()
			return ctx.Err()
		})
		client := t.onClock(clock, flow)
		for i, m := range []int{0, 10, 20} {
			clock.set(minute(m))
			report, err := client.BeginTick(t.Context())
			require.NoError(t, err)
			require.Len(t, report.Fired, 1)
			if i > 0 {
				require.Eventually(t, func() bool {
					return t.number(fmt.Sprintf("select count(*) from dataflow_run where state = 'cancelled' and cancelled_by = 'schedule' and cancel_reason = 'run %d takes its place'", report.Fired[0].ID)) == 1
				}, patience, 10*time.Millisecond)
				_, err = client.BeginTick(t.Context())
				require.NoError(t, err)
			}
			receive(t, begun)
		}
		// So does a run that somebody asks for.
		run, err := client.Trigger(t.Context(), "f", nil)
		require.ErrorIs(t, err, dataflow.ErrAlreadyRunning)
		require.Equal(t, dataflow.RunPending, run.State)
		require.Eventually(t, func() bool { return t.number("select count(*) from dataflow_run where state = 'cancelled'") == 3 }, patience, 10*time.Millisecond)
		require.Empty(t, t.skipped(client))
		_, err = client.Cancel(t.Context(), run.ID, "", "")
		require.NoError(t, err)
		t.stop(client)
	})
}

// onceSlow has no cursor, and waits.
type onceSlow struct {
	begun chan struct{}
	open  chan struct{}
}

func (o onceSlow) Read(ctx context.Context, _ dataflow.Request[dataflow.NoCursor]) iter.Seq2[dataflow.Item[int, dataflow.NoCursor], error] {
	return func(yield func(dataflow.Item[int, dataflow.NoCursor], error) bool) {
		o.begun <- struct{}{}
		<-o.open
		yield(dataflow.Item[int, dataflow.NoCursor]{Value: 1}, ctx.Err())
	}
}

// OverlapAllow(n) lets n runs be in progress at once, each with a checkpoint of its
// own.
func TestSchedule_Allow(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		clock := newClock()
		clock.set(minute(-1))
		source := onceSlow{begun: make(chan struct{}, 10), open: make(chan struct{})}
		flow := dataflow.NewFlow("f", source, dataflow.Identity[int](), dataflow.ToTx(discard{}), &dataflow.FlowOptions{
			Runtime: dataflow.Heartbeat{Interval: 10 * time.Minute, Schedule: dataflow.Schedule{Overlap: dataflow.OverlapAllow(2)}},
		})
		client := t.onClock(clock, flow)
		var reports []*dataflow.TickReport
		for _, m := range []int{0, 10, 20} {
			clock.set(minute(m))
			report, err := client.BeginTick(t.Context())
			require.NoError(t, err)
			reports = append(reports, report)
			if m < 20 {
				receive(t, source.begun)
			}
		}
		require.EqualValues(t, 2, t.number("select count(*) from dataflow_run where state = 'in_progress'"))
		require.EqualValues(t, 1, reports[2].Skipped)
		_, err := client.Trigger(t.Context(), "f", nil)
		require.ErrorIs(t, err, dataflow.ErrAlreadyRunning)
		close(source.open)
		for _, r := range reports {
			runs, err := r.Wait(t.Context())
			require.NoError(t, err)
			for _, run := range runs {
				require.Equal(t, dataflow.RunSuccess, run.State)
			}
		}
		t.tick(client)
		require.Equal(t, []int{0, 10}, t.ticked(client))
		require.Equal(t, []string{"20-20 1 overlap"}, t.skipped(client))
		require.EqualValues(t, 3, t.number("select count(*) from dataflow_run where state = 'success' and written = 1"))
	})
}
