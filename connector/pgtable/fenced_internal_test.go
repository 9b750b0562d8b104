package pgtable

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

type fencedRow struct {
	N int64 `db:"n"`
}

// An old claim can write nothing after a newer one, in whatever order they arrive.
func TestUpsertTo_Fence(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	pool := dbtest.Postgres(t)
	_, err := pool.Exec(ctx, `create table numbers (n bigint primary key)`)
	require.NoError(t, err)
	sink := newFenced[fencedRow](pool, newSink[fencedRow]("numbers", true, []string{"n"}))

	state, err := sink.Claim(ctx, "far", 3)
	require.NoError(t, err)
	require.Nil(t, state)
	require.NoError(t, sink.WriteFenced(ctx, dataflow.FencedBatch[fencedRow]{Flow: "far", Fence: 3, State: []byte(`{"cursor": 1.0}`), Rows: []fencedRow{{1}, {2}}}))

	state, err = sink.Claim(ctx, "far", 5)
	require.NoError(t, err)
	require.Equal(t, `{"cursor": 1.0}`, string(state), "to the letter")
	err = sink.WriteFenced(ctx, dataflow.FencedBatch[fencedRow]{Flow: "far", Fence: 3, State: []byte(`{}`), Rows: []fencedRow{{3}}})
	require.ErrorIs(t, err, dataflow.ErrFenced)
	_, err = sink.Claim(ctx, "far", 4)
	require.ErrorIs(t, err, dataflow.ErrFenced)
	require.ErrorContains(t, err, `flow "far"`)

	var n int
	require.NoError(t, pool.QueryRow(ctx, `select count(*) from numbers`).Scan(&n))
	require.Equal(t, 2, n)
	_, err = sink.Claim(ctx, "other", 1)
	require.NoError(t, err, "each flow has a fence of its own")
}

// A process that stops in the middle of a write holds the lock on the checkpoint.
// The server ends its transaction, so that another process can continue.
func TestInsertTo_SilentClient(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	pool := dbtest.Postgres(t)
	_, err := pool.Exec(ctx, `create table numbers (n bigint, patience interval default current_setting('idle_in_transaction_session_timeout')::interval)`)
	require.NoError(t, err)
	sink := newFenced[fencedRow](pool, newSink[fencedRow]("numbers", false, nil))
	_, err = sink.Claim(ctx, "far", 1)
	require.NoError(t, err)
	require.NoError(t, sink.WriteFenced(ctx, dataflow.FencedBatch[fencedRow]{Flow: "far", Fence: 1, State: []byte(`{}`), Rows: []fencedRow{{1}}}))
	var patience, after string
	require.NoError(t, pool.QueryRow(ctx, `select patience::text from numbers`).Scan(&patience))
	require.Equal(t, "00:00:10", patience)
	require.NoError(t, pool.QueryRow(ctx, `show idle_in_transaction_session_timeout`).Scan(&after))
	require.Equal(t, "0", after, "what the user has set for his own transactions")
}
