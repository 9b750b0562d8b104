package dataflow

// The gate: everything that works a run passes it, and Stop waits for all of it. It knows
// the words, and the attempts and the River client that it interrupts.

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// gate counts what works runs, and lets nothing more in when Stop has begun.
type gate struct {
	stopping chan struct{} // closed when Stop begins
	working  sync.WaitGroup
	keep     func() (release func()) // a connection beside the pool; nil: there is no pool

	mu      sync.Mutex // guards what follows
	inside  int        // how many have entered and not left
	release func()     // of keep, while there are any
	started bool
	stopped bool
	kill    context.CancelFunc // interrupts what the client's loop works
}

func newGate() *gate { return &gate{stopping: make(chan struct{}), kill: func() {}} }

// open makes the client a started one. It is started once.
func (g *gate) open(kill context.CancelFunc) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stopped {
		return fmt.Errorf("%w: make a new one", ErrStopped)
	}
	if g.started {
		return errors.New("the client is started already")
	}
	g.started, g.kill = true, kill
	return nil
}

// reopen lets a client be started again that could not be.
func (g *gate) reopen() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.started = false
}

// close lets nothing more in, and returns what interrupts the client's loop.
func (g *gate) close() (kill context.CancelFunc) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.stopped {
		g.stopped = true
		close(g.stopping)
	}
	return g.kill
}

func (g *gate) closed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.stopped
}

// enter notes that a run is being worked, so that Stop waits for it. It refuses
// once Stop has begun; otherwise leave must follow.
func (g *gate) enter() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stopped {
		return ErrStopped
	}
	g.working.Add(1)
	if g.inside++; g.inside == 1 && g.keep != nil {
		g.release = g.keep()
	}
	return nil
}

func (g *gate) leave() {
	defer g.working.Done()
	g.mu.Lock()
	g.inside--
	release := g.release
	if g.inside > 0 {
		release = nil
	} else {
		g.release = nil
	}
	g.mu.Unlock()
	if release != nil {
		release() // which may close a connection
	}
}

// wait waits until nothing is worked any more, or returns ctx's error.
func (g *gate) wait(ctx context.Context) error {
	done := make(chan struct{})
	go func() { g.working.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
