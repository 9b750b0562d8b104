package sqltable

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
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
	if s.mysql != nil {
		return nil // the types of its columns are known: see mysqlKeys.values
	}
	for _, cursor := range cursors {
		if len(cursor) != len(s.query.Key) {
			continue
		}
		for i, name := range s.query.Qualified(s.query.Key) {
			if err := s.checkKind(ctx, cursor, i, kindExpression(name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkKind is checkKinds for one column, of which expression yields the kind.
func (s *keyset[T]) checkKind(ctx context.Context, cursor Cursor, i int, expression string) error {
	kind, query := kindOf(cursor[i]), "select "+expression+s.query.From()
	found, err := s.findText(ctx, query+" limit 1")
	if err != nil || !found.Valid || found.String == kind {
		return err
	}
	same, err := s.findText(ctx, query+" where "+expression+" = '"+kind+"' limit 1") // a column may hold several kinds
	if err != nil || same.Valid {
		return err
	}
	return dataflow.Permanent(fmt.Errorf("key column %q holds %ss, and the cursor %s has a %s there, as before the column changed: rows would be lost or come again: set the cursor with \"dataflow cursor set\"",
		s.query.Key[i], found.String, cursor, kind))
}

// findText returns the text that a query finds in its first row. It is NULL if there is none.
func (s *keyset[T]) findText(ctx context.Context, query string) (text sql.NullString, err error) {
	rows, err := s.run(ctx, query, s.args)
	if err != nil {
		return text, err
	}
	defer func() { _ = rows.Close() }()
	if rows.Next() {
		err = rows.Scan(&text)
	}
	return text, cmp.Or(err, rows.Err())
}
