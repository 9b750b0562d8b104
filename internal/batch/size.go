package batch

import (
	"sync/atomic"
	"time"
)

// How an automatic batch size moves. It begins small, so that the first checkpoint
// comes soon. It grows while batches are quick, because each batch costs a commit.
const (
	minSize   = 100
	maxSize   = 10_000                 // beyond that, the commit's share is lost in the noise
	quickTook = 250 * time.Millisecond // a batch that took less lets the size grow
	slowTook  = time.Second            // a batch that took more lets it shrink
)

// MaxWeight is the estimated weight in bytes at which a batch ends, unless the user has
// set the batch size. [Load] bounds how many such batches are in memory.
const MaxWeight = 4 << 20

// Size is how many records a batch should hold. One goroutine reads it while another
// moves it.
type Size struct {
	size  atomic.Int64
	auto  bool // the user has not set it, and so batches also end by weight
	fixed bool // it does not move
}

// NewSize returns the size that the user has set; 0 is automatic. An automatic size
// moves, unless fixed is not 0: then it stays at fixed.
func NewSize(set, fixed int) *Size {
	s := &Size{auto: set == 0, fixed: set != 0 || fixed != 0}
	switch {
	case set != 0:
		s.size.Store(int64(set))
	case fixed != 0:
		s.size.Store(int64(fixed))
	default:
		s.size.Store(minSize)
	}
	return s
}

// Full reports whether a batch of so many records, with an estimated weight, should end.
func (s *Size) Full(records, weight int) bool {
	return int64(records) >= s.size.Load() || s.auto && weight > MaxWeight
}

// Weighs reports whether batches end by weight, and so records must be weighed by a
// [Weigher]. They need not if the user has set the size.
func (s *Size) Weighs() bool { return s.auto }

// Learn moves the size after a batch of so many records was committed. took is the longest
// of three times: to read the batch, to transform it, and to write and commit it.
func (s *Size) Learn(records int, took time.Duration) {
	size := s.size.Load()
	switch {
	case s.fixed:
	case took > slowTook:
		s.size.Store(max(size/2, minSize))
	case took < quickTook && int64(records) >= size:
		s.size.Store(min(2*size, maxSize))
	}
}
