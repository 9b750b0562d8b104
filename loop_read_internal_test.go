package dataflow

import (
	"context"
	"iter"
	"testing"
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
			r := &batchReader[int, int]{source: source, size: batch.NewSize(set, DefaultBatchSize), wait: wait}
			var sizes []int
			require.NoError(t, r.read(t.Context(), t.Context(), func(b *readBatch[int, int]) bool {
				sizes = append(sizes, b.size())
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
