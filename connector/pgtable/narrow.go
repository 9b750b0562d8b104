package pgtable

import (
	"database/sql"
	"database/sql/driver"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgtype"
)

// narrowError is the error of a value that pgx or Postgres would change, because its
// type holds fewer values.
type narrowError struct{ text string }

func (e *narrowError) Error() string { return e.text }

func narrowf(format string, args ...any) error {
	return &narrowError{fmt.Sprintf(format, args...)}
}

// numberTypes are the types for which pgx 5.12 narrows numbers.
func numberTypes() map[uint32]string {
	return map[uint32]string{
		pgtype.Int2OID: "smallint", pgtype.Int4OID: "integer", pgtype.Int8OID: "bigint",
		pgtype.OIDOID: "oid", pgtype.XIDOID: "xid", pgtype.CIDOID: "cid", pgtype.XID8OID: "xid8",
		pgtype.QCharOID: `"char"`, pgtype.Float4OID: "real", pgtype.Float8OID: "double precision", pgtype.NumericOID: "numeric",
	}
}

// strictMap returns a copy of a connection's types that refuses to narrow numbers, also
// those in arrays, ranges and composite types. bits is how many bits of a whole number
// remain exact in the types with their own Scan that are read into; 0 means all.
func strictMap(m *pgtype.Map, bits int) *pgtype.Map {
	strict := m.Copy()
	strict.TryWrapEncodePlanFuncs, strict.TryWrapScanPlanFuncs = m.TryWrapEncodePlanFuncs, m.TryWrapScanPlanFuncs
	numbers := make(map[uint32]*pgtype.Type)
	for oid, name := range numberTypes() {
		if t, ok := m.TypeForOID(oid); ok {
			numbers[oid] = &pgtype.Type{Codec: strictCodec{Codec: t.Codec, name: name, bits: bits}, Name: t.Name, OID: oid}
			strict.RegisterType(numbers[oid])
		}
	}
	for _, oid := range []uint32{
		pgtype.Int2ArrayOID, pgtype.Int4ArrayOID, pgtype.Int8ArrayOID, pgtype.OIDArrayOID, pgtype.XIDArrayOID,
		pgtype.CIDArrayOID, pgtype.XID8ArrayOID, pgtype.QCharArrayOID, pgtype.Float4ArrayOID, pgtype.Float8ArrayOID, pgtype.NumericArrayOID,
	} {
		t, ok := m.TypeForOID(oid)
		if !ok {
			continue
		}
		if array, ok := t.Codec.(*pgtype.ArrayCodec); ok && numbers[array.ElementType.OID] != nil {
			strict.RegisterType(&pgtype.Type{Codec: &pgtype.ArrayCodec{ElementType: numbers[array.ElementType.OID]}, Name: t.Name, OID: oid})
		}
	}
	return strict
}

// strictCodec refuses to narrow the numbers of a type.
type strictCodec struct {
	pgtype.Codec
	name string
	bits int
}

// PlanEncode implements [pgtype.Codec].
func (c strictCodec) PlanEncode(m *pgtype.Map, oid uint32, format int16, value any) pgtype.EncodePlan {
	plan := c.Codec.PlanEncode(m, oid, format, value)
	if plan == nil || oid == pgtype.NumericOID {
		return plan
	}
	return strictEncode{plan, oid, c.name}
}

type strictEncode struct {
	pgtype.EncodePlan
	oid  uint32
	name string
}

// Encode implements [pgtype.EncodePlan].
func (p strictEncode) Encode(value any, buf []byte) ([]byte, error) {
	if err := checkNumber(p.oid, p.name, value); err != nil {
		return nil, err
	}
	return p.EncodePlan.Encode(value, buf)
}

