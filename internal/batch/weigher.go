package batch

import (
	"reflect"
	"time"
)

// Weigher estimates the memory of records of one type. Texts and bytes that stand in the
// record itself are weighed in each record, because a single one may be heavy. So is what
// JSON is read into. What lies deeper is weighed in one record of 16, for all of them.
//
// The estimate depends on the records alone, so that a second read of the same records cuts
// them at the same place.
type Weigher struct {
	size    int   // of the record itself
	pointer bool  // the record is a pointer
	texts   []int // fields that are strings, or slices of plain elements
	deep    []int // other fields that refer to memory
	whole   bool  // the record is no struct, and is weighed as a whole
	nested  []nestedWeigher
}

type nestedWeigher struct {
	field int
	of    *Weigher
}

const (
	weighEvery  = 16 // one record in so many is weighed deeply, for all of them
	weightDepth = 8  // how deep a record is looked into
)

// NewWeigher returns the weigher for records of type t.
func NewWeigher(t reflect.Type) *Weigher {
	w := &Weigher{size: int(t.Size())}
	if t.Kind() == reflect.Pointer && t.Elem().Kind() == reflect.Struct {
		w.pointer = true
		t = t.Elem()
		w.size += int(t.Size())
	}
	if t.Kind() != reflect.Struct {
		w.whole = hasPointers(t)
		return w
	}
	for i := range t.NumField() {
		f := t.Field(i).Type
		switch {
		case f == reflect.TypeFor[time.Time](), !hasPointers(f): // a time's zone is shared
		case isText(f), f.Kind() == reflect.Pointer && isText(f.Elem()), f.Kind() == reflect.Interface:
			w.texts = append(w.texts, i)
		case f.Kind() == reflect.Struct:
			w.nested = append(w.nested, nestedWeigher{field: i, of: NewWeigher(f)})
		default:
			w.deep = append(w.deep, i)
		}
	}
	return w
}

func isText(t reflect.Type) bool {
	return t.Kind() == reflect.String || t.Kind() == reflect.Slice && t.Elem().Kind() <= reflect.Complex128
}

// Weigh estimates the bytes of a record, the n-th of its batch counted from 1. record points
// to it.
func (w *Weigher) Weigh(record any, n int) int {
	return w.size + w.weigh(reflect.ValueOf(record).Elem(), n%weighEvery == 1)
}

// weigh estimates what v refers to.
func (w *Weigher) weigh(v reflect.Value, deeply bool) int {
	if w.whole {
		return w.weighWhole(v, deeply)
	}
	if w.pointer {
		if v.IsNil() {
			return 0
		}
		v = v.Elem()
	}
	sum := 0
	for _, i := range w.texts {
		sum += weighText(v.Field(i), deeply)
	}
	for _, n := range w.nested {
		sum += n.of.weigh(v.Field(n.field), deeply)
	}
	if deeply {
		for _, i := range w.deep {
			sum += weighEvery * weigh(v.Field(i), weightDepth)
		}
	}
	return sum
}

func (w *Weigher) weighWhole(v reflect.Value, deeply bool) int {
	switch {
	case isText(v.Type()):
		return weighText(v, deeply)
	case v.Type() == reflect.TypeFor[map[string]any]():
		sum, _ := weighJSON(v.Interface())
		return sum
	case deeply:
		return weighEvery * weigh(v, weightDepth)
	default:
		return 0
	}
}

// weighText estimates the memory of a text, or of what a pointer or an interface holds.
func weighText(v reflect.Value, deeply bool) int {
	switch v.Kind() {
	case reflect.String:
		return v.Len()
	case reflect.Slice:
		return v.Len() * int(v.Type().Elem().Size())
	case reflect.Pointer:
		if v.IsNil() {
			return 0
		}
		return int(v.Type().Elem().Size()) + weighText(v.Elem(), deeply)
	default: // an interface
		sum, known := weighJSON(v.Interface())
		if !known && deeply {
			return weighEvery * weigh(v, weightDepth)
		}
		return sum
	}
}

// weighJSON estimates the memory of a value of the types that JSON is read into. known is
// false for any other type.
func weighJSON(v any) (sum int, known bool) {
	switch v := v.(type) {
	case nil, bool, float64:
	case string:
		sum = len(v)
	case []byte:
		sum = len(v)
	case []any:
		for _, e := range v {
			n, _ := weighJSON(e)
			sum += 16 + n
		}
	case map[string]any:
		for k, e := range v {
			n, _ := weighJSON(e)
			sum += 32 + len(k) + n
		}
	default:
		return 0, false
	}
	return sum, true
}
