package reconcile

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"strings"
	"sync"

	"github.com/activedataflow/dataflow"
)

// Difference is a key that only one of the two sides has.
type Difference struct {
	// Kind is [Gone] or [Missing].
	Kind string
	// Key is the key, for people: "17", or "(eu, 17)".
	Key string
	// Values are the values of the key's columns; see [Kind].
	Values Key `db:"-"`
}

// The kinds of a [Difference].
const (
	Gone    = "gone"    // only the target has the key
	Missing = "missing" // only the source has the key
)

// Options are settings of a [Comparison]. The zero value is the default.
type Options struct {
	// MaxGone is the greatest share of the target's rows that may be gone. Above it, the run
	// fails before anything is removed. 0 means 0.05. 1 allows everything. If the source has no row, everything
	// below 1 stops the run.
	MaxGone float64
	// Missing also yields the keys that the target lacks. [Comparison.Delete] and
	// [Comparison.Mark] pass over them. Without it they are only counted.
	Missing bool
}

// Comparison is a source of the differences between two sides. One run at a time may use it.
type Comparison struct {
	source, target Side
	opts           Options
	mark           string
	one            *sync.Mutex // guards plan
	plan           **Plan
}

// New compares the keys of a source with those of a target.
func New(source, target Side, opts *Options) *Comparison {
	c := &Comparison{source: source, target: target, one: &sync.Mutex{}, plan: new(*Plan)}
	if opts != nil {
		c.opts = *opts
	}
	return c
}

// Delete returns a target that deletes the rows whose keys are gone. It is for the flow that has
// this comparison as its source.
func (c *Comparison) Delete() dataflow.Target[Difference] { return c.remove("") }

// Mark is [Comparison.Delete], but sets a column to the time, where it is NULL. Give the target's side
// a Where of "deleted_at is null", so that rows that are marked already are left out.
func (c *Comparison) Mark(column string) dataflow.Target[Difference] { return c.remove(column) }

func (c *Comparison) remove(mark string) dataflow.Target[Difference] {
	if c.source == nil || c.target == nil {
		return dataflow.Target[Difference]{} // Validate reports it
	}
	return dataflow.ToFenced[Difference](c.target.Remover(Removal{
		Mark: mark,
		Plan: c.agreed,
		Alive: func(ctx context.Context, keys []Key) ([]bool, error) {
			p, err := c.agreed(ctx)
			if err != nil {
				return nil, err
			}
			there, err := c.source.Find(ctx, p, keys)
			if err != nil {
				return nil, fmt.Errorf("look for the keys in the source: table %s: %w", c.source.Table().Name, err)
			}
			return there, nil
		},
	}))
}

// Validate checks the sides and the options.
func (c *Comparison) Validate() error {
	if c.source == nil || c.target == nil {
		return &dataflow.ConfigError{Field: "reconcile.New", Reason: "a side is nil"}
	}
	errs := []error{c.source.Validate(), c.target.Validate()}
	if a, b := len(c.source.Table().Key), len(c.target.Table().Key); a != b {
		errs = append(errs, &dataflow.ConfigError{Field: "Key", Reason: fmt.Sprintf("the source's has %d columns, and the target's %d", a, b)})
	}
	if !(c.opts.MaxGone >= 0 && c.opts.MaxGone <= 1) {
		errs = append(errs, &dataflow.ConfigError{Field: "MaxGone", Reason: "it is a share of the rows: from 0 to 1"})
	}
	return errors.Join(errs...)
}

// Describe names both tables.
func (c *Comparison) Describe() dataflow.Description {
	if c.source == nil || c.target == nil {
		return dataflow.Description{Type: "reconcile"}
	}
	return dataflow.Description{Type: "reconcile", Detail: map[string]any{"source": c.source.Describe(), "target": c.target.Describe()}}
}

// PoolUse says that each side borrows connections.
func (c *Comparison) PoolUse() []dataflow.PoolUse {
	if c.source == nil || c.target == nil {
		return nil
	}
	return append(c.source.PoolUse(), c.target.PoolUse()...)
}

// agreed returns the plan of the read that goes on.
func (c *Comparison) agreed(ctx context.Context) (*Plan, error) {
	c.one.Lock()
	defer c.one.Unlock()
	if *c.plan != nil {
		return *c.plan, nil
	}
	p, err := agree(ctx, c.source, c.target)
	if err == nil {
		*c.plan = p
	}
	return p, err
}

// Notes says what the last comparison has found.
func (c *Comparison) Notes(_ context.Context, r dataflow.Request[Cursor]) ([]string, error) {
	if r.From.Pass != done || r.From.Missing == 0 {
		return nil, nil
	}
	return []string{fmt.Sprintf("the last comparison found %d keys of %s (of %d) that %s lacks: the flow that copies them is not there yet, or has lost them",
		r.From.Missing, c.source.Table().Name, r.From.SourceRows, c.target.Table().Name)}, nil
}

// Read compares the two sides. It yields no difference before all keys were compared.
func (c *Comparison) Read(ctx context.Context, r dataflow.Request[Cursor]) iter.Seq2[dataflow.Item[Difference, Cursor], error] {
	return func(yield func(dataflow.Item[Difference, Cursor], error) bool) {
		if err := c.read(ctx, r.From, yield); err != nil {
			yield(dataflow.Item[Difference, Cursor]{}, err)
		}
	}
}

