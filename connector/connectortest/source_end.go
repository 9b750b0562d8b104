package connectortest

// How reads end: cancelled, broken off, and without a goroutine that goes on.

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// goroutines requires that nothing goes on after a read.
func (s *sourceSuite[T, C]) goroutines(t *testing.T) {
	t.Helper()
	src := s.Make(t, s.Rows(few))
	requireEnded(t, s.Patience, "reads to the end", func(ctx context.Context, _ int) {
		s.readWith(ctx, t, src, dataflow.Request[C]{}, nil)
	})
	requireEnded(t, s.Patience, "reads that the consumer has left", func(ctx context.Context, _ int) {
		s.readWith(ctx, t, src, dataflow.Request[C]{}, func(int) bool { return false })
	})
	requireEnded(t, s.Patience, "cancelled reads", func(ctx context.Context, _ int) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		s.readWith(ctx, t, src, dataflow.Request[C]{}, func(int) bool { cancel(); return true })
	})
}

func (s *sourceSuite[T, C]) cancelledBefore(t *testing.T) {
	t.Helper()
	src := s.Make(t, s.Rows(few))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	all := s.readWith(ctx, t, src, dataflow.Request[C]{}, nil)
	require.ErrorIs(t, all.err, context.Canceled, "a read with a cancelled context ends with its error")
	s.requireClosed(t, src)
}

func (s *sourceSuite[T, C]) cancelledWithin(t *testing.T) {
	t.Helper()
	src := s.Make(t, s.Rows(s.Many))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	all := s.readWith(ctx, t, src, dataflow.Request[C]{}, func(int) bool { cancel(); return true })
	require.LessOrEqual(t, len(all.items), soon, "the read went on for %d records after its context was cancelled", len(all.items))
	require.ErrorIs(t, all.err, context.Canceled, "a read ends with the context's error")
	s.requireClosed(t, src)
}

func (s *sourceSuite[T, C]) cancelledWaiting(t *testing.T) {
	t.Helper()
	src := s.Waiting(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	all := s.readWith(ctx, t, src, dataflow.Request[C]{}, nil)
	require.Empty(t, all.rows())
	require.ErrorIs(t, all.err, context.DeadlineExceeded, "a read that waits ends with the context's error")
	s.requireClosed(t, src)
}

// breakOff leaves the loop after each record. Go panics if the source then
// continues.
func (s *sourceSuite[T, C]) breakOff(t *testing.T) {
	t.Helper()
	rows := s.Rows(few)
	for n := 1; n <= few; n++ {
		src := s.Make(t, rows)
		all := s.readWith(t.Context(), t, src, dataflow.Request[C]{}, func(read int) bool { return read < n })
		require.NoError(t, all.err)
		require.Equal(t, rows[:n], all.rows())
		s.requireClosed(t, src)
		if !s.ReadOnce { // the next read begins again
			again := s.read(t, src, dataflow.Request[C]{})
			require.NoError(t, again.err)
			require.Equal(t, rows, again.rows())
			s.requireClosed(t, src)
		}
	}
}
