package enginetest_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// slowCommit learns of the commit of a slice's end only after the leases were renewed,
// unless its context ends before.
type slowCommit struct {
	dataflow.Driver
	slices atomic.Int64 // how many slices have ended
}

type slowCommitStore struct {
	dataflow.Store
	driver  *slowCommit
	renewed chan struct{}
}

func (d *slowCommit) Store(opts dataflow.StoreOptions) (dataflow.Store, error) {
	s, err := d.Driver.Store(opts)
	return &slowCommitStore{Store: s, driver: d, renewed: make(chan struct{}, 100)}, err
}

type slowCommitTx struct {
	dataflow.Tx
	ended bool
}

func (s *slowCommitStore) InTx(ctx context.Context, fn func(ctx context.Context, tx dataflow.Tx) error) error {
	own := &slowCommitTx{}
	err := s.Store.InTx(ctx, func(ctx context.Context, tx dataflow.Tx) error {
		own.Tx = tx
		return fn(ctx, own)
	})
	if err != nil || !own.ended {
		return err
	}
	s.driver.slices.Add(1)
	for len(s.renewed) > 0 {
		<-s.renewed
	}
	for range 2 { // The first may have begun before the commit.
		select {
		case <-s.renewed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return ctx.Err()
}

func (s *slowCommitStore) With(tx dataflow.Tx) (dataflow.Queries, error) {
	q, err := s.Store.With(tx)
	if own, ok := tx.(*slowCommitTx); ok {
		return slowCommitQueries{Queries: q, tx: own}, err
	}
	return q, err
}

func (s *slowCommitStore) RunRenew(ctx context.Context, claims []dataflow.LeaseRef, lease time.Duration) ([]dataflow.LeaseStatus, error) {
	statuses, err := s.Store.RunRenew(ctx, claims, lease)
	s.renewed <- struct{}{}
	return statuses, err
}

type slowCommitQueries struct {
	dataflow.Queries
	tx *slowCommitTx
}

func (q slowCommitQueries) RunEnd(ctx context.Context, p *dataflow.RunEndParams) (*dataflow.Run, error) {
	q.tx.ended = p.State == dataflow.RunPending
	return q.Queries.RunEnd(ctx, p)
}

// A slice that has handed its run over does not take itself for fenced, however late it
// learns of its commit.
func TestSlice_NotFenced(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		out := newLogs()
		slow := &slowCommit{Driver: t.driver}
		client, err := dataflow.NewClient(slow, &dataflow.Config{
			Flows: []*dataflow.Flow{t.numbersFlow("n", numbers{n: 30}, dataflow.JobQueue{BatchSize: 10})},
			Lease: time.Second, Slice: time.Nanosecond, MaxWorkers: 1, Logger: out.logger(),
		})
		require.NoError(t, err)
		t.started(client)
		run, err := client.Trigger(t.Context(), "n", nil)
		require.NoError(t, err)
		_, err = t.wait(client, run.ID)
		require.NoError(t, err)
		t.exactly(30)
		require.Len(t, out.lines("handed back unfinished"), int(slow.slices.Load()))
		require.Empty(t, out.lines("taken over"))
	})
}

// A run that works again makes the failures before it forgotten, long before it ends.
func TestSlice_ForgetsFailures(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.table("f")
		var broken atomic.Bool
		broken.Store(true)
		mend := dataflow.Map(func(_ context.Context, v int) (int, error) {
			if broken.Load() {
				return 0, dataflow.Permanent(errors.New("it is broken"))
			}
			return v, nil
		})
		client := t.started(t.client(&dataflow.Config{
			Flows: []*dataflow.Flow{flowTo("f", 50_000, mend, &dataflow.FlowOptions{Runtime: dataflow.JobQueue{BatchSize: 1}})},
			Slice: time.Millisecond,
		}))
		for range 2 {
			run, err := client.Trigger(t.Context(), "f", nil)
			require.NoError(t, err)
			_, err = t.wait(client, run.ID)
			require.Error(t, err)
		}
		flow, err := client.Flow(t.Context(), "f")
		require.NoError(t, err)
		require.Equal(t, 2, flow.Failures)
		broken.Store(false)
		run, err := client.Trigger(t.Context(), "f", nil)
		require.NoError(t, err)
		require.Eventually(t, func() bool {
			flow, err = client.Flow(t.Context(), "f")
			require.NoError(t, err)
			return flow.Failures == 0
		}, time.Minute, 10*time.Millisecond)
		require.Empty(t, flow.LastError)
		require.Nil(t, flow.LastSuccessAt, "the run has not ended")
		_, err = client.Cancel(t.Context(), run.ID, "test", "enough")
		require.NoError(t, err)
	})
}
