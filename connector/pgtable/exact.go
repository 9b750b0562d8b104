package pgtable

import (
	"bytes"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// newScanPlan returns the plan by which pgx reads a column into dest. Where pgx
// would change a value without an error, the plan reads it exactly, or refuses it.
func newScanPlan(m *pgtype.Map, f pgconn.FieldDescription, dest any) pgtype.ScanPlan {
	t := reflect.TypeOf(dest).Elem()
	rounds := f.DataTypeOID != pgtype.Float8OID && f.DataTypeOID != pgtype.NumericOID // to the nearest float64
	if bits, scanners := scanFloats(t, make(map[reflect.Type]bool)); bits == singleBits || bits != 0 && rounds {
		m = strictMap(m, scanners)
	}
	m = withExactParts(m, f.DataTypeOID)
	plan := m.PlanScan(f.DataTypeOID, f.Format, dest)
	if f.DataTypeOID == pgtype.JSONOID || f.DataTypeOID == pgtype.JSONBOID {
		return newJSONPlan(m, f, t, plan)
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	plan = nullPlan{plan}
	switch {
	case f.DataTypeOID == pgtype.QCharOID && f.Format == pgtype.BinaryFormatCode:
		plan = charPlan{plan, m.PlanScan(f.DataTypeOID, pgtype.TextFormatCode, dest)}
	case f.DataTypeOID == pgtype.NumericOID && f.Format == pgtype.BinaryFormatCode:
		plan = zeroPlan{plan, m.PlanScan(f.DataTypeOID, pgtype.TextFormatCode, dest)}
	case slices.Contains([]uint32{pgtype.NumericArrayOID, pgtype.NumrangeOID, pgtype.NumrangeArrayOID, pgtype.NummultirangeOID}, f.DataTypeOID):
		m = withZeros(m)
		plan = nullPlan{m.PlanScan(f.DataTypeOID, f.Format, dest)}
	}
	if !isExact(m, f, t) {
		plan = &roundTripPlan{plan, m, f, t}
	}
	if check := checkScanner(m, f, t); check != nil {
		return checkedPlan{plan, check}
	}
	if f.DataTypeOID == pgtype.IntervalOID && t == reflect.TypeFor[time.Duration]() {
		return checkedPlan{plan, intervalCheck(m, f)}
	}
	if depth := arrayDepth(t); depth > 0 && isArray(m, f, t) {
		return checkedPlan{plan, func(raw []byte) error { return checkShape(raw, f.Format, t, depth) }}
	}
	return plan
}

// checkedPlan refuses values before pgx reads them.
type checkedPlan struct {
	pgtype.ScanPlan
	check func(raw []byte) error
}

// Scan implements [pgtype.ScanPlan].
func (p checkedPlan) Scan(raw []byte, dest any) error {
	if raw != nil {
		if err := p.check(raw); err != nil {
			return err
		}
	}
	return p.ScanPlan.Scan(raw, dest)
}

// intervalCheck refuses an interval with months, for which pgx takes 30 days each,
// and one that overflows a time.Duration.
func intervalCheck(m *pgtype.Map, f pgconn.FieldDescription) func(raw []byte) error {
	plan := m.PlanScan(f.DataTypeOID, f.Format, new(pgtype.Interval))
	return func(raw []byte) error {
		var v pgtype.Interval
		if err := plan.Scan(raw, &v); err != nil {
			return err
		}
		const day, most = int64(24 * time.Hour / time.Microsecond), int64(math.MaxInt64 / time.Microsecond)
		switch {
		case v.Months != 0:
			return errors.New("an interval with months has no fixed length and does not fit time.Duration: use pgtype.Interval")
		case v.Microseconds > most || v.Microseconds < -most, max(int64(v.Days), -int64(v.Days)) > most/day,
			max(int64(v.Days)*day+v.Microseconds, -int64(v.Days)*day-v.Microseconds) > most:
			return errors.New("an interval of more than 292 years does not fit time.Duration: use pgtype.Interval")
		default:
			return nil
		}
	}
}

// isArray reports whether a column that is read into a t is an array. pgx does not
// know the arrays of the database's own types, and gets them as text.
func isArray(m *pgtype.Map, f pgconn.FieldDescription, t reflect.Type) bool {
	typ, ok := m.TypeForOID(f.DataTypeOID)
	if !ok {
		return f.Format == pgtype.TextFormatCode && t.Kind() == reflect.Slice
	}
	_, array := typ.Codec.(*pgtype.ArrayCodec)
	return array
}

// arrayDepth returns the number of dimensions of an array that a t can hold, or 0 if
// a t takes care of that itself.
func arrayDepth(t reflect.Type) int {
	if t.Kind() == reflect.Interface {
		return 1
	}
	flat := t.PkgPath() == reflect.TypeFor[pgtype.Text]().PkgPath() && strings.HasPrefix(t.Name(), "FlatArray[")
	p := reflect.PointerTo(t)
	if !flat && (p.Implements(reflect.TypeFor[pgtype.ArraySetter]()) || p.Implements(reflect.TypeFor[sql.Scanner]())) {
		return 0
	}
	depth := 0
	for (t.Kind() == reflect.Slice || t.Kind() == reflect.Array) && t.Elem().Kind() != reflect.Uint8 {
		t = t.Elem()
		depth++
	}
	return depth
}

// checkShape refuses an array of more dimensions than depth, which pgx would
// flatten, and one that does not begin at index 1, whose bounds pgx would drop.
func checkShape(raw []byte, format int16, t reflect.Type, depth int) error {
	var dimensions int
	bounds := false
	if format == pgtype.BinaryFormatCode {
		if len(raw) < 12 {
			return nil // pgx reports it
		}
		dimensions = int(binary.BigEndian.Uint32(raw))
		for i := 0; i < dimensions && len(raw) >= 20+8*i; i++ {
			bounds = bounds || binary.BigEndian.Uint32(raw[16+8*i:]) != 1
		}
	} else {
		bounds = bytes.HasPrefix(raw, []byte("["))
		if bounds {
			_, raw, _ = bytes.Cut(raw, []byte("="))
		}
		dimensions = len(raw) - len(bytes.TrimLeft(raw, "{"))
	}
	switch {
	case dimensions > depth, dimensions > 0 && dimensions < depth:
		return fmt.Errorf("an array of %d dimensions does not fit %s: use pgtype.Array or a slice of %[1]d dimensions", dimensions, nameOf(t))
	case bounds:
		return fmt.Errorf("an array that does not begin at index 1 does not fit %s: use pgtype.Array", nameOf(t))
	default:
		return nil
	}
}

func nameOf(t reflect.Type) string {
	if t == reflect.TypeFor[any]() {
		return "any"
	}
	return t.String()
}
