package keyrange

import (
	"context"
	"time"
)

// pingEvery is how often a server is told that a process is alive. A target's server ends a
// transaction that is silent for 10 s.
const pingEvery = 2 * time.Second

// pinging calls f, and meanwhile ping again and again. An error of ping ends f, and is returned.
func pinging(parent context.Context, ping, f func(ctx context.Context) error) error {
	if ping == nil {
		return f(parent)
	}
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() {
		ticks := time.NewTicker(pingEvery)
		defer ticks.Stop()
		for {
			select {
			case <-stop:
				done <- nil
				return
			case <-ticks.C:
				if err := ping(parent); err != nil { // ctx may end during a ping, which must not break the transaction
					cancel(err)
					done <- err
					return
				}
			}
		}
	}()
	err := f(ctx)
	close(stop)
	if lost := <-done; lost != nil {
		return lost
	}
	return err
}
