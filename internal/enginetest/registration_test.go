package enginetest_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// named is a flow that has nothing to do.
func named(name string, rt dataflow.Runtime) *dataflow.Flow {
	return dataflow.NewFlow(name, numbers{}, dataflow.Identity[int](), dataflow.ToTx(discard{}), &dataflow.FlowOptions{Runtime: rt})
}

// panicky is a sink that cannot be described.
type panicky struct{ discard }

func (panicky) Describe() dataflow.Description { panic("no description") }

// TestPlan_5_StartUp: a flow that cannot be registered, even one whose code panics,
// does not keep the client from starting and working the others. Its error is kept,
// logged and shown. It is registered as soon as that is possible.
func TestPlan_5_StartUp(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.registered(named("broken", nil))
		require.NoError(t, t.exec(`update dataflow_flow set schedule = '{"interval":"often"}'`))
		panics := dataflow.NewFlow("panics", numbers{}, dataflow.Identity[int](), dataflow.ToTx(panicky{}), nil)
		l := newLogs()
		client := t.client(&dataflow.Config{
			Flows: []*dataflow.Flow{named("broken", nil), panics, named("whole", nil)}, Logger: l.logger(), Lease: time.Second,
		})
		err := client.Register(t.Context())
		requirePublic(t, err)
		require.ErrorContains(t, err, `register flow "broken"`)
		require.ErrorContains(t, err, `register flow "panics"`)
		require.NotContains(t, err.Error(), "whole")

		require.NoError(t, client.Start(t.Context()))
		defer t.stop(client)
		failed := client.RegistrationErrors()
		require.Len(t, failed, 2)
		for name, why := range map[string]string{"broken": "interval", "panics": "no description"} {
			require.ErrorContains(t, failed[name], why)
			requirePublic(t, failed[name])
			require.NotEmpty(t, l.lines("flow="+name))
			codes, text := t.causes(client, name)
			require.Contains(t, codes, dataflow.CauseUnregistered)
			require.Contains(t, text, why)
		}
		run, err := client.Enqueue(t.Context(), "whole", nil)
		require.NoError(t, err)
		_, err = t.wait(client, run.ID)
		require.NoError(t, err)

		require.NoError(t, t.exec(`update dataflow_flow set schedule = '{}'`))
		require.Eventually(t, func() bool { return len(l.lines("flow is registered now")) > 0 }, patience, 10*time.Millisecond)
		require.NotContains(t, client.RegistrationErrors(), "broken")
		require.Error(t, client.RegistrationErrors()["panics"])
		run, err = client.Enqueue(t.Context(), "broken", nil)
		require.NoError(t, err)
		_, err = t.wait(client, run.ID)
		require.NoError(t, err)
	})
}

// A database that is away is an error of Start.
func TestStart_DatabaseAway(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		client := t.client(&dataflow.Config{Flows: []*dataflow.Flow{named("orders", nil)}})
		t.close()
		requirePublic(t, client.Start(t.Context()))
	})
}

// A database that goes away between the check of its schema and the registration is
// an error too.
func TestStart_Cancelled(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		cancelling := dataflow.NewFlow("orders", numbers{}, dataflow.Identity[int](), dataflow.ToTx(describing{func() { cancel() }}), nil)
		err := t.client(&dataflow.Config{Flows: []*dataflow.Flow{cancelling}}).Start(ctx)
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorContains(t, err, "orders")
	})
}

// describing is a sink that calls a function when it is described.
type describing struct{ do func() }

func (describing) WriteTx(context.Context, []int) error { return nil }

func (d describing) Describe() dataflow.Description {
	d.do()
	return dataflow.Description{Type: "describing"}
}

