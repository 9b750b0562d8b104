package sqltable

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/rowmap"
)

// OnlyIfNewer returns an upsert that leaves rows alone that are newer by a column.
func (s upsertSink[T]) OnlyIfNewer(column string) (any, error) {
	to, err := s.onlyIfNewer(column)
	if err != nil {
		return nil, err
	}
	return upsertSink[T]{to}, nil
}

// OnlyIfNewer returns a target that leaves rows alone that are newer by a column.
func (s *otherSink[T]) OnlyIfNewer(column string) (any, error) {
	to, err := s.sink.onlyIfNewer(column)
	if err != nil {
		return nil, err
	}
	return newOtherSink(s.db, to), nil
}

func (s *sink[T]) onlyIfNewer(column string) (*sink[T], error) {
	plan := s.fields
	if s.fieldsErr != nil {
		plan = nil
	}
	if err := rowmap.ValidateNewer(column, s.upsert, s.key, plan); err != nil {
		return nil, err
	}
	to := newSink[T](s.table, true, s.key)
	if to.nameErr == nil && to.fieldsErr == nil {
		to.newer = &to.fields.Columns[to.fields.Index(column)]
		to.insert = newInserter(to.name, to.fields.Names(), true, to.key, to.newer)
	}
	return to, nil
}

// ownTime matches a time in the form in which this package writes it.
const ownTime = "'????-??-?? ??:??:??.?????????Z'"

// notOlder compares a value with the row t of SQLite. NULL is older than every value.
//
// Times are texts, and sort like the times only if they have one form. A time that somebody else
// has written in another form is compared by its Julian day, which is exact to the millisecond.
// What is no time at all is older than every time.
func notOlder(newer *rowmap.Column, value string) string {
	own := "t." + rowmap.Quote(newer.Name)
	if newer.IsNumber() { // a column of texts would hold it as a text
		return own + " is null or cast(" + own + " as numeric) <= cast(" + value + " as numeric)"
	}
	if !newer.IsTime() {
		return own + " is null or " + own + " <= " + value
	}
	return own + " is null or case when " + own + " glob " + ownTime + " then " + own + " collate binary <= " + value +
		" when " + value + " is not null then coalesce(julianday(" + own + ") <= julianday(" + value + "), true) end"
}

// unlessNewer returns the new value of a column of MySQL, which compares two values of an enum as
// texts. Their numbers are in the enum's order.
func unlessNewer(name string, newer *rowmap.Column, enum bool) string {
	value := "values(" + rowmap.Backtick(name) + ")"
	if newer == nil {
		return value
	}
	own, number := rowmap.Backtick(newer.Name), ""
	if enum {
		number = " + 0"
	}
	return "if(" + own + " is null or " + own + number + " <= values(" + own + ")" + number + ", " + value + ", " + rowmap.Backtick(name) + ")"
}

// checkNewer returns an error if the values of a column of MySQL have no order, or another than
// the records'.
func (s *mysqlSink[T]) checkNewer(ctx context.Context, t *mysqlTable) error {
	c := s.sink.newer
	if c == nil {
		return nil
	}
	i := slices.IndexFunc(t.columns, func(name string) bool { return strings.EqualFold(name, c.Name) })
	if i < 0 {
		return nil // checkColumns has said so
	}
	typ := t.types[i].name
	s.enum.Store(typ == "enum")
	const remedy = `use another column, or call OnlyIfNewer("") of the target, so that backfills and replays replace rows of any age, too`
	switch {
	case c.IsTime() && slices.Contains([]string{"timestamp", "datetime"}, typ):
		steady, err := hasSteadyClock(ctx, s.db)
		if err != nil || steady {
			return err
		}
		return dataflow.Permanent(fmt.Errorf("column %q (field %s) is a %s, and the DSN's loc is a zone in which two moments have the same time when summer time ends, so OnlyIfNewer cannot compare by it: leave loc out of the DSN, %s", c.Name, c.Field, typ, remedy))
	case c.IsTime() && typ != "date":
		return dataflow.Permanent(fmt.Errorf("column %q (field %s) is of type %s, in which times are not in their order, so OnlyIfNewer cannot compare by it: make it a datetime(6), %s", c.Name, c.Field, typ, remedy))
	case c.IsNumber() && slices.Contains([]string{"char", "varchar", "tinytext", "text", "mediumtext", "longtext", "binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"}, typ):
		return dataflow.Permanent(fmt.Errorf("column %q (field %s) is of type %s, in which numbers are not in their order, so OnlyIfNewer cannot compare by it: make it a bigint, %s", c.Name, c.Field, typ, remedy))
	case slices.Contains([]string{"json", "geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon", "geometrycollection", "set", "bit"}, typ):
		return dataflow.Permanent(fmt.Errorf("column %q (field %s) is of type %s, which has no order, so OnlyIfNewer cannot compare by it: %s", c.Name, c.Field, typ, remedy))
	default:
		return nil
	}
}

// hasSteadyClock reports whether the zone in which MySQL's driver writes times has the same offset in
// winter and in summer.
func hasSteadyClock(ctx context.Context, q queryer) (bool, error) {
	winter, summer := time.Unix(1704067200, 0), time.Unix(1719792000, 0)
	var inWinter, inSummer string
	if err := q.QueryRowContext(ctx, "select cast(? as char), cast(? as char)", winter, summer).Scan(&inWinter, &inSummer); err != nil {
		return false, err
	}
	w, err := mysqlMoment(inWinter)
	if err != nil {
		return false, fmt.Errorf("read the time %q that the driver has written: %w", inWinter, err)
	}
	s, err := mysqlMoment(inSummer)
	if err != nil {
		return false, fmt.Errorf("read the time %q that the driver has written: %w", inSummer, err)
	}
	return s.Sub(w) == summer.Sub(winter), nil
}
