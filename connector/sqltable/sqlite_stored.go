package sqltable

import (
	"database/sql"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/activedataflow/dataflow/internal/rowmap"
)

// storedList returns the SQL of columns for their fields. SQLite's drivers make times and bools of what a
// column holds that is declared as date, datetime, timestamp or boolean. Each does it in its own way, and a
// text or a number becomes another one. The + hides the declared type, and changes no value. Others are
// selected as they are: SQLite does not merge the parts of a "union all" in the order of +key.
func storedList(columns []*sql.ColumnType, names, qualified []string, fields []any) []string {
	list := slices.Clone(qualified)
	for i, f := range fields {
		at := slices.IndexFunc(columns, func(c *sql.ColumnType) bool { return c.Name() == names[i] })
		if at >= 0 && isMade(columns[at]) && isPlain(reflect.TypeOf(f).Elem()) {
			list[i] = "+" + list[i] + " as " + rowmap.Quote(names[i]) // database/sql's errors name it
		}
	}
	return list
}

// isMade reports whether a driver may make a time or a bool of a column's values.
func isMade(c *sql.ColumnType) bool {
	declared := strings.ToUpper(c.DatabaseTypeName())
	return slices.ContainsFunc([]string{"DATE", "TIME", "BOOL"}, func(part string) bool { return strings.Contains(declared, part) })
}

// isPlain reports whether a field is a text, a number or bytes. A bool, and a type with a Scan method of its own, get
// what the driver returns.
func isPlain(t reflect.Type) bool {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if reflect.PointerTo(t).Implements(reflect.TypeFor[sql.Scanner]()) {
		return t.PkgPath() == "database/sql" && t.Kind() == reflect.Struct && t.NumField() > 0 && isPlain(t.Field(0).Type)
	}
	switch t.Kind() {
	case reflect.String, reflect.Float32, reflect.Float64,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return true
	case reflect.Slice:
		return t.Elem().Kind() == reflect.Uint8
	default:
		return false
	}
}

// errMade is the error of a number that a driver has made a time or a bool of.
var errMade = errors.New("the driver makes a time or a bool of the column, because of its declared type: read it with sqltable.Keyset, or select it as +column")

// madeValues finds, in the rows of [Select], what a driver has made of numbers, and of texts that are no time.
type madeValues struct {
	columns []string // their names, "" for one that the driver returns as it is
	numbers []bool
	held    []any // scan targets
}

// newMadeValues returns nil if no column can be affected.
func newMadeValues(columns []*sql.ColumnType, fields []any) *madeValues {
	m, found := &madeValues{columns: make([]string, len(columns)), numbers: make([]bool, len(columns)), held: ignored(len(columns))}, false
	for i, c := range columns {
		t := reflect.TypeOf(fields[i]).Elem()
		if !isPlain(t) || !isMade(c) {
			continue
		}
		m.columns[i], m.held[i], found = c.Name(), &heldValue{}, true
		m.numbers[i] = isNumeric(t)
	}
	if !found {
		return nil
	}
	return m
}

func isNumeric(t reflect.Type) bool {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() == reflect.Struct {
		return isNumeric(t.Field(0).Type)
	}
	return t.Kind() != reflect.String && t.Kind() != reflect.Slice
}

// check returns the error of the current row.
func (m *madeValues) check(rows *sql.Rows) error {
	if m == nil {
		return nil
	}
	if err := rows.Scan(m.held...); err != nil {
		return err
	}
	for i, column := range m.columns {
		if column == "" {
			continue
		}
		made := m.held[i].(*heldValue).src //nolint:forcetypeassert // see newMadeValues
		at, isTime := made.(time.Time)
		_, isBool := made.(bool)
		switch {
		case (isTime || isBool) && m.numbers[i]:
			return fmt.Errorf("column %q: %w", column, errMade)
		case isTime && at.IsZero():
			return fmt.Errorf("column %q: %w", column, errZeroTime)
		}
	}
	return nil
}
