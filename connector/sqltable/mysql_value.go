package sqltable

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"
)

// query executes a statement that returns rows. For MySQL it prepares the statement even without
// arguments: the server prints a FLOAT with fewer digits than it has in the protocol without
// preparation, so that a value would depend on the page it is read on.
func (d *database) query(ctx context.Context, mysql bool, query string, args []any) (*sql.Rows, error) {
	if !mysql {
		return d.QueryContext(ctx, query, args...)
	}
	rows, end, err := prepared(ctx, d, query, args)
	end() // the rows keep a statement of a pool until they are closed
	return rows, err
}

// preparer is a *sql.DB or a *sql.Conn.
type preparer interface {
	PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// notPrepared is MySQL's number of the error for a statement that cannot be prepared.
const notPrepared = 1295

// prepared prepares and executes a statement. The caller calls end after it has closed the rows.
func prepared(ctx context.Context, db preparer, query string, args []any) (rows *sql.Rows, end func(), err error) {
	stmt, err := db.PrepareContext(ctx, query)
	if err != nil {
		if errorNumber(err) == notPrepared {
			rows, err = db.QueryContext(ctx, query, args...)
		}
		return rows, func() {}, err
	}
	rows, err = stmt.QueryContext(ctx, args...)
	return rows, func() { _ = stmt.Close() }, err
}

// zeroDateError is the error of a date that the calendar does not have, such as 0000-00-00.
func zeroDateError(column, text string) error {
	return fmt.Errorf("column %q: '%s' is not a date: correct it, or read it as text with cast(… as char)", column, text)
}

// errZeroDate is the error of such a date where its text is not known.
var errZeroDate = errors.New("'0000-00-00' is not a date: correct it, read it as text with cast(… as char), or as NULL with nullif(…, '0000-00-00')")

// isZeroDate reports whether a time is what MySQL's driver makes of 0000-00-00: the zero time, or
// with a fraction of a second, one in the year -1. MySQL has no dates before the year 1.
func isZeroDate(t time.Time) bool { return t.IsZero() || t.Year() < 0 }

// zeroDates returns SQL for each of the columns that are read into times: the text of a date whose
// day or month is zero, and else NULL. The driver makes another date of it. It also returns the
// places of these columns.
func zeroDates(columns []*sql.ColumnType, names, qualified []string, targets []any) (list []string, places []int) {
	for _, c := range columns {
		i := slices.Index(names, c.Name())
		if i < 0 || !slices.Contains([]string{"DATE", "DATETIME", "TIMESTAMP"}, c.DatabaseTypeName()) {
			continue
		}
		if _, isTime := targets[i].(timeTarget); isTime {
			list = append(list, "if(cast("+qualified[i]+" as char) like '%-00%', cast("+qualified[i]+" as char), null)")
			places = append(places, i)
		}
	}
	return list, places
}

// typedTargets replaces the targets of BIT columns by some for their fields, because the driver returns their bytes, and
// tells those of times which columns are timestamps.
func typedTargets(columns []*sql.ColumnType, names []string, targets, fields []any) {
	for _, c := range columns {
		i := slices.Index(names, c.Name())
		if i < 0 {
			continue
		}
		at, isTime := targets[i].(timeTarget)
		switch {
		case c.DatabaseTypeName() == "BIT":
			targets[i] = bitTarget{fields[i]}
		case isTime && c.DatabaseTypeName() == "TIMESTAMP":
			at.stamp = true
			targets[i] = at
		}
	}
}

// bitTarget is a scan target for the bytes of a BIT column. It reads them into a bool or a number,
// and leaves all other types to database/sql.
type bitTarget struct{ dest any }

// Scan implements sql.Scanner.
func (b bitTarget) Scan(src any) error {
	bytes, isBytes := src.([]byte)
	var n uint64
	for _, c := range bytes {
		n = n<<8 | uint64(c)
	}
	if scanner, ok := b.dest.(sql.Scanner); ok {
		if isBytes && strings.HasPrefix(reflect.TypeOf(b.dest).Elem().Name(), "Null") && reflect.TypeOf(b.dest).Elem().PkgPath() == "database/sql" {
			if n > math.MaxInt64 {
				return scanner.Scan(fmt.Sprint(n))
			}
			return scanner.Scan(int64(n))
		}
		if isBytes {
			return scanner.Scan(slices.Clone(bytes))
		}
		return scanner.Scan(src)
	}
	field := reflect.ValueOf(b.dest).Elem()
	if !isBytes {
		if src == nil && (field.Kind() == reflect.Pointer || field.Kind() == reflect.Slice || field.Kind() == reflect.Interface) {
			field.SetZero()
			return nil
		}
		return fmt.Errorf("converting %v to a %s is unsupported", src, field.Type())
	}
	for field.Kind() == reflect.Pointer {
		field.Set(reflect.New(field.Type().Elem()))
		field = field.Elem()
	}
	switch {
	case field.Kind() == reflect.Bool:
		if n > 1 {
			return fmt.Errorf("the bits of %d are not a bool", n)
		}
		field.SetBool(n == 1)
	case field.CanInt() && n <= math.MaxInt64 && !field.OverflowInt(int64(n)):
		field.SetInt(int64(n))
	case field.CanUint() && !field.OverflowUint(n):
		field.SetUint(n)
	case field.CanInt() || field.CanUint():
		return fmt.Errorf("%d does not fit %s", n, field.Type())
	case field.Kind() == reflect.Slice && field.Type().Elem().Kind() == reflect.Uint8:
		field.SetBytes(slices.Clone(bytes))
	case field.Kind() == reflect.String:
		field.SetString(string(bytes))
	case field.Kind() == reflect.Interface && field.NumMethod() == 0:
		field.Set(reflect.ValueOf(slices.Clone(bytes)))
	default:
		return fmt.Errorf("bits do not fit %s", field.Type())
	}
	return nil
}
