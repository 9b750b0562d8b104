package csvfile

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// maxShown is the number of bytes of a cell that an error shows.
const maxShown = 100

// decoder reads the cells of one record after another into the same row.
type decoder struct {
	row     reflect.Value
	targets []target
	header  []string
	opts    *Options
}

// target is a field of the row and the cell that it reads.
type target struct {
	cell int
	name string
	want reflect.Type
	kind kind
	null bool // true if the field can be nil
	set  func(text string) error
}

// newDecoder finds each column in the file's header.
func newDecoder(row reflect.Value, plan []column, f *file) (*decoder, error) {
	d := &decoder{row: row, header: f.header, opts: f.opts}
	var wrong []string
	for _, c := range plan {
		at := c.find(f.header)
		if len(at) != 1 {
			wrong = append(wrong, c.lack(f.header, at))
			continue
		}
		field := row.FieldByIndex(c.index)
		t := target{cell: at[0], name: f.header[at[0]], want: field.Type(), set: bind(field, c.timeLayouts(f.opts))}
		if t.null = t.want.Kind() == reflect.Pointer; t.null {
			t.want = t.want.Elem()
		}
		t.kind = kindOf(t.want)
		d.targets = append(d.targets, t)
	}
	if len(wrong) > 0 && f.oldMac {
		return nil, f.endsInCR(f.header)
	}
	if len(wrong) > 0 {
		return nil, f.permanent("%s. The columns are %s", strings.Join(wrong, "; "), quoted(f.header))
	}
	return d, nil
}

// find returns every place of the column in the header.
func (c *column) find(header []string) []int {
	field := c.fieldName()
	var at []int
	for i, name := range header {
		if c.name == name && c.name != "" || c.name == "" && simple(name) == simple(field) {
			at = append(at, i)
		}
	}
	return at
}

// fieldName returns the field's own name, without the path of its parent structs.
func (c *column) fieldName() string {
	return c.field[strings.LastIndexByte(c.field, '.')+1:]
}

// lack describes a column that is missing from the header or appears more than
// once.
func (c *column) lack(header []string, at []int) string {
	if len(at) > 0 {
		names := make([]string, len(at))
		for i, cell := range at {
			names[i] = header[cell]
		}
		return fmt.Sprintf("the header has %d columns for the field %s: %s", len(at), c.field, quoted(names))
	}
	if c.name == "" {
		return fmt.Sprintf("the header has no column with the name of the field %s", c.field)
	}
	return fmt.Sprintf("the header has no column %q, for the field %s", c.name, c.field)
}

// simple normalizes a name for the loose comparison: no spaces, no underscores,
// lower case.
func simple(name string) string {
	return strings.ToLower(strings.NewReplacer(" ", "", "_", "").Replace(name))
}

func quoted(names []string) string {
	list := make([]string, len(names))
	for i, name := range names {
		list[i] = strconv.Quote(name)
	}
	return strings.Join(list, ", ")
}

func (c *column) timeLayouts(opts *Options) []string {
	if c.layout != "" {
		return []string{c.layout}
	}
	return opts.TimeLayouts
}

// decode fills the row. After an error the row is incomplete.
func (d *decoder) decode(cells []string) error {
	if len(cells) != len(d.header) {
		surplus := len(cells) > len(d.header) && allEmpty(cells[len(d.header):]) || len(cells) < len(d.header) && allEmpty(d.header[len(cells):])
		switch {
		case !surplus:
			return fmt.Errorf("has %d %s, but the header has %d", len(cells), plural("field", len(cells)), len(d.header))
		case !d.opts.SurplusEmpty:
			return fmt.Errorf("has %d %s, but the header has %d: the surplus ones are empty: set SurplusEmpty to ignore them", len(cells), plural("field", len(cells)), len(d.header))
		}
	}
	d.row.SetZero()
	for i := range d.targets {
		t := &d.targets[i]
		text := cells[t.cell]
		if d.opts.TrimSpace {
			text = strings.TrimSpace(text)
		}
		if err := d.store(t, text); err != nil {
			return fmt.Errorf("column %q: %w", t.name, err)
		}
	}
	return nil
}

// store reads one cell into its field, which must be zero.
func (d *decoder) store(t *target, text string) error {
	if slices.Contains(d.opts.Null, text) {
		switch {
		case t.null || t.kind == str:
			return nil
		case t.kind != custom:
			return fmt.Errorf("%s is null, but %s cannot be null: use *%s", show(text), t.want, t.want)
		}
		text = ""
	}
	err := t.set(text)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, strconv.ErrRange):
		return fmt.Errorf("%s is out of range for %s", show(text), t.want)
	case errors.Is(err, strconv.ErrSyntax):
		return fmt.Errorf("%s is not a valid %s", show(text), t.want)
	default:
		return fmt.Errorf("%s is not a valid %s: %w", show(text), t.want, err)
	}
}

// show quotes the beginning of a cell.
func show(text string) string {
	if len(text) > maxShown {
		return strconv.Quote(text[:maxShown]) + "…"
	}
	return strconv.Quote(text)
}

func plural(noun string, n int) string {
	if n == 1 {
		return noun
	}
	return noun + "s"
}

func allEmpty(cells []string) bool {
	return !slices.ContainsFunc(cells, func(cell string) bool { return cell != "" })
}
