package batch

import "context"

// Turnstile lets the first batches of an attempt through one by one: the next one is neither
// read nor transformed before the one before it is committed. The zero value and nil let all
// through. Wait may be called beside Pass and Open, which belong to one goroutine.
type Turnstile struct {
	passed []chan struct{} // one for each of the first batches, closed when it is committed
	next   int             // how many are closed
}

// NewTurnstile returns a Turnstile for the first n batches.
func NewTurnstile(n int) *Turnstile {
	t := &Turnstile{passed: make([]chan struct{}, n)}
	for i := range t.passed {
		t.passed[i] = make(chan struct{})
	}
	return t
}

// Wait waits until batch number is committed, if it is one of the first ones. The first batch
// is number 1. It reports false if ctx is done before that.
func (t *Turnstile) Wait(ctx context.Context, number int) bool {
	if t == nil || number > len(t.passed) {
		return true
	}
	select {
	case <-t.passed[number-1]:
		return true
	case <-ctx.Done():
		return false
	}
}

// Pass notes that a batch is committed.
func (t *Turnstile) Pass() {
	if t.Open() {
		return
	}
	close(t.passed[t.next])
	t.next++
}

// Open reports whether all batches get through from here on.
func (t *Turnstile) Open() bool { return t == nil || t.next == len(t.passed) }