// checkNumber refuses a value that is not one of a type of numbers.
func checkNumber(oid uint32, name string, value any) error {
	isFloat := oid == pgtype.Float4OID || oid == pgtype.Float8OID
	switch v := value.(type) {
	case rune:
		if v < 0 && oid == pgtype.QCharOID {
			return narrowf("%d is no character of the type %s, which begin at 0", v, name)
		}
	case pgtype.Float64Valuer:
		if n, ok := value.(pgtype.Numeric); ok && !isFloat && isWhole(n) {
			return nil // a float64 might round it
		}
		f, err := v.Float64Value()
		switch {
		case err != nil || !f.Valid:
			return nil //nolint:nilerr // pgx reports it
		case isFloat:
			return checkFloat(oid, f.Float64)
		case f.Float64 != math.Trunc(f.Float64) || math.IsInf(f.Float64, 0):
			return narrowf("%s is not a whole number, as the type %s needs: round it, or make the column numeric or double precision", floatText(f.Float64), name)
		case f.Float64 < math.MinInt64 || f.Float64 >= -math.MinInt64:
			return narrowf("%s does not fit the type %s: make the column numeric or double precision", floatText(f.Float64), name)
		}
	case pgtype.Int64Valuer:
		n, err := v.Int64Value()
		if err != nil || !n.Valid || !isFloat {
			return nil //nolint:nilerr // pgx reports it
		}
		bits := doubleBits
		if oid == pgtype.Float4OID {
			bits = singleBits
		}
		if !exactIn(n.Int64, bits) {
			return narrowf("%d would lose digits in the type %s: make the column bigint or numeric", n.Int64, name)
		}
	}
	return nil
}

// isWhole reports whether a number is whole and fits int64.
func isWhole(n pgtype.Numeric) bool {
	whole, err := n.Int64Value()
	return err == nil && whole.Valid
}

// checkFloat refuses a number that becomes infinite or zero in a column of type real.
func checkFloat(oid uint32, f float64) error {
	if short := float64(float32(f)); oid == pgtype.Float4OID && (math.IsInf(short, 0) != math.IsInf(f, 0) || (short == 0) != (f == 0)) {
		return narrowf("%s does not fit the type real: make the column double precision or numeric", floatText(f))
	}
	return nil
}

