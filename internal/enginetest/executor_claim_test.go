package enginetest_test

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// failsTx fails transactions while on is true.
type failsTx struct {
	dataflow.Driver
	on *atomic.Bool
}

type failsTxStore struct {
	dataflow.Store
	on *atomic.Bool
}

func (d failsTx) Store(opts dataflow.StoreOptions) (dataflow.Store, error) {
	s, err := d.Driver.Store(opts)
	return failsTxStore{Store: s, on: d.on}, err
}

func (s failsTxStore) InTx(ctx context.Context, fn func(ctx context.Context, tx dataflow.Tx) error) error {
	if s.on.Load() {
		return errors.New("the claim cannot begin")
	}
	return s.Store.InTx(ctx, fn)
}

func suspects(t *dbT, driver dataflow.Driver) (client *dataflow.Client, sources map[string]*gated, ids map[string]int64) {
	t.Helper()
	sources = map[string]*gated{"a": newGated(20, 5), "b": newGated(20, 5)}
	for _, s := range sources {
		s.deaf = true
	}
	client, err := dataflow.NewClient(driver, &dataflow.Config{Logger: slog.New(slog.DiscardHandler), Flows: []*dataflow.Flow{
		t.numbersFlow("a", sources["a"], dataflow.Heartbeat{BatchSize: 10}),
		t.numbersFlow("b", sources["b"], dataflow.Heartbeat{BatchSize: 10}),
	}})
	require.NoError(t, err)
	require.NoError(t, client.Register(t.Context()))
	ids = make(map[string]int64)
	for name := range sources {
		run, err := client.Trigger(t.Context(), name, &dataflow.TriggerOptions{At: time.Unix(1, 0)})
		require.NoError(t, err)
		ids[name] = run.ID
	}
	require.NoError(t, t.exec("update dataflow_run set rescues = 2"))
	return client, sources, ids
}

// requireWaits checks that a run is refused with ErrAlreadyRunning. If it were worked, it would not
// return: its source waits.
func requireWaits(t *dbT, client *dataflow.Client, id int64, msg string) {
	t.Helper()
	done := make(chan error, 1)
	go func() { _, err := dataflow.NewFlowExecutor(client).Execute(t.Context(), id); done <- err }()
	require.ErrorIs(t, receive(t, done), dataflow.ErrAlreadyRunning, msg)
}

// A second claim of a suspect that fails leaves the first attempt's isolation alone.
func TestExecutor_FailedClaimKeepsIsolation(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		var on atomic.Bool
		client, sources, ids := suspects(t, failsTx{Driver: t.driver, on: &on})
		defer func() { close(sources["a"].open); close(sources["b"].open) }()
		go dataflow.NewFlowExecutor(client).Execute(t.Context(), ids["a"]) //nolint:errcheck // it is left
		receive(t, sources["a"].reached)
		requireWaits(t, client, ids["b"], "before")

		on.Store(true)
		_, err := dataflow.NewFlowExecutor(client).Execute(t.Context(), ids["a"])
		require.Error(t, err)
		on.Store(false)
		requireWaits(t, client, ids["b"], "after a claim of a that failed")
	})
}

// A suspect that was lost and put back is not worked beside its own attempt.
func TestExecutor_LostSuspectKeepsIsolation(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		client, sources, ids := suspects(t, t.driver)
		defer func() { close(sources["a"].open); close(sources["b"].open) }()
		go dataflow.NewFlowExecutor(client).Execute(t.Context(), ids["a"]) //nolint:errcheck // it is left
		receive(t, sources["a"].reached)
		// Another process has put it back, because this one was stalled.
		require.NoError(t, t.exec("update dataflow_run set state = 'pending', worker = '', lease_until = null, slot = null where state = 'in_progress'"))
		requireWaits(t, client, ids["a"], "first try")
		requireWaits(t, client, ids["b"], "the other suspect")
		requireWaits(t, client, ids["a"], "second try")
	})
}

// A job of a run that has ended, or is gone, ends, though the flow's code is nowhere.
func TestDataFlowJob_JobOfEndedRunWithoutCode(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		other := t.registered(t.numbersFlow("n", numbers{n: 5}, dataflow.Heartbeat{}))
		run, err := t.execute(other, "n")
		require.NoError(t, err)
		j := t.working()
		for name, id := range map[string]int64{"ended": run.ID, "gone": run.ID + 1000} {
			job := j.insert(dataflow.DataFlowArgs{FlowID: dataflow.FlowRef(run.FlowID), RunID: id})
			require.Equal(t, rivertype.JobStateCompleted, j.next(job).State, name)
		}
	})
}

// lateStart is a River client whose Start has started it, and has not returned yet.
type lateStart struct {
	dataflow.Driver
	started, open chan struct{}
	stopped       *atomic.Bool
}

type lateStartStore struct {
	dataflow.Store
	d lateStart
}

type lateStartRiver struct {
	dataflow.River
	d lateStart
}

func (d lateStart) Store(opts dataflow.StoreOptions) (dataflow.Store, error) {
	s, err := d.Driver.Store(opts)
	return lateStartStore{Store: s, d: d}, err
}

func (s lateStartStore) River(config *river.Config) (dataflow.River, error) {
	r, err := s.Store.River(config)
	return lateStartRiver{River: r, d: s.d}, err
}

func (r lateStartRiver) Start(ctx context.Context) error {
	err := r.River.Start(ctx)
	close(r.d.started)
	<-r.d.open
	return err
}

func (r lateStartRiver) Stop(ctx context.Context) error {
	err := r.River.Stop(ctx)
	r.d.stopped.Store(true)
	return err
}

// Stop does not return before River's client has stopped, though Start is not done yet.
func TestStop_WhileRiverStarts(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		d := lateStart{Driver: t.driver, started: make(chan struct{}), open: make(chan struct{}), stopped: &atomic.Bool{}}
		client, err := dataflow.NewClient(d, &dataflow.Config{Logger: slog.New(slog.DiscardHandler), River: t.quickRiver(), Flows: []*dataflow.Flow{
			t.numbersFlow("n", numbers{n: 5}, dataflow.JobQueue{}),
		}})
		require.NoError(t, err)
		done := make(chan error, 1)
		go func() { done <- client.Start(t.Context()) }()
		receive(t, d.started)
		t.stop(client)
		stopped := d.stopped.Load()
		close(d.open)
		require.ErrorIs(t, receive(t, done), dataflow.ErrStopped)
		require.True(t, stopped, "Stop has returned nil while River's client was running")
	})
}
