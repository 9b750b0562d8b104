package pgtable

import (
	"bytes"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"reflect"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

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
