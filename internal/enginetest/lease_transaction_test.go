package enginetest_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// A process that falls silent in a transaction keeps its run locked no longer than its
// lease.
func TestLease_SilentTransaction(t *testing.T) {
	t.Parallel()
	pg := migratedPostgres(t)
	client := pg.registered(pg.numbersFlow("n", numbers{n: 5}, dataflow.Heartbeat{}))
	run, err := client.Trigger(t.Context(), "n", &dataflow.TriggerOptions{At: time.Unix(1, 0)})
	require.NoError(t, err)
	store, err := pg.driver.Store(dataflow.StoreOptions{Lease: time.Second})
	require.NoError(t, err)
	err = store.InTx(t.Context(), func(ctx context.Context, tx dataflow.Tx) error {
		q, err := store.With(tx)
		require.NoError(t, err)
		claim, err := q.RunClaim(ctx, &dataflow.RunClaimParams{RunID: run.ID, Worker: "silent", Lease: time.Second})
		require.NoError(t, err)
		require.NotNil(t, claim)
		_, err = client.Tick(ctx) // does not get the lock before the server has broken this transaction
		require.NoError(t, err)
		return nil
	})
	require.Equal(t, dataflow.FaultUnavailable, store.Classify(err), "%v", err)
	run, err = pg.wait(client, run.ID)
	require.NoError(t, err)
	require.NotEqual(t, "silent", run.Worker)
	pg.exactly(5)
}
