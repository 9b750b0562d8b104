package batch

import (
	"fmt"
	"runtime/debug"
	"time"
)

// Behind is the mirror of [Ahead]: the commit of one step is on its way while the next
// step is written. At most one step is in flight. S is the step, and A what the database
// answers to its commit.
//
// The zero value is ready, with nothing in flight. Its methods are for one goroutine.
type Behind[S, A any] struct {
	sent *sent[S, A] // nil: nothing is in flight
}

type sent[S, A any] struct {
	step   S
	done   chan struct{} // closed when the answer has come
	answer A             // readable then
	err    error
}

// Send puts a step in flight. Its commit was sent already; answer waits for what comes of
// it, in a goroutine of its own. A panic of answer is a *[PanicError]. Settle must take
// the step before the next is sent.
func (b *Behind[S, A]) Send(step S, answer func() (A, error)) {
	s := &sent[S, A]{step: step, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		defer func() {
			if v := recover(); v != nil {
				s.err = &PanicError{Value: v, Stack: string(debug.Stack())}
			}
		}()
		s.answer, s.err = answer()
	}()
	b.sent = s
}

// InFlight returns the step that was sent and not settled yet, and whether there is one.
func (b *Behind[S, A]) InFlight() (step S, is bool) {
	if b.sent == nil {
		return step, false
	}
	return b.sent.step, true
}

// Done returns a channel that is closed when the answer to the step in flight has come. It
// is nil if nothing is in flight.
func (b *Behind[S, A]) Done() <-chan struct{} {
	if b.sent == nil {
		return nil
	}
	return b.sent.done
}

// Wait waits for the answer for a limited time, and reports whether it has come. It is true
// at once if nothing is in flight.
func (b *Behind[S, A]) Wait(within time.Duration) bool {
	if b.sent == nil {
		return true
	}
	t := time.NewTimer(within)
	defer t.Stop()
	select {
	case <-b.sent.done:
		return true
	case <-t.C:
		return false
	}
}

// Settle waits for the answer without limit, and returns the step and the answer. Nothing
// is in flight then. was is false if nothing was before.
func (b *Behind[S, A]) Settle() (step S, answer A, was bool, err error) {
	s := b.sent
	if s == nil {
		return step, answer, false, nil
	}
	<-s.done
	b.sent = nil
	return s.step, s.answer, true, s.err
}

// PanicError is a panic of the function that waits for an answer.
type PanicError struct {
	Value any
	Stack string
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }
