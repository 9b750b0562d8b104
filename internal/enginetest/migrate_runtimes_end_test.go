package enginetest_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// unlisted is a driver whose database goes away when runs are listed for the left-th time.
type unlisted struct {
	dataflow.Driver
	left *int
}

func (d unlisted) Store(opts dataflow.StoreOptions) (dataflow.Store, error) {
	store, err := d.Driver.Store(opts)
	return unlistedStore{store, d.left}, err
}

type unlistedStore struct {
	dataflow.Store
	left *int
}

func (s unlistedStore) RunList(ctx context.Context, p *dataflow.RunListParams) ([]*dataflow.Run, error) {
	if *s.left--; *s.left == 0 {
		return nil, errAway
	}
	return s.Store.RunList(ctx, p)
}

// A migration back that was interrupted before it cancelled the waiting runs is
// completed by a second one, even after a restart. A third changes nothing.
func TestMigrateRuntimes_BackInterrupted(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		declared dataflow.Runtime
		there    dataflow.MigrateRuntimesOptions
		back     string
	}{
		"ToHeartbeat": {dataflow.Heartbeat{Interval: time.Hour}, dataflow.MigrateRuntimesOptions{To: "job_queue", Queue: "etl"}, "heartbeat"},
		"ToJobQueue":  {dataflow.JobQueue{}, dataflow.MigrateRuntimesOptions{To: "heartbeat"}, "job_queue"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onBoth(t, func(t *dbT) {
				code := t.registered(named("a", c.declared), named("b", c.declared))
				before := t.stored(code)
				there, err := code.MigrateRuntimes(t.Context(), &c.there)
				require.NoError(t, err)
				waiting := there.Flows[0].Enqueued
				_, err = code.Pause(t.Context(), "b", "bob", "") // it gets no run on the way back
				require.NoError(t, err)
				left := 1
				t.driver = unlisted{t.driver, &left}
				tool := t.client(nil)
				for _, name := range []string{"a", "b"} { // killed when the flow was moved, each time
					left = 1
					_, err = tool.MigrateRuntimes(t.Context(), &dataflow.MigrateRuntimesOptions{To: c.back, Flows: []string{name}})
					require.ErrorIs(t, err, errAway)
				}
				require.Equal(t, before, t.stored(tool))
				require.Len(t, t.waiting(tool, "a"), 2)
				require.Len(t, t.waiting(tool, "b"), 1)
				l := newLogs()
				require.NoError(t, t.client(&dataflow.Config{Flows: []*dataflow.Flow{named("a", c.declared), named("b", c.declared)}, Logger: l.logger()}).Register(t.Context()))
				require.Empty(t, l.lines("was migrated"), "the code declares the runtime that it has")

				plan, err := tool.MigrateRuntimes(t.Context(), &dataflow.MigrateRuntimesOptions{To: c.back, DryRun: true})
				require.NoError(t, err)
				again, err := tool.MigrateRuntimes(t.Context(), &dataflow.MigrateRuntimesOptions{To: c.back})
				require.NoError(t, err)
				require.Equal(t, plan.Flows, again.Flows)
				require.Len(t, again.Flows, 2)
				require.Equal(t, []int64{waiting}, again.Flows[0].Cancelled)
				require.Equal(t, []int64{there.Flows[1].Enqueued}, again.Flows[1].Cancelled)
				require.Equal(t, again.Flows[0].From, again.Flows[0].To)
				require.Len(t, t.waiting(tool, "a"), 1)
				require.Equal(t, c.back == "job_queue", t.waiting(tool, "a")[0].Queue != "")
				require.Empty(t, t.waiting(tool, "b"))
				require.Zero(t, t.number("select count(*) from dataflow_flow where runtime_from is not null"), "as if they had never been migrated")

				runs, jobs := t.number("select count(*) from dataflow_run"), t.number("select count(*) from river_job")
				after, err := tool.MigrateRuntimes(t.Context(), &dataflow.MigrateRuntimesOptions{To: c.back})
				require.NoError(t, err)
				require.Empty(t, after.Flows)
				t.requireRows(runs, jobs)
			})
		})
	}
}

// All waiting runs are found, however many there are.
func TestMigrateRuntimes_ManyRuns(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		const many = 10_050
		client := t.registered(named("a", dataflow.Heartbeat{}))
		first, err := client.Enqueue(t.Context(), "a", nil)
		require.NoError(t, err)
		require.NoError(t, t.exec(`
			insert into dataflow_run (flow_id, trigger, scheduled_for, run_after, created_at, max_attempts)
			with recursive n (i) as (select 2 union all select i + 1 from n where i < 10050)
			select r.flow_id, r.trigger, r.scheduled_for, r.run_after, r.created_at, r.max_attempts from dataflow_run r, n`))
		plan, err := client.MigrateRuntimes(t.Context(), &dataflow.MigrateRuntimesOptions{To: "job_queue", DryRun: true})
		require.NoError(t, err)
		found := len(plan.Flows[0].Cancelled)
		require.Equal(t, many, found)
		require.Equal(t, first.ID, plan.Flows[0].Cancelled[0])
		require.IsIncreasing(t, plan.Flows[0].Cancelled)
	})
}
