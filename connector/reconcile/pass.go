package reconcile

import (
	"context"
	"fmt"
	"math"
	"strings"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/keyrange"
)

// pass is one read: it compares all keys, judges what it has found, and yields it.
type pass struct {
	*walk

	opts  Options
	at    Cursor
	yield func(dataflow.Item[Difference, Cursor], error) bool
}

// mark yields a resume point. It reports whether the caller wants more.
func (p *pass) mark() bool {
	return p.yield(dataflow.Item[Difference, Cursor]{Mark: true, Cursor: p.at.snapshot()}, nil)
}

// alike reports whether both tables have the same keys, by one sum of all keys of each. That costs
// less than ranges: no key is compared with the ends of one, no range is looked for, and neither side
// needs an order. If one of them has too many keys, or a statement does not come to its end, as by the server's
// limit, false leaves it to the ranges.
func (p *pass) alike(ctx context.Context) (bool, error) {
	for _, s := range []*side{p.source, p.target} {
		if small, err := s.small(ctx); err != nil || !small {
			return false, err
		}
	}
	source, target, err := p.sums(ctx, keyrange.Range{})
	if err != nil || source != target {
		return false, ctx.Err()
	}
	p.at.SourceRows, p.at.TargetRows = source.Rows, target.Rows
	return true, nil
}

// compare compares all keys range by range, and counts. It returns false if the caller wants no more.
func (p *pass) compare(ctx context.Context) (bool, error) {
	for step := int64(firstStep); ; {
		r := keyrange.Range{After: p.at.After}
		ends, err := p.source.cut(ctx, r, step, 1)
		if err != nil {
			return false, err
		}
		if len(ends) > 0 {
			r.Until = ends[0]
		}
		source, target, err := p.sums(ctx, r)
		if err != nil {
			return false, err
		}
		p.at.SourceRows += source.Rows
		p.at.TargetRows += target.Rows
		if source == target {
			step = min(2*step, mostStep)
		} else if err := p.count(ctx, r); err != nil {
			return false, err
		}
		p.at.After = r.Until
		if r.Until == nil {
			return true, nil // judge marks it
		}
		if !p.mark() {
			return false, nil
		}
	}
}

// count counts the differences of a range.
func (p *pass) count(ctx context.Context, r keyrange.Range) error {
	before := p.at
	err := p.descend(ctx, r, true, func(f found) bool {
		p.add(&f)
		return ctx.Err() == nil
	})
	if err = both(ctx, err); err == nil && p.yields(&before) {
		p.at.differs(stretch{Range: r})
	}
	return err
}

func (p *pass) add(f *found) {
	p.at.Gone += int64(len(f.gone)) + f.more
	p.at.Missing += int64(len(f.missing))
}

// yields reports whether differences that are to be yielded were added.
func (p *pass) yields(before *Cursor) bool {
	return p.at.Gone > before.Gone || p.opts.Missing && p.at.Missing > before.Missing
}

// comparePages looks up the target's keys in the source, then the source's in the target, and
// counts.
func (p *pass) comparePages(ctx context.Context) (bool, error) {
	for {
		on, s := true, stretch{Range: keyrange.Range{After: p.at.After}, Source: p.at.Of == ofSource}
		rows := &p.at.TargetRows
		if s.Source {
			rows = &p.at.SourceRows
		}
		err := p.pages(ctx, s, func(f found) bool {
			before := p.at
			p.add(&f)
			*rows += f.rows
			if p.yields(&before) {
				p.at.differs(stretch{Range: keyrange.Range{After: p.at.After, Until: f.until}, Source: s.Source})
			}
			p.at.After = f.until
			on = f.until == nil || p.mark()
			return on && ctx.Err() == nil
		})
		if err = both(ctx, err); err != nil || !on || s.Source {
			return on, err
		}
		if p.at.Of = ofSource; !p.mark() {
			return false, nil
		}
	}
}

