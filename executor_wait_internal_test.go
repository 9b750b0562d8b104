package dataflow

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A batch that has waited for long enough, and could not end, ends at the next resume
// point, though it is not full.
func TestWaitingBatch_Due(t *testing.T) {
	t.Parallel()
	handed := []int{}
	w := &waitingBatch[int, int]{
		batchReader: &batchReader[int, int]{size: newBatchSize(100, true), wait: time.Hour},
		hand:        func(b *readBatch[int, int]) bool { handed = append(handed, b.rows...); return true },
		timer:       time.NewTimer(time.Hour),
	}
	w.b = w.next()
	take := func(n int, resume bool) {
		t.Helper()
		done, err := w.take(t.Context(), readItem[int, int]{item: Item[int, int]{Value: n, Cursor: n, Resume: resume}})
		require.NoError(t, err)
		require.False(t, done)
	}
	take(1, false)
	w.due = true
	require.True(t, w.cut())
	take(2, false)
	require.Empty(t, handed)
	take(3, true)
	require.Equal(t, []int{1, 2, 3}, handed)
	require.False(t, w.due)
	take(4, true)
	require.Equal(t, []int{1, 2, 3}, handed, "the next one waits for itself")
	w.due = true
	require.True(t, w.cut())
	require.Equal(t, []int{1, 2, 3, 4}, handed)
}
