package dataflowhttp_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
)

func TestHeartbeat_WaitForRuns(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		sink := memory.NewSink[int]()
		broken := dataflow.NewFlow("broken", memory.Slice([]int{1}),
			dataflow.Map(func(context.Context, int) (int, error) { return 0, errors.New("password=hunter2") }), memory.NewSink[int]().Target(),
			&dataflow.FlowOptions{MaxAttempts: 1})
		client := t.client(numbersFlow("numbers", sink), broken)
		server := t.serve(client)
		good, bad := t.leave(client, "numbers"), t.leave(client, "broken")
		a := t.post(server.URL + "?wait=1m")
		require.Equal(t, http.StatusOK, a.status)
		require.Equal(t, 2, a.Due)
		require.Len(t, a.Runs, 2)
		require.Equal(t, good.ID, a.Runs[0].ID)
		require.Equal(t, dataflow.RunSuccess, a.Runs[0].State)
		require.Equal(t, &dataflow.Counters{Read: 3, Written: 3}, a.Runs[0].Counters)
		require.Equal(t, bad.ID, a.Runs[1].ID)
		require.Equal(t, dataflow.RunFailed, a.Runs[1].State)
		require.Nil(t, a.Runs[1].Error)
		require.Equal(t, []int{1, 2, 3}, sink.Rows())
		require.Zero(t, t.post(server.URL+"?wait=1m").Due)
	})
}

// The runs continue after the response, and after the caller hangs up.
func TestHeartbeat_GoesOn(t *testing.T) {
	t.Parallel()
	for _, query := range []string{"", "?wait=1ms", "?wait=1m"} {
		t.Run(query, func(t *testing.T) {
			t.Parallel()
			onBoth(t, func(t *dbT) {
				g, sink := newGate(), memory.NewSink[int]()
				client := t.client(g.flow(sink))
				server := t.serve(client)
				run := t.leave(client, "gated")
				if query == "?wait=1m" {
					ctx, hangUp := context.WithCancel(t.Context())
					gone := make(chan error, 1)
					go func() { _, err := post(ctx, server.URL+query); gone <- err }()
					<-g.reading
					hangUp()
					require.ErrorIs(t, <-gone, context.Canceled)
					server.Close() // waits for the handler
				} else {
					a := t.post(server.URL + query)
					require.Equal(t, http.StatusAccepted, a.status)
					require.Equal(t, run.ID, a.Runs[0].ID)
					<-g.reading
				}
				close(g.open)
				run, err := client.Wait(t.Context(), run.ID)
				require.NoError(t, err)
				require.Equal(t, 1, run.Attempt)
				require.Equal(t, []int{1}, sink.Rows())
				require.NoError(t, client.Stop(t.Context()))
			})
		})
	}
}

// A run in progress is not worked again.
func TestHeartbeat_InProgress(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		g := newGate()
		client := t.client(g.flow(memory.NewSink[int]()))
		server := t.serve(client)
		t.leave(client, "gated")
		require.Equal(t, 1, t.post(server.URL).Due)
		<-g.reading
		a := t.post(server.URL + "?wait=1m")
		require.Equal(t, http.StatusOK, a.status)
		require.Zero(t, a.Due)
		close(g.open)
		require.NoError(t, client.Stop(t.Context()))
	})
}

func TestHeartbeat_Stopped(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		client := t.client(numbersFlow("numbers", memory.NewSink[int]()))
		server := t.serve(client)
		require.NoError(t, client.Stop(t.Context()))
		require.Equal(t, http.StatusServiceUnavailable, t.post(server.URL).status)
	})
}

// A database without tables causes an error without internals.
func TestHeartbeat_DatabaseFails(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		client := t.client(numbersFlow("numbers", memory.NewSink[int]()))
		server := t.serve(client)
		require.NoError(t, client.MigrateDown(t.Context(), 0))
		require.Equal(t, http.StatusInternalServerError, t.post(server.URL).status)
	})
}

