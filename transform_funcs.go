package dataflow

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Map turns each record into one other. An error of f fails the record. [Skip] leaves
// it out. Unless it is given to [Parallel], f is called for one record after the other.
func Map[In, Out any](f func(ctx context.Context, in In) (Out, error)) Transform[In, Out] {
	return transformFunc[In, Out]{missing: f == nil, apply: func(ctx context.Context, in []In, out *Results[Out]) error {
		rows, origin := room(out, len(in))
		n := 0
		for i := range in {
			v, err := f(ctx, in[i])
			switch {
			case err == nil:
				rows[n], origin[n] = v, i
				n++
			case !errors.Is(err, Skip):
				out.Fail(i, err)
			}
		}
		filled(out, n)
		return ctx.Err()
	}}
}

// Filter keeps the records for which keep returns true.
func Filter[T any](keep func(T) bool) Transform[T, T] {
	return transformFunc[T, T]{missing: keep == nil, apply: func(_ context.Context, in []T, out *Results[T]) error {
		rows, origin := room(out, len(in))
		n := 0
		for i := range in {
			if keep(in[i]) {
				rows[n], origin[n] = in[i], i
				n++
			}
		}
		filled(out, n)
		return nil
	}}
}

// FlatMap turns each record into any number of others. An error of f fails the record.
// [Skip] leaves it out.
func FlatMap[In, Out any](f func(ctx context.Context, in In) ([]Out, error)) Transform[In, Out] {
	return transformFunc[In, Out]{missing: f == nil, apply: func(ctx context.Context, in []In, out *Results[Out]) error {
		for i := range in {
			vs, err := f(ctx, in[i])
			if err != nil {
				if !errors.Is(err, Skip) {
					out.Fail(i, err)
				}
				continue
			}
			for _, v := range vs {
				out.Emit(i, v)
			}
		}
		return ctx.Err()
	}}
}

// Batch turns the records of a batch into as many others, in the same order, with one
// call of f: for a lookup that is cheaper for many at once. An error fails the attempt.
func Batch[In, Out any](f func(ctx context.Context, in []In) ([]Out, error)) Transform[In, Out] {
	return transformFunc[In, Out]{missing: f == nil, apply: func(ctx context.Context, in []In, out *Results[Out]) error {
		vs, err := f(ctx, in)
		if err != nil {
			return err
		}
		if len(vs) != len(in) {
			return Permanent(fmt.Errorf("the function of Batch returned %d records for %d: it must return one for each", len(vs), len(in)))
		}
		rows, origin := room(out, len(vs))
		copy(rows, vs)
		for i := range origin {
			origin[i] = i
		}
		filled(out, len(vs))
		return nil
	}}
}

// Identity passes records through unchanged.
func Identity[T any]() Transform[T, T] {
	return transformFunc[T, T]{apply: func(_ context.Context, in []T, out *Results[T]) error {
		rows, origin := room(out, len(in))
		copy(rows, in)
		for i := range origin {
			origin[i] = i
		}
		filled(out, len(in))
		return nil
	}}
}

type transformFunc[In, Out any] struct {
	apply   func(ctx context.Context, in []In, out *Results[Out]) error
	missing bool
}

func (t transformFunc[In, Out]) Apply(ctx context.Context, in []In, out *Results[Out]) error {
	return t.apply(ctx, in, out)
}

func (t transformFunc[In, Out]) Validate() error {
	if t.missing {
		return errors.New("its function is nil")
	}
	return nil
}

// Pipe passes the results of first on to second.
func Pipe[A, B, C any](first Transform[A, B], second Transform[B, C]) Transform[A, C] {
	return &pipe[A, B, C]{first: first, second: second}
}

type pipe[A, B, C any] struct {
	first  Transform[A, B]
	second Transform[B, C]
	mids   sync.Pool // of *Results[B], to reuse their memory
}

func (p *pipe[A, B, C]) Validate() error {
	return errors.Join(validate("first stage of Pipe", p.first), validate("second stage of Pipe", p.second))
}

