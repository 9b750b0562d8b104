package sqltable

import (
	"context"
	"database/sql"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/rowmap"
)

// seekTime returns the key of the last row before a time, or nil if there is none.
func (s *keyset[T]) seekTime(ctx context.Context, before time.Time) (Cursor, error) {
	r := &reader[T]{keyset: s}
	columns, err := r.lookUpKeys(ctx)
	if err != nil {
		return nil, err
	}
	var text string
	if r.mysql != nil {
		at := slices.IndexFunc(columns, func(c *sql.ColumnType) bool { return c.Name() == r.query.Key[0] })
		text, err = r.mysqlTime(columns[at].DatabaseTypeName(), before)
	} else {
		var last Cursor
		if last, err = r.last(ctx, false, r.args); last == nil {
			return nil, err
		}
		text, err = r.sqliteTimeLike(last[0], before)
	}
	if err != nil {
		return nil, err
	}
	return r.last(ctx, true, append(slices.Clone(r.args), text))
}

// seekEnd returns the key of the last row, or nil if there is none.
func (s *keyset[T]) seekEnd(ctx context.Context) (Cursor, error) {
	r := &reader[T]{keyset: s}
	if _, err := r.lookUpKeys(ctx); err != nil {
		return nil, err
	}
	return r.last(ctx, false, r.args)
}

// last returns the key of the last row of a query, or nil if there is none.
func (r *reader[T]) last(ctx context.Context, before bool, args []any) (Cursor, error) {
	rows, err := r.run(ctx, r.query.LastQuery(r.keys, before), args)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	if !rows.Next() {
		return nil, rows.Err()
	}
	page, key := &rowmap.Page{}, make([]any, len(r.keys))
	if err := rows.Scan(pointers(key)...); err != nil {
		return nil, err
	}
	if err := r.addKey(page, key); err != nil {
		return nil, err
	}
	cursors, err := rowmap.Cursors[Cursor](&r.query, page.Keys, false)
	if err != nil {
		return nil, err
	}
	return cursors[0], rows.Err()
}

// mysqlTime writes a time in the type of a key column.
func (r *reader[T]) mysqlTime(typ string, t time.Time) (string, error) {
	const wall = "2006-01-02 15:04:05.000000"
	switch typ {
	case "TIMESTAMP": // the session is in UTC
		return t.UTC().Format(wall), nil
	case "DATETIME":
		return t.Format(wall), nil
	case "DATE":
		if !rowmap.BeginsDay(t) {
			return "", r.notADay()
		}
		return t.Format(time.DateOnly), nil
	default:
		return "", r.noTime("of type " + typ)
	}
}

// zoneText matches the zone at the end of a time's text.
var zoneText = regexp.MustCompile(`([+-])(\d\d):?(\d\d)[^.]*$`)

// sqliteTimeLike writes a time in the form of a key column's text. It leaves out what is zero at
// its end, and the zone, so that it sorts before each text of that time and later ones.
func (r *reader[T]) sqliteTimeLike(literal string, t time.Time) (string, error) {
	value, err := parseLiteral(literal)
	if err != nil {
		return "", err
	}
	text, isText := value.(string)
	if _, err := time.Parse(time.DateOnly, text); isText && err == nil {
		if !rowmap.BeginsDay(t) {
			return "", r.notADay()
		}
		return t.Format(time.DateOnly), nil
	}
	parts := timeText.FindStringSubmatch(text)
	if !isText || parts == nil {
		return "", r.noTime("such as " + literal)
	}
	zone := zoneText.FindStringSubmatch(parts[4])
	switch {
	case parts[4] == "Z":
		t = t.UTC()
	case zone != nil:
		at, err := time.Parse("-0700", zone[1]+zone[2]+zone[3])
		if err != nil {
			return "", r.noTime("such as " + literal)
		}
		t = t.In(at.Location())
	}
	form := "2006-01-02" + parts[2] + "15:04:05.999999999"
	return strings.TrimSuffix(t.Format(form), ":00"), nil
}

func (r *reader[T]) notADay() error {
	return &dataflow.ConfigError{Reason: fmt.Sprintf("the source's key begins with %q, a date without a time of day: give a date", r.query.Key[0])}
}

func (r *reader[T]) noTime(what string) error {
	return &dataflow.ConfigError{Reason: fmt.Sprintf("the source's key begins with %q, %s, which is no time: give a cursor", r.query.Key[0], what)}
}
