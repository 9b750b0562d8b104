package batch_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/batch"
)

// bubbleT is a test in a synctest bubble: synctest.Wait returns when every
// goroutine is blocked, and a goroutine that outlives the test fails it.
type bubbleT struct{ *testing.T }

func bubble(t *testing.T, fn func(t *bubbleT)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		t.Helper()
		fn(&bubbleT{t})
	})
}

// count hands over 1 to n and returns err.
func count(n int, err error) func(ctx context.Context, hand func(int) bool) error {
	return func(ctx context.Context, hand func(int) bool) error {
		for i := 1; i <= n; i++ {
			if !hand(i) {
				return ctx.Err()
			}
		}
		return err
	}
}

func (t *bubbleT) requireNext(a *batch.Ahead[int], want int) {
	t.Helper()
	b, ok, err := a.Next(t.Context(), nil)
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, want, b)
}

func (t *bubbleT) requireEnd(a *batch.Ahead[int], want error) {
	t.Helper()
	b, ok, err := a.Next(t.Context(), nil)
	require.Equal(t, want, err)
	require.False(t, ok)
	require.Zero(t, b)
}

func TestAhead(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *bubbleT) {
		a := batch.Start(t.Context(), count(1000, nil))
		for i := 1; i <= 1000; i++ {
			t.requireNext(a, i)
		}
		t.requireEnd(a, nil)
		t.requireEnd(a, nil)
		require.True(t, a.Stop(t.Context()))
	})
}

// The producer makes exactly one batch more than the consumer has taken.
func TestAhead_AtMostOneAhead(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *bubbleT) {
		made := 0
		a := batch.Start(t.Context(), func(_ context.Context, hand func(int) bool) error {
			for {
				made++
				if !hand(made) {
					return nil
				}
			}
		})
		for taken := range 5 {
			synctest.Wait()
			require.Equal(t, taken+1, made)
			t.requireNext(a, taken+1)
		}
		synctest.Wait()
		require.Equal(t, 6, made)
		require.True(t, a.Stop(t.Context()))
		require.Equal(t, 6, made)
	})
}

// While the consumer works, the producer does too.
func TestAhead_Overlaps(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *bubbleT) {
		begin, done := make(chan struct{}), make(chan struct{})
		a := batch.Start(t.Context(), func(_ context.Context, hand func(int) bool) error {
			hand(1)
			close(begin)
			<-done // closed by the consumer once it has the first batch
			hand(2)
			return nil
		})
		t.requireNext(a, 1)
		<-begin
		close(done)
		t.requireNext(a, 2)
		t.requireEnd(a, nil)
	})
}

func TestAhead_NothingMade(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *bubbleT) {
		t.requireEnd(batch.Start(t.Context(), count(0, nil)), nil)
	})
}

// The consumer gets every batch that was made before the error.
func TestAhead_Error(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *bubbleT) {
		boom := errors.New("boom")
		a := batch.Start(t.Context(), count(2, boom))
		t.requireNext(a, 1)
		t.requireNext(a, 2)
		t.requireEnd(a, boom)
		t.requireEnd(a, boom)
		require.True(t, a.Stop(t.Context()))
	})
}

func TestAhead_StopWhileHandingOver(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *bubbleT) {
		refused := false
		a := batch.Start(t.Context(), func(ctx context.Context, hand func(int) bool) error {
			refused = !hand(1)
			require.Error(t, ctx.Err())
			refused = refused && !hand(2)
			return ctx.Err()
		})
		synctest.Wait()
		require.True(t, a.Stop(t.Context()))
		require.True(t, refused)
		require.True(t, a.Stop(t.Context()), "Stop can be called again")
		t.requireEnd(a, context.Canceled)
	})
}

func TestAhead_StopWhileMaking(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *bubbleT) {
		a := batch.Start(t.Context(), func(ctx context.Context, _ func(int) bool) error {
			<-ctx.Done()
			return ctx.Err()
		})
		synctest.Wait()
		require.True(t, a.Stop(t.Context()))
	})
}

// Stop waits no longer than its context, and can be called again.
func TestAhead_StopIgnored(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *bubbleT) {
		release := make(chan struct{})
		a := batch.Start(t.Context(), func(context.Context, func(int) bool) error {
			<-release
			return nil
		})
		patience, cancel := context.WithCancel(t.Context())
		stopped := make(chan bool)
		go func() { stopped <- a.Stop(patience) }()
		synctest.Wait()
		select {
		case <-stopped:
			require.Fail(t, "Stop did not wait")
		default:
		}
		cancel()
		require.False(t, <-stopped)
		close(release)
		require.True(t, a.Stop(t.Context()))
	})
}

func TestAhead_NextIsCancelled(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *bubbleT) {
		boom := errors.New("boom")
		a := batch.Start(t.Context(), func(ctx context.Context, _ func(int) bool) error {
			<-ctx.Done()
			return ctx.Err()
		})
		ctx, cancel := context.WithCancelCause(t.Context())
		result := make(chan error)
		go func() {
			_, ok, err := a.Next(ctx, nil)
			if ok {
				err = nil
			}
			result <- err
		}()
		synctest.Wait()
		cancel(boom)
		require.Equal(t, boom, <-result)
		require.True(t, a.Stop(t.Context()))
	})
}

// Cancelling the context of Start ends the producer.
func TestAhead_StartIsCancelled(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *bubbleT) {
		ctx, cancel := context.WithCancel(t.Context())
		a := batch.Start(ctx, count(10, nil))
		t.requireNext(a, 1)
		synctest.Wait()
		cancel()
		synctest.Wait()
		t.requireEnd(a, context.Canceled)
		require.True(t, a.Stop(t.Context()))
	})
}

// Stop ends a producer that still has batches to hand over.
func TestAhead_StopBeforeTheEnd(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *bubbleT) {
		a := batch.Start(t.Context(), count(10, nil))
		t.requireNext(a, 1)
		require.True(t, a.Stop(t.Context()))
	})
}
