package jsonrow

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"unicode/utf8"

	"github.com/activedataflow/dataflow/internal/stored"
)

// CheckWritten returns an error if encoding/json has put U+FFFD in place of bytes of a row that are not
// UTF-8. written is the row as JSON.
func CheckWritten(written []byte, row any) error {
	if !stored.HasReplaced(written) { // a json.RawMessage may have such an escape of its own
		return nil
	}
	invalid := func(text string) bool { return !utf8.ValidString(text) }
	if text, where := findText(reflect.ValueOf(row), "of the row", invalid); where != "" {
		return fmt.Errorf("the text %q %s is not UTF-8, which JSON must be: convert it in the transform", stored.Clip(text), where)
	}
	return nil
}

// findText returns a text in a value for which bad is true, and where it is; "" for none.
func findText(v reflect.Value, where string, bad func(string) bool) (text, at string) {
	switch {
	case !v.IsValid():
		return "", ""
	case v.Kind() != reflect.Pointer && writesItself(v.Type()):
		return findOwn(v, where, bad)
	}
	switch kind := v.Kind(); {
	case kind == reflect.String && bad(v.String()):
		return v.String(), where
	case kind == reflect.Pointer, kind == reflect.Interface:
		return findText(v.Elem(), where, bad)
	case kind == reflect.Slice, kind == reflect.Array:
		for i := range v.Len() {
			if text, at = findText(v.Index(i), where, bad); at != "" {
				return text, at
			}
		}
	case kind == reflect.Map:
		for key, value := range v.Seq2() {
			if text, at = findText(key, where, bad); at == "" {
				text, at = findText(value, fmt.Sprintf("of %q", fmt.Sprint(key)), bad)
			}
			if at != "" {
				return text, at
			}
		}
	case kind == reflect.Struct:
		for i := range v.NumField() {
			field := v.Type().Field(i)
			if !field.IsExported() && !field.Anonymous || field.Tag.Get("json") == "-" {
				continue
			}
			if text, at = findText(v.Field(i), "of the field "+field.Name, bad); at != "" {
				return text, at
			}
		}
	}
	return "", ""
}

// findOwn is findText for a value that writes itself. It looks at the texts in the value, unless the value
// writes none that was changed: it may encode them.
func findOwn(v reflect.Value, where string, bad func(string) bool) (text, at string) {
	var texts []string
	if v.Kind() == reflect.String {
		texts = append(texts, v.String())
	}
	if v.Kind() == reflect.Struct {
		for i := range v.NumField() {
			if field := reflect.Indirect(v.Field(i)); field.Kind() == reflect.String {
				texts = append(texts, field.String())
			}
		}
	}
	if v.CanInterface() {
		own := v.Interface()
		if v.CanAddr() {
			own = v.Addr().Interface()
		}
		switch own := own.(type) {
		case json.Marshaler:
			if written, _ := own.MarshalJSON(); !stored.HasReplaced(written) && !bad(string(written)) {
				return "", ""
			}
		case encoding.TextMarshaler:
			written, _ := own.MarshalText() // it was written before
			texts = []string{string(written)}
		}
	}
	if i := slices.IndexFunc(texts, bad); i >= 0 {
		return texts[i], where
	}
	return "", ""
}

func writesItself(t reflect.Type) bool {
	for _, t := range []reflect.Type{t, reflect.PointerTo(t)} {
		if t.Implements(reflect.TypeFor[json.Marshaler]()) || t.Implements(reflect.TypeFor[encoding.TextMarshaler]()) {
			return true
		}
	}
	return false
}
