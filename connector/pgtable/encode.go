package pgtable

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
)

// encoder appends a value in COPY's binary format, its length first. It reports
// whether the value is NULL. It fails with errNotPlain for a value that it cannot
// encode.
type encoder func(e *rowEncoder, v reflect.Value) (null bool, err error)

// errNotPlain means that the batch must be written by [statement.encode]. That
// accepts every value that pgx accepts, and reports what is wrong with the others.
var errNotPlain = errors.New("not a plain value")

// rowEncoder appends rows to one buffer. Large values stay where they are.
type rowEncoder struct {
	m       *pgtype.Map
	buf     []byte
	scratch []byte // the text of a number
	large   []largeValue
}

// largeValue is a value that is not copied into the buffer, because of its size.
type largeValue struct {
	at    int // its place in the buffer
	text  string
	bytes []byte // in place of text
}

// largeFrom is the size in bytes from which a value is not copied into the buffer.
const largeFrom = copyChunk / 4

// newEncoder returns the encoder of a field for its column, or nil if there is
// none. The written value is the same as by the arrays of [newColumn].
func newEncoder(c *column) encoder {
	t := c.field.Type
	pointer := t.Kind() == reflect.Pointer
	if pointer {
		t = t.Elem()
	}
	plain := newPlainEncoder(c, t)
	if plain == nil {
		return newTextEncoder(c)
	}
	if !pointer {
		return plain
	}
	return func(e *rowEncoder, v reflect.Value) (bool, error) {
		if v.IsNil() {
			return e.null()
		}
		return plain(e, v.Elem())
	}
}

func newPlainEncoder(c *column, t reflect.Type) encoder {
	if t == reflect.TypeFor[time.Time]() {
		return newTimeEncoder(c.oid)
	}
	if hasMethods(t) {
		return nil
	}
	switch kind := t.Kind(); {
	case kind >= reflect.Int && kind <= reflect.Int64:
		return newIntegerEncoder(c.oid, reflect.Value.Int)
	case kind >= reflect.Uint && kind <= reflect.Uint64:
		return newIntegerEncoder(c.oid, func(v reflect.Value) int64 {
			return int64(min(v.Uint(), math.MaxInt64+1)) // a value over the maximum becomes negative
		})
	case kind == reflect.Float32 || kind == reflect.Float64:
		return newFloatEncoder(c.oid)
	case kind == reflect.Bool && c.oid == pgtype.BoolOID:
		return func(e *rowEncoder, v reflect.Value) (bool, error) {
			bit := byte(0)
			if v.Bool() {
				bit = 1
			}
			e.buf = append(e.buf, 0, 0, 0, 1, bit)
			return false, nil
		}
	case kind == reflect.String && c.takesText(t):
		return newStringEncoder(c)
	case t == reflect.TypeFor[[]byte]() && c.oid == pgtype.ByteaOID:
		return func(e *rowEncoder, v reflect.Value) (bool, error) {
			if v.IsNil() {
				return e.null()
			}
			return e.bytes(v.Bytes())
		}
	case t == reflect.TypeFor[[16]byte]() && c.oid == pgtype.UUIDOID:
		return func(e *rowEncoder, v reflect.Value) (bool, error) {
			e.length(16)
			e.buf = append(e.buf, v.Slice(0, 16).Bytes()...)
			return false, nil
		}
	default:
		return nil
	}
}

// newTextEncoder encodes the text that pgx makes of a value, for columns whose
// binary form is their text. It returns nil for other columns.
func newTextEncoder(c *column) encoder {
	if !c.isText() {
		return nil
	}
	return func(e *rowEncoder, v reflect.Value) (bool, error) {
		text, err := pgxText(e.m, c.oid, toWrite(e.m, c.oid, v), &e.scratch)
		if err != nil {
			return false, errNotPlain
		}
		switch {
		case text == nil:
			return e.null()
		case c.most > 0 && len(text) > c.most && c.checkText(string(text)) != nil: // few texts need the copy
			return false, errNotPlain
		default:
			return e.text(c, text)
		}
	}
}

