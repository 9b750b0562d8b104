package csvfile

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/csvguess"
)

// column is a field of T and the column that it reads.
type column struct {
	field string // the field's path, for messages: "Address.City"
	index []int
	name  string // from the tag; empty means the field's own, compared loosely
	// layout is the time layout in the field's tag, or empty.
	layout string
	// custom is true for an encoding.TextUnmarshaler, and marshals for a
	// TextMarshaler.
	custom, marshals bool
}

// compile finds the columns that a struct reads. It returns all errors of the type.
func compile(t reflect.Type) ([]column, error) {
	if t.Kind() != reflect.Struct {
		return nil, &dataflow.ConfigError{Field: "T", Reason: fmt.Sprintf("it is %s: use a struct with a field for each column", t)}
	}
	if t == reflect.TypeFor[csvguess.Row]() {
		return nil, nil
	}
	c := &compiler{}
	c.walk(t, "", nil)
	if len(c.errs) == 0 && len(c.columns) == 0 {
		c.errs = append(c.errs, &dataflow.ConfigError{Field: "T", Reason: fmt.Sprintf("%s has no exported field to read a column into: add one", t)})
	}
	return c.columns, errors.Join(c.errs...)
}

type compiler struct {
	columns []column
	errs    []error
}

func (c *compiler) walk(t reflect.Type, path string, index []int) {
	for i := range t.NumField() {
		f := t.Field(i)
		at, field := append(slices.Clone(index), i), path+f.Name
		tag, tagged := f.Tag.Lookup("csv")
		if tag == "-" {
			continue
		}
		if f.Anonymous && !tagged && f.Type.Kind() == reflect.Struct && kindOf(f.Type) == unsupported {
			c.walk(f.Type, field+".", at)
			continue
		}
		col, err := newColumn(f, tag, tagged)
		switch {
		case err != nil:
			c.errs = append(c.errs, &dataflow.ConfigError{Field: "T." + field, Reason: err.Error()})
		case col != nil:
			col.field, col.index = field, at
			c.columns = append(c.columns, *col)
		}
	}
}

// newColumn returns the column of one field, or nil if the field reads none.
func newColumn(f reflect.StructField, tag string, tagged bool) (*column, error) {
	if f.Anonymous && f.Type.Kind() == reflect.Pointer && kindOf(f.Type.Elem()) == unsupported {
		return nil, fmt.Errorf("the field embeds the pointer %s: embed the struct itself, or tag it `csv:\"-\"`", f.Type)
	}
	if !f.IsExported() {
		if tagged {
			return nil, errors.New("the field has a csv tag but is not exported: begin its name with a capital letter")
		}
		return nil, nil //nolint:nilnil // like encoding/json, ignore a field that is not exported
	}
	value := f.Type
	if value.Kind() == reflect.Pointer {
		value = value.Elem()
	}
	kind := kindOf(value)
	if kind == unsupported {
		return nil, fmt.Errorf("a cell cannot be read into %s: use a string, a bool, a number, a time.Time, a time.Duration, an encoding.TextUnmarshaler or a pointer to one of these, or tag it `csv:\"-\"`", f.Type)
	}
	name, layout, err := parseTag(tag)
	if err != nil {
		return nil, err
	}
	if layout != "" {
		if kind != moment {
			return nil, fmt.Errorf("the tag has a layout, but %s is not a time.Time: remove the layout", f.Type)
		}
		if err := checkLayout(layout); err != nil {
			return nil, err
		}
	}
	marshals := reflect.PointerTo(value).Implements(reflect.TypeFor[encoding.TextMarshaler]())
	return &column{name: name, layout: layout, custom: kind == custom, marshals: marshals}, nil
}

// parseTag splits a tag into its column name, which may be in single quotes, and
// its layout, if any.
func parseTag(tag string) (name, layout string, err error) {
	name, option, more := strings.Cut(tag, ",")
	if strings.HasPrefix(tag, "'") {
		// A comma, or the end of the tag, follows the quote that ends the name.
		switch name, option, more = strings.Cut(tag[1:], "',"); {
		case more:
		case strings.HasSuffix(name, "'"):
			name = strings.TrimSuffix(name, "'")
		default:
			return "", "", fmt.Errorf("the tag %q has no closing single quote: add it", tag)
		}
		if name == "" {
			return "", "", fmt.Errorf("the tag %q names no column: write a name between the quotes", tag)
		}
	}
	if !more {
		return name, "", nil
	}
	layout, ok := strings.CutPrefix(option, "layout=")
	if !ok || layout == "" {
		return "", "", fmt.Errorf("the tag has the unknown option %q: use layout=…, or put a column name that holds a comma in single quotes", option)
	}
	return name, layout, nil
}

// A kind is a way to read a cell.
type kind int

const (
	unsupported kind = iota
	custom           // an encoding.TextUnmarshaler
	str
	boolean
	integer
	unsigned
	float
	moment
	duration
)

// kindOf returns how a cell is read into a type that is not a pointer.
func kindOf(t reflect.Type) kind {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return moment
	case t == reflect.TypeFor[time.Duration]():
		return duration
	case reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()):
		return custom
	}
	switch t.Kind() {
	case reflect.String:
		return str
	case reflect.Bool:
		return boolean
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return integer
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return unsigned
	case reflect.Float32, reflect.Float64:
		return float
	default:
		return unsupported
	}
}
