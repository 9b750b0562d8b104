package reconcile

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"sync"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/keyrange"
)

// Difference is a key that only one of the two sides has.
type Difference struct {
	// Kind is [Gone] or [Missing].
	Kind string
	// Key is the key, for people: "17", or "(eu, 17)".
	Key string
	// Values are the values of the key's columns, each as a text that is the same in every
	// database. Times are in hexadecimal.
	Values []string `db:"-"`
}

// The kinds of a [Difference].
const (
	Gone    = "gone"    // only the target has the key
	Missing = "missing" // only the source has the key
)

// Options are settings of a [Comparison]. The zero value is the default.
type Options struct {
	// MaxGone is the greatest share of the target's rows that may be gone. Above it, the run
	// fails before anything is removed. 0 means 0.05, and one row may always be gone. 1 allows everything. If
	// the source has no row, everything below 1 stops the run.
	MaxGone float64
	// Missing also yields the keys that the target lacks. [Comparison.Delete] and
	// [Comparison.Mark] pass over them. Without it they are only counted.
	Missing bool
}

// Comparison is a source of the differences between two sides. A flow has one of its own.
type Comparison struct {
	source, target Side
	opts           Options
	marks          bool
	mark           string // the column of Mark

	mu        sync.Mutex // guards agreement
	agreement *walk      // both sides, with the plans of the read that goes on
}

// New compares the keys of a source with those of a target.
func New(source, target Side, opts *Options) *Comparison {
	c := &Comparison{source: source, target: target}
	if opts != nil {
		c.opts = *opts
	}
	return c
}

// Delete returns a target that deletes the rows whose keys are gone. It is for the flow that has
// this comparison as its source.
func (c *Comparison) Delete() dataflow.Target[Difference] { return c.remove("") }

// Mark is [Comparison.Delete], but sets a column to the time instead. Rows in which the column is
// not NULL are left out of the comparison.
func (c *Comparison) Mark(column string) dataflow.Target[Difference] {
	c.marks, c.mark = true, column
	return c.remove(column)
}

func (c *Comparison) remove(mark string) dataflow.Target[Difference] {
	if c.source == nil || c.target == nil {
		return dataflow.Target[Difference]{} // Validate reports it
	}
	return dataflow.ToFenced[Difference](c.target.Remover(keyrange.Removal{
		Mark: mark,
		Plan: func(ctx context.Context) (*keyrange.Plan, error) {
			w, err := c.agreed(ctx)
			if err != nil {
				return nil, err
			}
			return &w.target.plan, nil
		},
		Alive: func(ctx context.Context, keys []keyrange.Key) ([]bool, error) {
			w, err := c.agreed(ctx)
			if err != nil {
				return nil, err
			}
			there, err := w.source.of.Find(ctx, &w.source.plan, keys)
			if err != nil {
				return nil, fmt.Errorf("look for the keys in the source: %w", w.source.wrap(err))
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
	if c.marks && c.mark == "" {
		errs = append(errs, &dataflow.ConfigError{Field: "Mark", Reason: "it is empty: name the column that gets the time"})
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

// agreed returns both sides with the plans of the read that goes on.
func (c *Comparison) agreed(ctx context.Context) (*walk, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.agreement != nil {
		return c.agreement, nil
	}
	w := &walk{source: &side{name: "source", of: c.source}, target: &side{name: "target", of: c.target}}
	if err := agree(ctx, w.source, w.target); err != nil {
		return nil, err
	}
	w.target.plan.Unmarked = c.mark
	c.agreement = w
	return w, nil
}

// forget lets the next read look the tables up again, which may have changed.
func (c *Comparison) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.agreement = nil
}

// Notes says what the last comparison has found.
func (c *Comparison) Notes(_ context.Context, r dataflow.Request[Cursor]) ([]string, error) {
	if r.From.Pass != done || r.From.Missing == 0 {
		return nil, nil
	}
	return []string{fmt.Sprintf("in the last comparison, %s lacked %d of the %d keys of %s: the flow that copies them is not there yet, or has lost them",
		c.target.Table().Name, r.From.Missing, r.From.SourceRows, c.source.Table().Name)}, nil
}

// Read compares the two sides. It yields no difference before all keys were compared.
func (c *Comparison) Read(ctx context.Context, r dataflow.Request[Cursor]) iter.Seq2[dataflow.Item[Difference, Cursor], error] {
	return func(yield func(dataflow.Item[Difference, Cursor], error) bool) {
		if err := c.read(ctx, r.From, yield); err != nil {
			yield(dataflow.Item[Difference, Cursor]{}, err)
		}
	}
}

// sides returns a hash of what is compared. A killed run of other tables, or of another key, has
// ranges and counts that say nothing about these.
func (c *Comparison) sides(w *walk) (string, error) {
	text, err := json.Marshal([]any{c.source.Table(), c.target.Table(), w.source.plan.Kinds, c.mark, c.opts.Missing})
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8]), nil
}

func (c *Comparison) read(ctx context.Context, at Cursor, yield func(dataflow.Item[Difference, Cursor], error) bool) error {
	if err := c.Validate(); err != nil {
		return dataflow.Permanent(err)
	}
	c.forget()
	w, err := c.agreed(ctx)
	if err != nil {
		return err
	}
	sides, err := c.sides(w)
	if err != nil {
		return err
	}
	whole := false
	if ordered := w.source.plan.Ordered; at.Pass == "" || at.Pass == done || at.Pages == ordered || at.Sides != sides {
		// Tables that differed the last time are likely to differ now.
		whole = at.Gone == 0 && at.Missing == 0
		at = Cursor{Pass: comparing, Sides: sides, Pages: !ordered}
	}
	p := &pass{walk: w, opts: c.opts, at: at, yield: yield}
	if whole {
		if alike, err := p.alike(ctx); err != nil {
			return err
		} else if alike {
			p.end()
			return nil
		}
	}
	if at.Pass == comparing {
		compare := p.compare
		if at.Pages {
			compare = p.comparePages
		}
		if on, err := compare(ctx); err != nil || !on {
			return err
		}
		if on, err := p.judge(); err != nil || !on {
			return err
		}
	}
	return p.remove(ctx)
}
