package dataflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/activedataflow/dataflow/internal/stored"
)

// Message is a record without a Go type, such as a JSON object. Use a struct where the
// type is known: the compiler then checks what a [Schema] checks here.
type Message map[string]any

// FieldType is the type of a [Message]'s field.
type FieldType string

// The types of fields. A number is a Go number of any kind, or a [json.Number].
const (
	AnyField     FieldType = "any"
	StringField  FieldType = "string"
	IntegerField FieldType = "integer" // a whole number, such as 7 or 7.0
	NumberField  FieldType = "number"
	BooleanField FieldType = "boolean"
	TimeField    FieldType = "time" // a time.Time, or a string in the form of RFC 3339
	ObjectField  FieldType = "object"
	ArrayField   FieldType = "array"
)

// Valid reports whether t is a type.
func (t FieldType) Valid() bool {
	switch t {
	case AnyField, StringField, IntegerField, NumberField, BooleanField, TimeField, ObjectField, ArrayField:
		return true
	default:
		return false
	}
}

// Field is a field of a [Schema].
type Field struct {
	Name string
	Type FieldType
	// Optional allows the field to be absent.
	Optional bool
	// Nullable allows it to be nil.
	Nullable bool
}

// Schema says which fields a [Message] has. The zero value allows any message.
type Schema struct {
	Fields []Field
	// Closed refuses fields that are not among Fields.
	Closed bool
}

// FieldError says that a field of a [Message] differs from its [Schema].
type FieldError struct {
	// Field is the field's name.
	Field string
	// Expected is the type in the schema. Empty: the schema has no such field.
	Expected FieldType
	// Actual is the type of the field's value: a [FieldType], "null", "absent", or the
	// name of a Go type.
	Actual string
}

func (e *FieldError) Error() string {
	if e.Expected == "" {
		return fmt.Sprintf("field %q is not in the schema: it is of type %s", e.Field, e.Actual)
	}
	return fmt.Sprintf("field %q must be of type %s, and is %s", e.Field, e.Expected, e.Actual)
}

// Validate returns what is wrong with the schema itself, each fault as a
// *[ConfigError], joined.
func (s Schema) Validate() error {
	var errs []error
	seen := make(map[string]bool, len(s.Fields))
	for i, f := range s.Fields {
		at := fmt.Sprintf("Fields[%d]", i)
		if f.Name == "" {
			errs = append(errs, &ConfigError{Field: at + ".Name", Reason: "it is empty: name the field"})
		}
		if seen[f.Name] {
			errs = append(errs, &ConfigError{Field: at + ".Name", Reason: fmt.Sprintf("two fields are named %q", f.Name)})
		}
		seen[f.Name] = true
		if !f.Type.Valid() {
			errs = append(errs, &ConfigError{Field: at + ".Type", Reason: fmt.Sprintf("%q is not a type: use any, string, integer, number, boolean, time, object or array", f.Type)})
		}
	}
	return errors.Join(errs...)
}

// Check compares a message with the schema. It returns a *[FieldError] for each wrong
// field, joined, in the order of the schema, or nil.
func (s Schema) Check(m Message) error {
	var errs []error
	for _, f := range s.Fields {
		v, ok := m[f.Name]
		switch {
		case !ok && f.Optional, ok && f.Type == AnyField, isNil(v) && ok && f.Nullable:
		case !ok:
			errs = append(errs, &FieldError{Field: f.Name, Expected: f.Type, Actual: "absent"})
		case !f.Type.fits(v):
			errs = append(errs, &FieldError{Field: f.Name, Expected: f.Type, Actual: typeName(v)})
		}
	}
	if s.Closed {
		errs = append(errs, s.strangers(m)...)
	}
	return errors.Join(errs...)
}

