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
	if strict, ok := typ.Codec.(strictCodec); ok {
		return strict.Codec
	}
	return typ.Codec
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
	switch codecOf(typ).(type) {
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

// nullPlan reads NULL. Where a Go type does not fit the type of the column, pgx 5.12 reads NULL by
// the plan of any type that fits, which it finds by chance: NULL of varbit is an empty string, or
// an error.
type nullPlan struct{ pgtype.ScanPlan }

// Scan implements [pgtype.ScanPlan].
func (p nullPlan) Scan(raw []byte, dest any) error {
	if raw != nil {
		return p.ScanPlan.Scan(raw, dest)
	}
	v := reflect.ValueOf(dest).Elem()
	_, scans := dest.(sql.Scanner)
	switch t := v.Type(); {
	case scans:
		return p.ScanPlan.Scan(raw, dest)
	case t.Kind() == reflect.Pointer, t.Kind() == reflect.Slice, t.Kind() == reflect.Map, t.Kind() == reflect.Interface,
		t.Kind() == reflect.Struct && isLibrary(t.PkgPath()) && t != reflect.TypeFor[time.Time]():
		v.SetZero()
		return nil
	case t.Kind() == reflect.Struct:
		return p.ScanPlan.Scan(raw, dest)
	default:
		return fmt.Errorf("cannot scan NULL into %s", nameOf(t))
	}
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

// numericCodec reads the type numeric. pgx drops the digits of a zero after the point.
type numericCodec struct{ pgtype.Codec }

// PlanScan implements [pgtype.Codec].
func (c numericCodec) PlanScan(m *pgtype.Map, oid uint32, format int16, target any) pgtype.ScanPlan {
	plan := c.Codec.PlanScan(m, oid, format, target)
	if plan == nil || format != pgtype.BinaryFormatCode {
		return plan
	}
	return zeroPlan{plan, m.PlanScan(oid, pgtype.TextFormatCode, target)}
}

// DecodeDatabaseSQLValue implements [pgtype.Codec], for types with their own Scan.
func (c numericCodec) DecodeDatabaseSQLValue(m *pgtype.Map, oid uint32, format int16, raw []byte) (driver.Value, error) {
	if scale := zeroScale(raw); scale > 0 && format == pgtype.BinaryFormatCode {
		return string(zeroText(scale)), nil
	}
	return c.Codec.DecodeDatabaseSQLValue(m, oid, format, raw)
}

// DecodeValue implements [pgtype.Codec], for interfaces.
func (c numericCodec) DecodeValue(m *pgtype.Map, oid uint32, format int16, raw []byte) (any, error) {
	if scale := zeroScale(raw); scale > 0 && format == pgtype.BinaryFormatCode {
		return c.Codec.DecodeValue(m, oid, pgtype.TextFormatCode, zeroText(scale))
	}
	return c.Codec.DecodeValue(m, oid, format, raw)
}

// withZeros returns a copy of the types of a connection that reads zeros exactly.
func withZeros(m *pgtype.Map) *pgtype.Map {
	typ, ok := m.TypeForOID(pgtype.NumericOID)
	if !ok {
		return m
	}
	c := m.Copy()
	c.TryWrapEncodePlanFuncs, c.TryWrapScanPlanFuncs = m.TryWrapEncodePlanFuncs, m.TryWrapScanPlanFuncs
	numeric := &pgtype.Type{Codec: numericCodec{typ.Codec}, Name: typ.Name, OID: typ.OID}
	span := &pgtype.Type{Codec: &pgtype.RangeCodec{ElementType: numeric}, Name: "numrange", OID: pgtype.NumrangeOID}
	c.RegisterTypes([]*pgtype.Type{
		numeric, span,
		{Codec: &pgtype.ArrayCodec{ElementType: numeric}, Name: "_numeric", OID: pgtype.NumericArrayOID},
		{Codec: &pgtype.ArrayCodec{ElementType: span}, Name: "_numrange", OID: pgtype.NumrangeArrayOID},
		{Codec: &pgtype.MultirangeCodec{ElementType: span}, Name: "nummultirange", OID: pgtype.NummultirangeOID},
	})
	return c
}

// zeroPlan reads zeros from their text.
type zeroPlan struct {
	pgtype.ScanPlan
	text pgtype.ScanPlan
}

// Scan implements [pgtype.ScanPlan].
func (p zeroPlan) Scan(raw []byte, dest any) error {
	if scale := zeroScale(raw); scale > 0 {
		return p.text.Scan(zeroText(scale), dest)
	}
	return p.ScanPlan.Scan(raw, dest)
}

func zeroText(scale int) []byte { return append([]byte("0."), bytes.Repeat([]byte("0"), scale)...) }

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
