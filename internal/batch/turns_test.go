package batch_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/batch"
)

// A slice that is over before the first batch has one batch all the same: each slice gets
// on.
func TestTurns_OverAtOnce(t *testing.T) {
	t.Parallel()
	turns := batch.NewTurns(func() bool { return true })
	require.True(t, turns.MayTransform())
	require.False(t, turns.MayTransform(), "the first is not written yet")
	require.True(t, turns.EndsSlice())
	require.False(t, turns.MayTransform())
}

func TestTurns_NeverOver(t *testing.T) {
	t.Parallel()
	turns := batch.NewTurns(func() bool { return false })
	for range 3 {
		require.True(t, turns.MayTransform())
		require.False(t, turns.EndsSlice())
	}
	require.True(t, turns.MayTransform())
	require.True(t, turns.MayTransform())
}

// When the time is over while the next batch is transformed already, the slice ends with
// that one.
func TestTurns_OverWhileTransforming(t *testing.T) {
	t.Parallel()
	over := false
	turns := batch.NewTurns(func() bool { return over })
	require.True(t, turns.MayTransform())
	require.True(t, turns.MayTransform())
	over = true
	require.False(t, turns.EndsSlice(), "the second is transformed")
	require.False(t, turns.MayTransform())
	require.True(t, turns.EndsSlice())
}

// When the time is over before the next batch is transformed, the slice ends with the one
// that is written.
func TestTurns_OverWhileWriting(t *testing.T) {
	t.Parallel()
	over := false
	turns := batch.NewTurns(func() bool { return over })
	require.True(t, turns.MayTransform())
	over = true
	require.True(t, turns.EndsSlice())
	require.False(t, turns.MayTransform())
}

// With two goroutines, no batch is transformed that is not written, whenever the time is
// over.
func TestTurns_NothingTransformedInVain(t *testing.T) {
	t.Parallel()
	for after := int64(1); after <= 40; after++ {
		synctest.Test(t, func(t *testing.T) {
			var asked atomic.Int64
			turns := batch.NewTurns(func() bool { return asked.Add(1) >= after })
			transformed := 0
			made := batch.Start(t.Context(), func(_ context.Context, hand func(int) bool) error {
				for turns.MayTransform() {
					transformed++
					if !hand(transformed) {
						return nil
					}
				}
				return nil
			})
			written, ends := 0, false
			for !ends {
				b, ok, err := made.Next(t.Context(), nil)
				require.NoError(t, err)
				require.True(t, ok, "the slice ends with a batch")
				written, ends = b, turns.EndsSlice()
			}
			require.True(t, made.Stop(t.Context()))
			require.Equal(t, transformed, written)
		})
	}
}
