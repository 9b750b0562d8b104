package enginetest_test

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowpgx"
	"github.com/activedataflow/dataflow/dataflowsqlite"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// told keeps the runs that OnRunEnded was called with.
type told struct {
	mu   sync.Mutex // guards runs
	runs map[int64][]dataflow.RunState
	ch   chan *dataflow.Run
}

func newTold() *told {
	return &told{runs: make(map[int64][]dataflow.RunState), ch: make(chan *dataflow.Run, 100)}
}

func (c *told) hook(_ context.Context, run *dataflow.Run) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.runs[run.ID] = append(c.runs[run.ID], run.State)
	c.ch <- run
	return nil
}

// toNothing writes nothing.
func toNothing() dataflow.Target[int] {
	return dataflow.To(dataflow.SinkFunc[int](func(context.Context, dataflow.SinkBatch[int]) error { return nil }))
}

func quick(rt dataflow.Runtime) *dataflow.FlowOptions {
	return &dataflow.FlowOptions{Runtime: rt, MaxAttempts: 2, Backoff: func(int) time.Duration { return 0 }}
}

// unasked is how many ends are stored as untold.
const unasked = `select count(*) from dataflow_run where callback_at is not null`

// Each ending is told, once, by the started client, for runs of either Runtime.
func TestOnRunEnded(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		c := newTold()
		var flows []*dataflow.Flow
		for name, rt := range map[string]dataflow.Runtime{"loop": dataflow.Heartbeat{}, "queue": dataflow.JobQueue{}} {
			flows = append(flows,
				dataflow.NewFlow(name+"_good", numbers{n: 3}, dataflow.Identity[int](), toNothing(), quick(rt)),
				dataflow.NewFlow(name+"_bad", numbers{n: 3}, broken(), toNothing(), quick(rt)),
				dataflow.NewFlow(name+"_mended", numbers{n: 3}, failing(1, errBroken), toNothing(), quick(rt)))
		}
		client := t.started(t.client(&dataflow.Config{Flows: flows, OnRunEnded: c.hook}))
		want := map[int64][]dataflow.RunState{}
		for _, f := range flows {
			run, err := client.Trigger(t.Context(), f.Name, nil)
			if strings.HasSuffix(f.Name, "_good") {
				require.NoError(t, err)
			}
			want[run.ID] = []dataflow.RunState{dataflow.RunSuccess}
			if strings.HasSuffix(f.Name, "_bad") {
				want[run.ID] = []dataflow.RunState{dataflow.RunFailed}
			}
			later, err := client.Trigger(t.Context(), f.Name, &dataflow.TriggerOptions{At: someTime})
			require.NoError(t, err)
			want[later.ID] = []dataflow.RunState{dataflow.RunCancelled}
			_, err = client.Cancel(t.Context(), later.ID, "ann", "")
			require.NoError(t, err)
		}
		for range want {
			run := receive(t, c.ch)
			stored, err := client.Run(t.Context(), run.ID)
			require.NoError(t, err)
			require.Equal(t, stored, run)
		}
		t.stop(client)
		require.Equal(t, want, c.runs)
		require.Zero(t, t.number(unasked))
	})
}

