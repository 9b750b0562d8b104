package pgtable

import (
	"reflect"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// withExactParts returns the types of a connection for a composite type, or an array of one, whose
// parts are read by the rules of columns. It returns the same types for any other.
func withExactParts(m *pgtype.Map, oid uint32) *pgtype.Map {
	composite := compositeIn(m, oid)
	if composite == nil {
		return m
	}
	exact := m.Copy()
	exact.TryWrapEncodePlanFuncs, exact.TryWrapScanPlanFuncs = m.TryWrapEncodePlanFuncs, m.TryWrapScanPlanFuncs
	for _, part := range composite.Fields {
		if typ, ok := m.TypeForOID(part.Type.OID); ok {
			exact.RegisterType(&pgtype.Type{Codec: exactCodec{typ.Codec, m, make(map[partTarget]pgtype.ScanPlan)}, Name: typ.Name, OID: typ.OID})
		}
	}
	return exact
}

// compositeIn returns the composite type that a type, or its elements, is; nil if it is none.
func compositeIn(m *pgtype.Map, oid uint32) *pgtype.CompositeCodec {
	typ, ok := m.TypeForOID(oid)
	if !ok {
		return nil
	}
	switch codec := typ.Codec.(type) {
	case *pgtype.CompositeCodec:
		return codec
	case *pgtype.ArrayCodec:
		return compositeIn(m, codec.ElementType.OID)
	default:
		return nil
	}
}

// exactCodec reads a part of a composite type like a column.
type exactCodec struct {
	pgtype.Codec
	m     *pgtype.Map
	plans map[partTarget]pgtype.ScanPlan // pgx asks for one for each row
}

// partTarget is what a part is read into.
type partTarget struct {
	format int16
	into   reflect.Type
}

// PlanScan implements [pgtype.Codec].
func (c exactCodec) PlanScan(_ *pgtype.Map, oid uint32, format int16, target any) pgtype.ScanPlan {
	at := partTarget{format, reflect.TypeOf(target)}
	if at.into == nil || at.into.Kind() != reflect.Pointer {
		return c.Codec.PlanScan(c.m, oid, format, target)
	}
	plan, ok := c.plans[at]
	if !ok {
		plan = newScanPlan(c.m, pgconn.FieldDescription{DataTypeOID: oid, Format: format, TypeModifier: -1}, target)
		c.plans[at] = plan
	}
	return plan
}

// DecodeValue implements [pgtype.Codec], for interfaces.
func (c exactCodec) DecodeValue(m *pgtype.Map, oid uint32, format int16, raw []byte) (any, error) {
	var v any
	err := c.PlanScan(m, oid, format, &v).Scan(raw, &v)
	return v, err
}