func floatText(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

// How many bits of a whole number a float64 and a float32 hold.
const (
	doubleBits = 53
	singleBits = 24
)

// exactIn reports whether a floating-point number of so many bits holds a whole number.
func exactIn(n int64, bits int) bool {
	abs := uint64(n)
	if n < 0 {
		abs = -abs
	}
	for abs != 0 && abs%2 == 0 {
		abs /= 2
	}
	return abs < 1<<bits
}

// PlanScan implements [pgtype.Codec].
func (c strictCodec) PlanScan(m *pgtype.Map, oid uint32, format int16, target any) pgtype.ScanPlan {
	plan := c.Codec.PlanScan(m, oid, format, target)
	if _, ok := target.(pgtype.Float64Valuer); plan == nil || !ok {
		return plan
	}
	p := strictScan{ScanPlan: plan, name: c.name}
	switch oid {
	case pgtype.Int2OID, pgtype.Int4OID, pgtype.Int8OID:
		p.whole = c.Codec.PlanScan(m, oid, format, new(pgtype.Int8))
	case pgtype.Float8OID, pgtype.NumericOID:
		p.float = c.Codec.PlanScan(m, oid, format, new(pgtype.Float8))
	}
	return p
}

// strictScan reads a number, and checks what has become of it.
type strictScan struct {
	pgtype.ScanPlan
	name         string
	whole, float pgtype.ScanPlan // nil, or what reads the number exactly
}

// Scan implements [pgtype.ScanPlan].
func (p strictScan) Scan(raw []byte, dest any) error {
	if err := p.ScanPlan.Scan(raw, dest); err != nil {
		return err
	}
	got, err := dest.(pgtype.Float64Valuer).Float64Value() //nolint:forcetypeassert // PlanScan has looked
	if err != nil || !got.Valid {
		return nil //nolint:nilerr // there is no number
	}
	f := got.Float64
	var n pgtype.Int8
	var was pgtype.Float8
	switch {
	case p.whole != nil && p.whole.Scan(raw, &n) == nil:
		if f < math.MinInt64 || f >= -math.MinInt64 || int64(f) != n.Int64 {
			return narrowf("%d of type %s would lose digits in the field's floating-point type: use int64", n.Int64, p.name)
		}
	case p.float != nil && p.float.Scan(raw, &was) == nil:
		if math.IsInf(f, 0) != math.IsInf(was.Float64, 0) || (f == 0) != (was.Float64 == 0) {
			return narrowf("%s of type %s does not fit float32: use float64", floatText(was.Float64), p.name)
		}
	}
	return nil
}

// DecodeDatabaseSQLValue implements [pgtype.Codec], for types with their own Scan.
func (c strictCodec) DecodeDatabaseSQLValue(m *pgtype.Map, oid uint32, format int16, src []byte) (driver.Value, error) {
	value, err := c.Codec.DecodeDatabaseSQLValue(m, oid, format, src)
	if n, ok := value.(int64); ok && c.bits != 0 && !exactIn(n, c.bits) {
		return nil, narrowf("%d of type %s would lose digits in the field's floating-point type: use int64", n, c.name)
	}
	return value, err
}

// scanFloats looks for floating-point numbers in a type that is read into, and returns
// how many bits they hold, 0 if there are none. scanners is the same for those within
// types with their own Scan.
func scanFloats(t reflect.Type, seen map[reflect.Type]bool) (bits, scanners int) {
	if seen[t] {
		return 0, 0
	}
	seen[t] = true
	least := func(of reflect.Type) {
		b, s := scanFloats(of, seen)
		bits, scanners = fewest(bits, b), fewest(scanners, s)
	}
	switch t.Kind() {
	case reflect.Float64:
		bits = doubleBits
	case reflect.Float32:
		bits = singleBits
	case reflect.Pointer, reflect.Slice, reflect.Array:
		least(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			least(t.Field(i).Type)
		}
	default:
	}
	delete(seen, t)
	if reflect.PointerTo(t).Implements(reflect.TypeFor[sql.Scanner]()) {
		scanners = bits
	}
	return bits, scanners
}

func fewest(a, b int) int {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}

// shortText returns how many bytes of a text a column of its type holds, and the name of
// the type. Postgres cuts a longer text. 0 means that the type holds each text.
func (c *column) shortText() (most int, name string) {
	switch c.oid {
	case pgtype.QCharOID, pgtype.QCharArrayOID:
		return 1, `"char"`
	case pgtype.NameOID, pgtype.NameArrayOID:
		return 63, "name"
	default:
		return 0, ""
	}
}

// cutsTexts reports whether Postgres cuts some texts for the column in silence.
func (c *column) cutsTexts() bool {
	most, _ := c.shortText()
	return most > 0 || c.most > 0
}

// checkText refuses a text that Postgres would cut: of a varchar, blanks at its end, as SQL demands.
func (c *column) checkText(s string) error {
	if most, name := c.shortText(); most > 0 && len(s) > most {
		return narrowf("the text %q has %d bytes, and the type %s holds %d: shorten it, or make the column text", s, len(s), name, most)
	}
	if c.most > 0 && len(s) > c.most && s[len(s)-1] == ' ' && utf8.RuneCountInString(s) > c.most {
		return narrowf("the text %q has %d characters, and the type varchar(%d) would cut the blanks at its end: cut them, or make the column text", s, utf8.RuneCountInString(s), c.most)
	}
	return nil
}

// checkTexts is checkText for the texts of a value.
func (c *column) checkTexts(v reflect.Value) error {
	if v.Kind() == reflect.String && v.NumMethod() == 0 {
		return c.checkText(v.String())
	}
	if v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		if v.IsNil() {
			return nil
		}
	}
	if v.CanInterface() {
		if valuer, ok := v.Interface().(driver.Valuer); ok {
			value, err := valuer.Value()
			if _, again := value.(driver.Valuer); err != nil || value == nil || again {
				return nil //nolint:nilerr // pgx reports it
			}
			return c.checkTexts(reflect.ValueOf(value))
		}
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		return c.checkTexts(v.Elem())
	case reflect.String:
		return c.checkText(v.String())
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if err := c.checkTexts(v.Index(i)); err != nil {
				return err
			}
		}
	default:
	}
	return nil
}

// checkRagged refuses slices of slices of different lengths, which are no array. pgx 5.12 looks
// at that for the first value of a type only, and drops elements later.
func checkRagged(v reflect.Value) error {
	for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		v = v.Elem()
	}
	if !isNested(v) {
		return nil
	}
	width := -1
	for i := range v.Len() {
		inner := v.Index(i)
		if n := inner.Len(); width < 0 {
			width = n
		} else if n != width {
			return narrowf("slices of %d and %d elements in one value are no array: use slices of one length, or a column of JSON", width, n)
		}
		if err := checkRagged(inner); err != nil {
			return err
		}
	}
	return nil
}

// isNested reports whether a value is a slice of slices other than []byte.
func isNested(v reflect.Value) bool {
	if v.Kind() != reflect.Slice || v.Type().Implements(reflect.TypeFor[driver.Valuer]()) {
		return false
	}
	elem := v.Type().Elem()
	return elem.Kind() == reflect.Slice && elem.Elem().Kind() != reflect.Uint8
}
