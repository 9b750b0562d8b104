// Package batch holds the parts of the record loop that know neither records
// nor databases.
package batch

import (
	"context"
	"errors"
)

// Ahead is a producer that runs in a goroutine of its own, at most one batch
// ahead of its consumer: while the consumer works on one batch, the next is
// being made, and waits when it is done.
type Ahead[B any] struct {
	out    chan B
	done   chan struct{}
	cancel context.CancelFunc
	err    error // readable once out is closed
}

// Start runs produce, which hands over its batches one by one, and stops when
// hand returns false. produce must not panic.
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

// ErrInterrupted is returned by Next when there was something else to be done first.
var ErrInterrupted = errors.New("interrupted")

// Next returns the next batch. It returns false when there is none: at the end,
// after an error of the producer, which it returns, when ctx is done, or with
// ErrInterrupted when interrupt is closed first, which may be nil.
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

// Stop tells the producer to end, and waits until it has, or until ctx is done.
// It reports whether the producer has ended.
func (a *Ahead[B]) Stop(ctx context.Context) bool {
	a.cancel()
	select {
	case <-a.done:
		return true
	case <-ctx.Done():
		return false
	}
}