// pgxText returns the text that pgx makes of a value for a column, or nil for NULL.
// The text is valid until buf is used again. In pgx a nil result means NULL, but an
// encoder of an empty text returns its buffer unchanged. So buf must not stay nil.
func pgxText(m *pgtype.Map, oid uint32, v any, buf *[]byte) ([]byte, error) {
	if *buf == nil {
		*buf = make([]byte, 0, 64)
	}
	text, err := encode(m, oid, pgtype.TextFormatCode, v, (*buf)[:0])
	if text != nil {
		*buf = text
	}
	return text, err
}

// encode calls pgx, and turns a panic, as some slices of slices cause in 5.12, into an error.
func encode(m *pgtype.Map, oid uint32, format int16, v any, buf []byte) (b []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			b, err = nil, fmt.Errorf("pgx cannot write this %T: %v", v, p)
		}
	}()
	return m.Encode(oid, format, v, buf)
}

// isText reports whether the binary form of the column is its text. In jsonb one
// byte precedes the text.
func (c *column) isText() bool {
	switch c.oid {
	case pgtype.TextOID, pgtype.VarcharOID, pgtype.BPCharOID, pgtype.NameOID, pgtype.JSONOID, pgtype.JSONBOID:
		return true
	default:
		return c.isEnum
	}
}

func newStringEncoder(c *column) encoder {
	switch {
	case c.isText():
		return func(e *rowEncoder, v reflect.Value) (bool, error) {
			s := v.String()
			if c.most > 0 && c.checkText(s) != nil {
				return false, errNotPlain
			}
			if c.oid == pgtype.JSONBOID {
				e.length(len(s) + 1)
				e.buf = append(e.buf, 1)
			} else {
				e.length(len(s))
			}
			if len(s) >= largeFrom {
				e.large = append(e.large, largeValue{at: len(e.buf), text: s})
				return false, nil
			}
			e.buf = append(e.buf, s...)
			return false, nil
		}
	case c.oid == pgtype.NumericOID:
		return func(e *rowEncoder, v reflect.Value) (bool, error) {
			e.scratch = append(e.scratch[:0], v.String()...)
			return e.numeric(e.scratch)
		}
	case c.oid == pgtype.UUIDOID:
		return func(e *rowEncoder, v reflect.Value) (bool, error) { return e.uuid(v.String()) }
	default:
		return nil
	}
}

func newIntegerEncoder(oid uint32, get func(reflect.Value) int64) encoder {
	value := func(v reflect.Value) (int64, bool) {
		n := get(v)
		return n, n >= 0 || v.CanInt()
	}
	switch oid {
	case pgtype.Int8OID:
		return func(e *rowEncoder, v reflect.Value) (bool, error) {
			n, ok := value(v)
			if !ok {
				return false, errNotPlain
			}
			e.length(8)
			e.buf = binary.BigEndian.AppendUint64(e.buf, uint64(n))
			return false, nil
		}
	case pgtype.Int4OID:
		return func(e *rowEncoder, v reflect.Value) (bool, error) {
			n, ok := value(v)
			if !ok || n != int64(int32(n)) {
				return false, errNotPlain
			}
			e.length(4)
			e.buf = binary.BigEndian.AppendUint32(e.buf, uint32(n))
			return false, nil
		}
	case pgtype.Int2OID:
		return func(e *rowEncoder, v reflect.Value) (bool, error) {
			n, ok := value(v)
			if !ok || n != int64(int16(n)) {
				return false, errNotPlain
			}
			e.length(2)
			e.buf = binary.BigEndian.AppendUint16(e.buf, uint16(n))
			return false, nil
		}
	case pgtype.NumericOID:
		return func(e *rowEncoder, v reflect.Value) (bool, error) {
			n, ok := value(v)
			if !ok {
				return false, errNotPlain
			}
			e.scratch = strconv.AppendInt(e.scratch[:0], n, 10)
			return e.numeric(e.scratch)
		}
	default:
		return nil
	}
}

