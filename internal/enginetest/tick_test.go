package enginetest_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// clock is a clock that only a test moves.
type clock struct {
	mu  sync.Mutex // guards now
	now time.Time
}

func newClock() *clock { return &clock{now: someTime} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// onClock returns a client on a clock, registered and not started.
func (t *dbT) onClock(c *clock, flows ...*dataflow.Flow) *dataflow.Client {
	t.Helper()
	client := t.client(&dataflow.Config{Flows: flows, Clock: c.Now})
	require.NoError(t, client.Register(t.Context()))
	return client
}

// tick ticks, and returns the ids of the runs that were worked.
func (t *dbT) tick(client *dataflow.Client) []int64 {
	t.Helper()
	runs, err := client.Tick(t.Context())
	require.NoError(t, err)
	ids := []int64{}
	for _, run := range runs {
		ids = append(ids, run.ID)
	}
	return ids
}

func TestHeartbeat_Execute(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.table("hb")
		c := newClock()
		client := t.onClock(c, flowTo("hb", 25, dataflow.Identity[int](), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 10}}))
		run, err := t.execute(client, "hb")
		require.NoError(t, err)
		require.Equal(t, dataflow.RunSuccess, run.State)
		require.Equal(t, dataflow.Counters{Read: 25, Written: 25}, run.Counters)
		require.Equal(t, 1, run.Attempt)
		require.True(t, someTime.Equal(*run.StartedAt) && someTime.Equal(*run.EndedAt))
		require.JSONEq(t, "null", string(run.FromCursor))
		require.JSONEq(t, "25", string(run.ToCursor))
		stored, err := client.Run(t.Context(), run.ID)
		require.NoError(t, err)
		require.Equal(t, stored, run)
		flow, err := client.Flow(t.Context(), "hb")
		require.NoError(t, err)
		require.True(t, someTime.Equal(*flow.LastSuccessAt))
		t.requireExactly("hb", 25)
		t.requireRows(1, 0)
	})
}

func TestHeartbeat_ExecuteAt(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.table("hb")
		c := newClock()
		client := t.onClock(c, flowTo("hb", 5, dataflow.Identity[int](), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{
			Interval: 90 * time.Second, Schedule: dataflow.Schedule{Start: someTime.Add(time.Hour)}, // no tick of its own yet
		}}))
		flow, err := client.Flow(t.Context(), "hb")
		require.NoError(t, err)
		next, err := flow.Runtime.ScheduleNext(t.Context(), flow, someTime)
		require.NoError(t, err)
		require.Equal(t, dataflow.RunPending, next.State)
		require.True(t, someTime.Add(90*time.Second).Equal(next.RunAfter))
		same, err := flow.Runtime.ExecuteAt(t.Context(), flow, someTime.Add(90*time.Second))
		require.NoError(t, err)
		require.True(t, same.Coalesced)
		past, err := flow.Runtime.ExecuteAt(t.Context(), flow, someTime.Add(-time.Hour))
		require.NoError(t, err)
		require.NotEqual(t, next.ID, past.ID)

		require.Equal(t, []int64{past.ID}, t.tick(client))
		c.advance(90*time.Second - time.Millisecond)
		require.Empty(t, t.tick(client))
		_, err = dataflow.NewFlowExecutor(client).Execute(t.Context(), next.ID)
		require.ErrorIs(t, err, dataflow.ErrNotDue)
		requirePublic(t, err)
		require.ErrorContains(t, err, "2031-02-03T04:06:36.789Z")
		c.advance(time.Millisecond)
		require.Equal(t, []int64{next.ID}, t.tick(client))
		require.Empty(t, t.tick(client))
		t.requireExactly("hb", 5)
		t.requireRows(2, 0)
	})
}

// A started client's loop works the runs that it finds due.
func TestHeartbeat_Loop(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.table("hb")
		c := newClock()
		client := t.onClock(c, flowTo("hb", 5, failing(1, errBroken), &dataflow.FlowOptions{Backoff: func(int) time.Duration { return time.Hour }}))
		events, cancel := client.Subscribe()
		defer cancel()
		t.started(client)
		run, err := client.Trigger(t.Context(), "hb", &dataflow.TriggerOptions{At: someTime.Add(time.Minute)})
		require.NoError(t, err)
		require.Equal(t, dataflow.RunPending, run.State)
		for i, kind := range []dataflow.EventKind{
			dataflow.EventRunStarted, dataflow.EventRunRetrying, dataflow.EventRunStarted, dataflow.EventRunProgress, dataflow.EventRunSucceeded,
		} {
			if i == 0 {
				c.advance(time.Minute)
			}
			e := receive(t, events)
			require.Equal(t, kind, e.Kind)
			require.Equal(t, run.ID, e.Run.ID)
			if kind == dataflow.EventRunRetrying {
				require.True(t, someTime.Add(time.Minute+time.Hour).Equal(e.Run.RunAfter))
				c.advance(time.Hour)
			}
		}
		t.requireExactly("hb", 5)
	})
}

