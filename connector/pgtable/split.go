package pgtable

import (
	"context"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/rowmap"
)

// Split returns the keys after which the rows can be cut into n parts. The sizes of
// the parts differ by at most one row. Rows that the guard holds back are not
// counted.
//
// Split first counts the rows, and then numbers them in the order of the key up to
// the last cut. With an index on the key columns, and if no other column is needed,
// both are passes over that index. Without one, the second pass sorts the rows.
// Rows added or removed between the passes make the sizes differ more.
func (s *keyset) Split(ctx context.Context, r dataflow.Request[Cursor], n int) ([]Cursor, error) {
	r, _ = rowmap.WithoutAgain(&s.query, r)
	from, err := s.query.Start(r.Resumed, r.From)
	if err != nil {
		return nil, s.query.Wrap(err)
	}
	var cursors []Cursor
	err = retryStale(s.pool, func() error {
		cursors, err = s.upTo(r).split(ctx, from, n)
		return err
	})
	if err != nil {
		return nil, transient(ctx, s.pool, s.query.Wrap(err))
	}
	return cursors, nil
}

func (s *keyset) split(ctx context.Context, from Cursor, n int) (cursors []Cursor, err error) {
	r := &reader{keyset: s}
	defer func() { err = r.explainCursor(ctx, from, err) }()
	if _, err := r.describe(ctx, from); err != nil {
		return nil, err
	}
	from = r.now(from)
	g, err := r.guardedQuery(ctx, r.keys[0], readStart{from: from, rough: true})
	if err != nil {
		return nil, err
	}
	var count int64
	args := withCursor(g.args, from)
	if err := s.pool.QueryRow(ctx, g.query.CountQuery(from != nil), args...).Scan(&count); err != nil {
		return nil, err
	}
	cuts := rowmap.Cuts(count, n)
	if len(cuts) == 0 {
		return nil, nil
	}
	rows, err := s.pool.Query(ctx, g.query.RowsQuery(r.keyList(), from != nil, cuts), args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	keys := keyText{columns: r.keys}
	for rows.Next() {
		raw := rows.RawValues()
		if hasNull(raw) {
			return nil, r.nullError(raw)
		}
		if err := keys.add(raw); err != nil {
			return nil, err
		}
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	values, err := keys.strings(true)
	if err != nil {
		return nil, err
	}
	return rowmap.Cursors[Cursor](&s.query, values, true)
}
