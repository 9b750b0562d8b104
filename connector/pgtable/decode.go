package pgtable

import (
	"encoding/binary"
	"math"
	"reflect"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// decoder reads a value as Postgres sends it into v. It returns false for a value
// that it leaves to pgx. pgx also reports what is wrong with a bad value.
type decoder func(raw []byte, v reflect.Value) bool

// newDecoder returns the decoder of a column into a field, or nil if pgx must
// decode it. The result is the same as pgx's.
func newDecoder(f pgconn.FieldDescription, t reflect.Type) decoder {
	decoderOf := newPlainDecoder
	if f.Format != pgtype.BinaryFormatCode && !isPlainText(f.DataTypeOID) {
		decoderOf = newTextDecoder
	}
	if t.Kind() != reflect.Pointer {
		plain := decoderOf(f.DataTypeOID, t)
		if plain == nil {
			return nil
		}
		return func(raw []byte, v reflect.Value) bool { return raw != nil && plain(raw, v) }
	}
	elem := t.Elem()
	plain := decoderOf(f.DataTypeOID, elem)
	if plain == nil {
		return nil
	}
	return func(raw []byte, v reflect.Value) bool {
		if raw == nil {
			v.SetZero()
			return true
		}
		p := reflect.New(elem)
		if !plain(raw, p.Elem()) {
			return false
		}
		v.Set(p)
		return true
	}
}

// isPlainText reports whether a type's binary form equals its text.
func isPlainText(oid uint32) bool {
	return oid == pgtype.TextOID || oid == pgtype.VarcharOID || oid == pgtype.BPCharOID
}

func newPlainDecoder(oid uint32, t reflect.Type) decoder {
	if t == reflect.TypeFor[time.Time]() {
		return newTimeDecoder(oid)
	}
	if hasMethods(t) {
		return nil
	}
	switch kind := t.Kind(); {
	case kind >= reflect.Int && kind <= reflect.Int64:
		if oid != pgtype.Int8OID && oid != pgtype.Int4OID && oid != pgtype.Int2OID {
			return nil
		}
		return func(raw []byte, v reflect.Value) bool {
			n, ok := integerOf(raw)
			if !ok || v.OverflowInt(n) {
				return false
			}
			v.SetInt(n)
			return true
		}
	case kind == reflect.Float64:
		return newFloatDecoder(oid)
	case kind == reflect.String && isPlainText(oid):
		return func(raw []byte, v reflect.Value) bool {
			v.SetString(string(raw))
			return true
		}
	case kind == reflect.Bool && oid == pgtype.BoolOID:
		return func(raw []byte, v reflect.Value) bool {
			if len(raw) != 1 {
				return false
			}
			v.SetBool(raw[0] == 1)
			return true
		}
	case t == reflect.TypeFor[[16]byte]() && oid == pgtype.UUIDOID:
		return func(raw []byte, v reflect.Value) bool {
			return len(raw) == 16 && reflect.Copy(v, reflect.ValueOf(raw)) == 16
		}
	default:
		return nil
	}
}

// newTextDecoder is newPlainDecoder for values that Postgres sends as text.
func newTextDecoder(oid uint32, t reflect.Type) decoder {
	if hasMethods(t) {
		return nil
	}
	switch kind := t.Kind(); {
	case kind >= reflect.Int && kind <= reflect.Int64 && (oid == pgtype.Int8OID || oid == pgtype.Int4OID || oid == pgtype.Int2OID):
		return func(raw []byte, v reflect.Value) bool {
			n, err := strconv.ParseInt(string(raw), 10, 64)
			if err != nil || v.OverflowInt(n) {
				return false
			}
			v.SetInt(n)
			return true
		}
	case kind == reflect.Float64 && oid == pgtype.Float8OID:
		return func(raw []byte, v reflect.Value) bool {
			f, err := strconv.ParseFloat(string(raw), 64)
			if err != nil {
				return false
			}
			v.SetFloat(f)
			return true
		}
	case kind == reflect.Bool && oid == pgtype.BoolOID:
		return func(raw []byte, v reflect.Value) bool {
			if len(raw) != 1 {
				return false
			}
			v.SetBool(raw[0] == 't')
			return true
		}
	default:
		return nil
	}
}

func integerOf(raw []byte) (int64, bool) {
	switch len(raw) {
	case 8:
		return int64(binary.BigEndian.Uint64(raw)), true
	case 4:
		return int64(int32(binary.BigEndian.Uint32(raw))), true
	case 2:
		return int64(int16(binary.BigEndian.Uint16(raw))), true
	default:
		return 0, false
	}
}

func newFloatDecoder(oid uint32) decoder {
	switch oid {
	case pgtype.Float8OID:
		return func(raw []byte, v reflect.Value) bool {
			if len(raw) != 8 {
				return false
			}
			v.SetFloat(math.Float64frombits(binary.BigEndian.Uint64(raw)))
			return true
		}
	case pgtype.NumericOID:
		return func(raw []byte, v reflect.Value) bool {
			f, ok := numericFloat(raw)
			if ok {
				v.SetFloat(f)
			}
			return ok
		}
	default:
		return nil
	}
}

// Limits within which a float64 is exact: powers of ten and whole numbers.
const (
	exactPower    = 22
	exactMantissa = 1 << 53
)

// numericFloat returns a numeric as a float64. It returns false for NaN and
// infinity.
func numericFloat(raw []byte) (float64, bool) {
	if len(raw) < 8 {
		return 0, false
	}
	n := int(binary.BigEndian.Uint16(raw))
	weight := int(int16(binary.BigEndian.Uint16(raw[2:])))
	sign := binary.BigEndian.Uint16(raw[4:])
	digits := raw[8:]
	if len(digits) != 2*n || sign != 0 && sign != 0x4000 {
		return 0, false
	}
	if n == 0 {
		return 0, true
	}
	exponent := 4 * (weight + 1 - n)
	f, ok := exactFloat(digits, exponent)
	if !ok {
		var text [64]byte
		b := text[:0]
		for i := range n {
			d := binary.BigEndian.Uint16(digits[2*i:])
			b = append(b, byte('0'+d/1000), byte('0'+d/100%10), byte('0'+d/10%10), byte('0'+d%10))
		}
		b = strconv.AppendInt(append(b, 'e'), int64(exponent), 10)
		var err error
		if f, err = strconv.ParseFloat(string(b), 64); err != nil {
			return 0, false
		}
	}
	if sign != 0 {
		f = -f
	}
	return f, true
}

// exactFloat multiplies or divides two numbers that a float64 holds exactly. So the
// result is rounded once, correctly. It returns false if a number is not exact.
func exactFloat(digits []byte, exponent int) (float64, bool) {
	mantissa := uint64(0)
	for ; len(digits) > 0; digits = digits[2:] {
		if mantissa > exactMantissa/10_000 { // also prevents an overflow
			return 0, false
		}
		mantissa = 10_000*mantissa + uint64(binary.BigEndian.Uint16(digits))
		if mantissa > exactMantissa {
			return 0, false
		}
	}
	if exponent < -exactPower || exponent > exactPower {
		return 0, false
	}
	power := 1.0
	for range max(exponent, -exponent) {
		power *= 10
	}
	if exponent < 0 {
		return float64(mantissa) / power, true
	}
	return float64(mantissa) * power, true
}

func newTimeDecoder(oid uint32) decoder {
	switch oid {
	case pgtype.TimestamptzOID, pgtype.TimestampOID:
		return func(raw []byte, v reflect.Value) bool {
			if len(raw) != 8 {
				return false
			}
			micros := int64(binary.BigEndian.Uint64(raw))
			if micros == math.MaxInt64 || micros == math.MinInt64 { // infinity
				return false
			}
			t := time.Unix(epoch+micros/1e6, micros%1e6*1e3)
			if oid == pgtype.TimestampOID {
				t = t.UTC()
			}
			*timeOf(v) = t
			return true
		}
	default:
		return nil
	}
}
