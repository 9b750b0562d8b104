package dataflowtest_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
	"github.com/activedataflow/dataflow/dataflowsqlite"
	"github.com/activedataflow/dataflow/dataflowtest"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

func numbers(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i + 1
	}
	return all
}

func TestKit_Work(t *testing.T) {
	t.Parallel()
	for _, rt := range []dataflow.Runtime{dataflow.Heartbeat{BatchSize: 10}, dataflow.JobQueue{BatchSize: 10}} {
		source, sink := dataflowtest.NewSource(numbers(25)...), dataflowtest.NewSink[int]()
		kit := dataflowtest.New(t, dataflow.NewFlow("n", source, dataflow.Identity[int](), sink.Target(), &dataflow.FlowOptions{Runtime: rt}))
		kit.RequireNotEnqueued("n")
		run := kit.Work("n")
		require.Equal(t, dataflow.RunSuccess, run.State)
		require.Equal(t, int64(25), run.Counters.Written)
		require.Equal(t, dataflowtest.Begin, kit.Now(), "nothing had to wait")
		dataflowtest.RequireExactlyOnce(t, source.Rows(), sink.Rows(kit))

		source.Add(26, 27)
		_, err := kit.Client().Enqueue(t.Context(), "n", nil)
		require.NoError(t, err)
		waiting := kit.RequireEnqueued("n")
		require.Equal(t, waiting.ID, kit.Work("n").ID, "a run that waits already")
		dataflowtest.RequireExactlyOnce(t, numbers(27), sink.Rows(kit))
	}
}

// A retry waits in the kit's time, by the flow's backoff.
func TestKit_Work_Retries(t *testing.T) {
	t.Parallel()
	tries := 0
	flaky := dataflow.Map(func(_ context.Context, n int) (int, error) {
		if tries++; tries < 3 {
			return 0, errors.New("503")
		}
		return n, nil
	})
	sink := dataflowtest.NewSink[int]()
	kit := dataflowtest.New(t, dataflow.NewFlow("n", dataflowtest.NewSource(1), flaky, sink.Target(), nil))
	run := kit.Work("n")
	require.Equal(t, dataflow.RunSuccess, run.State)
	require.Equal(t, 3, run.Attempt)
	require.Equal(t, 21*time.Second, kit.Now().Sub(dataflowtest.Begin), "3 s and 18 s")
	kit.RequireRun("n", dataflow.RunSuccess)
	require.Equal(t, []int{1}, sink.Rows(kit))

	broken := dataflow.Map(func(context.Context, int) (int, error) { return 0, dataflow.Permanent(errors.New("410")) })
	kit = dataflowtest.New(t, dataflow.NewFlow("n", dataflowtest.NewSource(1), broken, sink.Target(), nil))
	require.Equal(t, dataflow.RunFailed, kit.Work("n").State, "the test goes on")
}

func TestKit_Advance(t *testing.T) {
	t.Parallel()
	for name, rt := range map[string]dataflow.Runtime{
		"Heartbeat": dataflow.Heartbeat{Schedule: dataflow.Schedule{Cron: "30 2 * * *", TimeZone: "UTC"}},
		"JobQueue":  dataflow.JobQueue{Schedule: dataflow.Schedule{Cron: "30 2 * * *", TimeZone: "UTC"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			source, sink := dataflowtest.NewSource[int](), dataflowtest.NewSink[int]()
			kit := dataflowtest.New(t, dataflow.NewFlow("nightly", source, dataflow.Identity[int](), sink.Target(), &dataflow.FlowOptions{Runtime: rt}))
			require.Empty(t, kit.Advance(2*time.Hour))
			source.Add(1)
			ended := kit.Advance(time.Hour)
			require.Len(t, ended, 1)
			require.Equal(t, dataflowtest.Begin.Add(150*time.Minute), ended[0].ScheduledFor.UTC())
			require.Equal(t, dataflowtest.Begin.Add(3*time.Hour), kit.Now())
			source.Add(2)
			require.Len(t, kit.Advance(7*24*time.Hour), 7, "each day")
			dataflowtest.RequireExactlyOnce(t, []int{1, 2}, sink.Rows(kit))
		})
	}
}

