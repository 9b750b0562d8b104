package rowmap

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
)

// RowKeys returns the values of the key columns of each row as a text, such as `[7,"a"]`.
// rows is a slice of the plan's struct.
func RowKeys[T any](rows []T, p *Plan, key []string) []string {
	keys := make([]string, len(rows))
	k := NewKeyTexts(p, key)
	for i := range rows {
		keys[i] = k.Of(reflect.ValueOf(&rows[i]).Elem())
	}
	return keys
}

// KeyTexts makes the texts of [RowKeys] one by one. It must not be used concurrently.
type KeyTexts struct {
	columns []*Column
	simple  []bool // the type has no methods, which may say how it is written as JSON
	buf     []byte
}

// NewKeyTexts returns the texts of these key columns.
func NewKeyTexts(p *Plan, key []string) *KeyTexts {
	k := &KeyTexts{}
	for _, name := range key {
		c := &p.Columns[p.Index(name)]
		t := c.Type
		if t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		k.columns, k.simple = append(k.columns, c), append(k.simple, t.NumMethod() == 0 && reflect.PointerTo(t).NumMethod() == 0)
	}
	return k
}

// Of returns the text of a row, a struct of the plan.
func (k *KeyTexts) Of(row reflect.Value) string {
	k.buf = append(k.buf[:0], '[')
	for i, c := range k.columns {
		if i > 0 {
			k.buf = append(k.buf, ',')
		}
		if !k.simple[i] || !k.add(c.In(row)) {
			return k.marshal(row)
		}
	}
	return string(append(k.buf, ']'))
}

// add adds the JSON of a common value, and reports whether it is one.
func (k *KeyTexts) add(v reflect.Value) bool {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			k.buf = append(k.buf, "null"...)
			return true
		}
		v = v.Elem()
	}
	switch {
	case v.CanInt():
		k.buf = strconv.AppendInt(k.buf, v.Int(), 10)
		return true
	case v.CanUint():
		k.buf = strconv.AppendUint(k.buf, v.Uint(), 10)
		return true
	case v.Kind() == reflect.String && isPlainJSON(v.String()):
		k.buf = append(append(append(k.buf, '"'), v.String()...), '"')
		return true
	default:
		return false
	}
}

// isPlainJSON reports whether package json writes a text as it is, between quotes.
func isPlainJSON(text string) bool {
	for i := range len(text) {
		switch c := text[i]; {
		case c < ' ', c > '~', c == '"', c == '\\', c == '<', c == '>', c == '&':
			return false
		}
	}
	return true
}

func (k *KeyTexts) marshal(row reflect.Value) string {
	values := make([]any, len(k.columns))
	for i, c := range k.columns {
		values[i] = c.In(row).Interface()
	}
	text, err := json.Marshal(values)
	if err != nil { // such as an infinite number
		text = fmt.Appendf(nil, "%v", values)
	}
	return string(text)
}
