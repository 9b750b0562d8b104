package pgtable

import (
	"fmt"
	"reflect"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/activedataflow/dataflow/internal/rowmap"
)

// RowDecoder decodes values as Postgres sends them into the fields of a T, by the rules of
// this package. It is for connectors that get rows elsewhere than from a query. It must not
// be used concurrently.
type RowDecoder[T any] struct {
	scratch *T
	plans   []*columnPlan // by the place of the value; nil: T has no such column
	missing []string
}

// NewRowDecoder returns a decoder of rows with these columns. A column without a field in T
// is ignored. The error says what is wrong with T. The decoder uses m until its last call.
func NewRowDecoder[T any](m *pgtype.Map, columns []pgconn.FieldDescription) (*RowDecoder[T], error) {
	fields, err := rowmap.Of(reflect.TypeFor[T](), isValue)
	if err != nil {
		return nil, err
	}
	d := &RowDecoder[T]{scratch: new(T), plans: make([]*columnPlan, len(columns))}
	found := make([]bool, len(fields.Columns))
	for i, f := range columns {
		at := fields.Index(f.Name)
		if at < 0 {
			continue
		}
		found[at] = true
		plan := newColumnPlan(m, f, &fields.Columns[at], reflect.ValueOf(d.scratch).Elem())
		d.plans[i] = &plan
	}
	for i, is := range found {
		if !is {
			d.missing = append(d.missing, fields.Columns[i].Name)
		}
	}
	return d, nil
}

// Missing returns the columns of T that are not among the decoder's.
func (d *RowDecoder[T]) Missing() []string { return d.missing }

// Has reports whether T has a field for the column at a place.
func (d *RowDecoder[T]) Has(i int) bool { return d.plans[i] != nil }

// Decode sets *row to these values: one for each column, nil for NULL. It leaves
// out the columns for which skip returns true; their fields are zero. skip may be nil. The
// error names the column.
func (d *RowDecoder[T]) Decode(row *T, values [][]byte, skip func(i int) bool) error {
	var zero T
	*d.scratch = zero // no row shares memory with the previous one
	for i, plan := range d.plans {
		if plan == nil || skip != nil && skip(i) {
			continue
		}
		if err := plan.read(values[i]); err != nil {
			return fmt.Errorf("column %q: %w", plan.name, err)
		}
	}
	*row = *d.scratch
	return nil
}
