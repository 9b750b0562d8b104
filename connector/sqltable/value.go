package sqltable

import (
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"strings"
	"time"
)

// timeLayout is the form of a written time, in UTC. All texts have the same length,
// so they sort like the times.
const timeLayout = "2006-01-02 15:04:05.000000000Z"

// readLayouts are the forms of a time that can be read, after a T was replaced by a
// space and a Z cut off.
var readLayouts = [...]string{ //nolint:gochecknoglobals // a constant, if Go had lists of them
	"2006-01-02 15:04:05.999999999",
	"2006-01-02 15:04:05.999999999-07:00",
	"2006-01-02 15:04:05.999999999 -0700", // time.Time's String method, without the name of the zone
	"2006-01-02 15:04",
	"2006-01-02 15:04-07:00",
	"2006-01-02",
}

// namedZone matches a time by time.Time's String method: the name of the zone comes after its offset.
var namedZone = regexp.MustCompile(`^(.* [+-]\d{4}) \S+$`)

// isValue reports whether a struct is the value of one column.
func isValue(t reflect.Type) bool {
	return t.Implements(reflect.TypeFor[driver.Valuer]()) || reflect.PointerTo(t).Implements(reflect.TypeFor[sql.Scanner]())
}

// driverValue returns a field's value for the driver.
func driverValue(field reflect.Value) (driver.Value, error) {
	v, err := driver.DefaultParameterConverter.ConvertValue(field.Interface())
	if err != nil {
		return nil, err
	}
	switch v := v.(type) {
	case time.Time:
		u := v.UTC()
		if u.Year() < 0 || u.Year() > 9999 {
			return nil, fmt.Errorf("the year %d is not between 0 and 9999", u.Year())
		}
		return u.Format(timeLayout), nil
	case float64:
		if math.IsNaN(v) {
			return nil, errors.New("SQLite cannot store NaN: use a pointer, so that it can be NULL")
		}
	}
	return v, nil
}

// errParseTime is the error of a MySQL driver that returns a time as text.
var errParseTime = errors.New("the driver returns times as text: add parseTime=true to the DSN")

// errZeroTime is the error of the time that mattn/go-sqlite3 returns for a text that it cannot read.
var errZeroTime = errors.New("the driver returned the first moment of the year 1, as it does for a text that it cannot read as a time: read the column with sqltable.Keyset, or as text with column || ''")

// scanTargets replaces the pointers that database/sql cannot scan into. For MySQL,
// only the driver makes times, because it knows their zone.
func scanTargets(fields []any, mysql bool) []any {
	targets := make([]any, len(fields))
	for i, f := range fields {
		targets[i] = f
		switch f := f.(type) {
		case *time.Time:
			targets[i] = timeTarget{text: !mysql, set: func(t *time.Time) error {
				if t == nil {
					return errors.New("converting NULL to a time.Time is unsupported")
				}
				*f = *t
				return nil
			}}
		case **time.Time:
			targets[i] = timeTarget{text: !mysql, set: func(t *time.Time) error { *f = t; return nil }}
		case *sql.NullTime:
			targets[i] = timeTarget{text: !mysql, set: func(t *time.Time) error { return f.Scan(deref(t)) }}
		case *sql.Null[time.Time]:
			targets[i] = timeTarget{text: !mysql, set: func(t *time.Time) error { return f.Scan(deref(t)) }}
		case *sql.NullFloat64:
			targets[i] = &floatTarget{to: f}
		case *sql.Null[float64]:
			targets[i] = &floatTarget{to: f}
		case *sql.Null[float32]:
			targets[i] = &floatTarget{to: f, single: true}
		case sql.Scanner, *[]byte:
		default:
			targets[i] = scanTarget(f)
		}
	}
	return targets
}

// scanTarget replaces a pointer whose type decides by its kind.
func scanTarget(field any) any {
	v := reflect.ValueOf(field).Elem()
	t := v.Type()
	if t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8 {
		return bytesTarget{v}
	}
	for t.Kind() == reflect.Pointer {
		if t = t.Elem(); reflect.PointerTo(t).Implements(reflect.TypeFor[sql.Scanner]()) {
			return field
		}
	}
	switch t.Kind() {
	case reflect.Float64:
		return &floatTarget{to: field}
	case reflect.Float32:
		return &floatTarget{to: field, single: true}
	default:
		return field
	}
}

