package jsonrow

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"unicode/utf8"

	"github.com/activedataflow/dataflow/internal/stored"
)

// CheckWritten returns an error if encoding/json has put U+FFFD in place of bytes of a row that are not
// UTF-8. written is the row as JSON.
func CheckWritten(written []byte, row any) error {
	if !stored.HasReplaced(written) { // a json.RawMessage may have such an escape of its own
		return nil
	}
	if text, where := notUTF8(reflect.ValueOf(row), "of the row"); where != "" {
		return fmt.Errorf("the text %q %s is not UTF-8, which JSON must be: convert it in the transform", stored.Clip(text), where)
	}
	return nil
}

// notUTF8 returns a text in a value that is not UTF-8, and where it is; "" for none. Values that write
// themselves are passed.
func notUTF8(v reflect.Value, where string) (text, at string) {
	if !v.IsValid() || v.Kind() != reflect.Pointer && writesItself(v.Type()) {
		return "", ""
	}
	switch kind := v.Kind(); {
	case kind == reflect.String && !utf8.ValidString(v.String()):
		return v.String(), where
	case kind == reflect.Pointer, kind == reflect.Interface:
		return notUTF8(v.Elem(), where)
	case kind == reflect.Slice, kind == reflect.Array:
		for i := range v.Len() {
			if text, at = notUTF8(v.Index(i), where); at != "" {
				return text, at
			}
		}
	case kind == reflect.Map:
		for key, value := range v.Seq2() {
			if text, at = notUTF8(key, where); at == "" {
				text, at = notUTF8(value, fmt.Sprintf("of %q", fmt.Sprint(key)))
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
			if text, at = notUTF8(v.Field(i), "of the field "+field.Name); at != "" {
				return text, at
			}
		}
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
