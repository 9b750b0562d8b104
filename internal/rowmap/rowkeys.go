package rowmap

import (
	"encoding/json"
	"fmt"
	"reflect"
)

// RowKeys returns the values of the key columns of each row as a text, such as `[7,"a"]`.
// rows is a slice of the plan's struct.
func RowKeys[T any](rows []T, p *Plan, key []string) []string {
	keys := make([]string, len(rows))
	values := make([]any, len(key))
	columns := make([]*Column, len(key))
	for i, name := range key {
		columns[i] = &p.Columns[p.Index(name)]
	}
	for i := range rows {
		row := reflect.ValueOf(&rows[i]).Elem()
		for j, c := range columns {
			values[j] = c.In(row).Interface()
		}
		text, err := json.Marshal(values)
		if err != nil { // such as an infinite number
			text = fmt.Appendf(nil, "%v", values)
		}
		keys[i] = string(text)
	}
	return keys
}
