package pgtable

import (
	"context"
	"database/sql"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/rowmap"
	"github.com/activedataflow/dataflow/internal/sqlstate"
)

// OnlyIfNewer returns an upsert that leaves rows alone that are newer by a column.
func (s *upsertSink[T]) OnlyIfNewer(column string) (any, error) {
	to, err := s.to.onlyIfNewer(column)
	if err != nil {
		return nil, err
	}
	return &upsertSink[T]{tablePowers: to, to: to}, nil
}

// OnlyIfNewer returns a target that leaves rows alone that are newer by a column.
func (s *fencedSink[T]) OnlyIfNewer(column string) (any, error) {
	into, ok := s.part.(*sink[T])
	if !ok {
		return nil, &dataflow.ConfigError{Field: "Target.OnlyIfNewer", Reason: s.place() + " writes with the caller's own statements, which must compare by themselves: use pgtable.UpsertTo"}
	}
	to, err := into.to.onlyIfNewer(column)
	if err != nil {
		return nil, err
	}
	return newFenced[T](s.pool, &sink[T]{tablePowers: to, to: to}), nil
}

func (s *tableSink) onlyIfNewer(column string) (*tableSink, error) {
	plan := s.fields
	if s.fieldsErr != nil {
		plan = nil
	}
	if err := rowmap.ValidateNewer(column, s.upsert, s.key, plan); err != nil {
		return nil, err
	}
	to := &tableSink{
		table: s.table, name: s.name, nameErr: s.nameErr, tableErr: s.tableErr, way: s.way,
		fields: s.fields, fieldsErr: s.fieldsErr, copyFrom: s.copyFrom, statements: make(map[string]*statement),
	}
	to.newer = column
	return to, nil
}

// onConflict ends an insert, as t, that updates a row whose key exists, under these conditions
// and unless that row is newer.
func (st *statement) onConflict(key, conditions []string) string {
	if st.newer != nil {
		conditions = append(conditions, "("+st.notOlder("excluded."+rowmap.Quote(st.newer.name))+")")
	}
	sql := rowmap.OnConflict(st.fields.Names(), key)
	if len(conditions) > 0 {
		sql += "\nwhere " + strings.Join(conditions, " and ")
	}
	return sql
}

// notOlder compares a value with the row t of the table. NULL is older than every value. A composite
// value of NULLs is none, but "is null" says that it is.
func (st *statement) notOlder(value string) string {
	own := "t." + rowmap.Quote(st.newer.name)
	return own + " is not distinct from null or " + own + " <= " + value
}

// newest sorts the newest row of each key first, before the number of the row counts.
func (st *statement) newest() string {
	if st.newer == nil {
		return ""
	}
	return ", c" + strconv.Itoa(slices.Index(st.columns, st.newer)+1) + st.newer.collate() + " desc nulls last"
}

// newerRemedy is what to do if rows cannot be compared by a column.
const newerRemedy = `or call OnlyIfNewer("") of the target, so that backfills and replays replace rows of any age, too`

// checkNewer returns an error if the column's values have no order, or another than the
// records'.
func (st *statement) checkNewer(ctx context.Context, tx pgx.Tx) error {
	c := st.newer
	if c == nil {
		return nil
	}
	const refusal = "column %q (field %s) is of type %s, in which %s are not in their order, so OnlyIfNewer cannot compare by it: make it a %s, use another column, %s"
	switch t := leafOf(c.field.Type); {
	case isTime(t) && !slices.Contains([]uint32{pgtype.TimestamptzOID, pgtype.TimestampOID, pgtype.DateOID}, c.oid):
		return dataflow.Permanent(fmt.Errorf(refusal, c.name, c.field.Field, c.typ, "times", "timestamptz", newerRemedy))
	case isNumber(t) && c.collated:
		return dataflow.Permanent(fmt.Errorf(refusal, c.name, c.field.Field, c.typ, "numbers", "bigint or numeric", newerRemedy))
	}
	err := withSavepoint(ctx, tx, func() error {
		_, err := tx.Exec(ctx, "select null::"+c.typ+" <= null::"+c.typ+" order by null::"+c.typ) // a box can be compared, but not sorted
		return err
	})
	if sqlstate.Has(err, sqlstate.UndefinedFunction) {
		return dataflow.Permanent(fmt.Errorf("column %q (field %s) is of type %s, which has no order, so OnlyIfNewer cannot compare by it: use a column with a time or a number, %s: %w", c.name, c.field.Field, c.typ, newerRemedy, err))
	}
	return err
}

// checkClock returns an error if the records' times would be compared as the wall clock of a zone
// that goes back when summer time ends, or of several zones: a later time may then be less.
func (st *statement) checkClock(rows reflect.Value) error {
	c := st.newer
	if c == nil || c.oid != pgtype.TimestampOID || !isTime(leafOf(c.field.Type)) {
		return nil
	}
	for i := range rows.Len() {
		t := timeIn(c.field.In(rows.Index(i)))
		if t == nil {
			continue
		}
		why := ""
		if _, end := t.ZoneBounds(); !end.IsZero() {
			why = t.Location().String() + ", where two moments have the same time when summer time ends"
		} else if other := st.otherOffset(t); other != "" {
			why = "several zones, such as UTC" + other + " and UTC" + t.Format(offset)
		}
		if why != "" {
			return dataflow.Permanent(fmt.Errorf("column %q (field %s) is a timestamp without time zone, and the records' times are in %s, so OnlyIfNewer cannot compare by it: "+
				"make it a timestamptz, let the transform write times in UTC, use another column, %s", c.name, c.field.Field, why, newerRemedy))
		}
	}
	return nil
}

// offset is the layout of a zone's offset.
const offset = "-07:00"

// otherOffset returns the offset of the times before, if a time has another one.
func (st *statement) otherOffset(t *time.Time) string {
	text := t.Format(offset)
	if st.offset.CompareAndSwap(nil, &text) {
		return ""
	}
	if other := *st.offset.Load(); other != text {
		return other
	}
	return ""
}

// leafOf returns the type behind pointers.
func leafOf(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

// isTime reports whether a type that is no pointer is a moment.
func isTime(t reflect.Type) bool {
	switch t {
	case reflect.TypeFor[time.Time](), reflect.TypeFor[sql.NullTime](), reflect.TypeFor[sql.Null[time.Time]](), reflect.TypeFor[pgtype.Timestamptz](), reflect.TypeFor[pgtype.Timestamp]():
		return true
	default:
		return false
	}
}

// timeIn returns the time of a field for whose type isTime is true. It returns nil for NULL and infinity.
func timeIn(v reflect.Value) *time.Time {
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return nil
		}
		v = v.Elem()
	}
	var valid bool
	var of *time.Time
	switch t := v.Addr().Interface().(type) {
	case *time.Time:
		valid, of = true, t
	case *sql.NullTime:
		valid, of = t.Valid, &t.Time
	case *sql.Null[time.Time]:
		valid, of = t.Valid, &t.V
	case *pgtype.Timestamptz:
		valid, of = t.Valid && t.InfinityModifier == pgtype.Finite, &t.Time
	case *pgtype.Timestamp:
		valid, of = t.Valid && t.InfinityModifier == pgtype.Finite, &t.Time
	}
	if !valid {
		return nil
	}
	return of
}
