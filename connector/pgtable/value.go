package pgtable

import (
	"database/sql"
	"database/sql/driver"
	"reflect"
)

// isValue reports whether a struct is the value of one column.
func isValue(t reflect.Type) bool {
	return t.Implements(reflect.TypeFor[driver.Valuer]()) || reflect.PointerTo(t).Implements(reflect.TypeFor[sql.Scanner]())
}
