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
)

// keyColumn is a column of the key. Its values become text that does not depend on
// the session's settings, and that Postgres reads back as exactly the same value.
type keyColumn struct {
	pgconn.FieldDescription
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
	default:
		return name + "::text"
	}
}

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

// strings returns all values of all keys.
func (k *keyText) strings() ([]string, error) {
	if !utf8.Valid(k.text) {
		// A database with the encoding SQL_ASCII may hold such text. JSON would
		// change it.
		return nil, dataflow.Permanent(errors.New("a key holds text that is not UTF-8, but a cursor must be UTF-8: use another key column"))
	}
	text := string(k.text)
	values := make([]string, len(k.ends))
	start := 0
	for i, end := range k.ends {
		values[i] = text[start:end]
		start = end
	}
	return values, nil
}
