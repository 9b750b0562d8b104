package enginetest_test

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// A stopping client does not wait for its sources. The run goes on elsewhere, and
// spends no attempt.
func TestStop_WaitingForTheSource(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		for _, rt := range []dataflow.Runtime{dataflow.Heartbeat{BatchSize: 10}, dataflow.JobQueue{BatchSize: 10}} {
			name := rt.Type()
			require.NoError(t, t.exec("drop table if exists numbers"))
			source := newGated(35, 25)
			flow := t.numbersFlow(name, source, rt)
			client := t.client(&dataflow.Config{Flows: []*dataflow.Flow{flow}})
			require.NoError(t, client.Start(t.Context()))
			run, err := client.Trigger(t.Context(), name, &dataflow.TriggerOptions{At: time.Unix(1, 0)})
			require.NoError(t, err)
			<-source.reached

			require.NoError(t, client.Stop(context.WithoutCancel(t.Context())))
			run, err = client.Run(t.Context(), run.ID)
			require.NoError(t, err)
			require.Equal(t, dataflow.RunPending, run.State)
			require.Zero(t, run.Attempt)
			require.Empty(t, run.Errors)

			close(source.open)
			next := t.client(&dataflow.Config{Flows: []*dataflow.Flow{flow}})
			require.NoError(t, next.Start(t.Context()))
			run, err = t.wait(next, run.ID)
			require.NoError(t, err)
			require.NoError(t, next.Stop(context.WithoutCancel(t.Context())))
			require.Equal(t, 1, run.Attempt)
			require.Equal(t, int64(35), run.Counters.Written)
			t.exactly(35)
		}
	})
}

// stopWithin stops a client with a deadline, and checks that Stop keeps it though something in it
// waits for ever. A slow machine may be late.
func (t *dbT) stopWithin(client *dataflow.Client, d time.Duration) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), d)
	t.Cleanup(cancel)
	done := make(chan error, 1)
	began := time.Now()
	go func() { done <- client.Stop(ctx) }()
	err := receive(t, done)
	require.Less(t, time.Since(began), d+20*time.Second)
	return err
}

// A transform that ignores its context is left running at the deadline. Its run is
// handed back.
func TestStop_DeafTransform(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		for _, rt := range []dataflow.Runtime{dataflow.Heartbeat{BatchSize: 10}, dataflow.JobQueue{BatchSize: 10}} {
			name := rt.Type()
			require.NoError(t, t.exec("drop table if exists numbers"))
			require.NoError(t, t.exec("create table numbers (n integer)"))
			tr := deafTransform{reached: make(chan struct{}), open: make(chan struct{})}
			deaf := dataflow.NewFlow(name, numbers{n: 30}, tr, appendTo("numbers"), &dataflow.FlowOptions{Runtime: rt})
			client := t.client(&dataflow.Config{Flows: []*dataflow.Flow{deaf}})
			require.NoError(t, client.Start(t.Context()))
			run, err := client.Trigger(t.Context(), name, &dataflow.TriggerOptions{At: time.Unix(1, 0)})
			require.NoError(t, err)
			<-tr.reached

			err = t.stopWithin(client, 5*time.Second)
			require.ErrorContains(t, err, "its code ignores its context")
			require.ErrorContains(t, err, name)
			run, err = client.Run(t.Context(), run.ID)
			require.NoError(t, err)
			require.Equal(t, dataflow.RunPending, run.State)
			require.Zero(t, run.Attempt)

			next := t.client(&dataflow.Config{Flows: []*dataflow.Flow{t.numbersFlow(name, numbers{n: 30}, rt)}})
			require.NoError(t, next.Start(t.Context()))
			_, err = t.wait(next, run.ID)
			require.NoError(t, err)
			close(tr.open) // the old attempt wakes up, and can commit nothing
			require.NoError(t, next.Stop(context.WithoutCancel(t.Context())))
			require.NoError(t, client.Stop(context.WithoutCancel(t.Context())), "it has ended now")
			t.exactly(30)
		}
	})
}

// A source that ignores its context is left running too.
func TestStop_DeafSource(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		for _, rt := range []dataflow.Runtime{dataflow.Heartbeat{BatchSize: 10}, dataflow.JobQueue{BatchSize: 10}} {
			name := rt.Type()
			require.NoError(t, t.exec("drop table if exists numbers"))
			source := newGated(35, 25)
			source.deaf = true
			client := t.client(&dataflow.Config{Flows: []*dataflow.Flow{t.numbersFlow(name, source, rt)}})
			require.NoError(t, client.Start(t.Context()))
			run, err := client.Trigger(t.Context(), name, &dataflow.TriggerOptions{At: time.Unix(1, 0)})
			require.NoError(t, err)
			<-source.reached

			err = t.stopWithin(client, 5*time.Second)
			require.ErrorContains(t, err, "its code ignores its context")
			run, err = client.Run(t.Context(), run.ID)
			require.NoError(t, err)
			require.Equal(t, dataflow.RunPending, run.State)
			require.Zero(t, run.Attempt)

			next := t.client(&dataflow.Config{Flows: []*dataflow.Flow{t.numbersFlow(name, numbers{n: 35}, rt)}})
			require.NoError(t, next.Start(t.Context()))
			run, err = t.wait(next, run.ID)
			require.NoError(t, err)
			require.Equal(t, 1, run.Attempt)
			close(source.open)
			require.NoError(t, next.Stop(context.WithoutCancel(t.Context())))
			require.NoError(t, client.Stop(context.WithoutCancel(t.Context())), "it has ended now")
			t.exactly(35)
		}
	})
}

