package enginetest_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/riverqueue/river"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// inGroup are flows of a group on both Runtimes, which read from a source.
func inGroup(source dataflow.Source[int, int], n int) []*dataflow.Flow {
	var flows []*dataflow.Flow
	for i := range n {
		var rt dataflow.Runtime = dataflow.Heartbeat{}
		if i%2 == 1 {
			rt = dataflow.JobQueue{Queue: "etl"}
		}
		flows = append(flows, dataflow.NewFlow(fmt.Sprintf("f%d", i), source, dataflow.Identity[int](), toNothing(), &dataflow.FlowOptions{Runtime: rt, Group: "shopify"}))
	}
	return flows
}

// The flows of a group take turns, whichever Runtime they have. Those that wait say for what.
func TestGroup(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		var now, most atomic.Int64
		begun, release := make(chan int64, 10), make(chan struct{})
		source := readFunc(func(ctx context.Context, _ dataflow.Request[int], yield func(dataflow.Item[int, int], error) bool) {
			n := now.Add(1)
			most.Store(max(most.Load(), n))
			begun <- n
			select {
			case <-release:
			case <-ctx.Done():
			}
			now.Add(-1)
			yield(dataflow.Item[int, int]{Value: 1, Cursor: 1, Resume: true}, ctx.Err())
		})
		client := t.started(t.client(&dataflow.Config{Flows: inGroup(source, 4), Groups: map[string]int{"shopify": 1}}))
		runs := map[string]int64{}
		for i := range 4 {
			name := fmt.Sprintf("f%d", i)
			run, err := client.Trigger(t.Context(), name, &dataflow.TriggerOptions{At: time.Unix(int64(i+1), 0)})
			require.NoError(t, err)
			runs[name] = run.ID
			if i == 0 {
				receive(t, begun)
			}
		}
		for name, id := range runs {
			if name == "f0" {
				continue
			}
			require.Eventually(t, func() bool {
				why, err := client.Why(t.Context(), name)
				return err == nil && strings.Contains(why.String(), "for a place in the group shopify, whose limit is 1: other runs of the group are in progress, or older ones go first.")
			}, patience, 20*time.Millisecond, name)
			run, err := client.Run(t.Context(), id)
			require.NoError(t, err)
			require.Equal(t, "a place in the group shopify, whose limit is 1", run.WaitsFor)
			require.Equal(t, dataflow.RunPending, run.State)
			require.Zero(t, run.Attempt)
		}
		close(release)
		for _, id := range runs {
			run, err := t.wait(client, id)
			require.NoError(t, err)
			require.Equal(t, 1, run.Attempt)
		}
		require.EqualValues(t, 1, most.Load())
		require.Greater(t, t.number("select count(*) from river_job"), int64(2), "they were woken by jobs of their own")
	})
}

// A call of Execute finds no place: its run waits, and a tick works it.
func TestGroup_Tick(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		release, begun := make(chan struct{}), make(chan struct{})
		flow := func(name string, source dataflow.Source[int, int]) *dataflow.Flow {
			return dataflow.NewFlow(name, source, dataflow.Identity[int](), toNothing(), &dataflow.FlowOptions{Group: "shopify"})
		}
		slow := readFunc(func(ctx context.Context, _ dataflow.Request[int], yield func(dataflow.Item[int, int], error) bool) {
			close(begun)
			<-release
			yield(dataflow.Item[int, int]{Value: 1, Cursor: 1, Resume: true}, ctx.Err())
		})
		client := t.client(&dataflow.Config{
			Flows:  []*dataflow.Flow{flow("slow", slow), flow("a", numbers{n: 3}), flow("b", numbers{n: 3}), flow("c", numbers{n: 3})},
			Groups: map[string]int{"shopify": 1},
		})
		require.NoError(t, client.Register(t.Context()))
		done := make(chan error, 1)
		go func() { _, err := client.Trigger(t.Context(), "slow", nil); done <- err }()
		receive(t, begun)
		for _, name := range []string{"a", "b", "c"} {
			run, err := t.execute(client, name)
			require.ErrorIs(t, err, dataflow.ErrAlreadyRunning)
			require.ErrorContains(t, err, "the flow's group has no place: it waits for a place in the group shopify, whose limit is 1")
			require.Equal(t, dataflow.RunPending, run.State)
		}
		close(release)
		require.NoError(t, receive(t, done))
		runs, err := client.Tick(t.Context())
		require.NoError(t, err)
		require.Len(t, runs, 3, "one after the other")
		for i, name := range []string{"a", "b", "c"} {
			require.Equal(t, name, runs[i].FlowName)
			require.Equal(t, dataflow.RunSuccess, runs[i].State)
		}
	})
}

