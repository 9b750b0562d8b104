package enginetest_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// TestPlan_10_Retention: ended runs are kept for 30 days, or as long as is set for
// their state. The last success of a flow is kept for ever.
func TestPlan_10_Retention(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		c := newClock()
		fail := false
		client := t.onClock(c, scheduled(0, dataflow.Schedule{}, func(context.Context) error {
			if fail {
				return errBroken
			}
			return nil
		}), named("other", nil))
		ended := func(failing bool) int64 {
			fail = failing
			run, _ := t.execute(client, "f")
			require.True(t, run.Completed())
			return run.ID
		}
		cancelled, err := client.Enqueue(t.Context(), "other", nil)
		require.NoError(t, err)
		_, err = client.Cancel(t.Context(), cancelled.ID, "", "")
		require.NoError(t, err)
		for range 3 {
			ended(false)
			ended(true)
		}
		last := ended(false)
		pending, err := client.Enqueue(t.Context(), "other", nil)
		require.NoError(t, err)
		c.advance(dataflow.DefaultRetention)
		young := ended(true)
		c.advance(time.Millisecond)

		all := t.number("select count(*) from dataflow_run")
		dry, err := client.Cleanup(t.Context(), &dataflow.RetentionOptions{DryRun: true})
		require.NoError(t, err)
		require.Equal(t, &dataflow.CleanupReport{Success: 3, Failed: 3, Cancelled: 1, DryRun: true}, dry)
		require.Equal(t, all, t.number("select count(*) from dataflow_run"))
		kept, err := client.Cleanup(t.Context(), &dataflow.RetentionOptions{Success: -1, Failed: 2 * dataflow.DefaultRetention, Cancelled: -1})
		require.NoError(t, err)
		require.Zero(t, kept.Total())

		report, err := client.Cleanup(t.Context(), &dataflow.RetentionOptions{BatchSize: 2})
		require.NoError(t, err)
		require.Equal(t, &dataflow.CleanupReport{Success: 3, Failed: 3, Cancelled: 1}, report)
		runs, err := client.Runs(t.Context(), nil)
		require.NoError(t, err)
		ids := []int64{}
		for _, run := range runs {
			ids = append(ids, run.ID)
		}
		require.Equal(t, []int64{young, pending.ID, last}, ids)
		again, err := client.Cleanup(t.Context(), nil)
		require.NoError(t, err)
		require.Zero(t, again.Total())
		f, err := client.Flow(t.Context(), "f")
		require.NoError(t, err)
		require.NotNil(t, f.LastSuccessAt, "what the flow says of itself stays")
	})
}

// A started client cleans up by itself. What the removed runs did stays in the totals.
func TestCleanup_ByItself(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		c := newClock()
		client := t.onClock(c, named("orders", nil))
		for range 3 {
			_, err := t.execute(client, "orders")
			require.NoError(t, err)
		}
		before, err := client.Totals(t.Context(), nil)
		require.NoError(t, err)
		require.Len(t, before, 1)
		require.EqualValues(t, 3, before[0].Runs)

		c.advance(dataflow.DefaultRetention + time.Hour)
		keep := dataflow.RetentionOptions{Success: -1, Failed: -1, Cancelled: -1, SkippedTicks: -1, DeadLetters: -1, Audit: -1}
		t.started(t.client(&dataflow.Config{Clock: c.Now, Retention: keep}))
		started := t.started(t.client(&dataflow.Config{Clock: c.Now}))
		require.Eventually(t, func() bool { return t.number("select count(*) from dataflow_run") == 1 }, patience, 10*time.Millisecond)
		require.Eventually(t, func() bool { return t.number("select count(*) from dataflow_upkeep where next_at > until") == 1 }, patience, 10*time.Millisecond)
		after, err := started.Totals(t.Context(), &dataflow.TotalsOptions{Flow: "orders", From: c.Now().AddDate(0, 0, -40)})
		require.NoError(t, err)
		require.Equal(t, before, after)
		_, err = started.Totals(t.Context(), &dataflow.TotalsOptions{Flow: "gone"})
		require.ErrorIs(t, err, dataflow.ErrNotFound)
		_, err = started.Totals(t.Context(), &dataflow.TotalsOptions{From: c.Now().AddDate(1, 0, 0)})
		require.ErrorContains(t, err, "is after To")
	})
}

// More runs than are looked up at once are removed, of flows that take turns, and each is in a total.
func TestCleanup_ManyRuns(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		c := newClock()
		client := t.onClock(c, named("a", nil), named("b", nil), named("c", nil))
		for _, flow := range []string{"a", "b", "c"} {
			_, err := t.execute(client, flow)
			require.NoError(t, err)
		}
		require.NoError(t, t.exec(`with recursive n (i) as (select 1 union all select i + 1 from n where i < 7000)
			insert into dataflow_run (flow_id, state, trigger, scheduled_for, run_after, created_at, started_at, ended_at, max_attempts, read)
			select r.flow_id, r.state, r.trigger, r.scheduled_for, r.run_after, r.created_at, r.started_at, r.ended_at, r.max_attempts, 2
			from n, dataflow_run r order by n.i, r.flow_id`))
		c.advance(dataflow.DefaultRetention + time.Hour)
		report, err := client.Cleanup(t.Context(), nil)
		require.NoError(t, err)
		require.Equal(t, &dataflow.CleanupReport{Success: 21_000}, report)
		require.EqualValues(t, 3, t.number("select count(*) from dataflow_run"), "the last success of each flow")
		require.EqualValues(t, 3, t.number("select count(*) from dataflow_total where runs = 7000 and read = 14000"))
	})
}

