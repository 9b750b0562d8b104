package pgtable

import "github.com/jackc/pgx/v5/pgtype"

// signedIntervals adds to the types of a connection, which must be a copy, that the text of an
// interval has a sign before each part. With IntervalStyle sql_standard, Postgres applies the
// sign of pgx's "-1 mon 2 day" to all parts.
func signedIntervals(m *pgtype.Map) *pgtype.Map {
	typ, ok := m.TypeForOID(pgtype.IntervalOID)
	if !ok {
		return m
	}
	signed := &pgtype.Type{Codec: intervalCodec{typ.Codec}, Name: typ.Name, OID: typ.OID}
	m.RegisterTypes([]*pgtype.Type{signed, {Codec: &pgtype.ArrayCodec{ElementType: signed}, Name: "_interval", OID: pgtype.IntervalArrayOID}})
	return m
}

// intervalCodec writes an interval with a sign before each part.
type intervalCodec struct{ pgtype.Codec }

// PlanEncode implements [pgtype.Codec].
func (c intervalCodec) PlanEncode(m *pgtype.Map, oid uint32, format int16, value any) pgtype.EncodePlan {
	plan := c.Codec.PlanEncode(m, oid, format, value)
	if plan == nil || format != pgtype.TextFormatCode {
		return plan
	}
	return signedPlan{plan}
}

type signedPlan struct{ pgtype.EncodePlan }

// Encode implements [pgtype.EncodePlan].
func (p signedPlan) Encode(value any, buf []byte) ([]byte, error) {
	valuer, ok := value.(pgtype.IntervalValuer)
	if !ok {
		return p.EncodePlan.Encode(value, buf)
	}
	v, err := valuer.IntervalValue()
	if err != nil || !v.Valid {
		return p.EncodePlan.Encode(value, buf)
	}
	return appendSigned(buf, v.Months, v.Days, v.Microseconds), nil
}
