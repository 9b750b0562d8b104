package enginetest_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// fault breaks one part of a flow of the numbers 1 to 50, once: at 35, in the
// fourth of its five batches.
type fault struct {
	stage dataflow.Stage
	panic bool
	once  sync.Once
}

func (f *fault) at(stage dataflow.Stage, n int) (err error) {
	if stage == f.stage && n == 35 {
		f.once.Do(func() { err = errBroken })
	}
	if err != nil && f.panic {
		panic(err)
	}
	return err
}

func (f *fault) flow(table string, rt dataflow.Runtime) *dataflow.Flow {
	source := readFunc(func(ctx context.Context, r dataflow.Request[int], yield func(dataflow.Item[int, int], error) bool) {
		for item, err := range (numbers{n: 50}).Read(ctx, r) {
			if err == nil {
				err = f.at(dataflow.StageRead, item.Value)
			}
			if !yield(item, err) || err != nil {
				return
			}
		}
	})
	transform := dataflow.Batch(func(_ context.Context, in []int) ([]int, error) {
		for _, n := range in {
			if err := f.at(dataflow.StageTransform, n); err != nil {
				return nil, err
			}
		}
		return in, nil
	})
	sink := dataflow.TxSinkFunc[int](func(ctx context.Context, rows []int) error {
		if err := insertInto(ctx, table, rows); err != nil {
			return err
		}
		for _, n := range rows {
			if err := f.at(dataflow.StageWrite, n); err != nil {
				return err
			}
		}
		return nil
	})
	return dataflow.NewFlow(table, source, transform, dataflow.ToTx(sink), &dataflow.FlowOptions{Runtime: rt, Backoff: func(int) time.Duration { return time.Millisecond }})
}

// Whatever breaks, the next attempt goes on at the last checkpoint.
func TestFlowExecutor_Resumes(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		faults := make(map[string]*fault)
		var flows []*dataflow.Flow
		for _, rt := range []dataflow.Runtime{dataflow.Heartbeat{BatchSize: 10}, dataflow.JobQueue{BatchSize: 10}} {
			for _, stage := range []dataflow.Stage{dataflow.StageRead, dataflow.StageTransform, dataflow.StageWrite} {
				for _, panics := range []bool{false, true} {
					name := fmt.Sprintf("%s_%s_%t", rt.Type(), stage, panics)
					faults[name] = &fault{stage: stage, panic: panics}
					flows = append(flows, faults[name].flow(name, rt))
					t.table(name)
				}
			}
		}
		client := t.client(&dataflow.Config{Flows: flows})
		events, cancel := client.Subscribe(dataflow.EventRunProgress, dataflow.EventRunRetrying)
		defer cancel()
		t.started(client)
		runs := make(map[string]*dataflow.Run)
		for name := range faults {
			run, err := t.execute(client, name)
			if run.RiverJobID == 0 {
				require.ErrorContains(t, err, errBroken.Error(), name)
				requirePublic(t, err)
			}
			runs[name] = run
		}
		for name, f := range faults {
			run, err := t.wait(client, runs[name].ID)
			require.NoError(t, err, name)
			require.Equal(t, 2, run.Attempt)
			require.Equal(t, dataflow.Counters{Read: 50, Written: 50}, run.Counters)
			require.Len(t, run.Errors, 1)
			require.Equal(t, 1, run.Errors[0].Attempt)
			require.Contains(t, run.Errors[0].Error, errBroken.Error())
			if f.panic {
				require.Regexp(t, "^"+string(f.stage)+".*: panic: ", run.Errors[0].Error)
				require.Contains(t, run.Errors[0].Stack, "executor_test.go")
			} else {
				require.Empty(t, run.Errors[0].Stack)
			}
			t.requireExactly(name, 50)
		}
		last := make(map[int64]int64)
		for len(events) > 0 {
			e := <-events
			if e.Kind == dataflow.EventRunRetrying {
				var pe *dataflow.PanicError
				require.Equal(t, faults[e.Run.FlowName].panic, errors.As(e.Err, &pe))
				require.Contains(t, []int64{30, 34}, e.Run.Counters.Read)
				continue
			}
			require.True(t, e.Run.Counters.Balanced())
			require.Greater(t, e.Run.Counters.Read, last[e.Run.ID])
			last[e.Run.ID] = e.Run.Counters.Read
		}
		require.Len(t, last, len(faults))
	})
}

