package csvfile

import (
	"cmp"
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/activedataflow/dataflow"
)

// encoder writes structs of one type as CSV records.
type encoder struct {
	opts    SinkOptions
	plan    []column
	planErr error
	comma   string
}

func newEncoder(t reflect.Type, opts *SinkOptions) *encoder {
	if opts == nil {
		opts = &SinkOptions{}
	}
	e := &encoder{opts: *opts}
	e.opts.Comma = cmp.Or(opts.Comma, ',')
	e.opts.TimeLayout = cmp.Or(opts.TimeLayout, time.RFC3339Nano)
	e.comma = string(e.opts.Comma)
	e.plan, e.planErr = compile(t)
	return e
}

func (e *encoder) validate() error {
	errs := []error{e.planErr}
	wrong := func(field, reason string, args ...any) {
		errs = append(errs, &dataflow.ConfigError{Field: field, Reason: fmt.Sprintf(reason, args...)})
	}
	if !validDelimiter(e.opts.Comma) {
		wrong("Comma", "%q cannot separate cells: use a character that is neither a quote nor a line break", e.opts.Comma)
	}
	if err := checkLayout(e.opts.TimeLayout); err != nil {
		wrong("TimeLayout", "%v", err)
	}
	for _, c := range e.plan {
		if c.custom && !c.marshals {
			wrong("T."+c.field, "it has no MarshalText, and so cannot be written: add one to its type")
		}
	}
	return errors.Join(errs...)
}

// header returns the header line.
func (e *encoder) header() []byte {
	var line []byte
	for i, c := range e.plan {
		line = e.cell(line, i, cmp.Or(c.name, c.fieldName()), false)
	}
	return append(line, '\n')
}

// encodeRows appends rows to out as records. A row that cannot be written goes to refuse, and
// is left out. Without refuse, it is a *RowError.
func encodeRows[T any](e *encoder, out []byte, rows []T, keys []string, refuse func(row int, err error) error) ([]byte, error) {
	for i := range rows {
		size := len(out)
		more, err := e.record(out, reflect.ValueOf(&rows[i]).Elem())
		if err == nil {
			out = more
			continue
		}
		out = out[:size]
		key := fmt.Sprintf("%d of the batch", i+1)
		if i < len(keys) {
			key = keys[i]
		}
		err = &dataflow.RecordError{Stage: dataflow.StageWrite, Key: key, Err: err}
		if refuse == nil {
			return nil, &dataflow.RowError{Row: i, Alone: true, Err: err}
		}
		if err := refuse(i, err); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (e *encoder) record(out []byte, row reflect.Value) ([]byte, error) {
	for i, c := range e.plan {
		v := row.FieldByIndex(c.index)
		text, err := e.text(v, c.layout)
		if err != nil {
			return nil, fmt.Errorf("field %s: %w", c.field, err)
		}
		// Postgres takes the text in quotes for no null. The empty text of a field that is no pointer may be meant as one.
		isText := text == e.opts.Null && (v.Kind() != reflect.Pointer && text != "" || v.Kind() == reflect.Pointer && !v.IsNil())
		out = e.cell(out, i, text, isText)
	}
	return append(out, '\n'), nil
}

// text returns the text of a cell.
func (e *encoder) text(v reflect.Value, layout string) (string, error) {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return e.opts.Null, nil
		}
		v = v.Elem()
	}
	switch kindOf(v.Type()) {
	case custom:
		m, ok := v.Addr().Interface().(encoding.TextMarshaler)
		if !ok { // cannot happen: validate has checked it
			return "", fmt.Errorf("%s is not an encoding.TextMarshaler", v.Type())
		}
		text, err := m.MarshalText()
		return string(text), err
	case moment:
		t, ok := v.Interface().(time.Time)
		if !ok { // cannot happen: kindOf has checked it
			return "", fmt.Errorf("%s is not a time.Time", v.Type())
		}
		layout = cmp.Or(layout, e.opts.TimeLayout)
		if _, offset := t.Zone(); offset%60 != 0 && strings.Contains(layout, "07") { // Berlin's before 1893: most layouts have no seconds of an offset
			t = t.UTC()
		}
		return t.Format(layout), nil
	case duration:
		return time.Duration(v.Int()).String(), nil
	case boolean:
		return strconv.FormatBool(v.Bool()), nil
	case integer:
		return strconv.FormatInt(v.Int(), 10), nil
	case unsigned:
		return strconv.FormatUint(v.Uint(), 10), nil
	case float:
		return strconv.FormatFloat(v.Float(), 'g', -1, v.Type().Bits()), nil
	default: // str
		return v.String(), nil
	}
}

// cell appends the cell of a column. It quotes text that a reader might misread,
// such as a comment, a byte order mark, a NUL, or an empty cell alone on its line, and text that is
// to be quoted anyway.
func (e *encoder) cell(out []byte, column int, text string, quote bool) []byte {
	if column > 0 {
		out = append(out, e.comma...)
	}
	first, _ := utf8.DecodeRuneInString(text)
	switch {
	case quote, text == "" && len(e.plan) == 1, text == `\.`, first == 0, first == '#', first == '\uFEFF', text != "" && unicode.IsSpace(first),
		strings.ContainsAny(text, "\"\r\n"), strings.Contains(text, e.comma):
		out = append(out, '"')
		out = append(out, strings.ReplaceAll(text, `"`, `""`)...)
		return append(out, '"')
	default:
		return append(out, text...)
	}
}
