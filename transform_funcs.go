package dataflow

import (
	"context"
	"errors"
	"sync"
	"time"
)

// RateLimit passes records on as they are, no more than so many a second in each
// process, for what stands behind it: an API, say. A batch goes on when the time has
// passed that its records may take, counted from the batch before; the time that the
// flow itself takes counts too. The same RateLimit in several flows is one limit for
// all. What is not above 0 is refused by [NewClient].
func RateLimit[T any](perSecond float64) Transform[T, T] {
	return &rateLimit[T]{perSecond: perSecond}
}

type rateLimit[T any] struct {
	perSecond float64

	mu   sync.Mutex // guards free
	free time.Time  // when the records that were passed on have taken their time
}

func (r *rateLimit[T]) Validate() error {
	if r.perSecond > 0 {
		return nil
	}
	return errors.New("RateLimit must be above 0 records a second")
}

func (r *rateLimit[T]) Apply(ctx context.Context, in []T, out *Results[T]) error {
	t := time.NewTimer(r.take(len(in)))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	for i, v := range in {
		out.Emit(i, v)
	}
	return nil
}

// take books the time of n records, and returns how long it is until it has passed.
func (r *rateLimit[T]) take(n int) time.Duration {
	now := time.Now() //nolint:forbidigo // how long it takes, not what time it is
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.free.Before(now) {
		r.free = now
	}
	r.free = r.free.Add(time.Duration(float64(n) / r.perSecond * float64(time.Second)))
	return r.free.Sub(now)
}
