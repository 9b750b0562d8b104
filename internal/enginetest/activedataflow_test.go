package enginetest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// The defects of the Ruby gem. None may come back. Each test was seen to fail without
// the guard that its comment names.

// tickAll makes each client tick at the same moment.
func tickAll(t *dbT, clients ...*dataflow.Client) {
	t.Helper()
	errs := make([]error, len(clients))
	var wg sync.WaitGroup
	for i, c := range clients {
		wg.Go(func() { _, errs[i] = c.Tick(t.Context()) })
	}
	wg.Wait()
	require.NoError(t, errors.Join(errs...))
}

// Restarts, edits and heartbeats add no runs to the one that a tick has started, and
// an hourly flow makes 24 runs a day.
//
// Guard: Client.replan, which leaves the next tick where it is. (Tried: a tick at each
// registration.)
func TestDefect_PendingRunsMultiply(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		c := newClock()
		flow := func(batch int) *dataflow.Flow {
			return named("orders", dataflow.JobQueue{Interval: time.Hour, BatchSize: batch, Schedule: dataflow.Schedule{Overlap: dataflow.OverlapBufferAll}})
		}
		client := t.onClock(c, flow(1))
		c.advance(time.Hour)
		for range 2 {
			client = t.onClock(c, flow(1)) // a restart
			tickAll(t, client)
		}
		tickAll(t, t.onClock(c, flow(2))) // an edit
		tickAll(t, client)                // a heartbeat
		require.Len(t, t.waiting(client, "orders"), 1)

		c = newClock()
		counted := func() *dataflow.Flow { return named("hourly", dataflow.Heartbeat{Interval: time.Hour}) }
		client = t.onClock(c, counted())
		for range 24 * 4 {
			c.advance(15 * time.Minute)
			tickAll(t, client, t.onClock(c, counted()))
		}
		runs, err := client.Runs(t.Context(), &dataflow.RunListParams{Flow: "hourly"})
		require.NoError(t, err)
		require.Len(t, runs, 24)
		require.Empty(t, t.waiting(client, "hourly"))
	})
}

// A run is worked once, however many heartbeats find it at the same moment.
//
// Guard: "state = 'pending'" in the claim. (Tried: without it.)
func TestDefect_TwoHeartbeatsRunOneRow(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		var worked atomic.Int64
		flow := scheduled(0, dataflow.Schedule{}, func(context.Context) error { worked.Add(1); return nil })
		clients := []*dataflow.Client{t.registered(flow), t.registered(flow), t.registered(flow), t.registered(flow)}
		for round := range int64(10) {
			run, err := clients[0].Enqueue(t.Context(), "f", nil)
			require.NoError(t, err)
			tickAll(t, clients...)
			run, err = t.wait(clients[0], run.ID)
			require.NoError(t, err)
			require.EqualValues(t, 1, run.LeaseNumber)
			require.Equal(t, round+1, worked.Load())
			require.Nil(t, t.claimed(run.ID), "a heartbeat that has found it earlier, and comes late")
		}
	})
}

// The waiting runs of a paused flow are worked neither by a heartbeat nor by a call,
// and its ticks start no runs.
//
// Guard: "f.state = 'active'" in the claim, and plan.idle. (Tried: without each.)
func TestDefect_InactiveFlowsRun(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		c := newClock()
		var worked atomic.Int64
		client := t.onClock(c, scheduled(time.Hour, dataflow.Schedule{}, func(context.Context) error { worked.Add(1); return nil }))
		run, err := client.Enqueue(t.Context(), "f", nil)
		require.NoError(t, err)
		_, err = client.Pause(t.Context(), "f", "ann", "")
		require.NoError(t, err)
		for range 3 {
			c.advance(time.Hour)
			tickAll(t, client)
		}
		_, err = dataflow.NewFlowExecutor(client).Execute(t.Context(), run.ID)
		require.ErrorIs(t, err, dataflow.ErrDisabled)
		_, err = client.Enqueue(t.Context(), "f", nil)
		require.ErrorIs(t, err, dataflow.ErrDisabled)
		require.Zero(t, worked.Load())
		require.EqualValues(t, 1, t.number("select count(*) from dataflow_run"))
		require.Equal(t, []string{"0-0 3 paused"}, t.skipped(client))
	})
}

