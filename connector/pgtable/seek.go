package pgtable

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/rowmap"
)

// SeekTime returns the key of the last row whose first key column is before a time.
func (s *keyset) SeekTime(ctx context.Context, _ dataflow.Request[Cursor], before time.Time) (cursor Cursor, ok bool, err error) {
	var refused error
	err = retryStale(s.pool, func() (err error) {
		cursor, refused, err = s.seekTime(ctx, before)
		return err
	})
	switch {
	case err != nil:
		return nil, false, transient(ctx, s.pool, s.query.Wrap(err))
	case refused != nil:
		return nil, false, refused
	}
	return cursor, cursor != nil, nil
}

// SeekEnd returns the key of the last row that the guard lets pass now.
func (s *keyset) SeekEnd(ctx context.Context, _ dataflow.Request[Cursor]) (cursor Cursor, ok bool, err error) {
	err = retryStale(s.pool, func() (err error) {
		cursor, err = s.seekEnd(ctx)
		return err
	})
	if err != nil {
		return nil, false, transient(ctx, s.pool, s.query.Wrap(err))
	}
	return cursor, cursor != nil, nil
}

func (s *keyset) seekEnd(ctx context.Context) (Cursor, error) {
	r := &reader{keyset: s}
	if _, err := r.describe(ctx, nil); err != nil {
		return nil, err
	}
	g, err := r.guardedQuery(ctx, r.keys[0], readStart{})
	if err != nil {
		return nil, err
	}
	return r.lastRow(ctx, g.query.LastQuery(r.keyList(), false), g.args)
}

// seekTime returns a nil cursor if there is no such row. refused says why the key does not fit.
func (s *keyset) seekTime(ctx context.Context, before time.Time) (cursor Cursor, refused, err error) {
	r := &reader{keyset: s}
	if _, err := r.describe(ctx, nil); err != nil {
		return nil, nil, err
	}
	text, refused := r.timeOfKey(before)
	if refused != nil {
		return nil, refused, nil
	}
	query := r.query // with the casts of the key
	cursor, err = r.lastRow(ctx, query.LastQuery(r.keyList(), true), append(slices.Clone(s.args), text))
	return cursor, nil, err
}

// lastRow returns the key of the row that a LastQuery finds, nil if it finds none.
func (r *reader) lastRow(ctx context.Context, query string, args []any) (Cursor, error) {
	rows, err := r.pool.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	if !rows.Next() {
		return nil, rows.Err()
	}
	raw := rows.RawValues()
	if hasNull(raw) {
		return nil, r.nullError(raw)
	}
	key := keyText{columns: r.keys}
	if err := key.add(raw); err != nil {
		return nil, err
	}
	values, err := key.strings(true)
	if err != nil {
		return nil, err
	}
	cursors, err := rowmap.Cursors[Cursor](&r.query, values, true)
	if err != nil {
		return nil, err
	}
	return cursors[0], rows.Err()
}

// timeOfKey writes a time in the type of the first key column.
func (r *reader) timeOfKey(t time.Time) (text string, refused error) {
	const wall = "2006-01-02T15:04:05.999999999"
	switch r.keys[0].DataTypeOID {
	case pgtype.TimestamptzOID:
		return t.UTC().Format(time.RFC3339Nano), nil
	case pgtype.TimestampOID:
		return t.Format(wall), nil
	case pgtype.DateOID:
		if !rowmap.BeginsDay(t) {
			return "", &dataflow.ConfigError{Reason: fmt.Sprintf("the source's key begins with %q, a date without a time of day: give a date", r.query.Key[0])}
		}
		return t.Format(time.DateOnly), nil
	default:
		return "", &dataflow.ConfigError{Reason: fmt.Sprintf("the source's key begins with %q, of type %s, which is no time: give a cursor", r.query.Key[0], r.keys[0].text)}
	}
}
