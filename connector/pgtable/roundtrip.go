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
		return nil // it may be written elsewhere; else pgx reports it
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
	switch codec := codecOf(typ).(type) {
	case *pgtype.ArrayCodec:
		return isExactPart(m, f, codec.ElementType, elements(t))
	case *pgtype.RangeCodec:
		return isExactPart(m, f, codec.ElementType, boundOf(t))
	case *pgtype.MultirangeCodec:
		return isExactPart(m, f, codec.ElementType, elements(t))
	case pgtype.InetCodec: // in a cidr, the binary form differs
		return t == reflect.TypeFor[netip.Prefix]() || t == reflect.TypeFor[netip.Addr]()
	case pgtype.TextCodec:
		return isText(t)
	case pgtype.BoolCodec:
		return t.Kind() == reflect.Bool || t == reflect.TypeFor[pgtype.Bool]()
	case pgtype.ByteaCodec:
		return t == reflect.TypeFor[[]byte]()
	case pgtype.UUIDCodec:
		return t == reflect.TypeFor[[16]byte]() || t == reflect.TypeFor[pgtype.UUID]()
	case pgtype.DateCodec:
		return t == reflect.TypeFor[pgtype.Date]() || t == reflect.TypeFor[time.Time]()
	case *pgtype.TimestampCodec:
		return t == reflect.TypeFor[pgtype.Timestamp]() || t == reflect.TypeFor[time.Time]()
	case *pgtype.TimestamptzCodec:
		return t == reflect.TypeFor[pgtype.Timestamptz]() || t == reflect.TypeFor[time.Time]()
	case pgtype.IntervalCodec:
		return t == reflect.TypeFor[pgtype.Interval]()
	default:
		return false
	}
}

// isExactPart is isExact for the parts of an array or a range. part is the Go type of a part, nil
// if it is not known.
func isExactPart(m *pgtype.Map, f pgconn.FieldDescription, typ *pgtype.Type, part reflect.Type) bool {
	if part == nil {
		return false
	}
	for part.Kind() == reflect.Pointer {
		part = part.Elem()
	}
	f.DataTypeOID = typ.OID
	return isExact(m, f, part)
}

// elements returns the type of the elements of an array, nil if a t is none.
func elements(t reflect.Type) reflect.Type {
	switch {
	case isGeneric(t, "Array["):
		return t.Field(0).Type.Elem()
	case t.Kind() != reflect.Slice && t.Kind() != reflect.Array, t.Elem().Kind() == reflect.Uint8:
		return nil
	}
	for t.Kind() == reflect.Slice && t.Elem().Kind() != reflect.Uint8 {
		t = t.Elem()
	}
	return t
}

// boundOf returns the type of the bounds of a range, nil if a t is none.
func boundOf(t reflect.Type) reflect.Type {
	if !isGeneric(t, "Range[") {
		return nil
	}
	return t.Field(0).Type
}

// isGeneric reports whether a type is an instance of a generic struct of package pgtype.
func isGeneric(t reflect.Type, name string) bool {
	return t.Kind() == reflect.Struct && t.PkgPath() == reflect.TypeFor[pgtype.Text]().PkgPath() && strings.HasPrefix(t.Name(), name)
}

// codecOf returns the codec of a type as pgx has it.
func codecOf(typ *pgtype.Type) pgtype.Codec {
	switch c := typ.Codec.(type) {
	case strictCodec:
		return c.Codec
	case intervalCodec:
		return c.Codec
	default:
		return typ.Codec
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
