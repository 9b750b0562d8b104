package dataflow

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/batch"
)

// A batch that has waited long enough and could not end does so at the next resume
// point, though it is not full.
func TestWaitingBatch_Due(t *testing.T) {
	t.Parallel()
	handed := []int{}
	w := &waitingBatch[int, int]{
		r:     &batchReader[int, int]{size: batch.NewSize(100, 0), wait: time.Hour},
		hand:  func(b *readBatch[int, int]) bool { handed = append(handed, b.rows...); return true },
		timer: time.NewTimer(time.Hour),
	}
	w.b = w.r.newBatch()
	take := func(n int, resume bool) {
		t.Helper()
		done, err := w.take(t.Context(), readItem[int, int]{item: Item[int, int]{Value: n, Cursor: n, Resume: resume}})
		require.NoError(t, err)
		require.False(t, done)
	}
	take(1, false)
	w.due = true
	require.True(t, w.cut(t.Context()))
	take(2, false)
	require.Empty(t, handed)
	take(3, true)
	require.Equal(t, []int{1, 2, 3}, handed)
	require.False(t, w.due)
	take(4, true)
	require.Equal(t, []int{1, 2, 3}, handed, "the next one waits for itself")
	w.due = true
	require.True(t, w.cut(t.Context()))
	require.Equal(t, []int{1, 2, 3, 4}, handed)
}

// In a run that may be poison, nothing is read after the first batch before that batch
// is written.
func TestBatchReader_First(t *testing.T) {
	t.Parallel()
	for _, wait := range []time.Duration{0, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			turnstile := batch.NewTurnstile(1)
			r := &batchReader[plainRecord, int]{source: plainRecords(5), size: batch.NewSize(2, 0), wait: wait, turnstile: turnstile}
			var sizes []int
			done := make(chan error, 1)
			go func() {
				done <- r.read(t.Context(), t.Context(), func(b *readBatch[plainRecord, int]) bool {
					sizes = append(sizes, b.size())
					return true
				})
			}()
			synctest.Wait()
			require.Equal(t, []int{2}, sizes)
			turnstile.Pass()
			require.NoError(t, <-done)
			require.Equal(t, []int{2, 2, 1}, sizes)
		})
	}
}
