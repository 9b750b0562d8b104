package dataflow

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// A slow subscriber loses events, and blocks nobody.
func TestClient_Subscribe_Slow(t *testing.T) {
	t.Parallel()
	client := Client{base: base{config: &Config{}, events: &subscriptions{}}}
	slow, cancel := client.Subscribe()
	other, cancelOther := client.Subscribe(EventRunFailed)
	defer cancelOther()
	for i := range 1500 {
		client.publish(t.Context(), EventRunProgress, &Run{ID: int64(i)}, nil)
	}
	require.Len(t, slow, 1000)
	require.Empty(t, other)
	require.Equal(t, int64(0), (<-slow).Run.ID, "the first ones are kept")
	client.publish(t.Context(), EventRunProgress, &Run{ID: 1500}, nil)
	cancel()
	cancel()
	last := int64(0)
	for e := range slow {
		require.Greater(t, e.Run.ID, last)
		last = e.Run.ID
	}
	require.Equal(t, int64(1500), last)
}

// Subscribing, publishing and cancelling may all happen at once.
func TestClient_Subscribe_AtOnce(t *testing.T) {
	t.Parallel()
	client := Client{base: base{config: &Config{}, events: &subscriptions{}}}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				events, cancel := client.Subscribe()
				client.publish(t.Context(), EventRunStarted, &Run{}, nil)
				<-events
				cancel()
			}
		})
	}
	wg.Wait()
	require.Empty(t, client.events.subs)
}