// judge decides whether the differences are yielded.
func (p *pass) judge() (bool, error) {
	if len(p.at.Differing) == 0 {
		p.end()
		return false, nil
	}
	if p.opts.MaxGone < 1 && (p.at.Gone > p.allowed() || p.at.Gone > 0 && p.at.SourceRows == 0) {
		err := dataflow.Permanent(fmt.Errorf("%d of the %d rows of %s (target) are gone from %s (source), which has %d rows; at most %d may be: nothing was removed. "+
			"If the source is right, allow it by MaxGone", p.at.Gone, p.at.TargetRows, p.target.of.Table().Name, p.source.of.Table().Name, p.at.SourceRows, p.allowed()))
		if !p.end() { // so that the next run compares anew
			return false, nil
		}
		return false, err
	}
	p.at.Pass, p.at.Of, p.at.After = removing, "", nil
	return p.mark(), nil
}

// end yields the end. It reports whether the caller wants more.
func (p *pass) end() bool {
	p.at.Pass, p.at.Sides, p.at.Of, p.at.After, p.at.Differing = done, "", "", nil, nil
	return p.mark()
}

// allowed is how many rows may be gone: one at least, so that small tables have room.
func (p *pass) allowed() int64 {
	share := p.opts.MaxGone
	if share == 0 {
		share = 0.05
	}
	return max(1, int64(math.Floor(share*float64(p.at.TargetRows))))
}

// remove yields the differences of the ranges that differ.
func (p *pass) remove(ctx context.Context) error {
	for len(p.at.Differing) > 0 {
		on := true
		var failed error
		each := func(f found) bool {
			on, failed = p.differences(&f)
			return on && failed == nil && ctx.Err() == nil
		}
		var err error
		if first := p.at.Differing[0]; p.at.Pages {
			err = p.pages(ctx, first, each)
		} else {
			err = p.descend(ctx, first.Range, false, each)
		}
		if !on {
			return nil
		}
		if failed != nil {
			return failed
		}
		if err = both(ctx, err); err != nil {
			return err
		}
		p.at.Differing = p.at.Differing[1:]
		if len(p.at.Differing) > 0 && !p.mark() {
			return nil
		}
	}
	p.end()
	return nil
}

// differences yields those of a small range. The last one is a resume point.
func (p *pass) differences(f *found) (bool, error) {
	gone := int64(len(f.gone))
	if p.at.Removed+gone > p.allowed() && p.opts.MaxGone < 1 {
		err := dataflow.Permanent(fmt.Errorf("more rows of %s are gone than the %d that were counted at first, and more than the %d that may be: the run stops after %d: "+
			"see whether the source is right, and allow it by MaxGone", p.target.of.Table().Name, p.at.Gone, p.allowed(), p.at.Removed))
		return p.end(), err
	}
	p.at.Removed += gone
	var all []Difference
	for _, k := range f.gone {
		all = append(all, Difference{Kind: Gone, Key: p.text(k), Values: k})
	}
	if p.opts.Missing {
		for _, k := range f.missing {
			all = append(all, Difference{Kind: Missing, Key: p.text(k), Values: k})
		}
	}
	if f.until != nil {
		p.at.Differing[0].After = f.until
	}
	for i, d := range all {
		item := dataflow.Item[Difference, Cursor]{Value: d, Key: d.Kind + " " + d.Key}
		if i == len(all)-1 && f.until != nil { // the last range has no end; remove marks it
			item.Resume, item.Cursor = true, p.at.snapshot()
		}
		if !p.yield(item, nil) {
			return false, nil
		}
	}
	return true, nil
}

// text returns a key for people.
func (p *pass) text(k keyrange.Key) string {
	values := make([]string, len(k))
	for i, v := range k {
		values[i] = p.source.plan.Kinds[i].Readable(v)
	}
	if len(values) == 1 {
		return values[0]
	}
	return "(" + strings.Join(values, ", ") + ")"
}
