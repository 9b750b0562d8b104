package dataflow

import (
	"context"
	"iter"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/batch"
)

// A batch also ends when its bad records take too much memory, unless the user has set the
// batch size.
func TestBatchReader_HeavyBad(t *testing.T) {
	t.Parallel()
	const kept, records = 64 << 10, 300
	source := badRecords{n: records, raw: make([]byte, kept)}
	for _, wait := range []time.Duration{0, time.Hour} {
		for set, want := range map[int]int{0: batch.MaxWeight/kept + 1, 200: 200} {
			r := newReader[int, int](source, batch.NewSize(set, DefaultBatchSize))
			r.wait = wait
			var sizes []int
			require.NoError(t, r.read(t.Context(), func(b *readBatch) bool {
				sizes = append(sizes, b.size())
				r.recycle(b)
				return true
			}))
			require.Equal(t, want, sizes[0])
			sum := 0
			for _, size := range sizes {
				sum += size
			}
			require.Equal(t, records, sum)
		}
	}
}

// newReader returns a reader of all that a source has.
func newReader[T, C any](source Source[T, C], size *batch.Size) *batchReader {
	return newFlowCode(source, nil, Target[T]{}).newReader(size, &Request[C]{})
}

// While heavy batches wait to be written, no more is read than one of them.
func TestBatchReader_Load(t *testing.T) {
	t.Parallel()
	for _, wait := range []time.Duration{0, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			read := 0
			r := newReader(heavyRecords(&read, 50, 1<<20), batch.NewSize(0, DefaultBatchSize))
			r.wait = wait
			handed := make(chan *readBatch, 50)
			done := make(chan error, 1)
			go func() {
				done <- r.read(t.Context(), func(b *readBatch) bool {
					handed <- b
					return true
				})
			}()
			synctest.Wait()
			inMemory := (batch.MaxLoad + batch.MaxWeight) >> 20
			require.Positive(t, read)
			require.LessOrEqual(t, read, inMemory)
			for written := 0; written < 50; {
				b := <-handed
				written += b.count
				r.recycle(b)
				synctest.Wait()
				require.LessOrEqual(t, read-written, inMemory)
			}
			require.NoError(t, <-done)
			require.Equal(t, 50, read)
		})
	}
}

// heavyRecords yields n records of so many bytes, and counts them.
func heavyRecords(read *int, n, bytes int) Source[[]byte, int] {
	return Paged(func(_ context.Context, from int) (Page[[]byte, int], error) {
		*read++
		return Page[[]byte, int]{Rows: [][]byte{make([]byte, bytes)}, Next: from + 1, More: from+1 < n}, nil
	})
}

// badRecords yields n bad records, each with the same raw text.
type badRecords struct {
	n   int
	raw []byte
}

func (b badRecords) Read(context.Context, Request[int]) iter.Seq2[Item[int, int], error] {
	return func(yield func(Item[int, int], error) bool) {
		for i := range b.n {
			if !yield(Item[int, int]{Cursor: i + 1, Resume: true}, &RecordError{Raw: b.raw, Err: ErrNotFound}) {
				return
			}
		}
	}
}
