package dataflow_test

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// errAway is what a database says that cannot be reached.
var errAway = errors.New("the database is away")

// losesAnswer loses the answer to the commit of one batch, and is away for the
// next transactions.
type losesAnswer struct {
	dataflow.Driver
	commit atomic.Int64 // which commit it is, counted down
	away   atomic.Int64 // how many transactions then fail
}

type losesAnswerStore struct {
	dataflow.Store
	driver *losesAnswer
}

func (d *losesAnswer) Store(opts dataflow.StoreOptions) (dataflow.Store, error) {
	s, err := d.Driver.Store(opts)
	return losesAnswerStore{Store: s, driver: d}, err
}

func (s losesAnswerStore) InTx(ctx context.Context, fn func(ctx context.Context, tx dataflow.Tx) error) error {
	if s.driver.commit.Load() <= 0 && s.driver.away.Add(-1) >= 0 {
		return errAway
	}
	err := s.Store.InTx(ctx, fn)
	if err == nil && s.driver.commit.Add(-1) == 0 {
		return errAway
	}
	return err
}

func (s losesAnswerStore) Classify(err error) dataflow.Fault {
	if errors.Is(err, errAway) {
		return dataflow.FaultUnavailable
	}
	return s.Store.Classify(err)
}

// A commit that went through, whose answer was lost, is not made again, however
// long the database is away then; and the run goes on where it was.
func TestCommit_AnswerLost(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		// The third commit, behind the claim's and that of a batch, is of a batch.
		// The sixth, behind those of four batches, is of the end.
		for _, c := range []struct{ commit, away int64 }{{3, 0}, {3, 1}, {3, 2}, {6, 0}, {6, 1}} {
			require.NoError(t, t.exec("drop table if exists numbers"))
			require.NoError(t, t.exec("delete from dataflow_checkpoint"))
			driver := &losesAnswer{Driver: t.driver}
			driver.commit.Store(c.commit)
			driver.away.Store(c.away)
			flow := t.numbersFlow("n", numbers{n: 35}, dataflow.Heartbeat{BatchSize: 10})
			client, err := dataflow.NewClient(driver, &dataflow.Config{Flows: []*dataflow.Flow{flow}, Logger: slog.New(slog.DiscardHandler)})
			require.NoError(t, err)
			require.NoError(t, client.Register(t.Context()))
			run, err := t.execute(client, "n")
			require.NoError(t, err)
			require.Equal(t, dataflow.RunSuccess, run.State)
			require.Equal(t, dataflow.Counters{Read: 35, Written: 35}, run.Counters)
			require.Equal(t, int64(1), run.LeaseNumber)
			require.Empty(t, run.Errors)
			require.Negative(t, driver.away.Load(), "it was away")
			t.exactly(35)
		}
	})
}