func TestFlowExecutor_Exhausted(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.table("f", "p", "jq")
		c := newClock()
		hour := func(n int) time.Duration { return time.Duration(n) * time.Hour }
		client := t.onClock(c,
			flowTo("f", 5, broken(), &dataflow.FlowOptions{MaxAttempts: 3, Backoff: hour}),
			flowTo("p", 5, failing(9, dataflow.Permanent(errBroken)), nil),
			flowTo("jq", 5, broken(), &dataflow.FlowOptions{Runtime: dataflow.JobQueue{}}),
		)
		run, err := t.execute(client, "f")
		for attempt := 1; attempt < 3; attempt++ {
			var re *dataflow.RunError
			require.ErrorAs(t, err, &re)
			require.Equal(t, run.ID, re.RunID)
			require.EqualError(t, err, fmt.Sprintf(`dataflow: flow "f" run %d: transform record 1: out of paper`, run.ID))
			require.Equal(t, dataflow.RunPending, run.State)
			require.Equal(t, attempt, run.Attempt)
			require.Len(t, run.Errors, attempt)
			require.True(t, c.Now().Add(hour(attempt)).Equal(run.RunAfter))
			require.Nil(t, run.EndedAt)
			c.advance(hour(attempt))
			run, err = dataflow.NewFlowExecutor(client).Execute(t.Context(), run.ID)
		}
		require.ErrorIs(t, err, errBroken)
		require.Equal(t, dataflow.RunFailed, run.State)
		require.Len(t, run.Errors, 3)
		require.NotNil(t, run.EndedAt)
		flow, err := client.Flow(t.Context(), "f")
		require.NoError(t, err)
		require.Equal(t, 1, flow.Failures)
		require.Equal(t, "transform record 1: out of paper", flow.LastError)
		_, err = t.wait(client, run.ID)
		require.EqualError(t, err, fmt.Sprintf(`dataflow: flow "f" run %d: failed: transform record 1: out of paper`, run.ID))

		run, err = t.execute(client, "p")
		require.ErrorIs(t, err, errBroken)
		require.Equal(t, dataflow.RunFailed, run.State)
		require.Equal(t, 1, run.Attempt)

		// A run with a job may also be worked directly. It keeps a job for later.
		run, err = t.execute(client, "jq")
		require.NoError(t, err)
		run, err = dataflow.NewFlowExecutor(client).Execute(t.Context(), run.ID)
		require.ErrorIs(t, err, errBroken)
		require.Equal(t, dataflow.RunPending, run.State)
		job, err := t.river(client).JobGet(t.Context(), run.RiverJobID)
		require.NoError(t, err)
		require.True(t, job.ScheduledAt.Equal(run.RunAfter))
		require.Equal(t, int64(2), t.number("select count(*) from river_job"))
	})
}

// cancelling is a transaction sink that cancels after it has written a number.
func cancelling(table string, at int, cancel func()) dataflow.Target[int] {
	return dataflow.ToTx(dataflow.TxSinkFunc[int](func(ctx context.Context, rows []int) error {
		if err := insertInto(ctx, table, rows); err != nil {
			return err
		}
		for _, n := range rows {
			if n == at {
				cancel()
				return errors.New("interrupted") // as a database may report it
			}
		}
		return nil
	}))
}

func TestFlowExecutor_CallerCancels(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.table("f")
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		first := t.registered(dataflow.NewFlow("f", numbers{n: 50}, dataflow.Identity[int](), cancelling("f", 25, cancel), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 10}}))
		flow, err := first.Flow(ctx, "f")
		require.NoError(t, err)
		run, err := flow.Runtime.Execute(ctx, flow)
		require.ErrorIs(t, err, dataflow.ErrStopped)
		require.ErrorIs(t, err, context.Canceled)
		requirePublic(t, err)
		require.NotContains(t, err.Error(), "\n")
		require.Equal(t, dataflow.RunPending, run.State)
		require.Zero(t, run.Attempt)
		require.Empty(t, run.Error)
		require.Empty(t, run.Errors)
		require.Equal(t, dataflow.Counters{Read: 20, Written: 20}, run.Counters)
		t.requireExactly("f", 20)

		second := t.registered(flowTo("f", 50, dataflow.Identity[int](), nil))
		require.Equal(t, []int64{run.ID}, t.tick(second))
		run, err = second.Run(t.Context(), run.ID)
		require.NoError(t, err)
		require.Equal(t, dataflow.RunSuccess, run.State)
		require.Equal(t, 1, run.Attempt)
		require.JSONEq(t, "null", string(run.FromCursor))
		t.requireExactly("f", 50)
	})
}

func tickError(ctx context.Context, client *dataflow.Client) error {
	_, err := client.Tick(ctx)
	return err
}

