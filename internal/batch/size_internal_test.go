package batch

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSize(t *testing.T) {
	t.Parallel()
	t.Run("Automatic", func(t *testing.T) {
		t.Parallel()
		s := NewSize(0, 0)
		require.EqualValues(t, 100, s.size.Load())
		s.Learn(99, time.Millisecond)
		require.EqualValues(t, 100, s.size.Load(), "the source had no more, or the batch was heavy")
		s.Learn(100, quickTook)
		require.EqualValues(t, 100, s.size.Load(), "it was not quick")
		for range 10 {
			s.Learn(int(s.size.Load()), quickTook-1)
		}
		require.EqualValues(t, 10_000, s.size.Load())
		s.Learn(10_000, slowTook+1)
		require.EqualValues(t, 5000, s.size.Load())
		for range 10 {
			s.Learn(1, time.Hour)
		}
		require.EqualValues(t, 100, s.size.Load())
	})
	for name, s := range map[string]*Size{"Set": NewSize(7, 0), "SetAndFixed": NewSize(7, 1000)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s.Learn(7, 0)
			s.Learn(7, time.Hour)
			require.EqualValues(t, 7, s.size.Load())
			require.False(t, s.Full(6, MaxWeight+1), "a set size is not cut by weight")
			require.True(t, s.Full(7, 0))
			require.False(t, s.Weighs())
		})
	}
	t.Run("Fixed", func(t *testing.T) {
		t.Parallel()
		s := NewSize(0, 1000)
		s.Learn(1000, 0)
		s.Learn(1000, time.Hour)
		require.EqualValues(t, 1000, s.size.Load())
		require.False(t, s.Full(999, MaxWeight))
		require.True(t, s.Full(1000, 0))
		require.True(t, s.Full(1, MaxWeight+1), "a batch ends when it is heavy")
		require.True(t, s.Weighs())
	})
}
