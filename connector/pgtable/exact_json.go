package pgtable

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"reflect"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// jsonPlan reads a JSON column.
type jsonPlan struct {
	pgtype.ScanPlan // pgx's
	skip            int
	leaf            reflect.Type    // the type behind the pointers
	text            pgtype.ScanPlan // reads a null into a leaf; nil if a leaf cannot hold it
	numbers         bool            // true if numbers may be read into an interface
	// check refuses what a leaf would write back as other JSON. It may be nil.
	check func(body []byte, dest any) error
}

func newJSONPlan(m *pgtype.Map, f pgconn.FieldDescription, t reflect.Type, plan pgtype.ScanPlan) pgtype.ScanPlan {
	p := jsonPlan{ScanPlan: plan, leaf: t}
	if f.DataTypeOID == pgtype.JSONBOID && f.Format == pgtype.BinaryFormatCode {
		p.skip = 1 // the version
	}
	for p.leaf.Kind() == reflect.Pointer {
		p.leaf = p.leaf.Elem()
	}
	dest := reflect.PointerTo(p.leaf)
	p.check = newJSONCheck(m, f, p.leaf)
	switch {
	case p.leaf == reflect.TypeFor[json.RawMessage]():
		p.text, p.ScanPlan = rawJSONPlan(p.skip), rawJSONPlan(p.skip)
	case p.leaf == reflect.TypeFor[string](), p.leaf == reflect.TypeFor[[]byte](),
		dest.Implements(reflect.TypeFor[sql.Scanner]()), dest.Implements(reflect.TypeFor[pgtype.BytesScanner]()):
		p.text = m.PlanScan(f.DataTypeOID, f.Format, reflect.New(p.leaf).Interface())
	case t == p.leaf && dest.Implements(reflect.TypeFor[json.Unmarshaler]()):
		p.text = plan
	default:
		p.numbers = plainJSON(m, f.DataTypeOID) && holdsInterface(p.leaf, make(map[reflect.Type]bool))
	}
	return p
}

// Scan implements [pgtype.ScanPlan].
func (p jsonPlan) Scan(raw []byte, dest any) error {
	if len(raw) <= p.skip {
		return p.ScanPlan.Scan(raw, dest)
	}
	if body := raw[p.skip:]; isNullJSON(body) {
		if p.text == nil {
			return fmt.Errorf("a JSON null would be the same as NULL or an empty value in %s: use json.RawMessage", nameOf(p.leaf))
		}
		v := reflect.ValueOf(dest).Elem()
		for v.Kind() == reflect.Pointer && v.Type() != p.leaf {
			v.Set(reflect.New(v.Type().Elem()))
			v = v.Elem()
		}
		return p.text.Scan(raw, v.Addr().Interface())
	} else if p.numbers {
		if err := scanNumbers(body, dest); err != nil || p.check == nil {
			return err
		}
	} else if err := p.ScanPlan.Scan(raw, dest); err != nil || p.check == nil {
		return err
	}
	return p.check(raw[p.skip:], dest)
}

// rawJSONPlan reads JSON into a [json.RawMessage] as it is. pgx removes spaces.
type rawJSONPlan int // how many bytes precede the JSON

// Scan implements [pgtype.ScanPlan].
func (skip rawJSONPlan) Scan(raw []byte, dest any) error {
	v := reflect.ValueOf(dest).Elem()
	if raw == nil {
		v.SetZero()
		return nil
	}
	for v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	v.SetBytes(bytes.Clone(raw[skip:]))
	return nil
}

func isNullJSON(body []byte) bool { return string(bytes.TrimSpace(body)) == "null" }

// scanNumbers reads JSON like pgx, but the numbers in interfaces become
// [json.Number], which keeps their digits.
func scanNumbers(body []byte, dest any) error {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	if err := decoder.Decode(dest); err != nil {
		return err
	}
	if v, ok := dest.(*any); ok {
		if s, ok := (*v).(string); ok {
			return checkJSONText(s)
		}
	}
	return nil
}