// Stop hands a run back at the end of its batch, and another client goes on.
func TestFlowExecutor_Stop(t *testing.T) {
	t.Parallel()
	for _, rt := range []dataflow.Runtime{dataflow.Heartbeat{BatchSize: 10}, dataflow.JobQueue{BatchSize: 10}} {
		t.Run(rt.Type(), func(t *testing.T) {
			t.Parallel()
			onBoth(t, func(t *dbT) {
				t.table("f")
				var first *dataflow.Client
				untilStopping := dataflow.Map(func(ctx context.Context, v int) (int, error) {
					for v == 25 && !errors.Is(tickError(ctx, first), dataflow.ErrStopped) {
					}
					return v, nil
				})
				reached := make(chan struct{})
				first = t.client(&dataflow.Config{Flows: []*dataflow.Flow{flowTo("f", 50, dataflow.Pipe(dataflow.Map(func(_ context.Context, v int) (int, error) {
					if v == 25 {
						close(reached)
					}
					return v, nil
				}), untilStopping), &dataflow.FlowOptions{Runtime: rt})}})
				released, cancel := first.Subscribe(dataflow.EventRunReleased)
				defer cancel()
				t.started(first)
				run, err := first.Trigger(t.Context(), "f", &dataflow.TriggerOptions{At: time.Unix(1, 0)})
				require.NoError(t, err)
				receive(t, reached)
				t.stop(first)
				handedBack := receive(t, released).Run
				require.Equal(t, dataflow.RunPending, handedBack.State)
				require.Zero(t, handedBack.Attempt)
				require.Equal(t, dataflow.Counters{Read: 30, Written: 30}, handedBack.Counters)
				require.Empty(t, handedBack.Errors)
				t.requireExactly("f", 30)

				second := t.started(t.client(&dataflow.Config{ID: "the second", Flows: []*dataflow.Flow{flowTo("f", 50, dataflow.Identity[int](), &dataflow.FlowOptions{Runtime: rt})}}))
				run, err = t.wait(second, run.ID)
				require.NoError(t, err)
				require.Equal(t, "the second", run.Worker)
				require.Equal(t, 1, run.Attempt)
				require.Equal(t, dataflow.Counters{Read: 50, Written: 50}, run.Counters)
				t.requireExactly("f", 50)
			})
		})
	}
}

// A Stop whose deadline is near interrupts the batch.
func TestFlowExecutor_StopNow(t *testing.T) {
	t.Parallel()
	for _, rt := range []dataflow.Runtime{dataflow.Heartbeat{BatchSize: 10}, dataflow.JobQueue{BatchSize: 10}} {
		t.Run(rt.Type(), func(t *testing.T) {
			t.Parallel()
			onBoth(t, func(t *dbT) {
				t.table("f")
				reached := make(chan struct{})
				client := t.client(&dataflow.Config{Flows: []*dataflow.Flow{flowTo("f", 50, dataflow.Map(func(ctx context.Context, v int) (int, error) {
					if v == 25 {
						close(reached)
						<-ctx.Done()
					}
					return v, ctx.Err()
				}), &dataflow.FlowOptions{Runtime: rt})}})
				released, cancel := client.Subscribe(dataflow.EventRunReleased)
				defer cancel()
				written, cancel := client.Subscribe(dataflow.EventRunProgress)
				defer cancel()
				require.NoError(t, client.Start(t.Context()))
				_, err := client.Trigger(t.Context(), "f", &dataflow.TriggerOptions{At: time.Unix(1, 0)})
				require.NoError(t, err)
				receive(t, reached)
				receive(t, written)
				receive(t, written) // the batch before may be written meanwhile
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				err = client.Stop(ctx)
				require.ErrorIs(t, err, context.Canceled)
				requirePublic(t, err)
				run := receive(t, released).Run
				require.Equal(t, dataflow.RunPending, run.State)
				require.Zero(t, run.Attempt)
				require.Equal(t, int64(20), run.Counters.Written)
				t.requireExactly("f", 20)
			})
		})
	}
}