// The cursor is where the rows end, even if a batch breaks after its rows were written,
// or the checkpoint itself breaks.
//
// Guard: the one transaction of attempt.commit. (Tried: the error of write ignored.)
func TestDefect_CursorApartFromRows(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.table("f")
		batches := 0
		sink := dataflow.TxSinkFunc[int](func(ctx context.Context, rows []int) error {
			if err := insertInto(ctx, "f", rows); err != nil {
				return err
			}
			if batches++; batches%3 == 0 {
				return errBroken
			}
			return nil
		})
		client := t.registered(dataflow.NewFlow("f", numbers{n: 50}, dataflow.Identity[int](), dataflow.ToTx(sink),
			&dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 7}, MaxAttempts: 1}))
		for state := dataflow.RunFailed; state != dataflow.RunSuccess; {
			run, _ := t.execute(client, "f")
			state = run.State
			require.Equal(t, t.text("select cursor from dataflow_checkpoint"), fmt.Sprint(t.number("select max(n) from f")))
		}
		t.requireExactly("f", 50)
		require.Greater(t, t.number("select count(*) from dataflow_run"), int64(1))
	})
}

// A run whose process died goes on in another.
//
// Guard: Client.rescue. (Tried: without it.)
func TestDefect_InProgressForEver(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		client := t.registered(t.numbersFlow("n", numbers{n: 25}, dataflow.Heartbeat{}))
		run, err := client.Enqueue(t.Context(), "n", nil)
		require.NoError(t, err)
		t.abandoned(run.ID)
		require.Eventually(t, func() bool { // as soon as the lease has lapsed
			tickAll(t, client)
			run, err = client.Run(t.Context(), run.ID)
			return err == nil && run.State != dataflow.RunInProgress
		}, patience, time.Millisecond)
		require.Equal(t, dataflow.RunSuccess, run.State)
		t.exactly(25)
	})
}

// The catch-up policy decides about work that came due while no process was there, and
// every tick is accounted for.
//
// Guard: Client.replan, which settles due ticks only if the ticks have changed. (Tried:
// always.)
func TestDefect_OverdueWorkVanishes(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		c := newClock()
		t.onClock(c, hb(time.Hour, dataflow.Schedule{}))
		waiting, err := t.onClock(c, hb(time.Hour, dataflow.Schedule{})).Trigger(t.Context(), "f", &dataflow.TriggerOptions{At: someTime.Add(time.Minute)})
		require.NoError(t, err)
		c.advance(3*time.Hour + 30*time.Minute) // from 04:05 to 07:35
		client := t.onClock(c, hb(time.Hour, dataflow.Schedule{}))
		require.Equal(t, dataflow.RunPending, t.waiting(client, "f")[0].State)
		for range 3 { // one after the other
			tickAll(t, client)
		}
		run, err := client.Run(t.Context(), waiting.ID)
		require.NoError(t, err)
		require.Equal(t, dataflow.RunSuccess, run.State)
		ticks, err := client.Runs(t.Context(), &dataflow.RunListParams{Trigger: dataflow.TriggerSchedule})
		require.NoError(t, err)
		ledger, err := client.SkippedTicks(t.Context(), nil)
		require.NoError(t, err)
		count := int64(len(ticks))
		for _, s := range ledger {
			count += s.Count
		}
		require.EqualValues(t, 3, count, "05:00, 06:00 and 07:00")
		require.Contains(t, t.skipped(client)[0], "2 missed")
	})
}

// Ticks stay on the grid, however long runs take and however late heartbeats come.
//
// Guard: plan.next. (Tried: an interval from now on.)
func TestDefect_IntervalDrifts(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		c := newClock()
		client := t.onClock(c, scheduled(10*time.Minute, dataflow.Schedule{}, func(context.Context) error { c.advance(7*time.Minute + time.Second); return nil }))
		for range 20 {
			c.advance(11*time.Minute + 13*time.Second)
			tickAll(t, client)
		}
		runs, err := client.Runs(t.Context(), nil)
		require.NoError(t, err)
		require.Greater(t, len(runs), 10)
		for _, run := range runs {
			require.Zero(t, run.ScheduledFor.UnixNano()%int64(10*time.Minute), "%s", run.ScheduledFor)
		}
	})
}