// A record that nobody has looked at is kept, with its run, until it is closed or its own
// retention says otherwise.
func TestCleanup_OpenDeadLetters(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		c := newClock()
		bad := dataflow.Map(func(_ context.Context, n int) (int, error) { return n, fmt.Errorf("%d is bad", n) })
		client := t.onClock(c, dataflow.NewFlow("f", keyed(3), bad, dataflow.ToTx(discard{}), &dataflow.FlowOptions{OnBadRecord: dataflow.DeadLetterUpTo(10)}))
		run, _ := t.execute(client, "f")
		require.EqualValues(t, 3, run.Counters.DeadLettered)
		_, err := t.execute(client, "f") // another run is the last success
		require.NoError(t, err)
		letters, err := client.DeadLetters(t.Context(), nil)
		require.NoError(t, err)
		require.Len(t, letters, 3)
		c.advance(10 * dataflow.DefaultRetention)
		report, err := client.Cleanup(t.Context(), nil)
		require.NoError(t, err)
		require.Zero(t, report.Total())

		_, err = client.CloseDeadLetters(t.Context(), "f", &dataflow.CloseDeadLettersParams{IDs: []int64{letters[0].ID}, State: dataflow.DeadLetterDiscarded})
		require.NoError(t, err)
		c.advance(dataflow.DefaultRetention)
		report, err = client.Cleanup(t.Context(), nil)
		require.NoError(t, err)
		require.Zero(t, report.Total(), "it was closed 30 days ago")
		c.advance(time.Millisecond)
		for _, dry := range []bool{true, false} {
			report, err = client.Cleanup(t.Context(), &dataflow.RetentionOptions{DryRun: dry})
			require.NoError(t, err)
			require.Equal(t, &dataflow.CleanupReport{DeadLetters: 1, DryRun: dry}, report)
		}
		for _, dry := range []bool{true, false} {
			report, err = client.Cleanup(t.Context(), &dataflow.RetentionOptions{OpenDeadLetters: 90 * 24 * time.Hour, Success: -1, DryRun: dry})
			require.NoError(t, err)
			require.Equal(t, &dataflow.CleanupReport{OpenDeadLetters: 2, DryRun: dry}, report)
		}
		report, err = client.Cleanup(t.Context(), nil)
		require.NoError(t, err)
		require.EqualValues(t, 1, report.Success, "the run had no dead letters any more")
	})
}

func TestCleanup_Refused(t *testing.T) {
	t.Parallel()
	client, err := dataflow.NewClient(noDatabase{}, nil)
	require.NoError(t, err)
	_, err = client.Cleanup(t.Context(), &dataflow.RetentionOptions{Success: -2, Failed: -time.Hour, OpenDeadLetters: -2, BatchSize: -1})
	requirePublic(t, err)
	for _, text := range []string{"Success: -2ns is negative", "Failed: -1h0m0s is negative: use a positive duration, 0 for 720h0m0s, or -1 for ever", "OpenDeadLetters: -2ns is negative: use a positive duration, or 0 or -1 for ever", "BatchSize: -1"} {
		require.ErrorContains(t, err, text)
	}
}

// Clean-ups at once remove each row once, count it once, and add each run to the totals once.
func TestCleanup_AtOnce(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		c := newClock()
		client := t.onClock(c, named("a", nil), named("b", nil), named("c", nil))
		for _, flow := range []string{"a", "b", "c"} {
			_, err := t.execute(client, flow)
			require.NoError(t, err)
		}
		require.NoError(t, t.exec(`with recursive n (i) as (select 1 union all select i + 1 from n where i < 4000)
			insert into dataflow_run (flow_id, state, trigger, scheduled_for, run_after, created_at, started_at, ended_at, max_attempts, read)
			select r.flow_id, case when n.i % 3 = 0 then 'failed' else r.state end, r.trigger, r.scheduled_for, r.run_after, r.created_at, r.started_at, r.ended_at, r.max_attempts, 2
			from n, dataflow_run r order by n.i, r.flow_id`))
		require.NoError(t, t.exec(`with recursive n (i) as (select 1 union all select i + 1 from n where i < 4000)
			insert into dataflow_tick (flow_id, first_at, last_at, ticks, reason, created_at)
			select f.id, r.created_at, r.created_at, 1, 'overlap', r.created_at from n, dataflow_flow f join dataflow_run r on r.id = (select min(id) from dataflow_run x where x.flow_id = f.id)`))
		before, err := client.Totals(t.Context(), nil)
		require.NoError(t, err)
		runs, ticks := t.number("select count(*) from dataflow_run"), t.number("select count(*) from dataflow_tick")
		c.advance(dataflow.DefaultRetention + time.Hour)
		var wg sync.WaitGroup
		reports := make([]*dataflow.CleanupReport, 3)
		for i := range reports {
			wg.Go(func() {
				r, err := t.onClock(c).Cleanup(t.Context(), nil)
				require.NoError(t, err)
				reports[i] = r
			})
		}
		wg.Wait()
		var removed, gone int64
		for _, r := range reports {
			removed += r.Success + r.Failed
			gone += r.SkippedTicks
		}
		require.Equal(t, runs-t.number("select count(*) from dataflow_run"), removed)
		require.Equal(t, ticks-t.number("select count(*) from dataflow_tick"), gone)
		require.Zero(t, t.number("select count(*) from dataflow_tick"))
		require.EqualValues(t, 3, t.number("select count(*) from dataflow_run"))
		after, err := client.Totals(t.Context(), &dataflow.TotalsOptions{From: c.Now().AddDate(0, 0, -40)})
		require.NoError(t, err)
		require.ElementsMatch(t, before, after)
	})
}
