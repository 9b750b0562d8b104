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
	require.NoError(t, store.InTx(ctx, func(ctx context.Context, tx dataflow.Tx) error {
		q, err := store.With(tx)
		require.NoError(t, err)
		require.NoError(t, q.DeadLetterInsert(ctx, []*dataflow.DeadLetterRecord{{FlowID: run.FlowID, RunID: run.RunID, Stage: dataflow.StageTransform, Key: "again", Identity: "again", Error: "e", Payload: []byte("1")}}))
		n, err := store.DeadLetterPrune(ctx, &dataflow.PruneParams{DeadLetterAge: -1, OpenDeadLetterAge: 24 * time.Hour, Limit: 10})
		require.NoError(t, err)
		require.EqualValues(t, 1, n)
		return nil
	}))
	var times int
	require.NoError(t, pool.QueryRow(ctx, `select times from dataflow_dead_letter`).Scan(&times))
	require.Equal(t, 2, times)
}

// What is removed is not waited for. A removal that found less than it may remove would end, and
// leave old rows.
func TestPrune_Beside(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	pool := newPool(t, func(config *pgxpool.Config) { config.ConnConfig.RuntimeParams["lock_timeout"] = "10s" })
	store, run := claimed(t, pool)
	_, err := pool.Exec(ctx, `insert into dataflow_tick (flow_id, first_at, last_at, ticks, reason, created_at)
		select $1, t, t, 1, 'overlap', t from generate_series(now() - interval '90 days', now() - interval '85 days', interval '1 day') t`, run.FlowID)
	require.NoError(t, err)
	_, err = pool.Exec(ctx, `insert into dataflow_dead_letter (flow_id, run_id, stage, key, payload, error, created_at)
		select $1, $2, 'transform', 'k', '1', 'e', now() - interval '90 days' from generate_series(1, 6)`, run.FlowID, run.RunID)
	require.NoError(t, err)
	_, err = pool.Exec(ctx, `insert into dataflow_audit (at, actor, action, flow_id, reason) select now() - interval '90 days', 'a', 'pause', $1, '' from generate_series(1, 6)`, run.FlowID)
	require.NoError(t, err)
	p := &dataflow.PruneParams{Age: 24 * time.Hour, OpenDeadLetterAge: 24 * time.Hour, Limit: 4}
	for name, prune := range map[string]func(context.Context, dataflow.Queries) (int64, error){
		"ticks":        func(ctx context.Context, q dataflow.Queries) (int64, error) { return q.TickPrune(ctx, p) },
		"dead letters": func(ctx context.Context, q dataflow.Queries) (int64, error) { return q.DeadLetterPrune(ctx, p) },
		"audit":        func(ctx context.Context, q dataflow.Queries) (int64, error) { return q.AuditPrune(ctx, p) },
	} {
		require.NoError(t, store.InTx(ctx, func(ctx context.Context, tx dataflow.Tx) error {
			q, err := store.With(tx)
			require.NoError(t, err)
			n, err := prune(ctx, q)
			require.NoError(t, err)
			require.EqualValues(t, 4, n, name)
			n, err = prune(ctx, store) // on another connection
			require.NoError(t, err)
			require.EqualValues(t, 2, n, name)
			return nil
		}))
		n, err := prune(ctx, store)
		require.NoError(t, err)
		require.Zero(t, n, name)
	}
}
