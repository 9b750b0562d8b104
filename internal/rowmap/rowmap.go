// Package rowmap maps the fields of a struct to the columns of a table. It knows no
// database.
package rowmap

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Plan is how the fields of a struct map to columns.
type Plan struct {
	// Type is the type of the struct.
	Type reflect.Type
	// Columns are in the order of the struct's fields.
	Columns []Column
}

// Column is a field with a column.
type Column struct {
	// Name is the column's name.
	Name string
	// Field is the field's name in Go, with the path of its embedded structs:
	// "Base.ID".
	Field string
	// Type is the field's type.
	Type reflect.Type

	index []int
}

// Of returns the plan of struct type t. The tag `db:"…"` names a field's column, up
// to a comma; "-" leaves the field out. Without a tag the column is the field's
// name in snake case. Fields of an embedded struct count as the struct's own,
// unless isValue reports that the struct itself is a column's value. A time.Time
// always is.
func Of(t reflect.Type, isValue func(reflect.Type) bool) (*Plan, error) {
	if t == nil || t.Kind() != reflect.Struct {
		return nil, fmt.Errorf("%v is not a struct: use a struct with a field for each column", t)
	}
	b := builder{Plan: &Plan{Type: t}, isValue: isValue}
	if err := b.add(t, nil, ""); err != nil {
		return nil, err
	}
	p := b.Plan
	if len(p.Columns) == 0 {
		return nil, fmt.Errorf("%v has no exported fields: add one for each column", t)
	}
	return p, p.unique()
}

// builder builds a plan.
type builder struct {
	*Plan
	isValue func(reflect.Type) bool
}

// add adds the fields of t, found at index and path in the plan's struct.
func (b *builder) add(t reflect.Type, index []int, path string) error {
	for i := range t.NumField() {
		f := t.Field(i)
		tag, tagged := f.Tag.Lookup("db")
		tag, _, _ = strings.Cut(tag, ",")
		if tag == "-" || (!f.IsExported() && !f.Anonymous) {
			continue
		}
		at := append(slices.Clone(index), i)
		if f.Anonymous && (!tagged || tag == "") {
			flattened, err := b.embed(f, at, path)
			if err != nil {
				return err
			}
			if flattened {
				continue
			}
		}
		if !f.IsExported() {
			continue
		}
		if tag == "" {
			tag = snake(f.Name)
		}
		b.Columns = append(b.Columns, Column{Name: tag, Field: path + f.Name, Type: f.Type, index: at})
	}
	return nil
}

// embed adds the fields of an embedded struct. It reports whether f is one.
func (b *builder) embed(f reflect.StructField, at []int, path string) (bool, error) {
	t := f.Type
	pointer := t.Kind() == reflect.Pointer
	if pointer {
		t = t.Elem()
	}
	switch {
	case t.Kind() != reflect.Struct, t == reflect.TypeFor[time.Time](), b.isValue(t):
		return false, nil
	case pointer:
		return false, fmt.Errorf("field %s of %v embeds a pointer: embed %v itself, or leave it out with `db:\"-\"`", path+f.Name, b.Type, t)
	default:
		return true, b.add(t, at, path+f.Name+".")
	}
}

// unique returns an error if two fields are the same column.
func (p *Plan) unique() error {
	var errs []error
	for i, c := range p.Columns {
		if j := p.Index(c.Name); j < i {
			errs = append(errs, fmt.Errorf("fields %s and %s of %v have the same column %q: rename one with a db tag, or leave it out with `db:\"-\"`", p.Columns[j].Field, c.Field, p.Type, c.Name))
		}
	}
	return errors.Join(errs...)
}

// Index returns the index of the column with a name, or -1.
func (p *Plan) Index(name string) int {
	return slices.IndexFunc(p.Columns, func(c Column) bool { return c.Name == name })
}

// Names returns the columns' names.
func (p *Plan) Names() []string {
	names := make([]string, len(p.Columns))
	for i, c := range p.Columns {
		names[i] = c.Name
	}
	return names
}

// In returns the column's field in row, a value of the plan's struct.
func (c *Column) In(row reflect.Value) reflect.Value {
	if len(c.index) == 1 {
		return row.Field(c.index[0])
	}
	return row.FieldByIndex(c.index)
}

// Pointers returns pointers to the columns' fields in row, which must be a
// pointer to the plan's struct.
func (p *Plan) Pointers(row any) []any {
	v := reflect.ValueOf(row).Elem()
	pointers := make([]any, len(p.Columns))
	for i := range p.Columns {
		pointers[i] = p.Columns[i].In(v).Addr().Interface()
	}
	return pointers
}

// Weigh returns the bytes of the texts, blobs and pointers to them in row, which must be a
// pointer to the plan's struct.
func (p *Plan) Weigh(row any) int {
	v, sum := reflect.ValueOf(row).Elem(), 0
	for i := range p.Columns {
		sum += weigh(p.Columns[i].In(v), weightDepth)
	}
	return sum
}

// weightDepth is how deep a field is looked into, such as a *sql.NullString.
const weightDepth = 4

func weigh(v reflect.Value, depth int) int {
	switch kind := v.Kind(); {
	case depth == 0, v.Type() == reflect.TypeFor[time.Time](): // a time's zone is shared
		return int(v.Type().Size())
	case kind == reflect.String:
		return v.Len()
	case kind == reflect.Slice:
		return v.Len() * int(v.Type().Elem().Size())
	case kind == reflect.Pointer || kind == reflect.Interface:
		if v.IsNil() {
			return 0
		}
		return weigh(v.Elem(), depth-1)
	case kind == reflect.Struct:
		sum := 0
		for i := range v.NumField() {
			sum += weigh(v.Field(i), depth-1)
		}
		return sum
	default:
		return int(v.Type().Size())
	}
}

// Match returns an error unless the columns of a result are exactly the plan's. The
// columns in extra may be present too.
func (p *Plan) Match(result, extra []string) error {
	var surplus, missing []string
	for i, name := range result {
		if slices.Contains(result[:i], name) {
			return fmt.Errorf("the query returns two columns named %q: rename one with \"as\"", name)
		}
		if p.Index(name) < 0 && !slices.Contains(extra, name) {
			surplus = append(surplus, name)
		}
	}
	for _, c := range p.Columns {
		if !slices.Contains(result, c.Name) {
			missing = append(missing, fmt.Sprintf("%s (field %s)", c.Name, c.Field))
		}
	}
	if len(surplus) == 0 && len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("the query and the fields of %v do not match: columns without a field: %s; fields without a column: %s", p.Type, list(surplus), list(missing))
}

func list(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
