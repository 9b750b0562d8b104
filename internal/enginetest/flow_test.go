package enginetest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/riverqueue/river/rivertype"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// described is a source, and a sink, that says what it is.
type described struct {
	numbers
	discard
}

func (described) Describe() dataflow.Description {
	return dataflow.Description{Type: "listing", Detail: map[string]any{"path": "a.txt"}}
}

func TestClient_Register(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		client := t.client(&dataflow.Config{CodeVersion: "v1", Flows: []*dataflow.Flow{
			dataflow.NewFlow("plain", numbers{}, dataflow.Identity[int](), dataflow.To(discard{}), nil),
			dataflow.NewFlow("described", described{}, dataflow.Identity[int](), dataflow.ToTx(described{}), &dataflow.FlowOptions{Runtime: dataflow.JobQueue{Priority: 2}}),
		}})
		_, err := client.Flow(t.Context(), "plain")
		require.ErrorIs(t, err, dataflow.ErrNotFound, "it is not registered yet")
		require.EqualError(t, err, `dataflow: get flow "plain": not found: this client has its code, and stores it with Start or Register: call one of them first`)
		_, err = client.Flow(t.Context(), "another")
		require.EqualError(t, err, `dataflow: get flow "another": not found`)
		require.NoError(t, client.Register(t.Context()))

		flow, err := client.Flow(t.Context(), "described")
		require.NoError(t, err)
		require.True(t, flow.Registered())
		require.Same(t, client, flow.Client())
		require.Equal(t, dataflow.JobQueue{Queue: "active_data_flow", Priority: 2}, flow.Runtime)
		require.Equal(t, dataflow.FlowActive, flow.State)
		require.Equal(t, dataflow.ExactlyOnce, flow.Guarantee)
		require.Equal(t, "v1", flow.CodeVersion)
		require.NotEmpty(t, flow.DefinitionHash)
		require.WithinDuration(t, time.Now(), flow.CreatedAt, time.Minute)
		listing := `{"type":"listing","detail":{"path":"a.txt"}}`
		require.JSONEq(t, listing, string(flow.Source))
		require.JSONEq(t, listing, string(flow.Sink))
		runtime := `{"type":"job_queue","queue":"active_data_flow","priority":2,"batch_size":null,"enabled":true,"interval":null}`
		require.JSONEq(t, runtime, string(flow.RuntimeJSON))
		for column, want := range map[string]string{"source": listing, "sink": listing, "runtime": runtime} {
			require.JSONEq(t, want, t.text("select cast("+column+" as text) from dataflow_flow where name = 'described'"))
		}

		plain, err := client.Flow(t.Context(), "plain")
		require.NoError(t, err)
		require.Equal(t, dataflow.AtLeastOnce, plain.Guarantee)
		require.Equal(t, dataflow.Heartbeat{}, plain.Runtime)
		require.JSONEq(t, `{"type":"custom"}`, string(plain.Source))
		require.NotEqual(t, flow.DefinitionHash, plain.DefinitionHash)
	})
}

func TestClient_RegisterAgain(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		flow := func(rt dataflow.Runtime) *dataflow.Flow {
			return dataflow.NewFlow("f", numbers{}, dataflow.Identity[int](), dataflow.ToTx(discard{}), &dataflow.FlowOptions{Runtime: rt})
		}
		client := t.registered(flow(nil))
		first, err := client.Flow(t.Context(), "f")
		require.NoError(t, err)
		paused, err := client.Pause(t.Context(), "f", "ann", "the disk is full")
		require.NoError(t, err)
		require.Equal(t, dataflow.FlowInactive, paused.State)

		require.NoError(t, client.Register(t.Context()))
		t.started(t.client(&dataflow.Config{Flows: []*dataflow.Flow{flow(dataflow.JobQueue{})}}))
		again, err := client.Flow(t.Context(), "f")
		require.NoError(t, err)
		require.Equal(t, first.ID, again.ID)
		require.Equal(t, dataflow.FlowInactive, again.State)
		require.Equal(t, "ann", again.StateBy)
		require.Equal(t, "the disk is full", again.StateReason)
		require.Equal(t, paused.StateAt, again.StateAt)
		require.IsType(t, dataflow.JobQueue{}, again.Runtime)
		require.NotEqual(t, first.DefinitionHash, again.DefinitionHash)
		require.Equal(t, first.CreatedAt, again.CreatedAt)
		require.Equal(t, int64(1), t.number("select count(*) from dataflow_flow"))

		resumed, err := client.Resume(t.Context(), "f", "bob", "")
		require.NoError(t, err)
		require.Equal(t, dataflow.FlowActive, resumed.State)
		require.Equal(t, "bob", resumed.StateBy)
		require.Empty(t, resumed.StateReason)
	})
}

