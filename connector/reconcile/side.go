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

// Table names the rows of one side.
type Table struct {
	// Name is the table, as "table" or "schema.table". A view will do for the source.
	Name string
	// Key are the columns that identify a row. Both sides name as many, in the same order.
	// Their names may differ. A row with NULL in one of them is left out.
	Key []string
	// Where is a condition in SQL that restricts the rows, such as "region = 'eu'". It is put
	// into the statements as it is, so it must not come from a user. In the target it keeps
	// the rows of other flows out. In the source, a row that it leaves out counts as gone.
	Where string
	// SameSpelling says that both sides write each key alike, such as uuids in lower case, and
	// numbers and times with as many digits. It is needed where a type or a collation takes different
	// texts for equal, or keeps fewer digits: then a row of the target could stand for a key
	// that is spelled otherwise, and would be deleted.
	SameSpelling bool
}

// Validate returns a [dataflow.ConfigError] for each field that is wrong.
func (t *Table) Validate() error {
	var errs []error
	if strings.TrimSpace(t.Name) == "" {
		errs = append(errs, &dataflow.ConfigError{Field: "Name", Reason: "it is empty: name the table"})
	}
	if len(t.Key) == 0 {
		errs = append(errs, &dataflow.ConfigError{Field: "Key", Reason: "it is empty: name the columns that identify a row"})
	}
	for i, name := range t.Key {
		if name == "" || slices.Contains(t.Key[:i], name) {
			errs = append(errs, &dataflow.ConfigError{Field: "Key", Reason: "a column is empty, or named twice"})
		}
	}
	return errors.Join(errs...)
}

// Side is one of the two sides. pgtable.Keys and sqltable.Keys return one; its methods are for
// [Comparison].
type Side interface {
	dataflow.Validator
	dataflow.Describer
	dataflow.PoolUser
	keyrange.Side

	// Table returns what the side was made of.
	Table() Table
	// Remover returns a sink that removes the keys that are gone from the side.
	Remover(r keyrange.Removal) dataflow.FencedSink[Difference]
}

// side is a side in a read. Its errors name it.
type side struct {
	name string // "source" or "target"
	of   Side
	plan keyrange.Plan
}

func (s *side) wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: table %s: %w", s.name, s.of.Table().Name, err)
}

// small reports whether all keys of the side may be read by one statement.
func (s *side) small(ctx context.Context) (bool, error) {
	rows, ok, err := s.of.Estimate(ctx, &s.plan)
	return ok && rows <= mostWhole, s.wrap(err)
}

func (s *side) sum(ctx context.Context, r keyrange.Range) (keyrange.Sum, error) {
	sum, err := s.of.Sum(ctx, &s.plan, r)
	return sum, s.wrap(err)
}

func (s *side) cut(ctx context.Context, r keyrange.Range, step, most int64) ([]keyrange.Key, error) {
	keys, err := s.of.Cut(ctx, &s.plan, r, step, most)
	return keys, s.wrap(err)
}

func (s *side) list(ctx context.Context, r keyrange.Range) ([]keyrange.Key, error) {
	keys, err := s.of.List(ctx, &s.plan, r, mostRead)
	return keys, s.wrap(err)
}

// lacks returns the keys that the side does not have.
func (s *side) lacks(ctx context.Context, keys []keyrange.Key) ([]keyrange.Key, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	there, err := s.of.Find(ctx, &s.plan, keys)
	if err != nil {
		return nil, s.wrap(err)
	}
	var rest []keyrange.Key
	for i, k := range keys {
		if !there[i] {
			rest = append(rest, k)
		}
	}
	return rest, nil
}
