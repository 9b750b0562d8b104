package enginetest_test

import (
	"context"
	"iter"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// A process that was stalled while its lease lapsed goes on with its run if no other
// process took it over.
func TestRescue_Own(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		source := newGated(30, 15)
		client := t.started(t.client(&dataflow.Config{
			Flows: []*dataflow.Flow{t.numbersFlow("n", source, dataflow.Heartbeat{BatchSize: 10})}, Lease: time.Second,
		}))
		run, err := client.Trigger(t.Context(), "n", &dataflow.TriggerOptions{At: time.Unix(1, 0)})
		require.NoError(t, err)
		<-source.reached
		require.NoError(t, t.exec("update dataflow_run set lease_until = '2000-01-01 00:00:00.000'"))
		require.Eventually(t, func() bool {
			return t.number("select count(*) from dataflow_run where lease_until > '2001-01-01 00:00:00'") == 1
		}, patience, 5*time.Millisecond)
		close(source.open)
		run, err = t.wait(client, run.ID)
		require.NoError(t, err)
		require.Equal(t, int64(1), run.LeaseNumber)
		require.Empty(t, run.Errors)
		t.exactly(30)
	})
}

// committed waits until n records are committed.
func (t *dbT) committed(n int64) {
	t.Helper()
	require.Eventually(t, func() bool { return t.number("select max(read) from dataflow_run") == n }, patience, 5*time.Millisecond)
}

// rereading yields numbers, and waits before the 15th in each read.
type rereading struct {
	numbers
	open chan struct{}
}

func (s rereading) Read(ctx context.Context, r dataflow.Request[int]) iter.Seq2[dataflow.Item[int, int], error] {
	return func(yield func(dataflow.Item[int, int], error) bool) {
		for item, err := range s.numbers.Read(ctx, r) {
			if item.Value == 15 {
				select {
				case <-s.open:
				case <-ctx.Done():
					return
				}
			}
			if !yield(item, err) {
				return
			}
		}
	}
}

// slowRenewal delays the answer of the first renewal that finds a lease lost.
type slowRenewal struct {
	dataflow.Driver
	store *slowStore
}

type slowStore struct {
	dataflow.Store
	once        sync.Once
	found, told chan struct{}
}

func (d slowRenewal) Store(opts dataflow.StoreOptions) (_ dataflow.Store, err error) {
	d.store.Store, err = d.Driver.Store(opts)
	return d.store, err
}

func (s *slowStore) RunRenew(ctx context.Context, claims []dataflow.LeaseRef, lease time.Duration) ([]dataflow.LeaseStatus, error) {
	statuses, err := s.Store.RunRenew(ctx, claims, lease)
	if len(statuses) > 0 && !statuses[0].Held {
		s.once.Do(func() { close(s.found); <-s.told })
	}
	return statuses, err
}

// A process that lost a run and claimed it again does not mistake the new claim for the
// lost one.
func TestRenew_ClaimedAgain(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		slow := &slowStore{found: make(chan struct{}), told: make(chan struct{})}
		tell := sync.OnceFunc(func() { close(slow.told) })
		t.Cleanup(tell)
		source := rereading{numbers: numbers{n: 30}, open: make(chan struct{})}
		flows := []*dataflow.Flow{t.numbersFlow("n", source, dataflow.JobQueue{BatchSize: 10})}
		client, err := dataflow.NewClient(slowRenewal{Driver: t.driver, store: slow}, &dataflow.Config{
			Flows: flows, Lease: time.Second, Logger: slog.New(slog.DiscardHandler),
		})
		require.NoError(t, err)
		t.started(client)
		run, err := client.Trigger(t.Context(), "n", nil)
		require.NoError(t, err)
		t.committed(10)
		// Another process puts the run back, and it gets a new job.
		back, err := slow.RunEnd(t.Context(), &dataflow.RunEndParams{RunID: run.ID, FlowID: run.FlowID, LeaseNumber: 1, State: dataflow.RunPending, Refund: true})
		require.NoError(t, err)
		require.NotNil(t, back)
		<-slow.found
		require.Eventually(t, func() bool {
			return t.number("select count(*) from dataflow_run where state = 'in_progress' and lease_no = 2") == 1
		}, patience, 5*time.Millisecond)
		tell()
		close(source.open)
		run, err = t.wait(client, run.ID)
		require.NoError(t, err)
		require.Equal(t, int64(2), run.LeaseNumber)
		t.exactly(30)
	})
}
