package sqltable

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/activedataflow/dataflow/internal/rowmap"
)

// adapted returns the source with the query in the SQL of its database.
func (s *keyset[T]) adapted(ctx context.Context) (*keyset[T], error) {
	mysql, err := s.db.isMySQL(ctx)
	if err != nil || !mysql {
		return s, err
	}
	a := *s
	a.query.MySQL = &rowmap.MySQL{}
	columns, err := a.describe(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range a.query.Key {
		i := slices.IndexFunc(columns, func(c *sql.ColumnType) bool { return c.Name() == name })
		if i < 0 {
			return nil, a.noKey(name, namesOf(columns))
		}
		key, err := mysqlKeyOf(columns[i])
		if err != nil {
			return nil, err
		}
		if columns[i].DatabaseTypeName() == "TIMESTAMP" {
			if err := checkKeyClock(ctx, a.db, name); err != nil {
				return nil, err
			}
		}
		if key.text {
			if err := checkKeyCharset(ctx, a.db, name); err != nil {
				return nil, err
			}
		}
		a.mysql = append(a.mysql, key)
		a.query.MySQL.Casts = append(a.query.MySQL.Casts, key.cast)
	}
	a.query.MySQL.Collated = a.mysql.collated()
	return &a, nil
}

// noKey returns the error of a key column that the query does not have.
func (s *keyset[T]) noKey(name string, names []string) error {
	return fmt.Errorf("key column %q is not among the query's columns (%v): select it", name, names)
}

// collated reports whether a key column is text.
func (keys mysqlKeys) collated() bool {
	return slices.ContainsFunc(keys, func(k mysqlKey) bool { return k.text })
}

// ofBytes reports whether a key column is bytes, and none is text.
func (keys mysqlKeys) ofBytes() bool {
	return !keys.collated() && slices.ContainsFunc(keys, func(k mysqlKey) bool { return k.bytes })
}

// describe returns the columns of the query.
func (s *keyset[T]) describe(ctx context.Context) ([]*sql.ColumnType, error) {
	rows, err := s.db.QueryContext(ctx, s.query.DescribeQuery(), s.args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	columns, err := rows.ColumnTypes()
	if err != nil {
		return nil, err
	}
	return columns, rows.Err()
}

func namesOf(columns []*sql.ColumnType) []string {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.Name()
	}
	return names
}

// run executes one of the query's statements.
func (s *keyset[T]) run(ctx context.Context, query string, args []any) (*sql.Rows, error) {
	query, args = s.query.Positional(query, args)
	return s.db.query(ctx, s.mysql != nil, query, args)
}

// literal writes a value of key column i as a literal of a cursor.
func (r *reader[T]) literal(i int, v any) (string, error) {
	if r.mysql != nil {
		return r.mysql[i].literal(v)
	}
	return literalOf(v)
}

// equalError returns the error of a page whose last two keys are equal.
func (r *reader[T]) equalError(keys []string) error {
	width := len(r.query.Key)
	if len(keys) < 2*width {
		return nil
	}
	before, key := keys[len(keys)-2*width:len(keys)-width], keys[len(keys)-width:]
	if slices.Equal(before, key) {
		return r.query.Check(key, before)
	}
	return r.query.EqualError(before, key)
}

// tooLong reports whether bytes of a key are too long to sort. Of a key with a text, the server says so.
func (r *reader[T]) tooLong(key []string) bool {
	return r.longest > 0 && slices.ContainsFunc(key, func(literal string) bool {
		digits, isBytes := strings.CutPrefix(literal, "x'")
		return isBytes && len(digits)/2+rowmap.SortedBesides > r.longest
	})
}

// timestamp returns the name of a timestamp column that is read into a time, or "".
// targets are the scan targets of the columns with those names.
func timestamp(columns []*sql.ColumnType, names []string, targets []any) string {
	for _, c := range columns {
		i := slices.Index(names, c.Name())
		if i < 0 || c.DatabaseTypeName() != "TIMESTAMP" {
			continue
		}
		if _, isTime := targets[i].(timeTarget); isTime {
			return c.Name()
		}
	}
	return ""
}
