package reconcile

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/activedataflow/dataflow"
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
	// SameSpelling says that both sides write each key alike, such as uuids in lower case. It
	// is needed where a type or a collation takes different texts for equal: then a row of the
	// target could stand for a key that is spelled otherwise.
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

// Side is one of the two sides: pgtable.Keys and sqltable.Keys return one. Its methods are for
// [Comparison], which may call them at the same time.
type Side interface {
	dataflow.Validator
	dataflow.Describer
	dataflow.PoolUser

	// Table returns what the side was made of.
	Table() Table
	// Columns looks up the columns of the key, in its order.
	Columns(ctx context.Context) ([]Column, error)
	// Hashes are the hashes that the side can compute, the fastest first.
	Hashes() []Hash
	// Sum counts the keys of a range, and adds up their hashes.
	Sum(ctx context.Context, p *Plan, r Range) (Sum, error)
	// Cut returns every step-th key of a range in the side's order, at most most of them.
	Cut(ctx context.Context, p *Plan, r Range, step, most int64) ([]Key, error)
	// List returns up to most keys of a range, in any order.
	List(ctx context.Context, p *Plan, r Range, most int) ([]Key, error)
	// Find reports for each key whether the side has it, as the side compares keys.
	Find(ctx context.Context, p *Plan, keys []Key) ([]bool, error)
	// Remover returns a sink that removes keys from the side.
	Remover(r Removal) dataflow.FencedSink[Difference]
}

// Key are the values of a key's columns, each in its canonical text; see [Kind].
type Key []string

// Range are the keys that are greater than After and not greater than Until. Nil has no limit.
type Range struct {
	After Key `json:"after,omitempty"`
	Until Key `json:"until,omitempty"`
}

// Sum is what tells two equal ranges.
type Sum struct {
	// Rows is the number of keys.
	Rows int64
	// Hash is the sum of their hashes, modulo 2^64.
	Hash uint64
}

// Kind is what the values of a column are. It says which canonical text they have.
type Kind string

// The kinds of columns.
const (
	Integer     Kind = "integer"     // -17
	Numeric     Kind = "numeric"     // 0.5, without zeros at the end
	Text        Kind = "text"        // the text
	UUID        Kind = "uuid"        // with four hyphens, in lower case
	Bytes       Kind = "bytes"       // hexadecimal, in lower case
	Date        Kind = "date"        // days since 2000-01-01, as 8 hexadecimal digits
	Timestamp   Kind = "timestamp"   // microseconds since 2000-01-01, as 16 hexadecimal digits
	TimestampTZ Kind = "timestamptz" // the same, in UTC
	Literal     Kind = "any"         // 17, 'text', x'00ff': a column of SQLite may hold any of them
)

// Column is a column of a key.
type Column struct {
	Name string
	// Type names its type in the database, for errors.
	Type string
	Kind Kind
	// Loose says why different texts may be equal in the column: "" if they never are.
	Loose string
}

// Plan is what both sides have agreed upon.
type Plan struct {
	Kinds []Kind
	Hash  Hash
}

// Removal is what a remover does to the keys that are gone.
type Removal struct {
	// Mark is the column that gets the time. Empty: the row is deleted.
	Mark string
	// Plan returns the plan.
	Plan func(ctx context.Context) (*Plan, error)
	// Alive asks the source for each key whether it is there. The remover calls it after it has
	// locked the rows of the target.
	Alive func(ctx context.Context, keys []Key) ([]bool, error)
}

// GoneKeys returns the keys of the differences that are [Gone]. It is for removers.
func GoneKeys(differences []Difference) []Key {
	var gone []Key
	for i := range differences {
		if differences[i].Kind == Gone {
			gone = append(gone, differences[i].Values)
		}
	}
	return gone
}

// StillGone returns the keys that the source does not have now. It is for removers.
func StillGone(ctx context.Context, r Removal, keys []Key) ([]Key, error) {
	alive, err := r.Alive(ctx, keys)
	if err != nil {
		return nil, err
	}
	var gone []Key
	for i, k := range keys {
		if !alive[i] {
			gone = append(gone, k)
		}
	}
	return gone, nil
}