// strangers returns an error for each field that the schema does not have, by name.
func (s Schema) strangers(m Message) []error {
	var names []string
	for name := range m {
		if !slices.ContainsFunc(s.Fields, func(f Field) bool { return f.Name == name }) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	errs := make([]error, len(names))
	for i, name := range names {
		errs[i] = &FieldError{Field: name, Actual: typeName(m[name])}
	}
	return errs
}

// fits reports whether a value is of the type.
func (t FieldType) fits(v any) bool {
	name := typeName(v)
	text, isText := v.(string)
	switch {
	case t == AnyField:
		return true
	case t == NumberField && name == string(IntegerField):
		return true
	case t == TimeField && isText:
		_, err := time.Parse(time.RFC3339, text)
		return err == nil
	default:
		return name == string(t)
	}
}

// typeName returns the type of a value.
func typeName(v any) string {
	if isNil(v) {
		return "null"
	}
	switch v := v.(type) {
	case time.Time:
		return string(TimeField)
	case json.Number:
		if f, err := v.Float64(); err == nil && f == math.Trunc(f) {
			return string(IntegerField)
		}
		return string(NumberField)
	}
	switch rv := reflect.ValueOf(v); rv.Kind() {
	case reflect.String:
		return string(StringField)
	case reflect.Bool:
		return string(BooleanField)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return string(IntegerField)
	case reflect.Float32, reflect.Float64:
		if f := rv.Float(); f == math.Trunc(f) && !math.IsInf(f, 0) {
			return string(IntegerField)
		}
		return string(NumberField)
	case reflect.Map:
		return string(ObjectField)
	case reflect.Slice, reflect.Array:
		return string(ArrayField)
	default:
		return rv.Type().String()
	}
}

// Conform passes messages on unchanged if they conform to the schema. Any other message
// is a bad record. Its *[RecordError] holds a *[FieldError] for each wrong field.
func Conform(schema Schema) Transform[Message, Message] { return conform{schema: schema} }

type conform struct{ schema Schema }

func (c conform) Validate() error { return c.schema.Validate() }

func (c conform) Apply(_ context.Context, in []Message, out *Results[Message]) error {
	for i, m := range in {
		if err := c.schema.Check(m); err != nil {
			out.Fail(i, &fieldErrors{err})
			continue
		}
		out.Emit(i, m)
	}
	return nil
}

// fieldErrors joins several errors in one line.
type fieldErrors struct{ error } //nolint:errname // it is several

func (e *fieldErrors) Error() string { return strings.ReplaceAll(e.error.Error(), "\n", "; ") }
func (e *fieldErrors) Unwrap() error { return e.error }

const (
	gidScheme = "gid://"
	gidApp    = "dataflow"
	gidFlow   = "Flow"
)

// GlobalID names a row of an application, as text that can be kept elsewhere. Ours have
// the App "dataflow" and the Model "Flow".
type GlobalID struct {
	App   string
	Model string
	ID    int64
	// Params are the parameters after a question mark, such as "expires_in=3600", as they
	// are written. They do not change which row it is. Empty: none.
	Params string
}

// String returns the id as text, such as "gid://dataflow/Flow/7".
func (g GlobalID) String() string {
	text := gidScheme + g.App + "/" + g.Model + "/" + strconv.FormatInt(g.ID, 10)
	if g.Params != "" {
		text += "?" + g.Params
	}
	return text
}

// GlobalID returns the flow's global id, such as "gid://dataflow/Flow/7". It returns ""
// for a flow that no client returned, because such a flow is not stored.
func (f *Flow) GlobalID() string {
	if f.ID == 0 {
		return ""
	}
	return GlobalID{App: gidApp, Model: gidFlow, ID: f.ID}.String()
}

// gidPart matches the name of an application or a model. The names of the Ruby gem have
// modules, such as ActiveDataFlow::DataFlow.
var gidPart = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.:-]*$`)

// ParseGlobalID reads "gid://APP/MODEL/ID" of any application and model, with or without
// "?params". ID is a positive number. Any other text returns ErrGlobalID.
func ParseGlobalID(text string) (GlobalID, error) {
	g, err := parseGlobalID(text)
	return g, public(err)
}

func parseGlobalID(text string) (GlobalID, error) {
	fail := func(why string) (GlobalID, error) {
		return GlobalID{}, fmt.Errorf("%q is %w: %s: use gid://%s/%s/ID", stored.Clip(text), ErrGlobalID, why, gidApp, gidFlow)
	}
	rest, ok := strings.CutPrefix(text, gidScheme)
	if !ok {
		return fail("it does not begin with " + gidScheme)
	}
	rest, params, _ := strings.Cut(rest, "?")
	parts := strings.Split(rest, "/")
	if len(parts) != 3 {
		return fail(fmt.Sprintf("it has %d parts, not 3", len(parts)))
	}
	if !gidPart.MatchString(parts[0]) || !gidPart.MatchString(parts[1]) {
		return fail("its application and its model must be names")
	}
	id, err := strconv.ParseInt(parts[2], 10, 64)
	if err != nil || id <= 0 || parts[2] != strconv.FormatInt(id, 10) {
		return fail(fmt.Sprintf("its last part, %q, is not a positive number", stored.Clip(parts[2])))
	}
	return GlobalID{App: parts[0], Model: parts[1], ID: id, Params: params}, nil
}

// ownFlow returns an error for an id of anything but a flow.
func (g GlobalID) ownFlow() error {
	if g.Model != gidFlow {
		return fmt.Errorf("%q is %w of a flow, but of a %s: use gid://%s/%s/ID", g.String(), ErrGlobalID, g.Model, gidApp, gidFlow)
	}
	return nil
}