// floatTarget is a scan target for a floating-point field. It reads no whole number that would lose digits there.
type floatTarget struct {
	to      any
	single  bool
	double  sql.Null[float64] // of the row before: a new one for each row would be an allocation
	ofFloat sql.Null[float32] // likewise, if single
}

// Scan implements sql.Scanner.
func (f *floatTarget) Scan(src any) error {
	if _, isFloat := src.(float64); !isFloat {
		if stored := floatChange(src, f.single); stored != "" {
			return fmt.Errorf("the whole number %v would be read as %s: read it into an integer or a string", src, stored)
		}
	}
	if to, ok := f.to.(sql.Scanner); ok {
		return to.Scan(src)
	}
	field := reflect.ValueOf(f.to).Elem()
	if src == nil && field.Kind() == reflect.Pointer {
		field.SetZero()
		return nil
	}
	value, err := f.convert(src)
	if err != nil {
		return err
	}
	for field.Kind() == reflect.Pointer {
		field.Set(reflect.New(field.Type().Elem()))
		field = field.Elem()
	}
	field.SetFloat(value)
	return nil
}

// convert converts a value as database/sql does.
func (f *floatTarget) convert(src any) (float64, error) {
	switch {
	case src == nil && f.single:
		return 0, errors.New("converting NULL to float32 is unsupported")
	case src == nil:
		return 0, errors.New("converting NULL to float64 is unsupported")
	case f.single:
		err := f.ofFloat.Scan(src)
		return float64(f.ofFloat.V), err
	default:
		err := f.double.Scan(src)
		return f.double.V, err
	}
}

// bytesTarget is a scan target that reads bytes into a type based on []byte, such
// as json.RawMessage. database/sql does the same for all values except NULL.
type bytesTarget struct{ field reflect.Value }

// Scan implements sql.Scanner.
func (b bytesTarget) Scan(src any) error {
	var v sql.Null[[]byte]
	if err := v.Scan(src); err != nil {
		return err
	}
	b.field.SetBytes(v.V)
	return nil
}

func deref(t *time.Time) any {
	if t == nil {
		return nil
	}
	return *t
}

// timeTarget is a scan target for a time. It accepts whatever the driver returns
// for the column's declared type.
type timeTarget struct {
	text     bool // true if a text may be a time
	zeroNull bool // true if MySQL's 0000-00-00 is NULL
	stamp    bool // true for a column of MySQL's type timestamp
	set      func(*time.Time) error
}

// Scan implements sql.Scanner.
func (t timeTarget) Scan(src any) error {
	switch src := src.(type) {
	case nil:
		return t.set(nil)
	case time.Time:
		switch {
		case t.text && src.IsZero():
			return errZeroTime
		case t.stamp && checkRepeated(src) != nil:
			return checkRepeated(src)
		case t.text || !isZeroDate(src):
			return t.set(&src)
		case t.zeroNull:
			return t.set(nil)
		default:
			return errZeroDate
		}
	case []byte:
		return t.Scan(string(src))
	case string:
		if !t.text {
			return errParseTime
		}
		parsed, err := parseTime(src)
		if err != nil {
			return err
		}
		return t.set(&parsed)
	default:
		return fmt.Errorf("%v is a %T, not a time as text", src, src)
	}
}

func parseTime(s string) (time.Time, error) {
	text, _, _ := strings.Cut(strings.TrimSpace(s), " m=")
	if parts := namedZone.FindStringSubmatch(text); parts != nil {
		text = parts[1] // the offset says more than the name, which may be "+0200"
	}
	text = strings.TrimSuffix(text, "Z")
	if len(text) > len(time.DateOnly) && text[len(time.DateOnly)] == 'T' {
		text = text[:len(time.DateOnly)] + " " + text[len(time.DateOnly)+1:]
	}
	for _, layout := range readLayouts {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a time", s)
}