// A process without OnRunEnded ends the run; one with it, and without a loop, tells it in a tick.
func TestOnRunEnded_Tick(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		c := newTold()
		flow := func() *dataflow.Flow {
			return dataflow.NewFlow("orders", numbers{n: 3}, dataflow.Identity[int](), toNothing(), quick(dataflow.Heartbeat{}))
		}
		plain := t.registered(flow())
		before, err := t.execute(plain, "orders")
		require.NoError(t, err)
		require.Equal(t, dataflow.RunSuccess, before.State)

		hooked := t.client(&dataflow.Config{Flows: []*dataflow.Flow{flow()}, OnRunEnded: c.hook})
		require.NoError(t, hooked.Register(t.Context()), "the definition is unchanged")
		var runs []*dataflow.Run
		for range 25 { // more than are told at once
			run, err := t.execute(plain, "orders")
			require.NoError(t, err)
			runs = append(runs, run)
		}
		require.EqualValues(t, 25, t.number(unasked), "and none of before")
		later := t.client(&dataflow.Config{Clock: func() time.Time { return time.Now().Add(2 * time.Minute) }})
		why, err := later.Why(t.Context(), "orders")
		require.NoError(t, err)
		require.Contains(t, codes(why), dataflow.CauseUntold)
		require.Contains(t, why.String(), fmt.Sprintf("The end of run %d, at ", runs[0].ID))
		require.Contains(t, why.String(), "has not been told: no started client that has Config.OnRunEnded and the flow has called it. So it is with 24 more.")

		_, err = plain.Tick(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, 25, t.number(unasked))
		_, err = hooked.Tick(t.Context())
		require.NoError(t, err)
		require.Len(t, c.runs, 25)
		for _, run := range runs {
			require.Equal(t, []dataflow.RunState{dataflow.RunSuccess}, c.runs[run.ID])
		}
		require.Zero(t, t.number(unasked))
		why, err = later.Why(t.Context(), "orders")
		require.NoError(t, err)
		require.NotContains(t, codes(why), dataflow.CauseUntold)
	})
}

// An error and a panic are tried again. What nothing can mend is given up, and Why says so.
func TestOnRunEnded_Retries(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		l, ended := newLogs(), newTold()
		tries := map[string]int{}
		var mu sync.Mutex
		hook := func(ctx context.Context, run *dataflow.Run) error {
			mu.Lock()
			defer mu.Unlock()
			tries[run.FlowName]++
			switch try := tries[run.FlowName]; {
			case run.FlowName == "refused":
				return dataflow.Permanent(errors.New("410 Gone"))
			case run.FlowName == "slow":
				return errors.New("it is 503")
			case try == 1:
				return dataflow.RetryAfter(errors.New("429"), time.Millisecond)
			case try == 2:
				run.FlowName = "changed"
				panic(dataflow.RetryAfter(errors.New("of the hook"), time.Millisecond))
			}
			return ended.hook(ctx, run)
		}
		var flows []*dataflow.Flow
		for _, name := range []string{"mended", "refused", "slow"} {
			flows = append(flows, dataflow.NewFlow(name, numbers{n: 3}, dataflow.Identity[int](), toNothing(), quick(dataflow.Heartbeat{})))
		}
		clock := newLeaps()
		client := t.started(t.client(&dataflow.Config{Flows: flows, OnRunEnded: hook, Logger: l.logger(), Clock: clock.Now}))
		for _, f := range flows {
			run, err := client.Trigger(t.Context(), f.Name, nil)
			require.NoError(t, err)
			_, err = t.wait(client, run.ID)
			require.NoError(t, err)
		}
		say := func(flow, part string) {
			t.Helper()
			var why *dataflow.Explanation
			if !assert.Eventually(t, func() bool {
				var err error
				why, err = client.Why(t.Context(), flow)
				return err == nil && strings.Contains(why.String(), part)
			}, patience, 20*time.Millisecond) {
				require.Contains(t, why.String(), part)
			}
		}
		say("refused", "The ends of some runs were never told (1).")
		say("refused", "Config.OnRunEnded was given up after try 1, which failed with: 410 Gone.")
		say("slow", "try 1 of Config.OnRunEnded failed with: it is 503; the next is due at ")
		for try := 2; try <= 20; try++ {
			clock.leap(40 * time.Hour)
			if try == 2 { // "mended" waits for 18 s after its panic; a leap in its third try would end that one's lease
				receive(t, ended.ch)
				require.Eventually(t, func() bool { return t.number(unasked) == 2 }, patience, 20*time.Millisecond)
			}
			if try < 20 {
				say("slow", fmt.Sprintf("try %d of Config.OnRunEnded failed", try))
			}
		}
		say("slow", "Config.OnRunEnded was given up after try 20, which failed with: it is 503")
		t.stop(client)
		require.Equal(t, map[string]int{"mended": 3, "refused": 1, "slow": 20}, tries)
		require.Len(t, l.lines("is given up for this run"), 2)
		require.NotEmpty(t, l.lines("panic: of the hook"))
		require.EqualValues(t, 2, t.number(unasked))
	})
}

