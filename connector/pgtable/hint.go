package pgtable

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/activedataflow/dataflow/internal/rowmap"
)

// hintedError is an error of pgx's with a text that says what would do.
type hintedError struct {
	text string
	err  error
}

func (e *hintedError) Error() string { return e.text }
func (e *hintedError) Unwrap() error { return e.err }

// alreadyHints is in the errors that say by themselves what would do.
const alreadyHints = ": use "

// readError adds to the error of a value that was read its text, its type in Postgres, and a
// Go type that would do.
func (p *columnPlan) readError(raw []byte, err error) error {
	into, oid := p.field.Type(), p.column.DataTypeOID
	if raw == nil {
		use := fitting(p.m, oid)
		if (isNumber(into) || isText(into) || into == reflect.TypeFor[time.Time]()) && isExact(p.m, p.column, into) {
			use = "*" + into.String()
		}
		return &hintedError{text: fmt.Sprintf("cannot read NULL of type %s into %s%s%s", nameOfType(p.m, oid), nameOf(into), alreadyHints, use), err: err}
	}
	// pgx speaks of pointers to the field, or prints their addresses.
	text := strings.ReplaceAll(addresses.ReplaceAllString(err.Error(), "…"), "into **", "into *")
	text = strings.ReplaceAll(text, "into *"+into.String(), "into "+into.String())
	if value := p.valueText(raw); value != "" {
		text = structs.ReplaceAllString(text, "it")
		text += fmt.Sprintf(" (%q of type %s)", rowmap.Clip(value), nameOfType(p.m, oid))
	} else {
		text += fmt.Sprintf(" (type %s)", nameOfType(p.m, oid))
	}
	if !strings.Contains(text, alreadyHints) {
		text += alreadyHints
		if p.column.Format == pgtype.TextFormatCode {
			return &hintedError{text: text + fitting(p.m, oid), err: err}
		}
		text += fmt.Sprintf("%s, or *string for %s::text", fitting(p.m, oid), rowmap.Quote(p.name))
	}
	return &hintedError{text: text, err: err}
}

// valueText returns a value as text, "" if pgx cannot tell.
func (p *columnPlan) valueText(raw []byte) string {
	oid, format := p.column.DataTypeOID, p.column.Format
	if format == pgtype.TextFormatCode {
		return string(raw)
	}
	var v any
	if err := p.m.Scan(oid, format, raw, &v); err != nil {
		return ""
	}
	text, err := p.m.Encode(oid, pgtype.TextFormatCode, v, nil)
	if err != nil {
		return ""
	}
	return string(text)
}

// nameOfType returns the name of a type in Postgres.
func nameOfType(m *pgtype.Map, oid uint32) string {
	typ, ok := m.TypeForOID(oid)
	if !ok {
		return fmt.Sprintf("with OID %d", oid)
	}
	if name, ok := strings.CutPrefix(typ.Name, "_"); ok {
		return name + "[]"
	}
	return typ.Name
}

// addresses are what pgx prints of a pointer.
var addresses = regexp.MustCompile(`\(?0x[0-9a-f]{6,}\)?`)

// structs are values as fmt prints them, such as a numeric by its parts, which say nothing beside its text.
var structs = regexp.MustCompile(`&\{[^{}]*\}`)

// writeError says which value of which type cannot be written to the column, and which Go type
// would do.
func (c *column) writeError(m *pgtype.Map, v any, err error) error {
	cause := err
	for errors.Unwrap(cause) != nil {
		cause = errors.Unwrap(cause)
	}
	text := addresses.ReplaceAllString(cause.Error(), "…")
	if strings.Contains(text, alreadyHints) {
		return err
	}
	what := nameOf(reflect.TypeOf(v))
	if value, ok := plainText(v); ok {
		what += fmt.Sprintf(" %q", rowmap.Clip(value))
	}
	return &hintedError{text: fmt.Sprintf("cannot write %s to type %s: %s%s%s, or a string", what, c.typ, text, alreadyHints, fitting(m, c.oid)), err: err}
}

// plainText returns the text of a value that has one.
func plainText(v any) (string, bool) {
	if valuer, ok := v.(driver.Valuer); ok {
		var err error
		if v, err = valuer.Value(); err != nil {
			return "", false
		}
	}
	r := reflect.ValueOf(v)
	for r.Kind() == reflect.Pointer && !r.IsNil() {
		r = r.Elem()
	}
	if !r.IsValid() || r.Kind() > reflect.Float64 && r.Kind() != reflect.String {
		return "", false
	}
	return fmt.Sprint(r.Interface()), true
}

// fitting returns a Go type that holds all values of a type.
func fitting(m *pgtype.Map, oid uint32) string {
	typ, ok := m.TypeForOID(oid)
	if !ok {
		return "*string"
	}
	codec := codecOf(typ)
	switch codec := codec.(type) {
	case pgtype.BoolCodec:
		return "*bool"
	case pgtype.Int2Codec, pgtype.Int4Codec, pgtype.Int8Codec:
		return "*int64"
	case pgtype.Uint32Codec:
		return "*uint32"
	case pgtype.Uint64Codec:
		return "*uint64"
	case pgtype.Float4Codec:
		return "*float32"
	case pgtype.Float8Codec:
		return "*float64"
	case pgtype.ByteaCodec:
		return "[]byte"
	case *pgtype.JSONCodec, *pgtype.JSONBCodec:
		return "json.RawMessage"
	case pgtype.InetCodec:
		return "netip.Prefix"
	case pgtype.MacaddrCodec:
		return "net.HardwareAddr"
	case *pgtype.ArrayCodec:
		return "pgtype.Array[" + fitting(m, codec.ElementType.OID) + "]"
	case *pgtype.RangeCodec:
		return "pgtype.Range[" + bound(m, codec.ElementType.OID) + "]"
	case *pgtype.MultirangeCodec:
		return "pgtype.Multirange[" + fitting(m, codec.ElementType.OID) + "]"
	}
	// The other codecs are named after the types of package pgtype.
	t := reflect.TypeOf(codec)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch name := strings.TrimSuffix(t.Name(), "Codec"); name {
	case "Numeric", "Date", "Time", "Timestamp", "Timestamptz", "Interval", "UUID", "Bits", "TID", "TSVector",
		"Point", "Line", "Lseg", "Box", "Path", "Polygon", "Circle":
		return "pgtype." + name
	default:
		return "*string"
	}
}

// bound returns a Go type for a bound of a range, which pgx needs to tell an infinite one.
func bound(m *pgtype.Map, oid uint32) string {
	switch oid {
	case pgtype.Int4OID:
		return "pgtype.Int4"
	case pgtype.Int8OID:
		return "pgtype.Int8"
	default:
		return fitting(m, oid)
	}
}