func TestClient_Flows(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		var flows []*dataflow.Flow
		for _, name := range []string{"c", "B", "a", "é", "d"} {
			flows = append(flows, dataflow.NewFlow(name, numbers{}, dataflow.Identity[int](), dataflow.ToTx(discard{}), nil))
		}
		client := t.registered(flows...)
		_, err := client.Pause(t.Context(), "c", "", "")
		require.NoError(t, err)
		stranger := t.client(nil) // has no code
		for name, c := range map[string]struct {
			params *dataflow.FlowListParams
			want   string
		}{
			"All":      {nil, "B a c d é"},
			"Active":   {&dataflow.FlowListParams{State: dataflow.FlowActive}, "B a d é"},
			"Inactive": {&dataflow.FlowListParams{State: dataflow.FlowInactive}, "c"},
			"Page1":    {&dataflow.FlowListParams{Limit: 2}, "B a"},
			"Page2":    {&dataflow.FlowListParams{Limit: 2, After: "a"}, "c d"},
			"Page3":    {&dataflow.FlowListParams{Limit: 2, After: "d"}, "é"},
			"Page4":    {&dataflow.FlowListParams{Limit: 2, After: "é"}, ""},
			"Largest":  {&dataflow.FlowListParams{Limit: 10_000}, "B a c d é"},
		} {
			for _, c2 := range []*dataflow.Client{client, stranger} {
				found, err := c2.Flows(t.Context(), c.params)
				require.NoError(t, err)
				var names []string
				for _, f := range found {
					names = append(names, f.Name)
					require.Equal(t, c2 == client, f.Registered())
				}
				require.Equal(t, c.want, strings.Join(names, " "), name)
			}
		}
		for field, params := range map[string]*dataflow.FlowListParams{
			"Limit: -1 is out of range: use 1 to 10000": {Limit: -1}, "Limit: 10001 is out of range": {Limit: 10_001}, `State: "paused" is not a state of a flow: use active or inactive`: {State: "paused"},
		} {
			_, err := client.Flows(t.Context(), params)
			requirePublic(t, err)
			var ce *dataflow.ConfigError
			require.ErrorAs(t, err, &ce)
			require.ErrorContains(t, err, field)
		}
	})
}

var errBroken = errors.New("out of paper")

// broken is a transform that fails every record.
func broken() dataflow.Transform[int, int] {
	return dataflow.Map(func(context.Context, int) (int, error) { return 0, errBroken })
}

