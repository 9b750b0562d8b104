package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/keyrange"
)

const (
	mostWhole = 1 << 24 // rows of a table that is compared as a whole
	firstStep = 1 << 14 // rows of the first range
	mostStep  = 1 << 20 // rows of the largest range
	parts     = 16      // into which a range that differs is cut
	leaf      = 1000    // rows of a range whose keys are read, and of a page
	mostRead  = 4 * leaf
	mostCuts  = 50 // of a range within a range
)

// walk compares the two sides for one read.
type walk struct {
	source, target *side
}

// found is what was found in a small range.
type found struct {
	gone, missing []keyrange.Key
	more          int64        // gone keys that were counted only
	rows          int64        // of a page
	until         keyrange.Key // the end of the range
}

// sums returns the sums of a range on both sides, which are computed at the same time.
func (w *walk) sums(parent context.Context, r keyrange.Range) (source, target keyrange.Sum, err error) {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	done := make(chan struct{})
	go func() {
		defer close(done)
		var err error
		if target, err = w.target.sum(ctx, r); err != nil {
			cancel(err) // the first error counts; the other side's is only that it was cancelled
		}
	}()
	if source, err = w.source.sum(ctx, r); err != nil {
		cancel(err)
	}
	<-done
	if err := parent.Err(); err != nil {
		return source, target, err
	}
	return source, target, context.Cause(ctx)
}

// descend finds the differences of a range that differs, in parts whose keys fit into memory. It
// calls each for each part, and ends when each returns false. With countOnly, rows of a part in
// which the source has none are only counted.
func (w *walk) descend(ctx context.Context, r keyrange.Range, countOnly bool, each func(found) bool) error {
	type part struct {
		keyrange.Range

		cuts int
	}
	stack := []part{{Range: r}}
	for len(stack) > 0 {
		top, depth := stack[len(stack)-1].Range, stack[len(stack)-1].cuts
		stack = stack[:len(stack)-1]
		source, target, err := w.sums(ctx, top)
		if err != nil {
			return err
		}
		f, read := found{until: top.Until}, false
		switch {
		case source == target:
			read = true
		case max(source.Rows, target.Rows) <= leaf:
			if f, read, err = w.keys(ctx, top); err != nil {
				return err
			}
		case countOnly && source.Rows == 0:
			if f.more, read, err = w.emptied(ctx, top); err != nil {
				return err
			}
		}
		if read {
			if !each(f) {
				return nil
			}
			continue
		}
		cuts, err := w.cut(ctx, top, source, target)
		if err != nil {
			return err
		}
		if depth == mostCuts { // each side has its keys in an order of its own
			return w.source.wrap(dataflow.Permanent(fmt.Errorf("the part of the keys up to (%s) has %d rows, and %d in the target, after %d cuts: the two sides order keys differently: give both columns the same collation",
				strings.Join(top.Until, ", "), source.Rows, target.Rows, depth)))
		}
		for i := len(cuts); i >= 0; i-- {
			next := top
			if i > 0 {
				next.After = cuts[i-1]
			}
			if i < len(cuts) {
				next.Until = cuts[i]
			}
			stack = append(stack, part{next, depth + 1})
		}
	}
	return nil
}

// emptied counts the target's rows of a large range in which the source has none, without asking for each
// key. It returns false if some must be asked for: the source has got rows meanwhile, which a flow may
// have copied, or it spells a key otherwise.
func (w *walk) emptied(ctx context.Context, r keyrange.Range) (rows int64, ok bool, err error) {
	target, err := w.target.sum(ctx, r)
	if err != nil {
		return 0, false, err
	}
	source, err := w.source.sum(ctx, r)
	if err != nil || source.Rows > 0 {
		return 0, false, err
	}
	some, err := w.target.list(ctx, r)
	if err != nil {
		return 0, false, err
	}
	gone, err := w.source.lacks(ctx, some)
	return target.Rows, len(gone) == len(some), err
}

// cut divides a range by the keys of the side that has more of them. Without any, the range is to be
// looked at again.
func (w *walk) cut(ctx context.Context, r keyrange.Range, source, target keyrange.Sum) ([]keyrange.Key, error) {
	larger, rows := w.source, source.Rows
	if target.Rows > rows {
		larger, rows = w.target, target.Rows
	}
	cuts, err := larger.cut(ctx, r, max(rows/parts, leaf/2), parts)
	if err != nil {
		return nil, err
	}
	cuts = slices.CompactFunc(slices.DeleteFunc(cuts, func(k keyrange.Key) bool { return equal(k, r.Until) }), equal)
	if len(cuts) > 0 {
		return cuts, nil
	}
	if sum, err := larger.sum(ctx, r); err != nil || sum.Rows <= leaf {
		return nil, err // rows went away meanwhile
	}
	return nil, larger.wrap(dataflow.Permanent(fmt.Errorf("more than %d rows have the key (%s): name columns that identify a row", leaf, strings.Join(r.Until, ", "))))
}

// keys reads the keys of a small range. It returns false if the range has become large.
//
// The target's are read first. A flow copies a row only after the source has it. So a row that
// the target had, and that the source still has, is among the source's.
func (w *walk) keys(ctx context.Context, r keyrange.Range) (found, bool, error) {
	f := found{until: r.Until}
	have, err := w.target.list(ctx, r)
	if err != nil {
		return f, false, err
	}
	want, err := w.source.list(ctx, r)
	if err != nil {
		return f, false, err
	}
	if len(have) == mostRead || len(want) == mostRead {
		return f, false, nil
	}
	// A side may have a key that it spells otherwise, or has only now.
	f.gone, err = w.source.lacks(ctx, less(have, want))
	if err == nil {
		f.missing, err = w.target.lacks(ctx, less(want, have))
	}
	return f, err == nil, err
}

// pages looks up each key of one side on the other, in pages of its own order. It is for sides
// that order keys differently: they have no ranges in common.
func (w *walk) pages(ctx context.Context, s stretch, each func(found) bool) error {
	of, other := w.target, w.source
	if s.Source {
		of, other = w.source, w.target
	}
	for r := s.Range; ; {
		keys, err := of.cut(ctx, r, 1, leaf)
		if err != nil {
			return err
		}
		f, last := found{rows: int64(len(keys)), until: r.Until}, len(keys) < leaf
		if !last {
			f.until = keys[leaf-1]
		}
		keys, err = other.lacks(ctx, keys)
		if err != nil {
			return err
		}
		if s.Source {
			f.missing = keys
		} else {
			f.gone = keys
		}
		if !each(f) || last {
			return nil
		}
		r.After = f.until
	}
}

// less returns the keys of a that are not in b.
func less(a, b []keyrange.Key) []keyrange.Key {
	in := make(map[string]bool, len(b))
	for _, k := range b {
		in[joined(k)] = true
	}
	return slices.DeleteFunc(a, func(k keyrange.Key) bool { return in[joined(k)] })
}

func joined(k keyrange.Key) string {
	var b strings.Builder
	for _, text := range k {
		fmt.Fprintf(&b, "%d:%s", len(text), text)
	}
	return b.String()
}

func equal(a, b keyrange.Key) bool { return (a == nil) == (b == nil) && slices.Equal(a, b) }

// both joins an error with that of the context, which ended the work without one.
func both(ctx context.Context, err error) error { return errors.Join(err, ctx.Err()) }