// Two clients cannot work two runs of a flow at the same time. The second run waits.
func TestFlowExecutor_OneAtATime(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.table("f")
		reached, release := make(chan struct{}), make(chan struct{})
		var once sync.Once
		flow := func() *dataflow.Flow {
			return flowTo("f", 5, dataflow.Map(func(_ context.Context, v int) (int, error) {
				once.Do(func() { close(reached); <-release })
				return v, nil
			}), nil)
		}
		one, two := t.registered(flow()), t.registered(flow())
		var runs [2]*dataflow.Run
		for i := range runs {
			var err error
			runs[i], err = one.Trigger(t.Context(), "f", &dataflow.TriggerOptions{At: time.Unix(int64(i+1), 0)})
			require.NoError(t, err)
		}
		done := make(chan error, 1)
		go func() {
			_, err := dataflow.NewFlowExecutor(one).Execute(t.Context(), runs[0].ID)
			done <- err
		}()
		receive(t, reached)
		for range 3 {
			for _, run := range runs {
				after, err := dataflow.NewFlowExecutor(two).Execute(t.Context(), run.ID)
				require.ErrorIs(t, err, dataflow.ErrAlreadyRunning)
				requirePublic(t, err)
				require.Equal(t, run == runs[1], after.State == dataflow.RunPending)
			}
			waiting, err := t.execute(two, "f")
			require.ErrorIs(t, err, dataflow.ErrAlreadyRunning)
			require.Equal(t, dataflow.RunPending, waiting.State)
			require.Equal(t, int64(3), t.number("select count(*) from dataflow_run"))
		}
		require.Equal(t, int64(1), t.number("select count(*) from dataflow_run where state = 'in_progress'"))
		close(release)
		require.NoError(t, receive(t, done))
		run, err := dataflow.NewFlowExecutor(two).Execute(t.Context(), runs[1].ID)
		require.NoError(t, err)
		require.Equal(t, dataflow.RunSuccess, run.State)
		require.Equal(t, 1, run.Attempt)
		require.Len(t, t.tick(two), 1)
		t.requireExactly("f", 5)
	})
}

// A source is read no further when its attempt is over, however it ended.
func TestFlowExecutor_SourceEnds(t *testing.T) {
	t.Parallel()
	for name, transform := range map[string]dataflow.Transform[int, int]{
		"Error": broken(),
		"Panic": dataflow.Map(func(context.Context, int) (int, error) { panic(errBroken) }),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := sqlite(t, migratedFile(t))
			db.table("f")
			var reading atomic.Int32
			source := readFunc(func(ctx context.Context, r dataflow.Request[int], yield func(dataflow.Item[int, int], error) bool) {
				reading.Add(1)
				defer reading.Add(-1)
				numbers{n: 50}.Read(ctx, r)(yield)
			})
			client := db.registered(dataflow.NewFlow("f", source, transform, appendTo("f"), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 10}}))
			_, err := db.execute(client, "f")
			require.ErrorContains(t, err, errBroken.Error())
			require.Zero(t, reading.Load())
		})
	}
}

// Runs that are executed at the same time are started together, and each caller gets its own.
func TestFlowExecutor_ManyAtOnce(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		const rounds = 3
		flows := 3 // SQLite writes one after the other
		if t.isPostgres {
			flows = 25
		}
		var all []*dataflow.Flow
		for i := range flows {
			all = append(all, dataflow.NewFlow(fmt.Sprintf("f%d", i), numbers{n: 3}, dataflow.Identity[int](), toNothing(), nil))
		}
		client := t.client(&dataflow.Config{Flows: all})
		require.NoError(t, client.Register(t.Context()))
		var mu sync.Mutex // guards seen
		seen := make(map[int64]bool)
		var wg sync.WaitGroup
		for i := range flows {
			wg.Go(func() {
				for range rounds {
					run, err := client.Trigger(t.Context(), fmt.Sprintf("f%d", i), nil)
					if err != nil || run.State != dataflow.RunSuccess || run.FlowName != fmt.Sprintf("f%d", i) {
						t.Errorf("run %+v: %v", run, err)
						return
					}
					mu.Lock()
					seen[run.ID] = true
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		require.Len(t, seen, flows*rounds)
		require.EqualValues(t, flows*rounds, t.number("select count(*) from dataflow_run where state = 'success'"))
	})
}

// Runs of one flow that are executed at the same time go one after the other. Those that had to wait are
// worked by a tick, and none is lost.
func TestFlowExecutor_OneFlowAtOnce(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		var working atomic.Int64
		source := readFunc(func(ctx context.Context, r dataflow.Request[int], yield func(dataflow.Item[int, int], error) bool) {
			if working.Add(1) > 1 {
				t.Error("two runs of the flow at once")
			}
			defer working.Add(-1)
			for item, err := range (numbers{n: 3}).Read(ctx, r) {
				if !yield(item, err) {
					return
				}
			}
		})
		client := t.client(&dataflow.Config{Flows: []*dataflow.Flow{dataflow.NewFlow("a", source, dataflow.Identity[int](), toNothing(), nil)}})
		require.NoError(t, client.Register(t.Context()))
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				run, err := client.Trigger(t.Context(), "a", nil)
				if err != nil && !errors.Is(err, dataflow.ErrAlreadyRunning) || run == nil {
					t.Errorf("run %+v: %v", run, err)
				}
			})
		}
		wg.Wait()
		_, err := client.Tick(t.Context())
		require.NoError(t, err)
		require.Zero(t, t.number("select count(*) from dataflow_run where state <> 'success'"))
	})
}