// Tick leaves other clients' runs alone.
func TestClient_Tick_Others(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.table("paused", "off", "jq", "other", "bad")
		none := dataflow.Identity[int]()
		client := t.registered(
			flowTo("paused", 3, none, nil), flowTo("off", 3, none, nil), flowTo("other", 3, none, nil),
			flowTo("jq", 3, none, &dataflow.FlowOptions{Runtime: dataflow.JobQueue{}}),
			flowTo("bad", 3, broken(), &dataflow.FlowOptions{MaxAttempts: 1}),
		)
		ids := make(map[string]int64)
		for _, name := range []string{"paused", "off", "jq", "other", "bad"} {
			run, err := client.Trigger(t.Context(), name, &dataflow.TriggerOptions{At: time.Unix(1, 0)})
			require.NoError(t, err)
			ids[name] = run.ID
		}
		_, err := client.Pause(t.Context(), "paused", "", "")
		require.NoError(t, err)
		mine := t.registered(
			flowTo("paused", 3, none, nil), flowTo("off", 3, none, &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{Disabled: true}}),
			flowTo("jq", 3, none, &dataflow.FlowOptions{Runtime: dataflow.JobQueue{}}),
			flowTo("bad", 3, broken(), &dataflow.FlowOptions{MaxAttempts: 1}),
		)
		require.Equal(t, []int64{ids["bad"]}, t.tick(mine))
		run, err := mine.Run(t.Context(), ids["bad"])
		require.NoError(t, err)
		require.Equal(t, dataflow.RunFailed, run.State)
		require.Empty(t, t.tick(mine))
		require.Empty(t, t.tick(t.client(nil)), "it has no code")

		for name, want := range map[string]error{"paused": dataflow.ErrDisabled, "off": dataflow.ErrDisabled, "other": dataflow.ErrNotRegistered, "bad": dataflow.ErrRunFinished} {
			run, err := dataflow.NewFlowExecutor(mine).Execute(t.Context(), ids[name])
			require.ErrorIs(t, err, want, name)
			requirePublic(t, err)
			require.Equal(t, ids[name], run.ID)
		}
		_, err = client.Resume(t.Context(), "paused", "", "")
		require.NoError(t, err)
		require.Equal(t, []int64{ids["paused"]}, t.tick(mine))
	})
}

// Two clients that tick at once work each run once, and never two runs of one
// flow at a time.
func TestClient_Tick_TwoClients(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		names := []string{"a", "b", "c"}
		const runsOfEach = 4
		t.table(names...)
		var inProgress [3]atomic.Int32
		var overlaps atomic.Int32
		flows := func() (flows []*dataflow.Flow) {
			for i, name := range names {
				source := readFunc(func(ctx context.Context, r dataflow.Request[int], yield func(dataflow.Item[int, int], error) bool) {
					if inProgress[i].Add(1) > 1 {
						overlaps.Add(1)
					}
					defer inProgress[i].Add(-1)
					numbers{n: r.From + 3}.Read(ctx, r)(yield)
				})
				flows = append(flows, dataflow.NewFlow(name, source, dataflow.Identity[int](), appendTo(name), nil))
			}
			return flows
		}
		clients := []*dataflow.Client{t.registered(flows()...), t.registered(flows()...)}
		for i := range runsOfEach {
			for _, name := range names {
				_, err := clients[i%2].Trigger(t.Context(), name, &dataflow.TriggerOptions{At: time.Unix(int64(i), 0)})
				require.NoError(t, err)
			}
		}
		worked := make(chan *dataflow.Run, 1000)
		var wg sync.WaitGroup
		for _, client := range clients {
			wg.Go(func() {
				for len(worked) < runsOfEach*len(names) {
					runs, err := client.Tick(t.Context())
					if err != nil {
						t.Error(err)
						return
					}
					for _, run := range runs {
						worked <- run
					}
				}
			})
		}
		wg.Wait()
		close(worked)
		var ids []int64
		for run := range worked {
			require.Equal(t, dataflow.RunSuccess, run.State)
			require.Equal(t, 1, run.Attempt)
			require.Equal(t, int64(1), run.LeaseNumber)
			ids = append(ids, run.ID)
		}
		slices.Sort(ids)
		require.Len(t, slices.Compact(ids), runsOfEach*len(names))
		require.Zero(t, overlaps.Load())
		for _, name := range names {
			t.requireExactly(name, 3*runsOfEach)
		}
	})
}

// Many due runs are worked one after the other, without a pause.
func TestHeartbeat_Backlog(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		const flows = 30
		declared := make([]*dataflow.Flow, flows)
		for i := range declared {
			declared[i] = dataflow.NewFlow(fmt.Sprint("f", i), numbers{}, dataflow.Identity[int](), dataflow.ToTx(discard{}), nil)
		}
		client := t.client(&dataflow.Config{Flows: declared, MaxWorkers: 1, PollInterval: time.Hour, Lease: 20 * time.Minute})
		require.NoError(t, client.Register(t.Context()))
		for _, f := range declared {
			_, err := client.Trigger(t.Context(), f.Name, &dataflow.TriggerOptions{At: someTime.AddDate(-20, 0, 0)})
			require.NoError(t, err)
		}
		events, cancel := client.Subscribe(dataflow.EventRunSucceeded)
		defer cancel()
		t.started(client)
		for range flows {
			receive(t, events)
		}
	})
}