func (c *Comparison) read(ctx context.Context, at Cursor, yield func(dataflow.Item[Difference, Cursor], error) bool) error {
	if err := c.Validate(); err != nil {
		return dataflow.Permanent(err)
	}
	c.one.Lock()
	*c.plan = nil // the tables may have changed
	c.one.Unlock()
	plan, err := c.agreed(ctx)
	if err != nil {
		return err
	}
	if at.Pass == "" || at.Pass == done {
		at = Cursor{Pass: comparing}
	}
	p := &pass{walk: walk{source: c.source, target: c.target, plan: plan}, opts: c.opts, at: at, yield: yield}
	if at.Pass == comparing {
		if on, err := p.compare(ctx); err != nil || !on {
			return err
		}
	}
	return p.remove(ctx)
}

// pass is one read.
type pass struct {
	walk
	opts  Options
	at    Cursor
	yield func(dataflow.Item[Difference, Cursor], error) bool
}

// mark yields a resume point. It reports whether the caller wants more.
func (p *pass) mark() bool {
	return p.yield(dataflow.Item[Difference, Cursor]{Mark: true, Cursor: p.snapshot()}, nil)
}

// snapshot is a cursor that shares no memory with the next.
func (p *pass) snapshot() Cursor {
	at := p.at
	at.Differing = append([]Range(nil), p.at.Differing...)
	return at
}

// compare compares all keys, and counts. It returns false if there is nothing more to do.
func (p *pass) compare(ctx context.Context) (bool, error) {
	for step, last := int64(firstStep), false; !last; {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		r := Range{After: p.at.After}
		ends, err := p.source.Cut(ctx, p.plan, r, step, 1)
		if err != nil {
			return false, p.of("source", p.source, err)
		}
		if last = len(ends) == 0; !last {
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
		if last {
			break
		}
		if !p.mark() {
			return false, nil
		}
	}
	return p.judge()
}

// count counts the differences of a range.
func (p *pass) count(ctx context.Context, r Range) error {
	before := p.at.Gone + p.at.Missing
	err := p.descend(ctx, r, true, func(f found) bool {
		p.at.Gone += int64(len(f.gone)) + f.more
		p.at.Missing += int64(len(f.missing))
		return ctx.Err() == nil
	})
	if err == nil && p.at.Gone+p.at.Missing > before {
		p.at.differs(r)
	}
	return errors.Join(err, ctx.Err())
}

// judge decides whether the differences are yielded.
func (p *pass) judge() (bool, error) {
	if p.at.Gone == 0 && (p.at.Missing == 0 || !p.opts.Missing) {
		p.end()
		return false, nil
	}
	if p.at.Gone > p.allowed() || p.at.Gone > 0 && p.at.SourceRows == 0 && p.opts.MaxGone < 1 {
		err := dataflow.Permanent(fmt.Errorf("%d of the %d rows of %s (target) are gone from %s (source), which has %d rows; at most %d may be: nothing was removed. "+
			"If the source is right, allow it by MaxGone", p.at.Gone, p.at.TargetRows, p.target.Table().Name, p.source.Table().Name, p.at.SourceRows, p.allowed()))
		if !p.end() { // so that the next run compares anew
			return false, nil
		}
		return false, err
	}
	p.at.Pass, p.at.After = removing, nil
	return p.mark(), nil
}

// end yields the end. It reports whether the caller wants more.
func (p *pass) end() bool {
	p.at.Pass, p.at.After, p.at.Differing = done, nil, nil
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
		err := p.descend(ctx, p.at.Differing[0], false, func(f found) bool {
			on, failed = p.differences(f)
			return on && failed == nil && ctx.Err() == nil
		})
		if err = errors.Join(err, failed, ctx.Err()); err != nil || !on {
			return err
		}
		p.at.Differing = p.at.Differing[1:]
		if !p.mark() {
			return nil
		}
	}
	p.end()
	return nil
}

// differences yields those of a small range. The last one is a resume point.
func (p *pass) differences(f found) (bool, error) {
	p.at.Removed += int64(len(f.gone))
	if p.at.Removed > p.allowed() && p.opts.MaxGone < 1 {
		err := dataflow.Permanent(fmt.Errorf("more rows of %s are gone than the %d that were counted at first, and more than the %d that may be: the run stops after %d: "+
			"see whether the source is right, and allow it by MaxGone", p.target.Table().Name, p.at.Gone, p.allowed(), p.at.Removed-int64(len(f.gone))))
		p.at.Removed -= int64(len(f.gone))
		return p.end(), err
	}
	var all []Difference
	for _, k := range f.gone {
		all = append(all, Difference{Kind: Gone, Key: p.text(k), Values: k})
	}
	for _, k := range f.missing {
		if p.opts.Missing {
			all = append(all, Difference{Kind: Missing, Key: p.text(k), Values: k})
		}
	}
	if f.until != nil {
		p.at.Differing[0].After = f.until
	}
	for i, d := range all {
		item := dataflow.Item[Difference, Cursor]{Value: d, Key: d.Kind + " " + d.Key}
		if i == len(all)-1 && f.until != nil { // the last range has no end; remove marks it
			item.Resume, item.Cursor = true, p.snapshot()
		}
		if !p.yield(item, nil) {
			return false, nil
		}
	}
	return true, nil
}

// text returns a key for people.
func (p *pass) text(k Key) string {
	values := make([]string, len(k))
	for i, v := range k {
		values[i] = p.plan.Kinds[i].Readable(v)
	}
	if len(values) == 1 {
		return values[0]
	}
	return "(" + strings.Join(values, ", ") + ")"
}

func isCanceled(err error) bool { return errors.Is(err, context.Canceled) }
