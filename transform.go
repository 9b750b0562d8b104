package dataflow

import (
	"context"
	"fmt"
	"maps"
	"slices"
)

// Transform turns the records of a batch into other records. For each in[i], Apply
// calls one of these, or none to filter the record:
//
//   - out.Emit(i, v) for each record that it makes of in[i]
//   - out.Fail(i, err) if in[i] is bad
//
// It must emit the outputs of one input together. They are written in the order in
// which they are emitted. An error that Apply returns fails the whole attempt.
//
// Apply runs outside any transaction. After a failure it may be called again for the
// same records. It usually runs while the batch before is still being written, so that
// it must not expect to find that batch's records in the sink. It must not change or
// keep in.
type Transform[In, Out any] interface {
	Apply(ctx context.Context, in []In, out *Results[Out]) error
}

// Results takes the output of a [Transform] for one batch. It is not safe for
// concurrent use.
type Results[Out any] struct {
	rows []Out
	outcome
}

// outcome is what became of the inputs of a batch.
type outcome struct {
	origin []int // origin[j] is the index of the input that output j was made of
	failed map[int]error

	// These count the inputs that have outputs, as long as the outputs come in the
	// order of the inputs.
	next      int   // one after the last output's input
	count     int64 // inputs that have outputs
	unordered bool  // outputs came in another order, so count is not used
}

// Emit adds a record that was made of input i.
func (r *Results[Out]) Emit(i int, v Out) {
	r.rows = append(r.rows, v)
	r.emitted(i)
}

// emitted notes an output of input i.
func (r *outcome) emitted(i int) {
	r.origin = append(r.origin, i)
	if i >= r.next {
		r.count++
		r.next = i + 1
	} else if i != r.next-1 || r.count == 0 {
		r.unordered = true
	}
}

// room returns memory for up to n outputs, at most one of each input and in the order
// of the inputs, and for the inputs' indexes. It is a faster way to emit.
func room[Out any](r *Results[Out], n int) ([]Out, []int) {
	r.rows, r.origin = slices.Grow(r.rows, n), slices.Grow(r.origin, n)
	return r.rows[len(r.rows):][:n], r.origin[len(r.origin):][:n]
}

// filled adds the first n outputs of the memory that room returned.
func filled[Out any](r *Results[Out], n int) {
	r.rows = r.rows[:len(r.rows)+n]
	r.filled(n)
}

func (r *outcome) filled(n int) {
	if n == 0 {
		return
	}
	before := len(r.origin)
	r.origin = r.origin[:before+n]
	if r.origin[before] < r.next { // something was emitted before
		r.unordered = true
		return
	}
	r.count += int64(n)
	r.next = r.origin[before+n-1] + 1
}

// Fail says that input i is bad. What it emitted is not written. The first error
// counts.
func (r *Results[Out]) Fail(i int, err error) { r.fail(i, err) }

func (r *outcome) fail(i int, err error) {
	if r.failed == nil {
		r.failed = make(map[int]error)
	}
	if r.failed[i] == nil {
		r.failed[i] = err
	}
}

// Rows returns the outputs of the inputs that did not fail, in the order in which they were
// emitted. A test of a transform calls it:
//
//	var out dataflow.Results[int]
//	err := transform.Apply(ctx, []string{"1", "2"}, &out)
//	rows := out.Rows()
func (r *Results[Out]) Rows() []Out {
	rows := make([]Out, 0, len(r.rows))
	for j, i := range r.origin {
		if r.failed[i] == nil {
			rows = append(rows, r.rows[j])
		}
	}
	return rows
}

// Failed returns the error of each input that is bad, by its index. It is empty if there is none.
func (r *Results[Out]) Failed() map[int]error { return maps.Clone(r.failed) }

// reset empties r and keeps its memory. rows are its outputs.
func (r *outcome) reset(rows records) {
	rows.release()
	r.origin = r.origin[:0]
	clear(r.failed)
	r.next, r.count, r.unordered = 0, 0, false
}

// dropFailed drops the outputs of failed inputs from rows, which are the outputs.
func (r *outcome) dropFailed(rows records) {
	if len(r.failed) == 0 {
		return
	}
	kept := 0
	for j, i := range r.origin {
		if r.failed[i] == nil {
			rows.move(j, kept)
			r.origin[kept] = i
			kept++
		}
	}
	rows.truncate(kept)
	r.origin = r.origin[:kept]
	r.unordered = true
}

// inputs counts the inputs, of n, that have outputs. It returns an error if the outputs
// of one input are not together, because their keys number them.
func (r *outcome) inputs(n int) (count int64, err error) {
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
	return Permanent(fmt.Errorf("the transform's results do not add up: output %d names input %d of %d: the transform must emit the outputs of one input together, and number the inputs from 0", output, input, n))
}
