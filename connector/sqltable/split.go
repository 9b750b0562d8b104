package sqltable

import (
	"context"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/rowmap"
)

// Split returns the keys after which the rows can be cut into n parts. The sizes of
// the parts differ by at most one row.
//
// Split first counts the rows, and then numbers them in the order of the key up to
// the last cut. With an index on the key columns, and if no other column is needed,
// both are passes over that index. Without one, the second pass sorts the rows.
// Rows added or removed between the passes make the sizes differ more.
func (s *keyset[T]) Split(ctx context.Context, r dataflow.Request[Cursor], n int) ([]Cursor, error) {
	cursors, err := s.split(ctx, r, n)
	if err != nil {
		return nil, s.query.Wrap(passing(ctx, err))
	}
	return cursors, nil
}

func (s *keyset[T]) split(ctx context.Context, req dataflow.Request[Cursor], n int) ([]Cursor, error) {
	req, _ = rowmap.WithoutAgain(&s.query, req)
	r := &reader[T]{keyset: s, request: req}
	if _, err := r.lookUpKeys(ctx); err != nil {
		return nil, err
	}
	count, err := r.counted(ctx, req)
	if err != nil {
		return nil, err
	}
	cuts := rowmap.Cuts(count, n)
	if len(cuts) == 0 {
		return nil, nil
	}
	args, err := r.with(req.From)
	if err != nil {
		return nil, err
	}
	rows, err := r.run(ctx, r.query.RowsQuery(r.keys, req.Resumed, cuts), args)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	page, key := &rowmap.Page{}, make([]any, len(r.keys))
	for rows.Next() {
		if err := rows.Scan(pointers(key)...); err != nil {
			return nil, err
		}
		if err := r.addKey(page, key); err != nil {
			return nil, err
		}
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	return rowmap.Cursors[Cursor](&s.query, page.Keys, false)
}
