package dataflowpgx

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/dbtest"
	"github.com/activedataflow/dataflow/internal/pools"
)

// A run's transaction waits for the long transaction of another run, as long as that takes.
// The limit is for connections that nobody accounts for.
func TestBeginTx_LongTransactionOfAnother(t *testing.T) { //nolint:paralleltest // it sets connectionWait
	was := connectionWait
	t.Cleanup(func() { connectionWait = was })
	connectionWait = time.Second
	pool := dbtest.Postgres(t)
	st, err := New(pool).Store(dataflow.StoreOptions{})
	require.NoError(t, err)
	s, ok := st.(*store)
	require.True(t, ok)
	runs, ok := s.ForRuns().(*store)
	require.True(t, ok)
	require.NoError(t, runs.pool.Ping(t.Context())) // so that no connection is made while the test waits
	size := int(runs.reserve.size)
	leave, full := pools.Process.Enter([]pools.Need{{Pool: runs.pool.Pool, Size: size, Held: size - 1, Spare: 1}})
	require.Nil(t, full)
	defer leave()
	end, err := pools.Process.Begin(t.Context(), runs.pool.Pool, size)
	require.NoError(t, err)
	time.AfterFunc(connectionWait*3/2, end)
	tx, ended, err := runs.beginTx(t.Context())
	require.NoError(t, err)
	require.NoError(t, tx.Rollback(t.Context()))
	ended()
}
