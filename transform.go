package dataflow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// Transform turns the records of a batch into other records. Apply reads in[i],
// and calls out.Emit(i, v) for each record that comes of it and out.Fail(i, err)
// if it is bad; an input without either is filtered. Outputs are written in the
// order in which they are emitted; those of one input must be emitted together.
// An error that Apply returns fails the whole attempt.
//
// Apply runs outside any transaction and may be called again for the same
// records after a failure. As a rule it runs while the batch before is still being
// written, and so must not expect to find that one's records where they go. in must
// not be changed or kept.
type Transform[In, Out any] interface {
	Apply(ctx context.Context, in []In, out *Results[Out]) error
}

// Results takes what a [Transform] makes of a batch. It is not safe for
// concurrent use.
type Results[Out any] struct {
	rows   []Out
	origin []int // origin[j] is the index of the input that rows[j] came of
	failed map[int]error

	// As long as the outputs are in the order of the inputs, they are counted as they
	// come.
	next      int   // one behind the last output's input
	count     int64 // of the inputs that outputs came of
	unordered bool  // or not counted
}

// Emit adds a record that came of input i.
func (r *Results[Out]) Emit(i int, v Out) {
	r.rows = append(r.rows, v)
	r.origin = append(r.origin, i)
	if i >= r.next {
		r.count++
		r.next = i + 1
	} else if i != r.next-1 || r.count == 0 {
		r.unordered = true
	}
}

// room returns memory for n outputs of ascending inputs, one of each at most, and for
// the inputs' indexes: a faster way to emit.
func (r *Results[Out]) room(n int) ([]Out, []int) {
	r.rows, r.origin = slices.Grow(r.rows, n), slices.Grow(r.origin, n)
	return r.rows[len(r.rows):][:n], r.origin[len(r.origin):][:n]
}

// filled adds the first n outputs of the room.
func (r *Results[Out]) filled(n int) {
	if n == 0 {
		return
	}
	before := len(r.rows)
	r.rows, r.origin = r.rows[:before+n], r.origin[:before+n]
	if r.origin[before] < r.next { // something was emitted before
		r.unordered = true
		return
	}
	r.count += int64(n)
	r.next = r.origin[before+n-1] + 1
}

// Fail says that input i is bad. Whatever it emitted is not written.
func (r *Results[Out]) Fail(i int, err error) {
	if r.failed == nil {
		r.failed = make(map[int]error)
	}
	if r.failed[i] == nil {
		r.failed[i] = err
	}
}

// reset empties r and keeps its memory.
func (r *Results[Out]) reset() {
	release(r.rows)
	r.rows, r.origin = r.rows[:0], r.origin[:0]
	clear(r.failed)
	r.next, r.count, r.unordered = 0, 0, false
}

// settle drops what failed inputs have emitted.
func (r *Results[Out]) settle() {
	if len(r.failed) == 0 {
		return
	}
	kept := 0
	for j, i := range r.origin {
		if r.failed[i] == nil {
			r.rows[kept], r.origin[kept] = r.rows[j], i
			kept++
		}
	}
	r.rows, r.origin = r.rows[:kept], r.origin[:kept]
	r.unordered = true
}

// inputs counts the inputs, of n, that the outputs came of. It is an error if the
// outputs of one are not together, because their keys number them.
func (r *Results[Out]) inputs(n int) (count int64, err error) {
	if !r.unordered && r.next <= n {
		return r.count, nil
	}
	last := -1
	var seen []bool // made when the outputs are not in the order of the inputs
	for j, i := range r.origin {
		if i < 0 || i >= n {
			return 0, misplaced(j, i, n)
		}
		if i == last {
			continue
		}
		if i < last && seen == nil {
			seen = make([]bool, n)
			for _, before := range r.origin[:j] {
				seen[before] = true
			}
		}
		if seen != nil {
			if seen[i] {
				return 0, misplaced(j, i, n)
			}
			seen[i] = true
		}
		last = i
		count++
	}
	return count, nil
}

