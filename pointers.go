package dataflow

import "reflect"

// release has a slice that is to be filled again hold on to nothing. What holds no
// pointers holds on to nothing.
func release[T any](s []T) {
	if refers(reflect.TypeFor[T]()) {
		clear(s)
	}
}

// refers reports whether values of a type hold pointers.
func refers(t reflect.Type) bool {
	switch kind := t.Kind(); {
	case kind <= reflect.Complex128:
		return false
	case kind == reflect.Array:
		return t.Len() > 0 && refers(t.Elem())
	case kind == reflect.Struct:
		for i := range t.NumField() {
			if refers(t.Field(i).Type) {
				return true
			}
		}
		return false
	default:
		return true
	}
}
