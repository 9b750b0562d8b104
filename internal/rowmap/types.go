package rowmap

import "strings"

// typeMark begins a text of a cursor that names the type of a value.
const typeMark = "type: "

// TypeText returns the text that names a type in a cursor.
func TypeText(typ string) string { return typeMark + typ }

// Place returns the values of a cursor and, if it has them, the types that the key
// columns had. The types follow the values, one for each.
func Place(cursor []string) (values, types []string) {
	values = place(cursor)
	for _, text := range cursor[len(values):] {
		types = append(types, strings.TrimPrefix(text, typeMark))
	}
	return values, types
}

// place returns the values of a cursor.
func place(cursor []string) []string {
	n := len(cursor) / 2
	if n == 0 || len(cursor)%2 != 0 {
		return cursor
	}
	for _, text := range cursor[n:] {
		if !strings.HasPrefix(text, typeMark) {
			return cursor
		}
	}
	return cursor[:n:n]
}
