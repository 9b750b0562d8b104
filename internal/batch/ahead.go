// Package batch holds the parts of the record loop that know neither records
// nor databases.
package batch

import (
	"context"
	"errors"
)

// Ahead runs a producer in a goroutine of its own, at most one batch ahead of
// its consumer. While the consumer works on one batch, the producer makes the
// next one and then waits.
type Ahead[B any] struct {
	out    chan B
	done   chan struct{}
	cancel context.CancelFunc
	err    error // readable once out is closed
}

// Start runs produce. produce passes its batches to hand one by one, and returns
// when hand returns false. It must not panic.
func Start[B any](ctx context.Context, produce func(ctx context.Context, hand func(B) bool) error) *Ahead[B] {
	ctx, cancel := context.WithCancel(ctx)
	a := &Ahead[B]{out: make(chan B), done: make(chan struct{}), cancel: cancel}
	go func() {
		defer close(a.done)
		defer close(a.out)
		a.err = produce(ctx, func(b B) bool {
			select {
			case a.out <- b:
				return true
			case <-ctx.Done():
				return false
			}
		})
	}()
	return a
}

// ErrInterrupted is returned by Next when its interrupt was closed before a batch was ready.
var ErrInterrupted = errors.New("interrupted")

// Next returns the next batch, or false if it gets none:
//   - at the end, without an error;
//   - after an error of the producer, with that error;
//   - when ctx is done, with its cause;
//   - when interrupt is closed, with ErrInterrupted. interrupt may be nil.
func (a *Ahead[B]) Next(ctx context.Context, interrupt <-chan struct{}) (B, bool, error) {
	var none B
	select {
	case b, ok := <-a.out:
		if ok {
			return b, true, nil
		}
		return none, false, a.err
	case <-interrupt:
		return none, false, ErrInterrupted
	case <-ctx.Done():
		return none, false, context.Cause(ctx)
	}
}

// Batches returns the channel of the batches, for a consumer that waits for something else besides. It
// is closed at the end, and Err says whether that was an error.
func (a *Ahead[B]) Batches() <-chan B { return a.out }

// Err returns the error with which the producer has ended. It may be called once Batches is closed.
func (a *Ahead[B]) Err() error { return a.err }

// Done returns a channel that is closed when the producer has ended.
func (a *Ahead[B]) Done() <-chan struct{} { return a.done }

// Stop cancels the producer and waits until it has ended or ctx is done. It
// reports whether the producer has ended.
func (a *Ahead[B]) Stop(ctx context.Context) bool {
	a.cancel()
	select {
	case <-a.done:
		return true
	case <-ctx.Done():
		return false
	}
}
