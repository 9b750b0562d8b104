package dataflow

import (
	"context"
	"iter"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/batch"
)

// A batch that has waited long enough and could not end does so at the next resume
// point, though it is not full. What came after the last resume point begins the next batch.
func TestWaitingBatch_Due(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		items := make(chan Item[int, int])
		r := newReader[int, int](yielded(items), batch.NewSize(100, 0))
		r.wait = time.Hour
		handed := [][]int{}
		done := make(chan error, 1)
		go func() {
			done <- r.read(t.Context(), func(b *readBatch) bool {
				handed = append(handed, slices.Clone(rowsOf[int](b.rows)))
				return true
			})
		}()
		take := func(n int, resume bool) {
			items <- Item[int, int]{Value: n, Cursor: n, Resume: resume}
			synctest.Wait()
		}
		take(1, false)
		time.Sleep(2 * time.Hour) // of the bubble's clock
		take(2, false)
		require.Empty(t, handed)
		take(3, true)
		require.Equal(t, [][]int{{1, 2, 3}}, handed)
		take(4, true)
		require.Len(t, handed, 1, "the next one waits for itself")
		take(5, false)
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Equal(t, [][]int{{1, 2, 3}, {4}}, handed)
		take(6, true)
		require.Len(t, handed, 2)
		close(items)
		require.NoError(t, <-done)
		require.Equal(t, [][]int{{1, 2, 3}, {4}, {5, 6}}, handed)
	})
}

// A batch that waits ends when nobody wants more, though the source blocks.
func TestWaitingBatch_NoMore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		items := make(chan Item[int, int])
		r := newReader[int, int](yielded(items), batch.NewSize(100, 0))
		r.wait = time.Hour
		done := make(chan error, 1)
		go func() { done <- r.read(t.Context(), func(*readBatch) bool { return false }) }()
		items <- Item[int, int]{Value: 1, Cursor: 1, Resume: true}
		require.NoError(t, <-done)
	})
}

// yielded yields what comes, until the channel is closed.
type yielded chan Item[int, int]

func (y yielded) Read(ctx context.Context, _ Request[int]) iter.Seq2[Item[int, int], error] {
	return func(yield func(Item[int, int], error) bool) {
		for {
			select {
			case i, ok := <-y:
				if !ok || !yield(i, nil) {
					return
				}
			case <-ctx.Done():
				yield(Item[int, int]{}, ctx.Err())
				return
			}
		}
	}
}

// In a run that may be poison, nothing is read after the first batch before that batch
// is written.
func TestBatchReader_First(t *testing.T) {
	t.Parallel()
	for _, wait := range []time.Duration{0, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			turnstile := batch.NewTurnstile(1)
			r := newReader[plainRecord, int](plainRecords(5), batch.NewSize(2, 0))
			r.wait, r.turnstile = wait, turnstile
			var sizes []int
			done := make(chan error, 1)
			go func() {
				done <- r.read(t.Context(), func(b *readBatch) bool {
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