// fill sets every exported field of a struct to something other than its zero value.
func fill(v reflect.Value) {
	for i := range v.NumField() {
		if !v.Type().Field(i).IsExported() {
			continue
		}
		switch f := v.Field(i); f.Interface().(type) {
		case time.Time:
			f.Set(reflect.ValueOf(someTime))
		case time.Duration:
			f.SetInt(int64(90 * time.Second))
		case bool:
			f.SetBool(true)
		case int:
			f.SetInt(3)
		case dataflow.Overlap:
			f.SetString(string(dataflow.OverlapBufferAll))
		case dataflow.CatchUp:
			f.SetString(string(dataflow.CatchUpAll))
		case dataflow.Schedule:
			fill(f)
		case string:
			f.SetString("etl")
		default:
			panic("no value for " + v.Type().Field(i).Name)
		}
	}
}

// Every setting of a Runtime survives the way to JSON and back, including one that is
// added later.
//
// Guard: scheduleJSON and its like. (Tried: without catch_up_max, and without queue.)
func TestDefect_RoundTripLosesSettings(t *testing.T) {
	t.Parallel()
	var h dataflow.Heartbeat
	var j dataflow.JobQueue
	fill(reflect.ValueOf(&h).Elem())
	fill(reflect.ValueOf(&j).Elem())
	for _, rt := range []dataflow.Runtime{h, j} {
		data, err := json.Marshal(rt)
		require.NoError(t, err)
		back := reflect.New(reflect.TypeOf(rt))
		require.NoError(t, json.Unmarshal(data, back.Interface()))
		require.Equal(t, rt, back.Elem().Interface(), "%s", data)
	}
}

// What somebody has paused stays paused when a process starts.
//
// Guard: the statement of FlowUpsert, which has no state. (Tried: with it.)
func TestDefect_PausedFlowsComeBackAtBoot(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		client := t.registered(hb(time.Hour, dataflow.Schedule{}))
		_, err := client.Pause(t.Context(), "f", "ann", "the disk is full")
		require.NoError(t, err)
		for _, interval := range []time.Duration{time.Hour, time.Minute} { // unchanged, and another
			client = t.started(t.client(&dataflow.Config{Flows: []*dataflow.Flow{hb(interval, dataflow.Schedule{})}}))
			f, err := client.Flow(t.Context(), "f")
			require.NoError(t, err)
			require.Equal(t, dataflow.FlowInactive, f.State)
			require.Equal(t, "the disk is full", f.StateReason)
			t.stop(client)
		}
		require.Zero(t, t.number("select count(*) from dataflow_run"))
	})
}

// The name of a class or a type in the database is looked up among the known names, and
// instantiates nothing. The flow can be shown and is not worked. Other flows are.
//
// Guard: parseRuntime, which returns an error for an unknown name. (Tried: a Heartbeat
// for it.)
func TestDefect_ClassNameFromTheDatabaseIsInstantiated(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"Kernel", "ActiveDataFlow::Runtime::Kernel", "dataflow.Heartbeat", "*exec.Cmd", "Heartbeat", " "} {
		for _, key := range []string{"class_name", "type"} {
			data, err := json.Marshal(map[string]string{key: name})
			require.NoError(t, err)
			_, err = dataflow.ParseRuntime(data, nil)
			require.ErrorIs(t, err, dataflow.ErrUnknownType, "%s", data)
		}
	}
	onBoth(t, func(t *dbT) {
		var worked atomic.Int64
		flow := scheduled(0, dataflow.Schedule{}, func(context.Context) error { worked.Add(1); return nil })
		client := t.registered(flow, named("fine", nil))
		bad, err := client.Enqueue(t.Context(), "f", nil)
		require.NoError(t, err)
		fine, err := client.Enqueue(t.Context(), "fine", nil)
		require.NoError(t, err)
		require.NoError(t, t.exec(`update dataflow_flow set runtime = '{"class_name":"Kernel"}' where name = 'f'`))
		stranger := t.client(&dataflow.Config{Flows: []*dataflow.Flow{named("fine", nil)}})
		f, err := stranger.Flow(t.Context(), "f")
		require.NoError(t, err)
		require.Equal(t, "unknown", f.Runtime.Type())
		_, err = f.Runtime.Execute(t.Context(), f)
		require.ErrorIs(t, err, dataflow.ErrUnknownType)
		require.NoError(t, stranger.Register(t.Context()))
		tickAll(t, stranger)
		_, err = dataflow.NewFlowExecutor(t.client(&dataflow.Config{Flows: []*dataflow.Flow{flow}})).Execute(t.Context(), bad.ID)
		require.ErrorIs(t, err, dataflow.ErrUnknownType)
		require.Zero(t, worked.Load())
		_, err = t.wait(stranger, fine.ID)
		require.NoError(t, err)
	})
}