func TestClient_Runs(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.table("one", "two")
		client := t.registered(
			flowTo("one", 3, dataflow.Identity[int](), nil),
			flowTo("two", 3, broken(), &dataflow.FlowOptions{MaxAttempts: 1}),
		)
		success, err := t.execute(client, "one")
		require.NoError(t, err)
		failed, err := t.execute(client, "two")
		require.ErrorIs(t, err, errBroken)
		later, err := client.Trigger(t.Context(), "one", &dataflow.TriggerOptions{At: someTime, Actor: "ann", Reason: "a test"})
		require.NoError(t, err)
		latest, err := client.Trigger(t.Context(), "two", &dataflow.TriggerOptions{At: someTime})
		require.NoError(t, err)
		a, b, c, d := success.ID, failed.ID, later.ID, latest.ID
		for name, c := range map[string]struct {
			params *dataflow.RunListParams
			want   []int64
		}{
			"All":       {nil, []int64{d, c, b, a}},
			"Flow":      {&dataflow.RunListParams{Flow: "one"}, []int64{c, a}},
			"NoFlow":    {&dataflow.RunListParams{Flow: "three"}, []int64{}},
			"State":     {&dataflow.RunListParams{States: []dataflow.RunState{dataflow.RunFailed}}, []int64{b}},
			"States":    {&dataflow.RunListParams{States: []dataflow.RunState{dataflow.RunFailed, dataflow.RunPending}}, []int64{d, c, b}},
			"Trigger":   {&dataflow.RunListParams{Trigger: dataflow.TriggerManual}, []int64{d, c, b, a}},
			"NoTrigger": {&dataflow.RunListParams{Trigger: dataflow.TriggerSchedule}, []int64{}},
			"Page1":     {&dataflow.RunListParams{Limit: 3}, []int64{d, c, b}},
			"Page2":     {&dataflow.RunListParams{Limit: 3, Before: b}, []int64{a}},
			"Page3":     {&dataflow.RunListParams{Limit: 3, Before: a}, []int64{}},
			"Both":      {&dataflow.RunListParams{Flow: "two", States: []dataflow.RunState{dataflow.RunPending}, Before: d + 1, Limit: 10_000}, []int64{d}},
		} {
			runs, err := client.Runs(t.Context(), c.params)
			require.NoError(t, err)
			found := []int64{}
			for _, r := range runs {
				found = append(found, r.ID)
			}
			require.Equal(t, c.want, found, name)
		}
		for text, params := range map[string]*dataflow.RunListParams{
			"Limit: -1 is out of range: use 1 to 10000": {Limit: -1}, "Limit: 10001 is out of range": {Limit: 10_001},
			`States: "done" is not a state of a run: use pending, in_progress, success, failed or cancelled`: {States: []dataflow.RunState{"pending", "done"}},
		} {
			_, err := client.Runs(t.Context(), params)
			requirePublic(t, err)
			var ce *dataflow.ConfigError
			require.ErrorAs(t, err, &ce)
			require.ErrorContains(t, err, text)
		}

		run, err := client.Run(t.Context(), c)
		require.NoError(t, err)
		require.Equal(t, "ann", run.Actor)
		require.Equal(t, "a test", run.Reason)
		require.Equal(t, dataflow.TriggerManual, run.Trigger)
		require.True(t, someTime.Equal(run.ScheduledFor) && someTime.Equal(run.RunAfter))
		require.Equal(t, later, run)
	})
}

func TestClient_NotFound(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		client := t.registered()
		for name, call := range map[string]func() error{
			`get flow "none"`:    func() error { _, err := client.Flow(t.Context(), "none"); return err },
			`pause flow "none"`:  func() error { _, err := client.Pause(t.Context(), "none", "", ""); return err },
			`resume flow "none"`: func() error { _, err := client.Resume(t.Context(), "none", "", ""); return err },
			`flow "none"`:        func() error { _, err := client.Trigger(t.Context(), "none", nil); return err },
			`get run 42`:         func() error { _, err := client.Run(t.Context(), 42); return err },
			`run 42`:             func() error { _, err := client.Progress(t.Context(), 42); return err },
			`wait for run 42`:    func() error { _, err := client.Wait(t.Context(), 42); return err },
			`execute run 42`:     func() error { _, err := dataflow.NewFlowExecutor(client).Execute(t.Context(), 42); return err },
			`trigger flow "none"`: func() (err error) {
				t.inTx(func(tx dataflow.Tx, _ func(string)) bool {
					_, err = client.TriggerTx(t.Context(), tx, "none", nil)
					return false
				})
				return err
			},
		} {
			err := call()
			require.ErrorIs(t, err, dataflow.ErrNotFound, name)
			requirePublic(t, err)
			require.ErrorContains(t, err, name)
		}
	})
}

// A flow that is inactive, or whose Runtime is disabled, starts no run.
func TestFlow_Disabled(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.table("hb", "jq", "hb_off", "jq_off")
		client := t.registered(
			flowTo("hb", 3, dataflow.Identity[int](), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{Interval: time.Hour}}),
			flowTo("jq", 3, dataflow.Identity[int](), &dataflow.FlowOptions{Runtime: dataflow.JobQueue{Interval: time.Hour}}),
			flowTo("hb_off", 3, dataflow.Identity[int](), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{Disabled: true}}),
			flowTo("jq_off", 3, dataflow.Identity[int](), &dataflow.FlowOptions{Runtime: dataflow.JobQueue{Disabled: true}}),
		)
		for _, name := range []string{"hb", "jq"} {
			_, err := client.Pause(t.Context(), name, "ann", "the disk is full")
			require.NoError(t, err)
		}
		flows, err := client.Flows(t.Context(), nil)
		require.NoError(t, err)
		for _, flow := range flows {
			for how, start := range starts(flow) {
				run, err := start(t.Context())
				require.ErrorIs(t, err, dataflow.ErrDisabled, how)
				requirePublic(t, err)
				require.ErrorContains(t, err, fmt.Sprintf("%q", flow.Name))
				require.Nil(t, run)
				if flow.State == dataflow.FlowInactive {
					require.ErrorContains(t, err, "it is paused, by ann: the disk is full")
				} else {
					require.ErrorContains(t, err, "its runtime is")
				}
			}
			t.inTx(func(tx dataflow.Tx, _ func(string)) bool {
				_, err := client.TriggerTx(t.Context(), tx, flow.Name, nil)
				require.ErrorIs(t, err, dataflow.ErrDisabled)
				return true
			})
		}
		require.Zero(t, t.number("select count(*) from dataflow_run"))
		require.Zero(t, t.number("select count(*) from river_job"))
	})
}

