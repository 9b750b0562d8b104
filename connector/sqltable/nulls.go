package sqltable

import (
	"context"

	"github.com/activedataflow/dataflow/internal/rowmap"
)

// ofNulls returns the source of the rows without a key.
func (s *keyset[T]) ofNulls(ctx context.Context) (*keyset[T], error) {
	adapted, err := s.adapted(ctx)
	if err != nil {
		return nil, err
	}
	of := *adapted
	of.query = adapted.query.OfNulls(s.fields.Names())
	of.query.MySQL, of.mysql = nil, nil // it is adapted to its own key
	return &of, nil
}

// countNulls returns how many rows have no key. The query is adapted.
func (s *keyset[T]) countNulls(ctx context.Context) (n int64, err error) {
	if s.query.Nulls == rowmap.NullsRefuse {
		return 0, nil
	}
	return n, s.db.QueryRowContext(ctx, s.query.CountNullsQuery(), s.args...).Scan(&n)
}