// At each point of each batch, on both runtimes: nothing is lost, and nothing doubled.
func TestKit_CrashAt(t *testing.T) {
	t.Parallel()
	for _, point := range []dataflowtest.Point{dataflowtest.AfterWrite, dataflowtest.AfterCommit} {
		for batch := 1; batch <= 3; batch++ {
			for _, rt := range []dataflow.Runtime{dataflow.Heartbeat{BatchSize: 10}, dataflow.JobQueue{BatchSize: 10}} {
				t.Run(fmt.Sprint(point, batch, rt.Type()), func(t *testing.T) {
					t.Parallel()
					source, sink := dataflowtest.NewSource(numbers(25)...), dataflowtest.NewSink[int]()
					kit := dataflowtest.New(t, dataflow.NewFlow("n", source, dataflow.Identity[int](), sink.Target(), &dataflow.FlowOptions{Runtime: rt}))
					before := kit.Client()
					kit.CrashAt(point, batch)
					run := kit.Work("n")
					require.Equal(t, dataflow.RunSuccess, run.State)
					require.Equal(t, int64(2), run.LeaseNumber, "two processes had the run")
					require.NotSame(t, before, kit.Client())
					require.Equal(t, int64(25), run.Counters.Written)
					dataflowtest.RequireExactlyOnce(t, source.Rows(), sink.Rows(kit))
				})
			}
		}
	}
}

// A sink outside of the database gets the batch again, with the same ID and keys.
func TestKit_CrashAt_To(t *testing.T) {
	t.Parallel()
	var ids []string
	var keys [][]string
	sink := dataflow.SinkFunc[int](func(_ context.Context, b dataflow.SinkBatch[int]) error {
		ids, keys = append(ids, b.ID), append(keys, append([]string{}, b.Keys...))
		return nil
	})
	kit := dataflowtest.New(t, dataflow.NewFlow("n", memory.Slice(numbers(20)), dataflow.Identity[int](), dataflow.To[int](sink),
		&dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 10, Schedule: dataflow.Schedule{Cron: "0 * * * *"}}}))
	kit.CrashAt(dataflowtest.AfterWrite, 2)
	ended := kit.Advance(time.Hour)
	require.Len(t, ended, 1)
	require.Equal(t, dataflow.RunSuccess, ended[0].State)
	require.Len(t, ids, 3)
	require.Equal(t, ids[1], ids[2])
	require.Equal(t, keys[1], keys[2])
	require.NotEqual(t, ids[0], ids[1])
}

// No code of the flow goes on after a crash, and it is another process that does.
func TestKit_CrashAt_NothingGoesOn(t *testing.T) {
	t.Parallel()
	var wrote []int
	sink := dataflow.SinkFunc[int](func(_ context.Context, b dataflow.SinkBatch[int]) error {
		wrote = append(wrote, b.Rows...)
		return nil
	})
	kit := dataflowtest.New(t, dataflow.NewFlow("n", memory.Slice(numbers(6)), dataflow.Identity[int](), dataflow.To[int](sink),
		&dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 2}}))
	kit.CrashAt(dataflowtest.AfterCommit, 1)
	run := kit.Work("n")
	require.Equal(t, []int{1, 2, 3, 4, 5, 6}, wrote)
	require.Equal(t, int64(2), run.LeaseNumber)
}

// A second crash can be asked for once the first has come about.
func TestKit_CrashAt_Again(t *testing.T) {
	t.Parallel()
	source, sink := dataflowtest.NewSource(numbers(4)...), dataflowtest.NewSink[int]()
	kit := dataflowtest.New(t, dataflow.NewFlow("n", source, dataflow.Identity[int](), sink.Target(), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 2}}))
	for n := range 3 {
		kit.CrashAt(dataflowtest.AfterCommit, 2)
		require.Equal(t, dataflow.RunSuccess, kit.Work("n").State)
		source.Add(100*n, 100*n+1, 100*n+2)
	}
	kit.Work("n")
	dataflowtest.RequireExactlyOnce(t, source.Rows(), sink.Rows(kit))
}

func TestNewOn(t *testing.T) {
	t.Parallel()
	db := dbtest.SQLite(t)
	sink := memory.NewSink[int]()
	flow := dataflow.NewFlow("n", memory.Slice(numbers(3)), dataflow.Identity[int](), sink.Target(), nil)
	kit := dataflowtest.NewOn(t, dataflowsqlite.New(db), &dataflow.Config{Flows: []*dataflow.Flow{flow}})
	kit.Work("n")
	require.Equal(t, numbers(3), sink.Rows())
}

