package reconcile

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/activedataflow/dataflow"
)

const (
	firstStep = 1 << 14 // rows of the first range
	mostStep  = 1 << 20 // rows of the largest range
	parts     = 16      // into which a range that differs is cut
	leaf      = 1000    // rows of a range whose keys are read
	mostRead  = 4 * leaf
)

// walk compares the two sides for one read.
type walk struct {
	source, target Side
	plan           *Plan
}

// found are the differences of a range.
type found struct {
	gone, missing []Key
	more          int64 // gone keys that were counted only
	until         Key   // the end of the range
}

// sums returns the sums of a range on both sides, which are computed at the same time.
func (w *walk) sums(ctx context.Context, r Range) (source, target Sum, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answer := make(chan error, 1)
	go func() {
		var err error
		if target, err = w.target.Sum(ctx, w.plan, r); err != nil {
			cancel()
		}
		answer <- w.of("target", w.target, err)
	}()
	source, sourceErr := w.source.Sum(ctx, w.plan, r)
	if sourceErr != nil {
		cancel()
	}
	targetErr := <-answer
	if sourceErr = w.of("source", w.source, sourceErr); sourceErr != nil && (targetErr == nil || context.Cause(ctx) == nil || !isCanceled(sourceErr)) {
		return source, target, sourceErr
	}
	return source, target, targetErr
}

func (w *walk) of(side string, s Side, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: table %s: %w", side, s.Table().Name, err)
}

// descend finds the differences of a range that differs, in parts whose keys fit into memory. It
// calls each for each part, and ends when each returns false. With countOnly, rows that have no
// counterpart in the source at all are only counted.
func (w *walk) descend(ctx context.Context, r Range, countOnly bool, each func(found) bool) error {
	stack := []Range{r}
	for len(stack) > 0 {
		top := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		source, target, err := w.sums(ctx, top)
		if err != nil {
			return err
		}
		f, read := found{until: top.Until}, false
		switch {
		case source == target:
			read = true
		case countOnly && source.Rows == 0:
			f.more, read = target.Rows, true
		case max(source.Rows, target.Rows) <= leaf:
			if f, read, err = w.keys(ctx, top); err != nil {
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
		for i := len(cuts); i >= 0; i-- {
			part := top
			if i > 0 {
				part.After = cuts[i-1]
			}
			if i < len(cuts) {
				part.Until = cuts[i]
			}
			stack = append(stack, part)
		}
	}
	return nil
}

// cut divides a range by the keys of the side that has more of them.
func (w *walk) cut(ctx context.Context, r Range, source, target Sum) ([]Key, error) {
	name, side, rows := "source", w.source, source.Rows
	if target.Rows > rows {
		name, side, rows = "target", w.target, target.Rows
	}
	cuts, err := side.Cut(ctx, w.plan, r, max(rows/parts, leaf/2), parts)
	if err != nil {
		return nil, w.of(name, side, err)
	}
	cuts = slices.CompactFunc(slices.DeleteFunc(cuts, func(k Key) bool { return equal(k, r.Until) }), equal[Key])
	if len(cuts) == 0 {
		return nil, w.of(name, side, dataflow.Permanent(fmt.Errorf("more than %d rows have the key (%s): name columns that identify a row", leaf, strings.Join(r.Until, ", "))))
	}
	return cuts, nil
}

// keys reads the keys of a small range. It returns false if the range has become large.
//
// The target's are read first. A flow copies a row only after the source has it. So a row that
// the target had, and that the source still has, is among the source's.
func (w *walk) keys(ctx context.Context, r Range) (found, bool, error) {
	f := found{until: r.Until}
	have, err := w.target.List(ctx, w.plan, r, mostRead)
	if err != nil {
		return f, false, w.of("target", w.target, err)
	}
	want, err := w.source.List(ctx, w.plan, r, mostRead)
	if err != nil {
		return f, false, w.of("source", w.source, err)
	}
	if len(have) == mostRead || len(want) == mostRead {
		return f, false, nil
	}
	if f.gone, err = without(ctx, w.plan, w.source, less(have, want)); err != nil {
		return f, false, w.of("source", w.source, err)
	}
	if f.missing, err = without(ctx, w.plan, w.target, less(want, have)); err != nil {
		return f, false, w.of("target", w.target, err)
	}
	return f, true, nil
}

// without returns the keys that a side does not have. Where the two sides order keys differently, a key
// may be in another range.
func without(ctx context.Context, p *Plan, side Side, keys []Key) ([]Key, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	there, err := side.Find(ctx, p, keys)
	if err != nil {
		return nil, err
	}
	var rest []Key
	for i, k := range keys {
		if !there[i] {
			rest = append(rest, k)
		}
	}
	return rest, nil
}

// less returns the keys of a that are not in b.
func less(a, b []Key) []Key {
	in := make(map[string]bool, len(b))
	for _, k := range b {
		in[joined(k)] = true
	}
	return slices.DeleteFunc(a, func(k Key) bool { return in[joined(k)] })
}

func joined(k Key) string {
	var b strings.Builder
	for _, text := range k {
		fmt.Fprintf(&b, "%d:%s", len(text), text)
	}
	return b.String()
}

func equal[K ~[]string](a, b K) bool { return (a == nil) == (b == nil) && slices.Equal(a, b) }
