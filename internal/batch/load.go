package batch

import (
	"context"
	"runtime"
	"runtime/metrics"
	"sync"
)

// MaxLoad is the estimated weight in bytes from which no more is read until a batch is
// written.
const MaxLoad = 2 * MaxWeight

// Load is the weight of the batches that are read and not yet written. So few heavy batches
// are in memory at once, and one only if it weighs more than MaxLoad. Nil bounds nothing.
// Its methods may be called at the same time.
type Load struct {
	mu      sync.Mutex // guards what follows
	weight  int
	lighter chan struct{} // closed when the weight falls; nil: nobody waits
}

// Add adds a batch that is read.
func (l *Load) Add(weight int) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.weight += weight
}

// Remove removes a batch that is written.
func (l *Load) Remove(weight int) {
	if l == nil || weight == 0 {
		return
	}
	if weight > MaxLoad {
		collect(weight)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.weight -= weight
	if l.lighter != nil {
		close(l.lighter)
		l.lighter = nil
	}
}

// Wait waits until more may be read. It reports false if ctx is done before that.
func (l *Load) Wait(ctx context.Context) bool {
	for {
		lighter := l.heavy()
		if lighter == nil {
			return true
		}
		select {
		case <-lighter:
		case <-ctx.Done():
			return false
		}
	}
}

// heavy returns nil if more may be read, else a channel that is closed when the weight falls.
func (l *Load) heavy() <-chan struct{} {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.weight <= MaxLoad {
		return nil
	}
	if l.lighter == nil {
		l.lighter = make(chan struct{})
	}
	return l.lighter
}

// collect frees the memory of a heavy batch before the next one is read. Otherwise several
// would be garbage at once, as the collector lets the heap double. It does nothing if the
// rest of the heap is much larger: a collection would cost more, and a few batches matter
// less.
func collect(weight int) {
	const share = 16
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	if live[0].Value.Kind() == metrics.KindUint64 && live[0].Value.Uint64() < share*uint64(weight) {
		runtime.GC()
	}
}
