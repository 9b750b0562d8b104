package pgtable

import (
	"bytes"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// roundTripPlan refuses a value that the field would write back as another one. pgx reads
// many types of columns into Go types that are not made for them: a text into pgtype.Bits, an
// open path into pgtype.Polygon. Some of these pairs are right, for some values.
type roundTripPlan struct {
	pgtype.ScanPlan
	m     *pgtype.Map
	field pgconn.FieldDescription
	into  reflect.Type
}

// Scan implements [pgtype.ScanPlan].
func (p *roundTripPlan) Scan(raw []byte, dest any) error {
	if err := p.ScanPlan.Scan(raw, dest); err != nil {
		return err
	}
	value := reflect.ValueOf(dest).Elem()
	back, err := encode(p.m, p.field.DataTypeOID, p.field.Format, toWrite(p.m, p.field.DataTypeOID, value), make([]byte, 0, len(raw)))
	switch {
	case raw == nil && back == nil && err == nil:
		return nil
	case raw == nil:
		return fmt.Errorf("%s cannot hold NULL", nameOf(p.into))
	case err != nil && p.into.Kind() == reflect.Interface:
		return nil //nolint:nilerr // it may be written elsewhere; else pgx reports it
	case err != nil || back == nil:
		return fmt.Errorf("%s is not made for this type", nameOf(p.into))
	case !bytes.Equal(back, raw) && !p.sameArray(back, raw):
		return fmt.Errorf("%s would change the value", nameOf(p.into))
	default:
		return nil
	}
}

// sameArray reports whether two texts are the same array. pgx and Postgres differ in which
// elements they put in quotes.
func (p *roundTripPlan) sameArray(a, b []byte) bool {
	if p.field.Format != pgtype.TextFormatCode || p.into.Kind() != reflect.Slice {
		return false
	}
	var x, y pgtype.Array[*string]
	return p.m.Scan(pgtype.TextArrayOID, pgtype.TextFormatCode, a, &x) == nil && p.m.Scan(pgtype.TextArrayOID, pgtype.TextFormatCode, b, &y) == nil && reflect.DeepEqual(x, y)
}

// isExact reports whether pgx reads a column of a type into a t exactly, or t's own methods do,
// or what a t cannot hold is refused elsewhere.
func isExact(m *pgtype.Map, f pgconn.FieldDescription, t reflect.Type) bool {
	oid := f.DataTypeOID
	switch {
	case hasOwnMeaning(t), t.Kind() == reflect.Map:
		return true
	case oid == pgtype.QCharOID:
		return t.Kind() == reflect.String
	case numberTypes()[oid] != "":
		return isNumber(t) || isText(t) || t.Kind() == reflect.Interface
	case f.Format == pgtype.TextFormatCode && (t == reflect.TypeFor[string]() || t == reflect.TypeFor[[]byte]()):
		return true
	case oid == pgtype.IntervalOID && t == reflect.TypeFor[time.Duration]():
		return true
	}
	typ, known := m.TypeForOID(oid)
	if !known {
		return false
	}
	switch typ.Codec.(type) {
	case pgtype.TextCodec:
		return isText(t)
	case pgtype.BoolCodec:
		return t.Kind() == reflect.Bool || t == reflect.TypeFor[pgtype.Bool]()
	case pgtype.ByteaCodec:
		return t == reflect.TypeFor[[]byte]()
	case pgtype.UUIDCodec:
		return t == reflect.TypeFor[[16]byte]() || t == reflect.TypeFor[pgtype.UUID]()
	case pgtype.DateCodec:
		return t == reflect.TypeFor[pgtype.Date]()
	case *pgtype.TimestampCodec:
		return t == reflect.TypeFor[pgtype.Timestamp]()
	case *pgtype.TimestamptzCodec:
		return t == reflect.TypeFor[pgtype.Timestamptz]()
	case pgtype.IntervalCodec:
		return t == reflect.TypeFor[pgtype.Interval]()
	default:
		return false
	}
}

// hasOwnMeaning reports whether a type, or its elements, says by itself what a value means:
// one with methods, or a struct, of neither pgx nor the standard library.
func hasOwnMeaning(t reflect.Type) bool {
	for t.PkgPath() == "" && slices.Contains([]reflect.Kind{reflect.Pointer, reflect.Slice, reflect.Array}, t.Kind()) {
		t = t.Elem()
	}
	if isLibrary(t.PkgPath()) {
		return false
	}
	return t.Kind() == reflect.Struct || hasMethods(t)
}

func isLibrary(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".") && !strings.Contains(path, "dataflow") || strings.HasPrefix(path, "github.com/jackc/pgx/")
}