// The endpoints of two processes are called concurrently, again and again. Each run
// is worked once.
func TestHeartbeat_TwoProcesses(t *testing.T) {
	t.Parallel()
	const flows, runsOfEach, callers = 3, 4, 4
	onBoth(t, func(t *dbT) {
		var worked [flows]atomic.Int32
		declare := func() (declared []*dataflow.Flow) {
			for i := range worked {
				source := memory.Func(func(context.Context) iter.Seq2[int, error] {
					return func(yield func(int, error) bool) {
						worked[i].Add(1)
						yield(i, nil)
					}
				})
				declared = append(declared, dataflow.NewFlow(fmt.Sprintf("flow%d", i), source, dataflow.Identity[int](), memory.NewSink[int]().Target(), nil))
			}
			return declared
		}
		clients := []*dataflow.Client{t.client(declare()...), t.client(declare()...)}
		urls := []string{t.serve(clients[0]).URL, t.serve(clients[1]).URL}
		var ids []int64
		for i := range runsOfEach {
			for f := range flows {
				run, err := clients[i%2].Trigger(t.Context(), fmt.Sprintf("flow%d", f), &dataflow.TriggerOptions{At: time.Unix(int64(i), 0)})
				require.NoError(t, err)
				ids = append(ids, run.ID)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var wg sync.WaitGroup
		for i := range callers {
			wg.Go(func() {
				for {
					a, err := post(ctx, urls[i%2]+"?wait=30s")
					if err != nil || a.status != http.StatusOK {
						t.Errorf("status %d, %v", a.status, err)
						return
					}
					if a.Due == 0 {
						return
					}
				}
			})
		}
		wg.Wait()
		for _, client := range clients {
			require.NoError(t, client.Stop(ctx))
		}
		for _, id := range ids {
			run, err := clients[0].Run(t.Context(), id)
			require.NoError(t, err)
			require.Equal(t, dataflow.RunSuccess, run.State)
			require.Equal(t, 1, run.Attempt)
			require.EqualValues(t, 1, run.LeaseNumber)
		}
		for i := range worked {
			require.EqualValues(t, runsOfEach, worked[i].Load())
		}
	})
}

// Ticks of schedules fire once each, by requests alone and together with a started
// client.
func TestHeartbeat_Ticks(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		var mu sync.Mutex
		now := time.Date(2031, 2, 3, 4, 59, 0, 0, time.UTC)
		clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
		set := func(hour int) { mu.Lock(); defer mu.Unlock(); now = time.Date(2031, 2, 3, hour, 0, 1, 0, time.UTC) }
		sink := memory.NewSink[int]()
		process := func() *dataflow.Client {
			flow := dataflow.NewFlow("hourly", memory.Slice([]int{1}), dataflow.Identity[int](), sink.Target(),
				&dataflow.FlowOptions{Runtime: dataflow.Heartbeat{Interval: time.Hour}})
			client, err := dataflow.NewClient(t.driver(), &dataflow.Config{Flows: []*dataflow.Flow{flow}, Clock: clock, Logger: slog.New(slog.DiscardHandler)})
			require.NoError(t, err)
			return client
		}
		client := process()
		server := t.serve(client)
		require.Zero(t, t.post(server.URL+"?wait=1m").Fired)
		set(7) // after two ticks that no process has seen
		a := t.post(server.URL + "?wait=1m")
		require.Equal(t, []int{1, 2, 1}, []int{a.Fired, a.Skipped, a.Due})
		require.Equal(t, "hourly", a.Runs[0].Flow)
		require.Equal(t, dataflow.RunSuccess, a.Runs[0].State)
		require.Zero(t, t.post(server.URL+"?wait=1m").Fired)

		beside := process()
		require.NoError(t, beside.Start(t.Context()))
		for hour := 8; hour < 12; hour++ {
			set(hour)
			for range 3 {
				t.post(server.URL + "?wait=1m")
			}
			// The run that the other process may work must end first: it would be in the way of the next tick.
			require.Eventually(t, func() bool {
				runs, err := client.Runs(t.Context(), &dataflow.RunListParams{States: []dataflow.RunState{dataflow.RunSuccess}, Trigger: dataflow.TriggerSchedule})
				require.NoError(t, err)
				return len(runs) == hour-6
			}, 2*time.Minute, 10*time.Millisecond)
		}
		require.NoError(t, beside.Stop(context.WithoutCancel(t.Context())))
	})
}
