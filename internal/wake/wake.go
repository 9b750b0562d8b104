// Package wake keeps a process listening for what other processes tell it, and says when it
// cannot.
package wake

import (
	"context"
	"sync"
	"time"
)

// The pauses before a connection is tried again.
const (
	firstPause   = 100 * time.Millisecond
	longestPause = 30 * time.Second
)

// Loop listens again and again.
type Loop struct {
	// Listen listens until it fails, or ctx is done. It calls ready once nothing is missed from
	// then on.
	Listen func(ctx context.Context, ready func()) error
	// Ready is called whenever Listen is ready: what was told before may have been missed.
	Ready func()
	// Changed is called when listening has failed, with the reason, and with nil when it works
	// again. It is called once for each change.
	Changed func(ctx context.Context, err error)

	mu  sync.Mutex // guards err
	err error
}

// Run listens until ctx is done.
func (l *Loop) Run(ctx context.Context) {
	pause := firstPause
	for {
		err := l.Listen(ctx, func() {
			pause = firstPause
			l.note(ctx, nil)
			l.Ready()
		})
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			l.note(ctx, err)
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return
		}
		pause = min(2*pause, longestPause)
	}
}

func (l *Loop) note(ctx context.Context, err error) {
	l.mu.Lock()
	changed := (l.err == nil) != (err == nil)
	l.err = err
	l.mu.Unlock()
	if changed {
		l.Changed(ctx, err)
	}
}

// Err says why nothing is heard now. Nil: all is heard, or Run has not failed so far.
func (l *Loop) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}
