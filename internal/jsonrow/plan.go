package jsonrow

import (
	"encoding"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"time"
)

// field is a field of a struct, with the name that encoding/json uses for it.
type field struct {
	name  string
	value reflect.Value
	set   setter
	// pointer is true if set takes the value that the field points to. plain is
	// false if only encoding/json can read the field's type.
	pointer, plain bool
}

// setter reads the next value of a line into a field. It returns false if
// encoding/json must read the line.
type setter func(l *plainLine, v reflect.Value) bool

// compile lists the fields of a struct. It returns false if encoding/json has rules
// for the type that plainLine lacks.
func compile(row reflect.Value) ([]field, bool) {
	if row.Kind() != reflect.Struct || unmarshals(row.Type()) {
		return nil, false
	}
	fields, ok := walk(row)
	names := make(map[string]bool, len(fields))
	for i := range fields {
		ok = ok && !names[fields[i].name] // plainLine has no rule for two fields with one name
		names[fields[i].name] = true
	}
	return fields, ok
}

// walk lists the fields in the order in which encoding/json tries them for a name
// that differs in case.
func walk(v reflect.Value) (fields []field, ok bool) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		tag, tagged := f.Tag.Lookup("json")
		if f.Anonymous {
			if tagged || f.Type.Kind() != reflect.Struct {
				return nil, false
			}
			more, ok := walk(v.Field(i))
			if !ok {
				return nil, false
			}
			fields = append(fields, more...)
			continue
		}
		if !f.IsExported() || tag == "-" {
			continue
		}
		name, ok := nameOf(&f, tag)
		if !ok {
			return nil, false
		}
		fields = append(fields, newField(name, v.Field(i)))
	}
	return fields, true
}

// nameOf returns the name in a tag. It returns false for a tag with other options
// than omitempty and omitzero.
func nameOf(f *reflect.StructField, tag string) (string, bool) {
	name, options, _ := strings.Cut(tag, ",")
	for option := range strings.SplitSeq(options, ",") {
		if option != "" && option != "omitempty" && option != "omitzero" {
			return "", false
		}
	}
	if name == "" {
		return f.Name, true
	}
	// encoding/json ignores a name with certain other characters.
	strange := strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("_-.:/@$# ", r)
	})
	return name, !strange
}

func newField(name string, v reflect.Value) field {
	f := field{name: name, value: v, set: setterOf(v.Type())}
	if f.set == nil && v.Kind() == reflect.Pointer {
		f.set = setterOf(v.Type().Elem())
		f.pointer = f.set != nil
	}
	if f.plain = f.set != nil; !f.plain {
		f.set = (*plainLine).setAny
	}
	return f
}

// setterOf returns the setter of a type, or nil if only encoding/json can read it.
func setterOf(t reflect.Type) setter {
	switch kind := t.Kind(); {
	case t == reflect.TypeFor[time.Time]():
		return (*plainLine).setTime
	case t == reflect.TypeFor[json.Number](), unmarshals(t):
		return nil
	case kind == reflect.String:
		return (*plainLine).setString
	case kind == reflect.Bool:
		return (*plainLine).setBool
	case kind >= reflect.Int && kind <= reflect.Int64:
		return (*plainLine).setInt
	case kind >= reflect.Uint && kind <= reflect.Uint64:
		return (*plainLine).setUint
	case kind == reflect.Float32, kind == reflect.Float64:
		return (*plainLine).setFloat
	default:
		return nil
	}
}

// unmarshals reports whether a type has its own unmarshal method.
func unmarshals(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return p.Implements(reflect.TypeFor[json.Unmarshaler]()) || p.Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// find returns the index of the field for a name, or -1. An exact match wins over
// the first match that differs in case.
func find(fields []field, name string) int {
	if i := slices.IndexFunc(fields, func(f field) bool { return f.name == name }); i >= 0 {
		return i
	}
	return slices.IndexFunc(fields, func(f field) bool { return strings.EqualFold(f.name, name) })
}
