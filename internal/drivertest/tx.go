package drivertest

import (
	"context"
	"database/sql"
	"reflect"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

func txRules() []rule {
	return []rule{
		{name: "Commit", run: txCommit},
		{name: "Rollback", run: txRollback},
		{name: "Panic", run: txPanic},
		{name: "CancelledBefore", run: txCancelledBefore},
		{name: "CancelledWithin", run: txCancelledWithin},
		{name: "CancelledAtCommit", run: txCancelledAtCommit},
		{name: "FromContext", run: txFromContext},
		{name: "OfCaller", run: txOfCaller},
		{name: "Mismatch", run: txMismatch},
		{name: "Type", run: txType},
	}
}

// many is more than the connections of a pool, so that a connection that is not returned is
// noticed.
const many = 40

func txCommit(t *test) {
	f := t.flow("orders")
	var run *dataflow.Run
	err := inTx(t.Context(), t.store, func(ctx context.Context, q dataflow.Queries) (err error) {
		if _, err = q.FlowByID(ctx, f.ID); err != nil {
			return err
		}
		run, err = q.RunInsert(ctx, &dataflow.RunInsertParams{FlowID: f.ID, Trigger: dataflow.TriggerManual, MaxAttempts: 1})
		if err != nil {
			return err
		}
		seen, err := q.RunByID(ctx, run.ID)
		require.Equal(t, run, seen, "a transaction sees its own rows")
		return err
	})
	require.NoError(t, err)
	require.Equal(t, run, t.run(run.ID))
}

// insertAnd adds a run in a transaction, and then calls fn in it.
func (t *test) insertAnd(ctx context.Context, f *dataflow.FlowRecord, fn func(ctx context.Context, q dataflow.Queries) error) error {
	return inTx(ctx, t.store, func(ctx context.Context, q dataflow.Queries) error {
		_, err := q.RunInsert(ctx, &dataflow.RunInsertParams{FlowID: f.ID, Trigger: dataflow.TriggerManual, MaxAttempts: 1})
		require.NoError(t, err)
		return fn(ctx, q)
	})
}

func txRollback(t *test) {
	f := t.flow("orders")
	t.unchanged(func() {
		for range many {
			err := t.insertAnd(t.Context(), f, func(context.Context, dataflow.Queries) error { return errUndo })
			require.Equal(t, errUndo, err, "the error is returned unchanged")
		}
	})
}

func txPanic(t *test) {
	f := t.flow("orders")
	t.unchanged(func() {
		for range many {
			require.PanicsWithValue(t, "boom", func() {
				_ = t.insertAnd(t.Context(), f, func(context.Context, dataflow.Queries) error { panic("boom") })
			})
		}
	})
}

func txCancelledBefore(t *test) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := t.store.InTx(ctx, func(context.Context, dataflow.Tx) error {
		require.Fail(t, "called with a context that is done")
		return nil
	})
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "begin transaction")
}

func txCancelledWithin(t *test) {
	f := t.flow("orders")
	t.unchanged(func() {
		for range many {
			ctx, cancel := context.WithCancel(t.Context())
			err := t.insertAnd(ctx, f, func(ctx context.Context, q dataflow.Queries) error {
				cancel()
				_, err := q.FlowByID(ctx, f.ID)
				return err
			})
			require.ErrorIs(t, err, context.Canceled)
		}
	})
}

func txCancelledAtCommit(t *test) {
	f := t.flow("orders")
	t.unchanged(func() {
		for range many {
			ctx, cancel := context.WithCancel(t.Context())
			err := t.insertAnd(ctx, f, func(context.Context, dataflow.Queries) error {
				cancel()
				return nil
			})
			require.ErrorIs(t, err, context.Canceled)
			require.ErrorContains(t, err, "commit transaction")
		}
	})
}

func txFromContext(t *test) {
	const statement = "update dataflow_flow set failures = failures"
	found, err := t.db.ExecTx(t.Context(), statement)
	require.NoError(t, err)
	require.False(t, found)
	var kept context.Context
	require.NoError(t, t.store.InTx(t.Context(), func(ctx context.Context, _ dataflow.Tx) error {
		kept = ctx //nolint:fatcontext // to try it after its transaction has ended
		found, err := t.db.ExecTx(ctx, statement)
		require.True(t, found)
		return err
	}))
	_, err = t.db.ExecTx(kept, statement)
	require.Error(t, err, "its transaction has ended")
}

// In the caller's transaction, queries commit or roll back with it, and do not end it.
func txOfCaller(t *test) {
	f := t.flow("orders")
	for _, commit := range []bool{false, true} {
		tx, end, err := t.db.Begin(t.Context())
		require.NoError(t, err)
		q, err := t.store.With(tx)
		require.NoError(t, err)
		run, err := q.RunInsert(t.Context(), &dataflow.RunInsertParams{FlowID: f.ID, Trigger: dataflow.TriggerManual, MaxAttempts: 1})
		require.NoError(t, err)
		_, err = q.RunByID(t.Context(), run.ID)
		require.NoError(t, err)
		require.NoError(t, end(commit))
		_, err = t.store.RunByID(t.Context(), run.ID)
		require.Equal(t, commit, err == nil)
	}
}

// foreign is a transaction of some other database.
type foreign struct{ tx any }

func (f foreign) Unwrap() any { return f.tx }

func txMismatch(t *test) {
	for _, tx := range []any{nil, 42, (*sql.Tx)(nil), pgx.Tx(nil), foreign{}, &sql.DB{}} {
		q, err := t.store.With(foreign{tx})
		require.ErrorIs(t, err, dataflow.ErrTxMismatch, "%T", tx)
		require.Nil(t, q)
	}
}

func txType(t *test) {
	tx, end, err := t.db.Begin(t.Context())
	require.NoError(t, err)
	require.True(t, reflect.TypeOf(tx.Unwrap()).AssignableTo(t.store.TxType()))
	require.NoError(t, end(false))
}
