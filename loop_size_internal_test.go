package dataflow

import (
	"context"
	"iter"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestBatchSize(t *testing.T) {
	t.Parallel()
	t.Run("Automatic", func(t *testing.T) {
		t.Parallel()
		s := newBatchSize(0, false)
		require.EqualValues(t, 100, s.size.Load())
		s.learn(99, time.Millisecond)
		require.EqualValues(t, 100, s.size.Load(), "the source had no more, or the batch was heavy")
		s.learn(100, quickBatch)
		require.EqualValues(t, 100, s.size.Load(), "it was not quick")
		for range 10 {
			s.learn(int(s.size.Load()), quickBatch-1)
		}
		require.EqualValues(t, 10_000, s.size.Load())
		s.learn(10_000, slowBatch+1)
		require.EqualValues(t, 5000, s.size.Load())
		for range 10 {
			s.learn(1, time.Hour)
		}
		require.EqualValues(t, 100, s.size.Load())
	})
	for name, s := range map[string]*batchSize{"Set": newBatchSize(7, false), "SetAndFixed": newBatchSize(7, true)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s.learn(7, 0)
			s.learn(7, time.Hour)
			require.EqualValues(t, 7, s.size.Load())
			require.False(t, s.auto)
		})
	}
	t.Run("Fixed", func(t *testing.T) {
		t.Parallel()
		s := newBatchSize(0, true)
		s.learn(1000, 0)
		s.learn(1000, time.Hour)
		require.EqualValues(t, DefaultBatchSize, s.size.Load())
		require.True(t, s.auto, "a batch ends when it is heavy")
	})
}

func TestWeigh(t *testing.T) {
	t.Parallel()
	type list struct {
		Name string
		Next *list
	}
	loop := &list{Name: "loop"}
	loop.Next = loop
	long := strings.Repeat("x", 1000)
	for name, tc := range map[string]struct {
		v           any
		least, most int
	}{
		"plain":     {struct{ A, B int }{}, 0, 0},
		"string":    {long, 1000, 1000},
		"bytes":     {make([]byte, 5000), 5000, 5000},
		"pointer":   {&long, 1000, 1100},
		"nil":       {(*string)(nil), 0, 0},
		"strings":   {[]string{long, long}, 2000, 2100},
		"array":     {[2]string{long, long}, 2000, 2000},
		"map":       {map[string]any{"k": long}, 1001, 1100},
		"struct":    {struct{ A any }{[]string{long}}, 1000, 1100},
		"unexp":     {struct{ a string }{long}, 1000, 1000},
		"itself":    {loop, 4, 1000},
		"interface": {[]any{nil, 1, long}, 1000, 1200},
	} {
		got := weigh(reflect.ValueOf(tc.v), weightDepth)
		require.GreaterOrEqual(t, got, tc.least, name)
		require.LessOrEqual(t, got, tc.most, name)
	}
}

// A batch also ends when what is kept of its bad records is too much, unless its size is
// the user's.
func TestBatchReader_HeavyBad(t *testing.T) {
	t.Parallel()
	const kept, records = 64 << 10, 300
	source := badRecords{n: records, raw: make([]byte, kept)}
	for _, wait := range []time.Duration{0, time.Hour} {
		for set, want := range map[int]int{0: greatestWeight/kept + 1, 200: 200} {
			r := &batchReader[int, int]{source: source, size: newBatchSize(set, true), wait: wait}
			var sizes []int
			require.NoError(t, r.read(t.Context(), func(b *readBatch[int, int]) bool {
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

// badRecords yields n bad records, each with so much that is known of it.
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
