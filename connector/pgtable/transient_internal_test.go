package pgtable

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/dbtest"
)

// When a context ends, pgx closes the connection. A statement after that may tell of the
// connection alone.
func TestTransient_ContextEnded(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := transient(ctx, nil, net.ErrClosed)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, net.ErrClosed)
	require.Equal(t, context.Canceled, transient(ctx, nil, context.Canceled))
}

// Some connections of a pool were made after it had left the old primary, and before its address
// moved. They would go on to read there.
func TestLeave_Moved(t *testing.T) {
	t.Parallel()
	pool := dbtest.Postgres(t)
	var both []*pgxpool.Conn
	for range 2 {
		conn, err := pool.Acquire(t.Context())
		require.NoError(t, err)
		both = append(both, conn)
	}
	left.Store(pool, time.Now())
	stayed, moved := both[0], both[1]
	stayed.Release()
	leave(pool, moved.Conn())
	require.Eventually(t, func() bool { return pool.Stat().TotalConns() == 1 }, 20*time.Second, 5*time.Millisecond)
	moved.Release()
	_, again := left.Load(pool)
	require.False(t, again)
}