// TestPlan_10_RunAtRegistration: a flow that wants it gets one run when it is first
// stored, whichever process registers it. Registering it again starts none.
func TestPlan_10_RunAtRegistration(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		s := dataflow.Schedule{RunAtRegistration: true}
		for name, rt := range map[string]dataflow.Runtime{
			"hb": dataflow.Heartbeat{Interval: time.Hour, Schedule: s}, "jq": dataflow.JobQueue{Schedule: s}, "off": dataflow.Heartbeat{Disabled: true, Schedule: s},
		} {
			clients := []*dataflow.Client{}
			for range 4 {
				clients = append(clients, t.client(&dataflow.Config{Flows: []*dataflow.Flow{named(name, rt)}}))
			}
			errs := make(chan error)
			for _, client := range clients {
				go func() { errs <- client.Register(t.Context()) }()
			}
			for range clients {
				require.NoError(t, <-errs)
			}
			require.NoError(t, clients[0].Register(t.Context()))
			runs, err := clients[0].Runs(t.Context(), &dataflow.RunListParams{Flow: name})
			require.NoError(t, err)
			if name == "off" {
				require.Empty(t, runs)
				continue
			}
			require.Len(t, runs, 1, name)
			require.Equal(t, dataflow.TriggerRegistration, runs[0].Trigger)
			require.Equal(t, name == "jq", runs[0].RiverJobID != 0)
		}
		client := t.registered(named("later", nil))
		t.registered(named("later", dataflow.Heartbeat{Schedule: s})) // it is stored already
		runs, err := client.Runs(t.Context(), &dataflow.RunListParams{Flow: "later"})
		require.NoError(t, err)
		require.Empty(t, runs)
		// Settings survive the way to JSON and back.
		flow, err := client.Flow(t.Context(), "hb")
		require.NoError(t, err)
		require.Equal(t, dataflow.Heartbeat{Interval: time.Hour, Schedule: s}, flow.Runtime)
	})
}

// tooEarly is a driver whose clients look for a flow before another process stores it.
type tooEarly struct{ dataflow.Driver }

func (d tooEarly) Store(opts dataflow.StoreOptions) (dataflow.Store, error) {
	store, err := d.Driver.Store(opts)
	return tooEarlyStore{store}, err
}

type tooEarlyStore struct{ dataflow.Store }

func (s tooEarlyStore) With(tx dataflow.Tx) (dataflow.Queries, error) {
	q, err := s.Store.With(tx)
	return tooEarlyQueries{q}, err
}

type tooEarlyQueries struct{ dataflow.Queries }

func (tooEarlyQueries) FlowByName(context.Context, string) (*dataflow.FlowRecord, error) {
	return nil, dataflow.ErrNotFound
}

// Two processes both believe that they store the flow first. The second starts no run,
// even if the run of the first is in progress or has ended.
func TestRunAtRegistration_Claimed(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		early := *t
		early.driver = tooEarly{t.driver}
		second := func(ctx context.Context, f *dataflow.Flow) error {
			return early.client(&dataflow.Config{Flows: []*dataflow.Flow{f}}).Register(ctx)
		}
		state := dataflow.RunPending
		var flow *dataflow.Flow
		var client *dataflow.Client
		flow = dataflow.NewFlow("f", numbers{n: 1}, dataflow.Map(func(ctx context.Context, n int) (int, error) {
			runs, err := client.Runs(ctx, nil)
			if err != nil {
				return 0, err
			}
			state = runs[0].State
			return n, second(ctx, flow)
		}), dataflow.ToTx(discard{}), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{Schedule: dataflow.Schedule{RunAtRegistration: true}}})
		client = t.registered(flow)
		runs, err := client.Runs(t.Context(), nil)
		require.NoError(t, err)
		require.Len(t, runs, 1)
		run, err := dataflow.NewFlowExecutor(client).Execute(t.Context(), runs[0].ID)
		require.NoError(t, err)
		require.Equal(t, dataflow.RunSuccess, run.State)
		require.Equal(t, dataflow.RunInProgress, state)
		require.NoError(t, second(t.Context(), flow))
		require.EqualValues(t, 1, t.number("select count(*) from dataflow_run"))
	})
}