// The runs of one flow go one after the other, whatever the limit of its group. A tick works them all, and
// those of the other flows beside them.
func TestGroup_TickManyOfOneFlow(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		client := t.client(&dataflow.Config{Flows: []*dataflow.Flow{
			dataflow.NewFlow("a", numbers{n: 3}, dataflow.Identity[int](), toNothing(), &dataflow.FlowOptions{Group: "shopify"}),
			dataflow.NewFlow("b", numbers{n: 3}, dataflow.Identity[int](), toNothing(), &dataflow.FlowOptions{Group: "shopify"}),
		}, Groups: map[string]int{"shopify": 3}})
		require.NoError(t, client.Register(t.Context()))
		for i := range 6 {
			_, err := client.Trigger(t.Context(), "a", &dataflow.TriggerOptions{At: time.Unix(int64(i+1), 0)})
			require.NoError(t, err)
		}
		_, err := client.Trigger(t.Context(), "b", &dataflow.TriggerOptions{At: time.Unix(100, 0)})
		require.NoError(t, err)
		runs, err := client.Tick(t.Context())
		require.NoError(t, err)
		require.Len(t, runs, 7)
		require.Zero(t, t.number("select count(*) from dataflow_run where state <> 'success'"))
	})
}

// A flow has many older runs, of which one is worked at a time. They keep no other flow from the
// places of the group that are free.
func TestGroup_OthersOfOneFlow(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		release := make(chan struct{})
		source := readFunc(func(ctx context.Context, _ dataflow.Request[int], yield func(dataflow.Item[int, int], error) bool) {
			select {
			case <-release:
			case <-ctx.Done():
			}
			yield(dataflow.Item[int, int]{Value: 1, Cursor: 1, Resume: true}, ctx.Err())
		})
		options := &dataflow.FlowOptions{Group: "shopify"}
		client := t.client(&dataflow.Config{Flows: []*dataflow.Flow{
			dataflow.NewFlow("a", source, dataflow.Identity[int](), toNothing(), options),
			dataflow.NewFlow("b", numbers{n: 3}, dataflow.Identity[int](), toNothing(), options),
		}, Groups: map[string]int{"shopify": 2}, Lease: time.Hour, PollInterval: time.Hour})
		require.NoError(t, client.Register(t.Context()))
		for i := range 3 {
			_, err := client.Trigger(t.Context(), "a", &dataflow.TriggerOptions{At: time.Unix(int64(i+1), 0)})
			require.NoError(t, err)
		}
		run, err := client.Trigger(t.Context(), "b", &dataflow.TriggerOptions{At: time.Unix(100, 0)})
		require.NoError(t, err)
		t.started(client)
		_, err = t.wait(client, run.ID)
		require.NoError(t, err)
		close(release)
	})
}

// A flow whose group nobody has declared is not registered. Another process may declare it.
func TestGroup_Registration(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		client := t.client(&dataflow.Config{Flows: inGroup(numbers{n: 3}, 1)})
		err := client.Register(t.Context())
		var ce *dataflow.ConfigError
		require.ErrorAs(t, err, &ce)
		require.Equal(t, `Flows["f0"].Group`, ce.Field)
		require.Contains(t, ce.Reason, `no process has declared the group "shopify": add it, with its limit, to Config.Groups`)
		require.NoError(t, t.client(&dataflow.Config{ID: "one", Groups: map[string]int{"shopify": 3}}).Register(t.Context()))
		require.NoError(t, client.Register(t.Context()))
		require.Empty(t, client.RegistrationErrors())

		l := newLogs()
		two := t.client(&dataflow.Config{ID: "two", Groups: map[string]int{"shopify": 5}, Logger: l.logger()})
		require.NoError(t, two.Register(t.Context()))
		require.Len(t, l.lines("processes declare different limits for a group; the last one to be registered holds"), 1)
		require.Contains(t, l.lines("different limits")[0], "group=shopify own=5 stored=3 set_by=one")
		require.EqualValues(t, 5, t.number("select max_runs from dataflow_group"))
		require.NoError(t, two.Register(t.Context()))
		require.Len(t, l.lines("different limits"), 1)

		_, err = dataflow.NewClient(t.driver, &dataflow.Config{Groups: map[string]int{"": 1, "a": 0}})
		require.ErrorContains(t, err, `Groups[""]: of the name: it is empty`)
		require.ErrorContains(t, err, `Groups["a"]: 0 is out of range: use 1 or more`)
	})
}

