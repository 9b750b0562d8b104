package pgtable

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/rowmap"
)

// keyColumn is a column of the key. Its values become text that does not depend on
// the session's settings, and that Postgres reads back as exactly the same value.
type keyColumn struct {
	pgconn.FieldDescription
	keyType
}

// expression returns SQL that turns the column into text. A plain cast would depend
// on the session's DateStyle, TimeZone, bytea_output and extra_float_digits. So the
// types that depend on these use their binary form.
func (c keyColumn) expression(name string) string {
	switch c.DataTypeOID {
	case pgtype.TimestamptzOID:
		return "encode(timestamptz_send(" + name + "), 'hex')"
	case pgtype.TimestampOID:
		return "encode(timestamp_send(" + name + "), 'hex')"
	case pgtype.DateOID:
		return "encode(date_send(" + name + "), 'hex')"
	case pgtype.ByteaOID:
		return "encode(" + name + ", 'hex')"
	case pgtype.Float4OID, pgtype.Float8OID:
		return "encode(float8send(" + name + "), 'hex')"
	case pgtype.IntervalOID:
		return "encode(interval_send(" + name + "), 'hex')"
	case moneyOID:
		return name + "::pg_catalog.numeric::text" // the text of money depends on lc_monetary
	default:
		if c.reg {
			return name + "::oid::text" // the name depends on the search path, and may change
		}
		return name + "::text"
	}
}

// moneyOID is the type money, which pgx does not know.
const moneyOID = 790

// appendText appends a value that expression has returned, as text for a cursor.
func (c keyColumn) appendText(b, raw []byte) ([]byte, error) {
	switch c.DataTypeOID {
	case pgtype.TimestamptzOID:
		n, err := parseHex(raw)
		return appendTime(b, n, "2006-01-02T15:04:05.999999Z"), err
	case pgtype.TimestampOID:
		n, err := parseHex(raw)
		return appendTime(b, n, "2006-01-02T15:04:05.999999"), err
	case pgtype.DateOID:
		n, err := parseHex(raw)
		return appendDate(b, int32(n)), err
	case pgtype.Float4OID, pgtype.Float8OID:
		n, err := parseHex(raw)
		return strconv.AppendFloat(b, math.Float64frombits(n), 'g', -1, 64), err
	case pgtype.ByteaOID:
		return append(append(b, `\x`...), raw...), nil
	case pgtype.IntervalOID:
		return appendInterval(b, raw)
	default:
		return append(b, raw...), nil
	}
}

func parseHex(raw []byte) (uint64, error) {
	n, err := strconv.ParseUint(string(raw), 16, 64)
	if err != nil {
		return 0, fmt.Errorf("the database sent an invalid key: %w", err)
	}
	return n, nil
}

// appendTime appends a timestamp. Postgres counts microseconds from the year 2000;
// the extreme values mean infinity.
func appendTime(b []byte, bits uint64, layout string) []byte {
	n := int64(bits)
	switch n {
	case math.MaxInt64:
		return append(b, "infinity"...)
	case math.MinInt64:
		return append(b, "-infinity"...)
	}
	second, micro := n/1e6, n%1e6
	return appendYearFirst(b, time.Unix(epoch+second, micro*1e3).UTC(), layout)
}

// appendDate appends a date. Postgres counts days from the year 2000.
func appendDate(b []byte, n int32) []byte {
	switch n {
	case math.MaxInt32:
		return append(b, "infinity"...)
	case math.MinInt32:
		return append(b, "-infinity"...)
	}
	return appendYearFirst(b, time.Unix(epoch+int64(n)*24*60*60, 0).UTC(), time.DateOnly)
}

// appendInterval appends an interval. A sign before each part makes it the same
// interval under every IntervalStyle.
func appendInterval(b, raw []byte) ([]byte, error) {
	if len(raw) != 32 {
		return b, fmt.Errorf("the database sent an invalid key: an interval of %d digits", len(raw))
	}
	micros, err := parseHex(raw[:16])
	if err != nil {
		return b, err
	}
	rest, err := parseHex(raw[16:])
	if err != nil {
		return b, err
	}
	days, months := int32(rest>>32), int32(rest)
	switch {
	case int64(micros) == math.MaxInt64 && days == math.MaxInt32 && months == math.MaxInt32:
		return append(b, "infinity"...), nil
	case int64(micros) == math.MinInt64 && days == math.MinInt32 && months == math.MinInt32:
		return append(b, "-infinity"...), nil
	}
	return appendSigned(b, months, days, int64(micros)), nil
}

// appendSigned appends an interval with a sign before each part.
func appendSigned(b []byte, months, days int32, micros int64) []byte {
	return fmt.Appendf(b, "%+d mons %+d days %s", months, days, clockText(micros))
}

// clockText returns microseconds as hours, minutes and seconds with a sign.
func clockText(micros int64) string {
	sign, n := "+", uint64(micros)
	if micros < 0 {
		sign, n = "-", -n
	}
	text := fmt.Sprintf("%s%02d:%02d:%02d", sign, n/3600e6, n/60e6%60, n/1e6%60)
	if n %= 1e6; n > 0 {
		text += strings.TrimRight(fmt.Sprintf(".%06d", n), "0")
	}
	return text
}

// epoch is the beginning of the year 2000 in Unix seconds.
const epoch = 946684800

// appendYearFirst appends a time in Postgres's form, in a layout that begins with
// the year. The year before 1 is 1 BC.
func appendYearFirst(b []byte, t time.Time, layout string) []byte {
	if t.Year() > 0 {
		return t.AppendFormat(b, layout)
	}
	b = fmt.Appendf(b, "%04d", 1-t.Year())
	b = t.AppendFormat(b, strings.TrimPrefix(layout, "2006"))
	return append(b, " BC"...)
}

// keyText collects the keys of a page in one buffer.
type keyText struct {
	columns []keyColumn
	text    []byte
	ends    []int
}

// add adds a row's key, which must have no null.
func (k *keyText) add(raw [][]byte) error {
	for i, v := range raw {
		var err error
		if k.text, err = k.columns[i].appendText(k.text, v); err != nil {
			return err
		}
		k.ends = append(k.ends, len(k.text))
	}
	return nil
}

// strings returns all values of all keys. If typed, the types of a key's columns
// follow its values, as in a [Cursor].
func (k *keyText) strings(typed bool) ([]string, error) {
	if !utf8.Valid(k.text) {
		// A database with the encoding SQL_ASCII may hold such text. JSON would
		// change it.
		return nil, dataflow.Permanent(errors.New("a key holds text that is not UTF-8, but a cursor must be UTF-8: use another key column"))
	}
	text := string(k.text)
	var types []string
	if typed {
		for _, c := range k.columns {
			types = append(types, rowmap.TypeText(c.text))
		}
	}
	values := make([]string, 0, len(k.ends)+len(k.ends)/len(k.columns)*len(types))
	start := 0
	for i, end := range k.ends {
		values = append(values, text[start:end])
		start = end
		if (i+1)%len(k.columns) == 0 {
			values = append(values, types...)
		}
	}
	return values, nil
}
