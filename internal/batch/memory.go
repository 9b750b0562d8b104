package batch

import "reflect"

// HasPointers reports whether values of a type refer to other memory.
func HasPointers(t reflect.Type) bool { return hasPointers(t) }

func hasPointers(t reflect.Type) bool {
	switch kind := t.Kind(); {
	case kind <= reflect.Complex128:
		return false
	case kind == reflect.Array:
		return t.Len() > 0 && hasPointers(t.Elem())
	case kind == reflect.Struct:
		for i := range t.NumField() {
			if hasPointers(t.Field(i).Type) {
				return true
			}
		}
		return false
	default:
		return true
	}
}

// weigh estimates the memory of what v refers to, without v itself.
func weigh(v reflect.Value, depth int) int {
	if depth == 0 {
		return 0
	}
	switch v.Kind() {
	case reflect.String:
		return v.Len()
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return 0
		}
		return int(v.Elem().Type().Size()) + weigh(v.Elem(), depth-1)
	case reflect.Slice:
		return v.Len()*int(v.Type().Elem().Size()) + weighElements(v, depth)
	case reflect.Array:
		return weighElements(v, depth)
	case reflect.Map:
		sum := 0
		for it := v.MapRange(); it.Next(); {
			sum += int(v.Type().Key().Size()+v.Type().Elem().Size()) + weigh(it.Key(), depth-1) + weigh(it.Value(), depth-1)
		}
		return sum
	case reflect.Struct:
		sum := 0
		for i := range v.NumField() {
			sum += weigh(v.Field(i), depth-1)
		}
		return sum
	default:
		return 0
	}
}

// weighElements adds up what the elements of a list refer to: nothing for plain types.
func weighElements(v reflect.Value, depth int) int {
	if v.Type().Elem().Kind() <= reflect.Complex128 {
		return 0
	}
	sum := 0
	for i := range v.Len() {
		sum += weigh(v.Index(i), depth-1)
	}
	return sum
}