func (p *pipe[A, B, C]) Apply(ctx context.Context, in []A, out *Results[C]) error {
	mid, ok := p.mids.Get().(*Results[B])
	if !ok {
		mid = &Results[B]{}
	}
	defer func() {
		mid.reset(recordsIn(&mid.rows))
		p.mids.Put(mid)
	}()
	if err := p.first.Apply(ctx, in, mid); err != nil {
		return err
	}
	if _, err := mid.inputs(len(in)); err != nil {
		return err
	}
	mid.dropFailed(recordsIn(&mid.rows))
	if len(mid.rows) > 0 {
		single := !mid.unordered && mid.count == int64(len(mid.rows))
		if err := through(out, mid.origin, single, func(last *Results[C]) error { return p.second.Apply(ctx, mid.rows, last) }); err != nil {
			return err
		}
	}
	for i, err := range mid.failed {
		out.Fail(i, err)
	}
	return nil
}

// through adds to r what apply makes of inputs. The original index of input k is
// origin[k]. If single is true, origin is in order and names no index twice.
func through[Out any](r *Results[Out], origin []int, single bool, apply func(*Results[Out]) error) error {
	last := r // r is usually empty, and nothing need be copied
	if len(r.rows)+len(r.failed) > 0 {
		last = &Results[Out]{}
	}
	if err := apply(last); err != nil {
		return err
	}
	if _, err := last.inputs(len(origin)); err != nil {
		return err
	}
	failed := last.failed
	if last == r {
		r.failed = nil
		if !single || origin[len(origin)-1] != len(origin)-1 { // else every input is its own origin
			for k, i := range r.origin {
				r.origin[k] = origin[i]
			}
		}
		if single && !r.unordered && r.count > 0 {
			r.next = r.origin[len(r.origin)-1] + 1 // and the count is the same
		} else {
			r.unordered = true
		}
	} else {
		for k, v := range last.rows {
			r.Emit(origin[last.origin[k]], v)
		}
	}
	for j, err := range failed {
		r.Fail(origin[j], err)
	}
	return nil
}

// Parallel applies t to n parts of each batch at once, and keeps the order. t must be
// safe for concurrent use. n below 1 counts as 1.
func Parallel[In, Out any](n int, t Transform[In, Out]) Transform[In, Out] {
	return parallel[In, Out]{n: max(n, 1), t: t}
}

type parallel[In, Out any] struct {
	n int
	t Transform[In, Out]
}

func (p parallel[In, Out]) Validate() error { return validate("transform of Parallel", p.t) }

func (p parallel[In, Out]) Apply(ctx context.Context, in []In, out *Results[Out]) error {
	n := min(p.n, len(in))
	if n <= 1 {
		return p.t.Apply(ctx, in, out)
	}
	parts := make([]Results[Out], n)
	errs := make([]error, n)
	var wg sync.WaitGroup
	for k := range n {
		wg.Go(func() {
			part := in[k*len(in)/n : (k+1)*len(in)/n]
			errs[k] = guard(func() error { return p.t.Apply(ctx, part, &parts[k]) })
			if errs[k] == nil {
				_, errs[k] = parts[k].inputs(len(part))
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for k := range parts {
		first := k * len(in) / n
		for i, err := range parts[k].failed {
			out.Fail(first+i, err)
		}
		for j, v := range parts[k].rows {
			out.Emit(first+parts[k].origin[j], v)
		}
	}
	return nil
}

// RateLimit passes records on as they are, at most so many a second in each process. It
// protects what the flow uses after it, such as an API.
//
// A batch of n records takes n/perSecond seconds, counted from the end of the batch
// before. It waits only for what is left of that time, so that the flow's own work
// counts too. Several flows that share one RateLimit value share the limit. [NewClient]
// refuses a perSecond that is not above 0.
func RateLimit[T any](perSecond float64) Transform[T, T] {
	return &rateLimit[T]{perSecond: perSecond}
}

type rateLimit[T any] struct {
	perSecond float64

	mu   sync.Mutex // guards free
	free time.Time  // when the time that is booked so far ends
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

// take books the time of n records, and returns how long to wait for its end.
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