// recorder notes what a failed test says.
type recorder struct {
	said     []string
	cleanups []func()
}

func (*recorder) Helper() {}
func (r *recorder) Errorf(format string, args ...any) {
	r.said = append(r.said, fmt.Sprintf(format, args...))
}
func (r *recorder) Cleanup(fn func()) { r.cleanups = append(r.cleanups, fn) }
func (*recorder) FailNow()            { panic("FailNow") }

// failing returns what the test of fn says, which must fail.
func failing(t *testing.T, fn func(r *recorder)) string {
	t.Helper()
	r := &recorder{}
	func() {
		defer func() { _ = recover() }()
		fn(r)
	}()
	for i := len(r.cleanups) - 1; i >= 0; i-- {
		r.cleanups[i]()
	}
	require.NotEmpty(t, r.said)
	return strings.Join(r.said, "\n")
}

func TestFailures(t *testing.T) {
	t.Parallel()
	flow := func() *dataflow.Flow {
		return dataflow.NewFlow("n", dataflowtest.NewSource(1), dataflow.Identity[int](), dataflowtest.NewSink[int]().Target(), nil)
	}
	for want, fn := range map[string]func(r *recorder){
		`flow "n" has no run`: func(r *recorder) { dataflowtest.New(r, flow()).RequireRun("n", dataflow.RunSuccess) },
		`run 1 of flow "n" is success: want failed`: func(r *recorder) {
			kit := dataflowtest.New(r, flow())
			kit.Work("n")
			kit.RequireRun("n", dataflow.RunFailed)
		},
		`no run of flow "n" is pending`: func(r *recorder) { dataflowtest.New(r, flow()).RequireEnqueued("n") },
		`1 runs of flow "n" are pending: want none`: func(r *recorder) {
			kit := dataflowtest.New(r, flow())
			_, err := kit.Client().Enqueue(context.Background(), "n", nil)
			require.NoError(t, err)
			kit.RequireNotEnqueued("n")
		},
		"not found": func(r *recorder) { dataflowtest.New(r, flow()).Work("other") },
		"CrashAt(AfterWrite, 2) did not come about": func(r *recorder) {
			kit := dataflowtest.New(r, flow())
			kit.CrashAt(dataflowtest.AfterWrite, 2)
			kit.Work("n")
		},
		"use AfterWrite or AfterCommit": func(r *recorder) { dataflowtest.New(r, flow()).CrashAt(0, 1) },
		"has not come about yet": func(r *recorder) {
			kit := dataflowtest.New(r, flow())
			kit.CrashAt(dataflowtest.AfterWrite, 1)
			kit.CrashAt(dataflowtest.AfterWrite, 1)
		},
		"not exactly once: 2 lost: a (1 of 2), c (0 of 1); 1 too often: b (2 times, want 1); 1 not wanted: x": func(r *recorder) {
			dataflowtest.RequireExactlyOnce(r, []string{"a", "a", "b", "c"}, []string{"b", "b", "a", "x"})
		},
		"6 lost: 1 (0 of 1), 2 (0 of 1), 3 (0 of 1), 4 (0 of 1), 5 (0 of 1) and others": func(r *recorder) {
			dataflowtest.RequireExactlyOnce(r, numbers(6), nil)
		},
	} {
		require.Contains(t, failing(t, fn), want)
	}
}

// A process that has died leaves no goroutine that watches its sink, and that would say in the log
// of a later test that the sink hangs.
//
//nolint:paralleltest // it looks at all goroutines
func TestKit_CrashAt_Goroutines(t *testing.T) {
	kit := dataflowtest.New(t, dataflow.NewFlow("n", dataflowtest.NewSource(1), dataflow.Identity[int](), dataflowtest.NewSink[int]().Target(), nil))
	kit.CrashAt(dataflowtest.AfterWrite, 1)
	kit.Work("n")
	require.Eventually(t, func() bool {
		stacks := make([]byte, 1<<20)
		return !strings.Contains(string(stacks[:runtime.Stack(stacks, true)]), "watchSink")
	}, 2*time.Minute, 10*time.Millisecond)
}