// leaps is the real clock with leaps.
type leaps struct {
	mu    sync.Mutex // guards ahead
	ahead time.Duration
}

func newLeaps() *leaps { return &leaps{} }

func (c *leaps) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

func (c *leaps) leap(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}

const callbackEnv = "DATAFLOW_TEST_CALLBACK" // its value is the database's URL, or its path

// callbackWorker is the main of a process that works a flow, and says when OnRunEnded is called,
// which does not return.
func callbackWorker(ctx context.Context, where string) error {
	driver, err := openDriver(ctx, where)
	if err != nil {
		return err
	}
	client, err := dataflow.NewClient(driver, &dataflow.Config{
		Logger: slog.New(slog.DiscardHandler), PollInterval: 50 * time.Millisecond, Flows: []*dataflow.Flow{callbackFlow()},
		OnRunEnded: func(_ context.Context, run *dataflow.Run) error {
			fmt.Println(run.ID)
			select {}
		},
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

// openDriver opens a database by its URL, or its path.
func openDriver(ctx context.Context, where string) (dataflow.Driver, error) {
	if strings.HasPrefix(where, "postgres") {
		pool, err := pgxpool.New(ctx, where)
		return dataflowpgx.New(pool), err
	}
	db, err := sql.Open("sqlite", "file:"+where+"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)")
	if err == nil {
		db.SetMaxOpenConns(1)
	}
	return dataflowsqlite.New(db), err
}

// onBothFiles runs a test on a database of each kind that other processes open too.
func onBothFiles(t *testing.T, test func(t *dbT, where string)) {
	t.Helper()
	t.Run("Postgres", func(t *testing.T) {
		t.Parallel()
		url := dbtest.PostgresURL(t)
		pool, err := pgxpool.New(t.Context(), url)
		require.NoError(t, err)
		t.Cleanup(pool.Close)
		test(migrated(onPool(t, pool)), url)
	})
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		path := migratedFile(t)
		test(sqlite(t, path), path)
	})
}

func callbackFlow() *dataflow.Flow {
	return dataflow.NewFlow("orders", numbers{n: 3}, dataflow.Identity[int](), toNothing(), quick(dataflow.Heartbeat{}))
}

// A process is killed in the middle of the call. Another one calls again.
func TestOnRunEnded_Killed(t *testing.T) {
	t.Parallel()
	onBothFiles(t, func(t *dbT, where string) {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), callbackEnv+"="+where)
		cmd.Stderr = os.Stderr
		in, err := cmd.StdinPipe()
		require.NoError(t, err)
		defer in.Close() //nolint:errcheck // it is a test's
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		plain := t.client(nil)
		require.Eventually(t, func() bool { _, err := plain.Flow(t.Context(), "orders"); return err == nil }, patience, 20*time.Millisecond)
		run, err := plain.Trigger(t.Context(), "orders", &dataflow.TriggerOptions{At: time.Unix(1, 0)})
		require.NoError(t, err)
		line, err := bufio.NewReader(out).ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintln(run.ID), line)
		require.NoError(t, cmd.Process.Kill())
		require.ErrorContains(t, cmd.Wait(), "killed")

		c := newTold()
		client := t.started(t.client(&dataflow.Config{
			Flows: []*dataflow.Flow{callbackFlow()}, OnRunEnded: c.hook,
			Clock: func() time.Time { return time.Now().Add(3 * time.Minute) }, // the dead process's try is over
		}))
		again := receive(t, c.ch)
		require.Equal(t, run.ID, again.ID)
		require.Equal(t, dataflow.RunSuccess, again.State)
		t.stop(client)
		require.Len(t, c.runs, 1)
		require.Zero(t, t.number(unasked))
		require.EqualValues(t, 2, t.number("select callback_tries from dataflow_run"))
	})
}