// isText reports whether a type holds a text.
func isText(t reflect.Type) bool {
	switch t {
	case reflect.TypeFor[[]byte](), reflect.TypeFor[pgtype.Text](), reflect.TypeFor[sql.NullString](), reflect.TypeFor[sql.Null[string]]():
		return true
	default:
		return t.Kind() == reflect.String
	}
}

// isNumber reports whether a type holds a number.
func isNumber(t reflect.Type) bool {
	if t.Kind() >= reflect.Int && t.Kind() <= reflect.Float64 {
		return true
	}
	switch t {
	case reflect.TypeFor[pgtype.Int2](), reflect.TypeFor[pgtype.Int4](), reflect.TypeFor[pgtype.Int8](), reflect.TypeFor[pgtype.Uint32](), reflect.TypeFor[pgtype.Uint64](),
		reflect.TypeFor[pgtype.Float4](), reflect.TypeFor[pgtype.Float8](), reflect.TypeFor[pgtype.Numeric](),
		reflect.TypeFor[sql.NullInt16](), reflect.TypeFor[sql.NullInt32](), reflect.TypeFor[sql.NullInt64](), reflect.TypeFor[sql.NullFloat64](), reflect.TypeFor[sql.NullByte]():
		return true
	}
	return t.PkgPath() == "database/sql" && strings.HasPrefix(t.Name(), "Null[") && isNumber(t.Field(0).Type)
}

// checkScanner refuses what pgx 5.12 gives to a Scan method, where it is the binary form of
// a value instead of its text.
func checkScanner(m *pgtype.Map, f pgconn.FieldDescription, t reflect.Type) func(raw []byte) error {
	p := reflect.PointerTo(t)
	typ, ok := m.TypeForOID(f.DataTypeOID)
	if !ok || f.Format != pgtype.BinaryFormatCode || !p.Implements(reflect.TypeFor[sql.Scanner]()) {
		return nil
	}
	var own reflect.Type // how a type of pgx reads it
	switch typ.Codec.(type) {
	case *pgtype.ArrayCodec:
		own = reflect.TypeFor[pgtype.ArraySetter]()
	case *pgtype.RangeCodec:
		own = reflect.TypeFor[pgtype.RangeScanner]()
	case *pgtype.MultirangeCodec:
		own = reflect.TypeFor[pgtype.MultirangeSetter]()
	default:
		return nil
	}
	if p.Implements(own) {
		return nil
	}
	return func([]byte) error { return fmt.Errorf("pgx gives Scan of %s the binary form of the value", nameOf(t)) }
}

// charPlan reads the type "char". pgx takes its empty value for a zero byte, which no text
// may hold.
type charPlan struct {
	pgtype.ScanPlan
	empty pgtype.ScanPlan
}

// Scan implements [pgtype.ScanPlan].
func (p charPlan) Scan(raw []byte, dest any) error {
	if len(raw) == 1 && raw[0] == 0 {
		return p.empty.Scan([]byte{}, dest)
	}
	return p.ScanPlan.Scan(raw, dest)
}

// zeroPlan reads the type numeric. pgx drops the digits of a zero after the point.
type zeroPlan struct {
	pgtype.ScanPlan
	text pgtype.ScanPlan
}

// Scan implements [pgtype.ScanPlan].
func (p zeroPlan) Scan(raw []byte, dest any) error {
	if scale := zeroScale(raw); scale > 0 {
		return p.text.Scan(append([]byte("0."), bytes.Repeat([]byte("0"), scale)...), dest)
	}
	return p.ScanPlan.Scan(raw, dest)
}

// zeroScale returns how many digits a zero has after the point, 0 for any other number.
func zeroScale(raw []byte) int {
	if len(raw) != 8 || raw[0]|raw[1]|raw[4]|raw[5] != 0 {
		return 0
	}
	return int(raw[6])<<8 | int(raw[7])
}

// toWrite returns what is given to pgx to write a value to a column of a type.
func toWrite(m *pgtype.Map, oid uint32, v reflect.Value) any {
	leaf := v
	for leaf.Kind() == reflect.Pointer && !leaf.IsNil() {
		leaf = leaf.Elem()
	}
	switch t := leaf.Type(); {
	case t == reflect.TypeFor[netip.Addr](), t == reflect.TypeFor[netip.Prefix]():
		if leaf.IsZero() { // pgx writes its text to a column that is no inet
			return nil
		}
	case t == reflect.TypeFor[json.RawMessage](): // through a pointer, pgx removes its spaces
		return leaf.Interface()
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8 && !leaf.IsNil() && !t.Implements(reflect.TypeFor[driver.Valuer]()):
		if _, known := m.TypeForOID(oid); !known { // pgx would write a bytea
			return string(leaf.Bytes())
		}
	}
	return v.Interface()
}
