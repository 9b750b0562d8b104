package dataflowpgx_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// An old dead letter is removed while a run keeps its record again. It is young then, and stays.
func TestDeadLetterPrune_KeptAgainMeanwhile(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	pool := newPool(t, func(*pgxpool.Config) {})
	store, run := claimed(t, pool)
	_, err := pool.Exec(ctx, `insert into dataflow_dead_letter (flow_id, run_id, stage, key, payload, error, identity, created_at, last_at)
		select $1, $2, 'transform', k, '1', 'e', k, now() - interval '90 days', now() - interval '90 days' from unnest(array['again', 'old']) k`, run.FlowID, run.RunID)
	require.NoError(t, err)
	type answer struct {
		n   int64
		err error
	}
	pruned := make(chan answer, 1)
	prune := func() {
		n, err := store.DeadLetterPrune(ctx, &dataflow.PruneParams{DeadLetterAge: -1, OpenDeadLetterAge: 24 * time.Hour, Limit: 10})
		pruned <- answer{n, err}
	}
	require.NoError(t, store.InTx(ctx, func(ctx context.Context, tx dataflow.Tx) error {
		q, err := store.With(tx)
		require.NoError(t, err)
		require.NoError(t, q.DeadLetterInsert(ctx, []*dataflow.DeadLetterRecord{{FlowID: run.FlowID, RunID: run.RunID, Stage: dataflow.StageTransform, Key: "again", Identity: "again", Error: "e", Payload: []byte("1")}}))
		go prune()
		require.Eventually(t, func() bool { // it waits for the dead letter
			var waits bool
			err := pool.QueryRow(ctx, `select exists (select from pg_locks l join pg_database d on d.datname = current_database()
				join pg_stat_activity a on a.pid = l.pid and a.datid = d.oid where l.locktype = 'transactionid' and not l.granted)`).Scan(&waits)
			return err == nil && waits
		}, time.Minute, 5*time.Millisecond)
		return nil
	}))
	require.Equal(t, answer{1, nil}, <-pruned)
	var times int
	require.NoError(t, pool.QueryRow(ctx, `select times from dataflow_dead_letter`).Scan(&times))
	require.Equal(t, 2, times)
}
