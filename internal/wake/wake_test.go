package wake_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/wake"
)

// A failure is told once, however often it comes again, and so is its end.
func TestLoop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		boom := errors.New("boom")
		var changes []error
		tries, ready := 0, 0
		ctx, cancel := context.WithCancel(t.Context())
		var l *wake.Loop
		l = &wake.Loop{
			Listen: func(ctx context.Context, ready func()) error {
				switch tries++; {
				case tries == 1:
					ready()
					require.NoError(t, l.Err())
					return boom
				case tries < 5:
					return boom
				default:
					require.ErrorIs(t, l.Err(), boom)
					ready()
					require.NoError(t, l.Err())
					<-ctx.Done()
					return ctx.Err()
				}
			},
			Ready:   func() { ready++ },
			Changed: func(_ context.Context, err error) { changes = append(changes, err) },
		}
		began := time.Now()
		done := make(chan struct{})
		go func() { l.Run(ctx); close(done) }()
		time.Sleep(time.Minute) // of the bubble
		synctest.Wait()
		require.Equal(t, []error{boom, nil}, changes)
		require.Equal(t, 2, ready)
		require.Equal(t, 5, tries)
		cancel()
		<-done
		require.Equal(t, time.Minute, time.Since(began))
		require.NoError(t, l.Err())
	})
}