// A flow that no client has returned cannot be started.
func TestFlow_NotBound(t *testing.T) {
	t.Parallel()
	for _, rt := range []dataflow.Runtime{dataflow.Heartbeat{}, dataflow.JobQueue{}} {
		flow := dataflow.NewFlow("f", numbers{}, dataflow.Identity[int](), dataflow.ToTx(discard{}), &dataflow.FlowOptions{Runtime: rt})
		for _, f := range []*dataflow.Flow{flow, nil} {
			_, err := rt.Execute(t.Context(), f)
			require.ErrorIs(t, err, dataflow.ErrNotRegistered)
			requirePublic(t, err)
			_, err = rt.ScheduleNext(t.Context(), f, someTime)
			require.ErrorIs(t, err, dataflow.ErrNotRegistered)
		}
	}
}

// A run that got a second job, by Resume, is retried whichever job works it. The other
// job does no harm.
func TestClient_Resume(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.table("f")
		started, release := make(chan struct{}), make(chan struct{})
		transform := func() dataflow.Transform[int, int] {
			var calls atomic.Int64
			return dataflow.Map(func(ctx context.Context, v int) (int, error) {
				if calls.Add(1) > 1 {
					return v, nil
				}
				close(started)
				<-release
				return 0, errBroken
			})
		}
		flow := onQueue("f", transform(), dataflow.FlowOptions{})
		before := t.registered(flow)
		run, err := t.execute(before, "f")
		require.NoError(t, err)
		_, err = before.Pause(t.Context(), "f", "", "")
		require.NoError(t, err)
		_, err = before.Resume(t.Context(), "f", "", "")
		require.NoError(t, err)
		t.requireRows(1, 2)
		second := t.number("select max(id) from river_job")
		require.NoError(t, t.exec(fmt.Sprintf("update river_job set scheduled_at = '2099-01-01' where id = %d", second)))

		j := t.working(flow)
		receive(t, started)
		require.NoError(t, t.exec(fmt.Sprintf("update river_job set state = 'available', scheduled_at = created_at where id = %d", second)))
		require.Equal(t, rivertype.JobStateCompleted, j.next(second).State)
		close(release)
		run, err = t.wait(j.client, run.ID)
		require.NoError(t, err)
		require.Equal(t, 2, run.Attempt)
		t.requireExactly("f", 3)
		require.Equal(t, int64(1), t.number("select count(*) from dataflow_run"))
	})
}

// A job that names no run keeps to the run that it has started.
func TestClient_Resume_JobWithoutRun(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.table("f")
		j := t.working(onQueue("f", failing(1, dataflow.RetryAfter(errBroken, time.Hour)), dataflow.FlowOptions{}))
		flow, err := j.client.Flow(t.Context(), "f")
		require.NoError(t, err)
		id := j.insert(dataflow.DataFlowArgs{FlowID: dataflow.FlowRef(flow.ID)})
		require.Equal(t, rivertype.JobStateRetryable, j.next(id).State)
		_, err = j.client.Pause(t.Context(), "f", "", "")
		require.NoError(t, err)
		_, err = j.client.Resume(t.Context(), "f", "", "")
		require.NoError(t, err)
		t.requireRows(1, 2)

		require.NoError(t, t.exec("update dataflow_run set run_after = created_at"))
		require.NoError(t, t.exec(fmt.Sprintf("update river_job set state = 'available', scheduled_at = created_at where id = %d", id)))
		require.Equal(t, rivertype.JobStateCompleted, j.next(id).State)
		t.requireExactly("f", 3)
		t.requireRows(1, 2)
	})
}
