package drivertest

import (
	"context"

	"github.com/riverqueue/river"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

func riverRules() []rule {
	return []rule{
		{name: "Commit", run: riverCommit},
		{name: "Rollback", run: riverRollback},
		{name: "Mismatch", run: riverMismatch},
		{name: "BadConfig", run: riverBadConfig},
	}
}

func (t *test) river() dataflow.River {
	t.Helper()
	rc, err := t.store.River(&river.Config{})
	require.NoError(t, err)
	require.NotNil(t, rc.Unwrap())
	return rc
}

// insertJob inserts a job in a transaction of its own.
func (t *test) insertJob(rc dataflow.River) (id int64, err error) {
	t.Helper()
	err = t.store.InTx(t.Context(), func(ctx context.Context, tx dataflow.Tx) error {
		id, err = rc.InsertTx(ctx, tx, dataflow.DataFlowArgs{RunID: 7}, &river.InsertOpts{Queue: "etl"})
		return err
	})
	return id, err
}

func riverCommit(t *test) {
	id, err := t.insertJob(t.river())
	require.NoError(t, err)
	require.Positive(t, id)
	require.Equal(t, id, t.number("select id from river_job where queue = 'etl'"))
}

// Either both a run and its job exist, or neither.
func riverRollback(t *test) {
	f, rc := t.flow("orders"), t.river()
	t.unchanged(func() {
		err := t.store.InTx(t.Context(), func(ctx context.Context, tx dataflow.Tx) error {
			q, err := t.store.With(tx)
			require.NoError(t, err)
			run, err := q.RunInsert(ctx, &dataflow.RunInsertParams{FlowID: f.ID, Trigger: dataflow.TriggerManual, MaxAttempts: 1})
			require.NoError(t, err)
			id, err := rc.InsertTx(ctx, tx, dataflow.DataFlowArgs{RunID: run.ID}, &river.InsertOpts{})
			require.NoError(t, err)
			require.NoError(t, q.RunSetJob(ctx, run.ID, id, "etl"))
			return errUndo
		})
		require.ErrorIs(t, err, errUndo)
	})
	require.Zero(t, t.number("select count(*) from river_job"))
}

func riverMismatch(t *test) {
	_, err := t.river().InsertTx(t.Context(), foreign{}, dataflow.DataFlowArgs{}, nil)
	require.ErrorIs(t, err, dataflow.ErrTxMismatch)
}

func riverBadConfig(t *test) {
	_, err := t.store.River(&river.Config{MaxAttempts: -1})
	require.Error(t, err)
}
