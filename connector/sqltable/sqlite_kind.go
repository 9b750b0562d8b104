package sqltable

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/activedataflow/dataflow"
)

// The kinds of values in SQLite. All numbers come before all texts, and these before all blobs.
const (
	kindNumber = "number"
	kindText   = "text"
	kindBlob   = "blob"
)

// kindOf returns the kind of a cursor's literal.
func kindOf(literal string) string {
	switch {
	case strings.HasPrefix(literal, "x'"):
		return kindBlob
	case strings.HasSuffix(literal, "'"):
		return kindText
	default:
		return kindNumber
	}
}

// kindExpression returns SQL that yields the kind of a column's value, or NULL.
func kindExpression(name string) string {
	return "case typeof(" + name + ") when 'integer' then '" + kindNumber + "' when 'real' then '" + kindNumber +
		"' when 'text' then '" + kindText + "' when 'blob' then '" + kindBlob + "' end"
}

// checkKinds returns an error if a key column has rows, and none with a value of the kind that a cursor has, as after
// the column went from texts to numbers. SQLite puts all of a kind before or after the other, or converts the cursor:
// rows would be lost or come again.
func (s *keyset[T]) checkKinds(ctx context.Context, cursors ...Cursor) error {
	cursors = slices.DeleteFunc(cursors, func(c Cursor) bool { return len(c) != len(s.query.Key) })
	if s.mysql != nil || len(cursors) == 0 { // the types of MySQL's columns are known: see mysqlKeys.values
		return nil
	}
	kinds := s.query.Qualified(s.query.Key)
	for i, name := range kinds {
		kinds[i] = kindExpression(name)
	}
	found, err := s.findTexts(ctx, len(kinds), "select "+strings.Join(kinds, ", ")+s.query.From()+" limit 1")
	if err != nil {
		return err
	}
	for _, cursor := range cursors {
		for i, kind := range found {
			if err := s.checkKind(ctx, cursor, i, kind, kinds[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkKind is checkKinds for one column. expression yields its kind, which is that of found in one row.
func (s *keyset[T]) checkKind(ctx context.Context, cursor Cursor, i int, found sql.NullString, expression string) error {
	kind := kindOf(cursor[i])
	if !found.Valid || found.String == kind {
		return nil
	}
	same, err := s.findTexts(ctx, 1, "select "+expression+s.query.From()+" where "+expression+" = '"+kind+"' limit 1") // a column may hold several kinds
	if err != nil || same != nil {
		return err
	}
	return dataflow.Permanent(fmt.Errorf("key column %q holds %ss, and the cursor %s has a %s there, as before the column changed: rows would be lost or come again: set the cursor with \"dataflow cursor set\"",
		s.query.Key[i], found.String, cursor, kind))
}

// findTexts returns the n texts of the first row of a query, nil if there is none.
func (s *keyset[T]) findTexts(ctx context.Context, n int, query string) (texts []sql.NullString, err error) {
	rows, err := s.run(ctx, query, s.args)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	if rows.Next() {
		texts = make([]sql.NullString, n)
		into := make([]any, n)
		for i := range texts {
			into[i] = &texts[i]
		}
		err = rows.Scan(into...)
	}
	return texts, cmp.Or(err, rows.Err())
}
