package enginetest_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
)

// ownClock leaves the database its own clock, whatever the process's is.
type ownClock struct{ dataflow.Driver }

func (d ownClock) Store(opts dataflow.StoreOptions) (dataflow.Store, error) {
	opts.Clock = nil
	return d.Driver.Store(opts)
}

// skewed returns a client whose process's clock is wrong.
func (t *dbT) skewed(by time.Duration, flows ...*dataflow.Flow) *dataflow.Client {
	t.Helper()
	client, err := dataflow.NewClient(ownClock{t.driver}, &dataflow.Config{
		Flows: flows, Clock: func() time.Time { return time.Now().Add(by) }, Lease: time.Second,
		PollInterval: t.pollInterval(), River: t.quickRiver(), Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	return client
}

// A process with a wrong clock works runs when they are due by the database's clock. It
// keeps its leases, and hands its runs back to be worked at once.
func TestClock_Skew(t *testing.T) {
	t.Parallel()
	for name, by := range map[string]time.Duration{"ahead": time.Hour, "behind": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onBoth(t, func(t *dbT) {
				for _, rt := range []dataflow.Runtime{dataflow.Heartbeat{BatchSize: 10}, dataflow.JobQueue{BatchSize: 10}} {
					require.NoError(t, t.exec("drop table if exists numbers"))
					source := newGated(30, 15)
					flow := t.numbersFlow(rt.Type(), source, rt)
					client := t.skewed(by, flow)
					require.NoError(t, client.Start(t.Context()))
					other := t.started(t.client(&dataflow.Config{Lease: time.Second}))
					due := time.Now().Add(time.Second)
					run, err := client.Trigger(t.Context(), rt.Type(), &dataflow.TriggerOptions{At: due})
					require.NoError(t, err)
					receive(t, source.reached)
					run, err = client.Run(t.Context(), run.ID)
					require.NoError(t, err)
					require.False(t, run.StartedAt.Before(due.Truncate(time.Millisecond)))
					require.WithinDuration(t, time.Now(), *run.LeaseUntil, patience, "not an hour away")
					require.NoError(t, client.Stop(context.WithoutCancel(t.Context())))
					run, err = other.Run(t.Context(), run.ID)
					require.NoError(t, err)
					require.Equal(t, dataflow.RunPending, run.State)
					require.Equal(t, int64(1), run.LeaseNumber)
					require.Zero(t, run.Rescues)
					if rt.Type() == "job_queue" {
						require.Equal(t, int64(1), t.number("select count(*) from river_job where state = 'available'"))
					}
					close(source.open)
					next := t.skewed(-by, flow)
					require.NoError(t, next.Start(t.Context()))
					_, err = t.wait(other, run.ID)
					require.NoError(t, err)
					require.NoError(t, next.Stop(context.WithoutCancel(t.Context())))
					t.exactly(30)
				}
			})
		})
	}
}

// serverClock returns a database on Postgres whose clock differs from that of this process. River asks it for the time
// as the library does, by name.
func serverClock(t *testing.T, by time.Duration) *dbT {
	t.Helper()
	pool := template.Postgres(t)
	for _, statement := range []string{
		fmt.Sprintf("create function public.now() returns timestamptz stable language sql as $$ select pg_catalog.now() + interval '%d seconds' $$", int(by.Seconds())),
		fmt.Sprintf("create function public.clock_timestamp() returns timestamptz volatile language sql as $$ select pg_catalog.clock_timestamp() + interval '%d seconds' $$", int(by.Seconds())),
		"do $$ begin execute format('alter database %I set search_path = public, pg_catalog', current_database()); end $$",
	} {
		_, err := pool.Exec(t.Context(), statement)
		require.NoError(t, err)
	}
	pool.Reset()
	return onPool(t, pool)
}

