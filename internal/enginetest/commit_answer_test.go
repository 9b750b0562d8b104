package enginetest_test

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// errAway is the error of a database that cannot be reached.
var errAway = errors.New("the database is away")

// losesAnswer loses the answer to the commit of one batch, and is away for the
// next transactions.
type losesAnswer struct {
	dataflow.Driver
	commit atomic.Int64 // which commit it is, counted down
	away   atomic.Int64 // how many transactions then fail
	// together sends checkpoints together with the commit, where the store can.
	together bool
}

type losesAnswerStore struct {
	dataflow.Store
	driver *losesAnswer
}

func (d *losesAnswer) Store(opts dataflow.StoreOptions) (dataflow.Store, error) {
	s, err := d.Driver.Store(opts)
	loses := losesAnswerStore{Store: s, driver: d}
	if together, ok := s.(dataflow.CheckpointCommitter); ok && d.together {
		return losesAnswerCommitter{losesAnswerStore: loses, together: together}, err
	}
	return loses, err
}

func (s losesAnswerStore) InTx(ctx context.Context, fn func(ctx context.Context, tx dataflow.Tx) error) error {
	return s.driver.lose(func() error { return s.Store.InTx(ctx, fn) })
}

func (s losesAnswerStore) EndAndClaim(ctx context.Context, ends []*dataflow.RunEndParams, claims []*dataflow.RunClaimParams) (ended []dataflow.EndAnswer, claimed []dataflow.ClaimAnswer, err error) {
	err = s.driver.lose(func() (err error) { ended, claimed, err = s.Store.EndAndClaim(ctx, ends, claims); return err })
	return ended, claimed, err
}

// lose loses the answer, if this is the commit to lose it.
func (d *losesAnswer) lose(commit func() error) error {
	if d.commit.Load() <= 0 && d.away.Add(-1) >= 0 {
		return errAway
	}
	err := commit()
	if err == nil && d.commit.Add(-1) == 0 {
		return errAway
	}
	return err
}

type losesAnswerCommitter struct {
	losesAnswerStore
	together dataflow.CheckpointCommitter
}

func (s losesAnswerCommitter) BeginCheckpoint(ctx context.Context) (context.Context, dataflow.CheckpointTx, error) {
	ctx, tx, err := s.together.BeginCheckpoint(ctx)
	return ctx, losesAnswerTx{CheckpointTx: tx, driver: s.driver}, err
}

type losesAnswerTx struct {
	dataflow.CheckpointTx
	driver *losesAnswer
}

func (t losesAnswerTx) Commit(ctx context.Context, p *dataflow.RunCheckpointParams) func() (dataflow.LeaseStatus, error) {
	return func() (dataflow.LeaseStatus, error) { return t.commit(ctx, p) }
}

func (t losesAnswerTx) commit(ctx context.Context, p *dataflow.RunCheckpointParams) (status dataflow.LeaseStatus, err error) {
	sent := false
	err = t.driver.lose(func() error {
		sent = true
		status, err = t.CheckpointTx.Commit(ctx, p)()
		return err
	})
	if !sent {
		return status, t.Rollback(ctx, err)
	}
	return status, err
}

func (s losesAnswerStore) Classify(err error) dataflow.Fault {
	if errors.Is(err, errAway) {
		return dataflow.FaultUnavailable
	}
	return s.Store.Classify(err)
}

// A commit that went through, but whose answer was lost, is not repeated, however long
// the database is then away. The run goes on from there.
func TestCommit_AnswerLost(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		// The third commit is a batch's: it comes after the claim's and that of a
		// batch. The sixth ends the run: it comes after those of four batches.
		for _, c := range []struct {
			commit, away int64
			together     bool
		}{{3, 0, false}, {3, 1, false}, {3, 2, false}, {6, 0, false}, {6, 1, false}, {3, 0, true}, {3, 1, true}, {3, 2, true}, {6, 1, true}} {
			require.NoError(t, t.exec("drop table if exists numbers"))
			require.NoError(t, t.exec("delete from dataflow_checkpoint"))
			driver := &losesAnswer{Driver: t.driver, together: c.together}
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
