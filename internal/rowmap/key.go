package rowmap

import (
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/activedataflow/dataflow"
)

// ValidateKey returns a [dataflow.ConfigError] for each fault of an upsert's key. p
// may be nil.
func ValidateKey(key []string, p *Plan) error {
	if len(key) == 0 {
		return &dataflow.ConfigError{Field: "key", Reason: "it is empty: name the columns that identify a row"}
	}
	var errs []error
	for i, name := range key {
		var reason string
		switch {
		case slices.Contains(key[:i], name):
			reason = fmt.Sprintf("column %q is named twice", name)
		case p != nil && p.Index(name) < 0:
			reason = fmt.Sprintf("%q is not a column of %v: its columns are %s", name, p.Type, strings.Join(p.Names(), ", "))
		default:
			continue
		}
		errs = append(errs, &dataflow.ConfigError{Field: "key", Reason: reason})
	}
	return errors.Join(errs...)
}

// ValidateNewer returns a [dataflow.ConfigError] if rows cannot be compared by a column of an
// upsert. p may be nil.
func ValidateNewer(column string, upsert bool, key []string, p *Plan) error {
	bad := func(format string, args ...any) error {
		return &dataflow.ConfigError{Field: "Target.OnlyIfNewer", Reason: fmt.Sprintf(format, args...)}
	}
	switch {
	case !upsert:
		return bad("it is for an upsert: an insert replaces no row")
	case slices.Contains(key, column):
		return bad("column %q is of the key, so it is equal in a record and its row: use the column that grows with each change", column)
	case p == nil:
		return nil
	}
	i := p.Index(column)
	if i < 0 {
		return bad("%q is not a column of %v, so the target does not write it: its columns are %s", column, p.Type, strings.Join(p.Names(), ", "))
	}
	t := p.Columns[i].Type
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() == reflect.Bool || t.Kind() == reflect.Map || t == reflect.TypeFor[json.RawMessage]() {
		return bad("column %q (field %s) is a %v, which has no order: use a time or a number", column, p.Columns[i].Field, t)
	}
	return nil
}

// IsTime reports whether a field is a time.
func (c *Column) IsTime() bool {
	switch c.Type {
	case reflect.TypeFor[time.Time](), reflect.TypeFor[*time.Time](), reflect.TypeFor[sql.NullTime](), reflect.TypeFor[sql.Null[time.Time]]():
		return true
	default:
		return false
	}
}

// IsNumber reports whether a field is a number, or one that may be NULL.
func (c *Column) IsNumber() bool {
	t := c.Type
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() == reflect.Struct && t.PkgPath() == "database/sql" { // such as sql.NullInt64
		t = t.Field(0).Type
	}
	if t.Implements(reflect.TypeFor[driver.Valuer]()) {
		return false
	}
	kind := t.Kind()
	return reflect.Int <= kind && kind <= reflect.Uint64 || kind == reflect.Float32 || kind == reflect.Float64
}

// OnConflict returns the end of an insert statement that updates a row whose key
// already exists.
func OnConflict(columns, key []string) string {
	var set []string
	for _, name := range columns {
		if !slices.Contains(key, name) {
			set = append(set, Quote(name)+" = excluded."+Quote(name))
		}
	}
	s := "on conflict (" + QuoteAll(key, ", ") + ") do "
	if set == nil {
		return s + "nothing"
	}
	return s + "update set " + strings.Join(set, ", ")
}
