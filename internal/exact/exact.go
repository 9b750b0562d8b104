// Package exact reads JSON as encoding/json does, but keeps all digits of a number that is
// read into an interface: it becomes a json.Number, and no float64.
package exact

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"sync"
)

// Unmarshal is [json.Unmarshal], but for the numbers in interfaces.
func Unmarshal(data []byte, v any) error {
	if !HasInterface(reflect.TypeOf(v)) || !json.Valid(data) { // encoding/json explains what is not valid
		return json.Unmarshal(data, v)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	return dec.Decode(v)
}

// Strict is [Unmarshal], and returns an error for a field that v lacks.
func Strict(data []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more data follows the first JSON value")
	}
	return nil
}

// known are the types that HasInterface has looked at.
var known sync.Map //nolint:gochecknoglobals // a cache

// HasInterface reports whether a value of a type, or anything that encoding/json reads into
// it, is an interface.
func HasInterface(t reflect.Type) bool {
	if t == nil {
		return true
	}
	if has, ok := known.Load(t); ok {
		return has == true
	}
	has := find(t, map[reflect.Type]bool{})
	known.Store(t, has)
	return has
}

func find(t reflect.Type, seen map[reflect.Type]bool) bool {
	if seen[t] {
		return false
	}
	seen[t] = true
	switch kind := t.Kind(); {
	case kind == reflect.Interface:
		return true
	case unmarshals(t), unmarshals(reflect.PointerTo(t)):
	case kind == reflect.Pointer, kind == reflect.Slice, kind == reflect.Array, kind == reflect.Map:
		return find(t.Elem(), seen)
	case kind == reflect.Struct:
		for i := range t.NumField() {
			if find(t.Field(i).Type, seen) {
				return true
			}
		}
	}
	return false
}

// unmarshals reports whether a type reads itself.
func unmarshals(t reflect.Type) bool {
	return t.Implements(reflect.TypeFor[json.Unmarshaler]()) || t.Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}
