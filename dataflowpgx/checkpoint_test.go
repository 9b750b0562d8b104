package dataflowpgx_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowpgx"
)

// claimed returns a migrated store, and the first checkpoint of a claimed run.
func claimed(t *testing.T, pool *pgxpool.Pool) (dataflow.Store, *dataflow.RunCheckpointParams) {
	t.Helper()
	store := newStore(t, pool)
	require.NoError(t, store.Migrate(t.Context()))
	flows, err := store.FlowUpsert(t.Context(), &dataflow.FlowDefinition{Name: "orders", Source: []byte("{}"), Sink: []byte("{}"), Runtime: []byte("{}")})
	require.NoError(t, err)
	flow := flows[0]
	run, err := store.RunInsert(t.Context(), &dataflow.RunInsertParams{FlowID: flow.ID, Trigger: dataflow.TriggerManual, MaxAttempts: 1})
	require.NoError(t, err)
	var claim *dataflow.Claim
	require.NoError(t, store.InTx(t.Context(), func(ctx context.Context, tx dataflow.Tx) error {
		q, err := store.With(tx)
		require.NoError(t, err)
		claim, err = q.RunClaim(ctx, &dataflow.RunClaimParams{RunID: run.ID, Worker: "w", Lease: time.Minute})
		return err
	}))
	require.NotNil(t, claim)
	return store, &dataflow.RunCheckpointParams{
		RunID: run.ID, FlowID: flow.ID, LeaseNumber: claim.Run.LeaseNumber, Seq: claim.Seq, Cursor: []byte(`7`), Lease: time.Minute,
	}
}

// commitOf calls do in a transaction, and commits it with the checkpoint.
func commitOf(t *testing.T, store dataflow.Store, p *dataflow.RunCheckpointParams, do func(tx pgx.Tx) error) (dataflow.LeaseStatus, error) {
	t.Helper()
	ctx, end, err := store.(dataflow.CheckpointCommitter).BeginCheckpoint(t.Context()) //nolint:forcetypeassert // it is that of this package
	require.NoError(t, err)
	tx, ok := dataflowpgx.TxFrom(ctx)
	require.True(t, ok)
	if err := do(tx); err != nil {
		return dataflow.LeaseStatus{}, end.Rollback(ctx, err)
	}
	return end.Commit(ctx, p)()
}

// commit makes the checkpoint in a transaction that has executed something.
func commit(t *testing.T, store dataflow.Store, p *dataflow.RunCheckpointParams, do string) (dataflow.LeaseStatus, error) {
	t.Helper()
	return commitOf(t, store, p, func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), do)
		return err
	})
}

// In every query mode of pgx, a checkpoint with a sequence number that is used up prevents
// the commit that is sent after it, and the connection is reused.
func TestCheckpointTx_Modes(t *testing.T) {
	t.Parallel()
	for _, mode := range []pgx.QueryExecMode{
		pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol,
	} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			var notices atomic.Int64
			pool := newPool(t, func(config *pgxpool.Config) {
				config.ConnConfig.DefaultQueryExecMode, config.MaxConns = mode, 2
				config.ConnConfig.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
					if n.Code == "25P01" { // no_active_sql_transaction
						notices.Add(1)
					}
				}
			})
			store, p := claimed(t, pool)
			_, err := pool.Exec(t.Context(), "create table facts (n int)")
			require.NoError(t, err)
			conns := pool.Stat().NewConnsCount()
			for range 3 {
				status, err := commit(t, store, p, "insert into facts values (1)")
				require.NoError(t, err)
				require.True(t, status.Held)
				status, err = commit(t, store, p, "insert into facts values (-1)")
				require.NoError(t, err)
				require.False(t, status.Held, "its sequence number is used up")
				p.Seq++
			}
			require.Zero(t, notices.Load(), "nothing is sent after the commit")
			require.Zero(t, pool.Stat().AcquiredConns())
			require.LessOrEqual(t, pool.Stat().NewConnsCount(), max(conns, 2))
			var rows, sum int
			require.NoError(t, pool.QueryRow(t.Context(), "select count(*), sum(n) from facts").Scan(&rows, &sum))
			require.Equal(t, []int{3, 3}, []int{rows, sum})
		})
	}
}

// The statements are prepared once, and not again for each commit.
func TestCheckpointTx_Prepared(t *testing.T) {
	t.Parallel()
	pool := newPool(t, func(config *pgxpool.Config) { config.MaxConns = 1 })
	store, p := claimed(t, pool)
	prepared := func() []string {
		rows, err := pool.Query(t.Context(), "select name || prepare_time from pg_prepared_statements where statement like 'commit%' or statement like 'with %' order by name")
		require.NoError(t, err)
		names, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		return names
	}
	var before []string
	for i := range 3 {
		_, err := commit(t, store, p, "select 1")
		require.NoError(t, err)
		p.Seq++
		if i == 0 {
			before = prepared()
			require.Len(t, before, 3)
		}
	}
	require.Equal(t, before, prepared())
}

// A constraint violation at the commit is an error of the data, and the connection can be
// used again.
func TestCheckpointTx_Deferred(t *testing.T) {
	t.Parallel()
	pool := newPool(t, func(config *pgxpool.Config) { config.MaxConns = 1 })
	store, p := claimed(t, pool)
	_, err := pool.Exec(t.Context(), "create table facts (n int unique deferrable initially deferred)")
	require.NoError(t, err)
	_, err = commit(t, store, p, "insert into facts values (1), (1)")
	require.ErrorContains(t, err, "commit transaction: ")
	require.Equal(t, dataflow.FaultData, store.Classify(err))
	status, err := commit(t, store, p, "insert into facts values (1)")
	require.NoError(t, err)
	require.True(t, status.Held, "nothing of the failed commit remains")
}

// A connection that breaks at the commit is a transient fault. The caller has to find out
// whether the commit took place.
func TestCheckpointTx_ConnectionBreaks(t *testing.T) {
	t.Parallel()
	pool := newPool(t, func(*pgxpool.Config) {})
	store, p := claimed(t, pool)
	_, err := commitOf(t, store, p, func(tx pgx.Tx) error { return tx.Conn().PgConn().Conn().Close() })
	require.Error(t, err)
	require.Equal(t, dataflow.FaultUnavailable, store.Classify(err))
	status, err := commit(t, store, p, "select 1")
	require.NoError(t, err)
	require.True(t, status.Held)
}

// A sink that hides the error of a failed statement does not get its transaction committed.
func TestCheckpointTx_Spoilt(t *testing.T) {
	t.Parallel()
	store, p := claimed(t, newPool(t, func(*pgxpool.Config) {}))
	_, err := commitOf(t, store, p, func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), "select 1/0")
		require.Error(t, err)
		return nil
	})
	var pe *pgconn.PgError
	require.ErrorAs(t, err, &pe)
	require.Equal(t, "25P02", pe.Code)
	status, err := commit(t, store, p, "select 1")
	require.NoError(t, err)
	require.True(t, status.Held)
}