// silent is a database whose transactions get no answer, once it is hushed.
type silent struct {
	dataflow.Driver
	hushed atomic.Bool
}

type silentStore struct {
	dataflow.Store
	driver *silent
}

func (d *silent) Store(opts dataflow.StoreOptions) (dataflow.Store, error) {
	s, err := d.Driver.Store(opts)
	return silentStore{Store: s, driver: d}, err
}

func (s silentStore) InTx(ctx context.Context, fn func(ctx context.Context, tx dataflow.Tx) error) error {
	if s.driver.hushed.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	return s.Store.InTx(ctx, fn)
}

// Stop keeps its deadline even if runs cannot be handed back.
func TestStop_SilentDatabase(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		driver := &silent{Driver: t.driver}
		source := newGated(35, 25)
		client, err := dataflow.NewClient(driver, &dataflow.Config{
			Flows: []*dataflow.Flow{t.numbersFlow("n", source, dataflow.Heartbeat{BatchSize: 10})}, Logger: slog.New(slog.DiscardHandler),
		})
		require.NoError(t, err)
		require.NoError(t, client.Start(t.Context()))
		_, err = client.Trigger(t.Context(), "n", &dataflow.TriggerOptions{At: time.Unix(1, 0)})
		require.NoError(t, err)
		<-source.reached
		driver.hushed.Store(true)
		require.ErrorIs(t, t.stopWithin(client, time.Second), context.DeadlineExceeded)
		driver.hushed.Store(false)
		require.NoError(t, client.Stop(context.WithoutCancel(t.Context())))
	})
}

// deafTransform ignores its context.
type deafTransform struct{ reached, open chan struct{} }

func (d deafTransform) Apply(_ context.Context, in []int, out *dataflow.Results[int]) error {
	select {
	case <-d.open:
	default:
		close(d.reached)
		<-d.open
	}
	for i, n := range in {
		out.Emit(i, n)
	}
	return nil
}

// A long run is worked in slices, each a River job of its own.
func TestSlices(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		source := slowNumbers{numbers: numbers{n: 60}, wait: 10 * time.Millisecond}
		flow := t.numbersFlow("long", source, dataflow.JobQueue{BatchSize: 5})
		client := t.started(t.client(&dataflow.Config{Flows: []*dataflow.Flow{flow}, Slice: 200 * time.Millisecond}))
		run, err := client.Trigger(t.Context(), "long", nil)
		require.NoError(t, err)
		first := run.RiverJobID
		run, err = t.wait(client, run.ID)
		require.NoError(t, err)
		require.Equal(t, 1, run.Attempt)
		require.Greater(t, run.RiverJobID, first)
		require.Greater(t, run.LeaseNumber, int64(1))
		require.Equal(t, dataflow.Counters{Read: 60, Written: 60}, run.Counters)
		require.Equal(t, run.LeaseNumber, t.number("select count(*) from river_job"))
		t.exactly(60)
	})
}

// A run whose source has ended needs no further slice.
func TestSlices_End(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		flow := t.numbersFlow("short", slowNumbers{numbers: numbers{n: 13}, wait: time.Millisecond}, dataflow.JobQueue{BatchSize: 5})
		client := t.started(t.client(&dataflow.Config{Flows: []*dataflow.Flow{flow}, Slice: time.Nanosecond}))
		run, err := client.Trigger(t.Context(), "short", nil)
		require.NoError(t, err)
		run, err = t.wait(client, run.ID)
		require.NoError(t, err)
		require.Equal(t, dataflow.Counters{Read: 13, Written: 13}, run.Counters)
		require.Equal(t, int64(3), run.LeaseNumber) // 5, 5 and 3 records
		t.exactly(13)
	})
}

// A source without a cursor is not sliced: the next slice would begin again.
func TestSlices_NoCursor(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.table("whole")
		flow := dataflow.NewFlow("whole", onceNumbers{n: 30}, dataflow.Identity[int](), appendTo("whole"), &dataflow.FlowOptions{Runtime: dataflow.JobQueue{BatchSize: 5}})
		client := t.started(t.client(&dataflow.Config{Flows: []*dataflow.Flow{flow}, Slice: time.Nanosecond}))
		run, err := client.Trigger(t.Context(), "whole", nil)
		require.NoError(t, err)
		run, err = t.wait(client, run.ID)
		require.NoError(t, err)
		require.Equal(t, int64(1), run.LeaseNumber)
		t.requireExactly("whole", 30)
	})
}
