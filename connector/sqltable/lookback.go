package sqltable

import (
	"context"
	"database/sql"
	"slices"
	"strings"
	"time"

	"github.com/activedataflow/dataflow/internal/rowmap"
)

// Rereads reports whether a run also reads rows that earlier runs have read.
func (s *keyset[T]) Rereads() bool { return s.lookback > 0 }

// lookbackFrom returns the key of the last row before the lookback, nil for the beginning.
func (s *keyset[T]) lookbackFrom(ctx context.Context, high Cursor) (Cursor, error) {
	if _, err := s.query.Start(true, high); err != nil {
		return nil, err
	}
	r := &reader[T]{keyset: s}
	columns, err := r.lookUpKeys(ctx)
	if err != nil {
		return nil, err
	}
	text, err := r.before(columns, high[0])
	if err != nil {
		return nil, err
	}
	return r.last(ctx, true, append(slices.Clone(r.args), text))
}

// before returns the time that is the lookback before that of a cursor, in the form of the key
// column. Of a date, the time of day is cut off.
func (r *reader[T]) before(columns []*sql.ColumnType, literal string) (string, error) {
	value, _ := parseLiteral(literal)
	text, _ := value.(string)
	if r.mysql != nil {
		at := slices.IndexFunc(columns, func(c *sql.ColumnType) bool { return c.Name() == r.query.Key[0] })
		typ := columns[at].DatabaseTypeName()
		t, err := mysqlMoment(text)
		if err != nil || !slices.Contains([]string{"TIMESTAMP", "DATETIME", "DATE"}, typ) {
			return "", r.query.LookbackTypeError("of type " + typ)
		}
		return r.mysqlTime(typ, r.earlier(t, typ == "DATE"))
	}
	day, err := time.Parse(time.DateOnly, text)
	if err == nil {
		return r.sqliteTimeLike(literal, r.earlier(day, true))
	}
	t, err := parseTime(text)
	if err != nil || timeText.FindStringSubmatch(text) == nil {
		return "", r.query.LookbackTypeError("such as " + rowmap.Clip(literal))
	}
	return r.sqliteTimeLike(literal, r.earlier(t, false))
}

func (r *reader[T]) earlier(t time.Time, day bool) time.Time {
	t = t.Add(-r.lookback)
	if day {
		t = t.Truncate(24 * time.Hour)
	}
	return t
}

// mysqlMoment reads a time as MySQL writes it, as one in UTC.
func mysqlMoment(text string) (time.Time, error) {
	if !strings.Contains(text, " ") {
		return time.Parse(time.DateOnly, text)
	}
	return time.Parse(time.DateTime, text)
}
