package dataflow

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// What fails again and again is logged at once, then every ten seconds, and when it works again.
func TestTroubles(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		b := base{config: &Config{}, log: slog.New(slog.NewTextHandler(&out, nil))}
		said := make(troubles)
		for range 250 { // 25 s
			said.note(t.Context(), b, "looking", errors.New("no server"))
			said.note(t.Context(), b, "sleeping", nil)
			time.Sleep(100 * time.Millisecond)
		}
		said.note(t.Context(), b, "looking", nil)
		said.note(t.Context(), b, "looking", nil)
		said.note(t.Context(), b, "looking", errors.New("no server"))
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		require.Len(t, lines, 5)
		for i, want := range []string{"looking failed; trying again", "failures=101", "failures=201", "looking works again\" failures=250 after=25s", "looking failed; trying again"} {
			require.Contains(t, lines[i], want)
		}
	})
}

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

// untoldRuns is a store that has one end to tell.
type untoldRuns struct {
	Store
	taken chan struct{}
	done  chan *CallbackDoneParams
}

func (s untoldRuns) CallbackTake(context.Context, *CallbackTakeParams) ([]*CallbackTry, error) {
	select {
	case <-s.taken:
		return []*CallbackTry{{Run: &Run{ID: 7, State: RunFailed}, Tries: 3}}, nil
	default:
		return nil, nil
	}
}

func (s untoldRuns) CallbackDone(_ context.Context, p *CallbackDoneParams) (bool, error) {
	s.done <- p
	return true, nil
}

// A call that hangs is a failed try after a minute. It keeps its place until it returns.
func TestCallbacks_Hangs(t *testing.T) {
	t.Parallel()
	for name, heeds := range map[string]bool{"heeds its context": true, "heeds nothing": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				hook := func(ctx context.Context, _ *Run) error {
					if heeds {
						<-ctx.Done()
						return ctx.Err()
					}
					<-release
					return nil
				}
				s := untoldRuns{taken: make(chan struct{}, 1), done: make(chan *CallbackDoneParams, 1)}
				s.taken <- struct{}{}
				b := base{store: s, log: slog.New(slog.DiscardHandler), config: &Config{OnRunEnded: hook, PollInterval: time.Second}, events: &subscriptions{}}
				c := &callbacks{base: b, gate: newGate(), flows: newRegistry(b, nil, nil)}
				ctx, cancel := context.WithCancel(t.Context())
				began := time.Now()
				go c.poll(ctx)
				p := <-s.done
				require.Equal(t, &CallbackDoneParams{RunID: 7, Tries: 3, Error: p.Error, Delay: 83 * time.Second}, p)
				require.LessOrEqual(t, time.Since(began), time.Minute+time.Second)
				if heeds {
					require.Equal(t, "context deadline exceeded", p.Error)
				} else {
					require.Equal(t, "it has not returned, though its context ended: context deadline exceeded", p.Error)
					require.Equal(t, 1, c.calls)
				}
				close(release)
				synctest.Wait()
				require.Zero(t, c.calls)
				cancel()
			})
		})
	}
}