func misplaced(output, input, n int) error {
	return Permanent(fmt.Errorf("the transform's results do not add up: output %d cannot come of input %d of %d: it must emit the outputs of one input together, and number the inputs from 0", output, input, n))
}

// Map turns each record into one other. An error fails the record; [Skip]
// leaves it out.
func Map[In, Out any](f func(ctx context.Context, in In) (Out, error)) Transform[In, Out] {
	return transformFunc[In, Out]{missing: f == nil, apply: func(ctx context.Context, in []In, out *Results[Out]) error {
		rows, origin := out.room(len(in))
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
		out.filled(n)
		return ctx.Err()
	}}
}

// Filter keeps the records for which keep returns true.
func Filter[T any](keep func(T) bool) Transform[T, T] {
	return transformFunc[T, T]{missing: keep == nil, apply: func(_ context.Context, in []T, out *Results[T]) error {
		rows, origin := out.room(len(in))
		n := 0
		for i := range in {
			if keep(in[i]) {
				rows[n], origin[n] = in[i], i
				n++
			}
		}
		out.filled(n)
		return nil
	}}
}

// FlatMap turns each record into any number of others. An error fails the
// record; [Skip] leaves it out.
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

// Batch turns the records of a batch into as many others, in the same order,
// with one call: for a lookup that is cheaper for many at once. An error fails
// the attempt.
func Batch[In, Out any](f func(ctx context.Context, in []In) ([]Out, error)) Transform[In, Out] {
	return transformFunc[In, Out]{missing: f == nil, apply: func(ctx context.Context, in []In, out *Results[Out]) error {
		vs, err := f(ctx, in)
		if err != nil {
			return err
		}
		if len(vs) != len(in) {
			return Permanent(fmt.Errorf("the function of Batch returned %d records for %d: it must return one for each", len(vs), len(in)))
		}
		rows, origin := out.room(len(vs))
		copy(rows, vs)
		for i := range origin {
			origin[i] = i
		}
		out.filled(len(vs))
		return nil
	}}
}

// Identity passes records through unchanged.
func Identity[T any]() Transform[T, T] {
	return transformFunc[T, T]{apply: func(_ context.Context, in []T, out *Results[T]) error {
		rows, origin := out.room(len(in))
		copy(rows, in)
		for i := range origin {
			origin[i] = i
		}
		out.filled(len(in))
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

// Pipe passes what first makes on to second.
func Pipe[A, B, C any](first Transform[A, B], second Transform[B, C]) Transform[A, C] {
	return &pipe[A, B, C]{first: first, second: second}
}

type pipe[A, B, C any] struct {
	first  Transform[A, B]
	second Transform[B, C]
	mids   sync.Pool // of *Results[B], whose memory is used again
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
		mid.reset()
		p.mids.Put(mid)
	}()
	if err := p.first.Apply(ctx, in, mid); err != nil {
		return err
	}
	if _, err := mid.inputs(len(in)); err != nil {
		return err
	}
	mid.settle()
	if len(mid.rows) > 0 {
		single := !mid.unordered && mid.count == int64(len(mid.rows))
		if err := out.through(mid.origin, single, func(last *Results[C]) error { return p.second.Apply(ctx, mid.rows, last) }); err != nil {
			return err
		}
	}
	for i, err := range mid.failed {
		out.Fail(i, err)
	}
	return nil
}

// through takes what apply makes of inputs that have come of those in origin; single
// says that these are in order, and no two the same.
func (r *Results[Out]) through(origin []int, single bool, apply func(*Results[Out]) error) error {
	last := r // as a rule it is empty, and nothing need be copied
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
		if !single || origin[len(origin)-1] != len(origin)-1 { // else each has come of the input that it is
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

// Parallel applies t to n parts of each batch at once, and keeps the order. t
// must be safe for concurrent use; n below 1 counts as 1.
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