const (
	groupEnv   = "DATAFLOW_TEST_GROUP" // its value is the database's URL, or its path
	groupFlows = 6
	groupLimit = 2
)

// groupWorker is the main of a process that works flows of a group until it is killed.
func groupWorker(ctx context.Context, where string) error {
	driver, err := openDriver(ctx, where)
	if err != nil {
		return err
	}
	source := readFunc(func(ctx context.Context, r dataflow.Request[int], yield func(dataflow.Item[int, int], error) bool) {
		for i := r.From + 1; i <= 5; i++ {
			time.Sleep(10 * time.Millisecond)
			if !yield(dataflow.Item[int, int]{Value: i, Cursor: i, Resume: true}, ctx.Err()) {
				return
			}
		}
	})
	client, err := dataflow.NewClient(driver, &dataflow.Config{
		Logger: slog.New(slog.DiscardHandler), PollInterval: 50 * time.Millisecond, Lease: time.Second,
		River: &river.Config{FetchPollInterval: 50 * time.Millisecond, FetchCooldown: 10 * time.Millisecond},
		Flows: inGroup(source, groupFlows), Groups: map[string]int{"shopify": groupLimit},
	})
	if err != nil {
		return err
	}
	if err := client.Start(ctx); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// The server itself counts the runs in progress whenever one begins.
func groupAudit(t *dbT) {
	require.NoError(t, t.exec("create table audit (run bigint, others bigint)"))
	const count = `insert into audit select new.id, (select count(*) from dataflow_run where state = 'in_progress')`
	if t.isPostgres {
		require.NoError(t, t.exec(`create function audit() returns trigger language plpgsql as $$ begin `+count+`; return new; end $$`))
		require.NoError(t, t.exec(`create trigger audit after update of state on dataflow_run for each row when (new.state = 'in_progress') execute function audit()`))
		return
	}
	require.NoError(t, t.exec(`create trigger audit after update of state on dataflow_run when new.state = 'in_progress' begin `+count+`; end`))
}

// Three processes work the flows of a group, and are killed and replaced. Never are more runs in
// progress than the limit, and all runs end.
func TestGroup_Killed(t *testing.T) {
	t.Parallel()
	onBothFiles(t, func(t *dbT, where string) {
		groupAudit(t)
		start := func() *exec.Cmd {
			cmd := exec.CommandContext(context.WithoutCancel(t.Context()), os.Args[0])
			cmd.Env = append(os.Environ(), groupEnv+"="+where)
			cmd.Stderr = os.Stderr
			in, err := cmd.StdinPipe()
			require.NoError(t, err)
			require.NoError(t, cmd.Start())
			t.Cleanup(func() {
				_ = in.Close()
				_ = cmd.Process.Kill()
				_ = cmd.Wait()
			})
			return cmd
		}
		workers := []*exec.Cmd{start(), start(), start()}
		client := t.client(nil)
		require.Eventually(t, func() bool {
			flows, err := client.Flows(t.Context(), nil)
			return err == nil && len(flows) == groupFlows
		}, patience, 50*time.Millisecond)
		const each = 4
		for i := range groupFlows * each {
			_, err := client.Trigger(t.Context(), fmt.Sprintf("f%d", i%groupFlows), &dataflow.TriggerOptions{At: time.Unix(int64(i+1), 0)})
			require.NoError(t, err)
		}
		ended := func(n int64) {
			t.Helper()
			require.Eventually(t, func() bool { return t.number("select count(*) from dataflow_run where state = 'success'") >= n }, patience, 50*time.Millisecond)
		}
		for i, n := range []int64{4, 9, 14} {
			ended(n)
			require.NoError(t, workers[i].Process.Kill())
			workers = append(workers, start())
		}
		ended(groupFlows * each)
		require.LessOrEqual(t, t.number("select max(others) from audit"), int64(groupLimit))
		require.GreaterOrEqual(t, t.number("select count(*) from audit"), int64(groupFlows*each))
		require.Zero(t, t.number("select count(*) from dataflow_run where state <> 'success'"))
	})
}