// River jobs get times of this process's clock, and their runs times of the database's. Whichever is ahead, a run begins
// at once, goes on with its next slice at once, and is tried again when it is due by the database's clock.
func TestClock_ServerAndRiver(t *testing.T) {
	t.Parallel()
	for name, by := range map[string]time.Duration{"server ahead": time.Hour, "server behind": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := serverClock(t, by)
			require.WithinDuration(t, time.Now().Add(by), time.Unix(db.number("select extract(epoch from clock_timestamp())::bigint"), 0), patience)
			var failed atomic.Bool
			source := dataflow.Paged(func(_ context.Context, from int) (dataflow.Page[int, int], error) {
				if from == 0 && failed.CompareAndSwap(false, true) {
					return dataflow.Page[int, int]{}, errors.New("once")
				}
				if from == 4 {
					return dataflow.Page[int, int]{Next: from}, nil
				}
				return dataflow.Page[int, int]{Rows: []int{from + 1}, Next: from + 1, More: true}, nil
			})
			flow := db.numbersFlow("orders", source, dataflow.JobQueue{BatchSize: 1})
			client := db.started(db.client(&dataflow.Config{Flows: []*dataflow.Flow{flow}, Lease: time.Second, Slice: time.Millisecond, River: db.quickRiver()}))
			run, err := client.Trigger(t.Context(), "orders", nil)
			require.NoError(t, err)
			run, err = db.wait(client, run.ID)
			require.NoError(t, err)
			require.Len(t, run.Errors, 1, "an attempt failed")
			require.Greater(t, run.LeaseNumber, int64(2), "it had slices")
			db.exactly(4)
		})
	}
}

// A process that is ahead does not delay the next attempt of a run: neither in the job that failed, nor in one that is
// added since the run was worked without its job.
func TestClock_RetryAhead(t *testing.T) {
	t.Parallel()
	db := serverClock(t, -30*time.Minute) // after an hour, River would take the job for lost
	source := dataflow.Paged(func(context.Context, int) (dataflow.Page[int, int], error) {
		return dataflow.Page[int, int]{}, errors.New("it fails")
	})
	flow := func(name string) *dataflow.Flow {
		return dataflow.NewFlow(name, source, dataflow.Identity[int](), memory.NewSink[int]().Target(), &dataflow.FlowOptions{
			Runtime: dataflow.JobQueue{}, Backoff: func(int) time.Duration { return 2 * time.Hour },
		})
	}
	client := db.client(&dataflow.Config{Flows: []*dataflow.Flow{flow("alone"), flow("orders")}, River: db.quickRiver()})
	require.NoError(t, client.Register(t.Context()))
	run, err := client.Enqueue(t.Context(), "alone", nil)
	require.NoError(t, err)
	_, err = dataflow.NewFlowExecutor(client).Execute(t.Context(), run.ID)
	require.Error(t, err)
	db.started(client)
	_, err = client.Enqueue(t.Context(), "orders", nil)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		return db.number("select count(*) from dataflow_run r join river_job j on j.id = r.river_job_id where j.state in ('retryable', 'scheduled')") == 2
	}, patience, 20*time.Millisecond)
	require.Zero(t, db.number(`select count(*) from dataflow_run r join river_job j on j.id = r.river_job_id
		where abs(extract(epoch from j.scheduled_at - r.run_after)) > 60`), "a job waits for longer than its run")
}

// The ranges of a first load are due by the database's clock. So the run that waits for them lets its only worker work
// them at once, whatever the process's clock is.
func TestClock_FirstLoad(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		for _, rt := range []dataflow.Runtime{dataflow.Heartbeat{BatchSize: 3}, dataflow.JobQueue{BatchSize: 3}} {
			require.NoError(t, t.exec("drop table if exists versions"))
			require.NoError(t, t.exec("delete from dataflow_run"))
			require.NoError(t, t.exec("delete from dataflow_checkpoint"))
			l := newChanging(40)
			client, err := dataflow.NewClient(ownClock{t.driver}, &dataflow.Config{
				Flows: []*dataflow.Flow{t.loads(l, rt)}, Clock: func() time.Time { return time.Now().Add(-time.Hour) }, MaxWorkers: 1,
				PollInterval: 20 * time.Millisecond, River: t.quickRiver(), Logger: slog.New(slog.DiscardHandler),
			})
			require.NoError(t, err)
			require.NoError(t, client.Start(t.Context()))
			run, err := client.Enqueue(t.Context(), "l", nil)
			require.NoError(t, err)
			_, err = t.wait(client, run.ID)
			require.NoError(t, err)
			t.requireLoaded(client, l)
			t.stop(client)
		}
	})
}