// plainJSON reports whether the connection reads JSON with package json.
func plainJSON(m *pgtype.Map, oid uint32) bool {
	typ, ok := m.TypeForOID(oid)
	if !ok {
		return false
	}
	var unmarshal func([]byte, any) error
	switch codec := typ.Codec.(type) {
	case *pgtype.JSONCodec:
		unmarshal = codec.Unmarshal
	case *pgtype.JSONBCodec:
		unmarshal = codec.Unmarshal
	}
	return unmarshal != nil && reflect.ValueOf(unmarshal).Pointer() == reflect.ValueOf(json.Unmarshal).Pointer()
}

// holdsInterface reports whether package json may fill an interface in a t.
func holdsInterface(t reflect.Type, seen map[reflect.Type]bool) bool {
	if seen[t] || t.Kind() != reflect.Interface && reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()) {
		return false
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Interface:
		return true
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		return holdsInterface(t.Elem(), seen)
	case reflect.Struct:
		for i := range t.NumField() {
			if holdsInterface(t.Field(i).Type, seen) {
				return true
			}
		}
	default:
	}
	return false
}

// newJSONCheck returns the check of a [jsonPlan], nil for a type that holds any JSON, or says by
// itself what JSON means.
func newJSONCheck(m *pgtype.Map, f pgconn.FieldDescription, t reflect.Type) func(body []byte, dest any) error {
	p := reflect.PointerTo(t)
	scans := p.Implements(reflect.TypeFor[sql.Scanner]()) || p.Implements(reflect.TypeFor[pgtype.BytesScanner]())
	switch {
	case !scans && p.Implements(reflect.TypeFor[json.Unmarshaler]()), hasOwnMeaning(t), isText(t) && t.Kind() != reflect.String, t == reflect.TypeFor[string]():
		return nil
	case !scans && t.Kind() == reflect.Struct:
		return func([]byte, any) error {
			return fmt.Errorf("%s is not made for JSON: use json.RawMessage, or a struct of your own", nameOf(t))
		}
	case holdsInterface(t, make(map[reflect.Type]bool)):
		return nil
	case t.Kind() == reflect.String:
		return func(_ []byte, dest any) error {
			v := reflect.ValueOf(dest)
			for v.Kind() == reflect.Pointer {
				v = v.Elem()
			}
			return checkJSONText(v.String())
		}
	}
	return func(body []byte, dest any) error {
		back, err := m.Encode(f.DataTypeOID, pgtype.TextFormatCode, reflect.ValueOf(dest).Elem().Interface(), nil)
		if err == nil && !sameJSON(body, back) {
			return fmt.Errorf("%s would change the value: use json.RawMessage", nameOf(t))
		}
		return nil
	}
}

// checkJSONText refuses a text that is itself JSON. pgx writes a text to a JSON column as JSON:
// the text "5" would become the number 5.
func checkJSONText(text string) error {
	if !json.Valid([]byte(text)) {
		return nil
	}
	return fmt.Errorf("a JSON string that is itself JSON, %q, would be written as that JSON: use json.RawMessage", text)
}

// sameJSON reports whether two texts are the same JSON, whatever their spaces.
func sameJSON(a, b []byte) bool {
	var x, y any
	for text, v := range map[*[]byte]*any{&a: &x, &b: &y} {
		decoder := json.NewDecoder(bytes.NewReader(*text))
		decoder.UseNumber()
		if decoder.Decode(v) != nil {
			return false
		}
	}
	return sameValue(x, y)
}

func sameValue(a, b any) bool {
	switch x := a.(type) {
	case json.Number:
		y, ok := b.(json.Number)
		return ok && sameNumber(string(x), string(y))
	case []any:
		y, ok := b.([]any)
		return ok && slices.EqualFunc(x, y, sameValue)
	case map[string]any:
		y, ok := b.(map[string]any)
		return ok && maps.EqualFunc(x, y, sameValue)
	default:
		return a == b
	}
}

// sameNumber reports whether two texts are the same number, such as 1.10 and 11e-1.
func sameNumber(a, b string) bool {
	if a == b {
		return true
	}
	for _, text := range []string{a, b} { // a greater exponent would take much memory
		if _, exponent, ok := strings.Cut(strings.ToLower(text), "e"); ok && len(strings.TrimLeft(exponent, "+-0")) > 3 {
			return false
		}
	}
	x, ok := new(big.Rat).SetString(a)
	y, too := new(big.Rat).SetString(b)
	return ok && too && x.Cmp(y) == 0
}
