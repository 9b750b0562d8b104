package week_test

import (
	"context"
	"sync"
	"time"
)

// clock is a virtual clock that only the test moves. Bodies of runs wait on it.
type clock struct {
	mu      sync.Mutex // guards the fields below
	now     time.Time
	waiting map[*waiter]bool
	inside  int // bodies of live processes that have begun and not ended
}

// waiter is the body of a run that waits on the clock.
type waiter struct {
	until time.Time
	life  *life
	flow  string
	free  chan struct{} // closed when the wait is over
}

// life says whether a process lives.
type life struct {
	id   string
	dead bool // guarded by the clock's mutex
}

func newClock(now time.Time) *clock { return &clock{now: now, waiting: make(map[*waiter]bool)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// set moves the clock, and reports whether that ended the wait of a body.
func (c *clock) set(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = now
	freed := false
	for w := range c.waiting {
		if !w.life.dead && !w.until.After(now) {
			delete(c.waiting, w)
			close(w.free)
			freed = true
		}
	}
	return freed
}

// enter notes that a body has begun, and leave that it has ended.
func (c *clock) enter(l *life) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !l.dead {
		c.inside++
	}
	return c.now
}

func (c *clock) leave(l *life) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !l.dead {
		c.inside--
	}
}

// wait waits until a time, or until ctx is done. Client.Stop too ends ctx. Only then is the run
// handed back: an error of the source's own would be a failure.
func (c *clock) wait(ctx context.Context, l *life, flow string, until time.Time) error {
	w := &waiter{until: until, life: l, flow: flow, free: make(chan struct{})}
	c.mu.Lock()
	if !until.After(c.now) {
		c.mu.Unlock()
		return nil
	}
	c.waiting[w] = true
	c.mu.Unlock()
	select {
	case <-w.free:
		return nil
	case <-ctx.Done():
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.waiting, w)
		return ctx.Err()
	}
}

// still returns how many bodies of live processes wait, and whether all of them do.
func (c *clock) still() (int, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for w := range c.waiting {
		if !w.life.dead {
			n++
		}
	}
	return n, n == c.inside
}

// parked returns how many bodies of a flow wait.
func (c *clock) parked(flow string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for w := range c.waiting {
		if w.flow == flow {
			n++
		}
	}
	return n
}

// kill marks a process as dead. Its bodies go on waiting.
func (c *clock) kill(l *life) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l.dead = true
	for w := range c.waiting {
		if w.life == l {
			c.inside--
		}
	}
}

// bury lets the bodies of dead processes end.
func (c *clock) bury() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for w := range c.waiting {
		if w.life.dead {
			delete(c.waiting, w)
			close(w.free)
		}
	}
}
