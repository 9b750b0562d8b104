package batch_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/batch"
)

func TestTurnstile(t *testing.T) {
	t.Parallel()
	done, cancel := context.WithCancel(t.Context())
	cancel()
	s := batch.NewTurnstile(2)
	require.False(t, s.Open())
	require.False(t, s.Wait(done, 1), "the first batch is not committed")
	require.True(t, s.Wait(done, 3), "the batches after the first two do not wait")
	s.Pass()
	require.True(t, s.Wait(t.Context(), 1))
	require.False(t, s.Wait(done, 2))
	require.False(t, s.Open())
	s.Pass()
	require.True(t, s.Wait(t.Context(), 2))
	require.True(t, s.Open())
	s.Pass()
	require.True(t, s.Open())

	var none *batch.Turnstile
	require.True(t, none.Open())
	require.True(t, none.Wait(done, 1))
	none.Pass()
}
