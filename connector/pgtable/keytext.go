package pgtable

import (
	"bytes"
	"errors"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/activedataflow/dataflow"
)

// keyColumn is a column of the key. Its values become text that does not depend
// on the session's settings, and that Postgres reads as exactly the same value.
type keyColumn struct {
	pgconn.FieldDescription
}

// expression is SQL that makes text of the column.
func (c keyColumn) expression(name string) string {
	switch c.DataTypeOID {
	case pgtype.TimestamptzOID:
		// JSON is ISO 8601, whatever the DateStyle; a plain cast is not.
		return "to_json(" + name + " at time zone 'UTC') #>> '{}'"
	case pgtype.TimestampOID, pgtype.DateOID:
		return "to_json(" + name + ") #>> '{}'"
	case pgtype.ByteaOID:
		return `E'\\x' || encode(` + name + ", 'hex')"
	case pgtype.Float4OID, pgtype.Float8OID:
		// A cast may round, depending on extra_float_digits.
		return "encode(float8send(" + name + "), 'hex')"
	default:
		return name + "::text"
	}
}

// appendText appends what expression has returned, made ready for a cursor.
func (c keyColumn) appendText(b, raw []byte) []byte {
	switch c.DataTypeOID {
	case pgtype.TimestamptzOID:
		if bytes.HasSuffix(raw, []byte("infinity")) {
			return append(b, raw...)
		}
		raw, bc := bytes.CutSuffix(raw, []byte(" BC"))
		b = append(append(b, raw...), 'Z')
		if bc {
			b = append(b, " BC"...)
		}
		return b
	case pgtype.Float4OID, pgtype.Float8OID:
		bits, err := strconv.ParseUint(string(raw), 16, 64)
		if err != nil {
			return append(b, raw...) // Postgres will refuse it.
		}
		return strconv.AppendFloat(b, math.Float64frombits(bits), 'g', -1, 64)
	default:
		return append(b, raw...)
	}
}

// keyText gathers the keys of a page in one piece of memory.
type keyText struct {
	columns []keyColumn
	text    []byte
	ends    []int
}

// add adds a row's key, and returns false if it holds a null.
func (k *keyText) add(raw [][]byte) bool {
	for i, v := range raw {
		if v == nil {
			return false
		}
		k.text = k.columns[i].appendText(k.text, v)
		k.ends = append(k.ends, len(k.text))
	}
	return true
}

// strings returns all values of all keys.
func (k *keyText) strings() ([]string, error) {
	if !utf8.Valid(k.text) {
		// Such text is in databases of the encoding SQL_ASCII, and JSON would
		// change it.
		return nil, dataflow.Permanent(errors.New("a key holds text that is not UTF-8, which a cursor cannot hold"))
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
