package pgtable

import (
	"context"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
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