func newFloatEncoder(oid uint32) encoder {
	switch oid {
	case pgtype.Float8OID:
		return func(e *rowEncoder, v reflect.Value) (bool, error) {
			e.length(8)
			e.buf = binary.BigEndian.AppendUint64(e.buf, math.Float64bits(v.Float()))
			return false, nil
		}
	case pgtype.Float4OID:
		return func(e *rowEncoder, v reflect.Value) (bool, error) {
			f := v.Float()
			short := float32(f)
			// Postgres rejects a value that becomes infinite or zero.
			if math.IsInf(float64(short), 0) != math.IsInf(f, 0) || (short == 0) != (f == 0) {
				return false, errNotPlain
			}
			e.length(4)
			e.buf = binary.BigEndian.AppendUint32(e.buf, math.Float32bits(short))
			return false, nil
		}
	case pgtype.NumericOID:
		return func(e *rowEncoder, v reflect.Value) (bool, error) {
			e.scratch = strconv.AppendFloat(e.scratch[:0], v.Float(), 'f', -1, 64)
			return e.numeric(e.scratch)
		}
	default:
		return nil
	}
}

// newTimeEncoder encodes a time. For a column without a time zone it uses the date
// and clock in the time's own zone.
func newTimeEncoder(oid uint32) encoder {
	var micros func(t time.Time) int64
	switch oid {
	case pgtype.TimestamptzOID:
		micros = microsecond
	case pgtype.TimestampOID:
		micros = func(t time.Time) int64 {
			_, offset := t.Zone()
			return microsecond(t) + int64(offset)*1e6
		}
	case pgtype.DateOID:
		return func(e *rowEncoder, v reflect.Value) (bool, error) {
			t := *timeOf(v)
			if !plainYear(t) {
				return false, errNotPlain
			}
			y, m, d := t.Date()
			days := (time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix() - epoch) / (24 * 60 * 60)
			e.length(4)
			e.buf = binary.BigEndian.AppendUint32(e.buf, uint32(days))
			return false, nil
		}
	default:
		return nil
	}
	return func(e *rowEncoder, v reflect.Value) (bool, error) {
		t := timeOf(v)
		if !plainYear(*t) {
			return false, errNotPlain
		}
		e.length(8)
		e.buf = binary.BigEndian.AppendUint64(e.buf, uint64(micros(*t)))
		return false, nil
	}
}

// timeOf returns a pointer, so that the time is not copied to the heap.
func timeOf(v reflect.Value) *time.Time { return v.Addr().Interface().(*time.Time) } //nolint:forcetypeassert // the caller has checked the type

func microsecond(t time.Time) int64 { return (t.Unix()-epoch)*1e6 + int64(t.Nanosecond()/1e3) }

// plainYear reports whether the year has at most four digits. pgx encodes the
// others.
func plainYear(t time.Time) bool { return t.Year() > 0 && t.Year() < 10_000 }

func (e *rowEncoder) length(n int) { e.buf = binary.BigEndian.AppendUint32(e.buf, uint32(n)) }

func (e *rowEncoder) null() (bool, error) {
	e.buf = append(e.buf, 0xff, 0xff, 0xff, 0xff)
	return true, nil
}

// bytes adds bytes that do not change until they are sent.
func (e *rowEncoder) bytes(b []byte) (bool, error) {
	e.length(len(b))
	e.value(b)
	return false, nil
}

func (e *rowEncoder) value(b []byte) {
	if len(b) >= largeFrom {
		e.large = append(e.large, largeValue{at: len(e.buf), bytes: b})
		return
	}
	e.buf = append(e.buf, b...)
}

// text adds the text that pgx has made of a value, in e.scratch.
func (e *rowEncoder) text(c *column, text []byte) (bool, error) {
	if len(text) >= largeFrom {
		e.scratch = nil // so that it does not change until it is sent
	}
	if c.oid != pgtype.JSONBOID {
		return e.bytes(text)
	}
	e.length(len(text) + 1)
	e.buf = append(e.buf, 1)
	e.value(text)
	return false, nil
}
