package sqltable

import (
	"context"
	"iter"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/rowmap"
)

// readNulls yields the rows without a key.
func (s *keyset[T]) readNulls(ctx context.Context) iter.Seq2[dataflow.Item[T, Cursor], error] {
	return func(yield func(dataflow.Item[T, Cursor], error) bool) {
		adapted, err := s.adapted(ctx)
		if err != nil {
			yield(dataflow.Item[T, Cursor]{}, s.query.Wrap(passing(ctx, err)))
			return
		}
		of := *adapted
		of.query = adapted.query.OfNulls(s.fields.Names())
		of.query.MySQL, of.mysql = nil, nil // it is adapted to its own key
		r := &reader[T]{keyset: &of, limit: rowmap.NullsPage()}
		r.read(ctx, dataflow.Request[Cursor]{})(yield)
	}
}

// countNulls returns how many rows have no key. The query is adapted.
func (s *keyset[T]) countNulls(ctx context.Context) (n int64, err error) {
	if s.query.Nulls == rowmap.NullsRefuse {
		return 0, nil
	}
	return n, s.db.QueryRowContext(ctx, s.query.CountNullsQuery(), s.args...).Scan(&n)
}
