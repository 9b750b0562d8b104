package batch

import "sync"

// Turns decides where a slice ends: after a batch whose successor was not transformed
// yet, so that no batch is transformed twice because of slices. One goroutine transforms
// the batches, and hands each to another that writes them, as [Ahead] does: before the
// writer takes a batch, it has counted the one before.
type Turns struct {
	mu          sync.Mutex  // guards what follows, and calls of over
	over        func() bool // reports whether the slice's time is over
	transformed int         // batches that are or were transformed
	written     int         // batches that are or were written
	last        bool        // no other batch is transformed: the slice ends with the last one
}

// NewTurns returns the turns of a slice. over reports whether its time is over; it is
// called by both goroutines, but never at the same time. Once true, it must stay true.
func NewTurns(over func() bool) *Turns { return &Turns{over: over} }

// MayTransform reports whether the next batch may be transformed, and counts it if so. If
// not, the slice ends with the batch before it.
func (t *Turns) MayTransform() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.transformed > t.written && t.over() {
		t.last = true
	}
	if t.last {
		return false
	}
	t.transformed++
	return true
}

// EndsSlice counts the batch that is written next, and reports whether the slice ends with
// it.
func (t *Turns) EndsSlice() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.written++
	if t.written == t.transformed && t.over() {
		t.last = true
	}
	return t.last
}
