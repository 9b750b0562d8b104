// Package jsonrow reads JSON objects into structs, several times as fast as encoding/json, and
// with the same results.
package jsonrow

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"unicode/utf8"

	"github.com/activedataflow/dataflow/internal/exact"
)

// maxRawBytes limits the bytes kept of a bad line.
const maxRawBytes = 64 << 10

// Decoder reads values into a T, one after the other. It is for one goroutine.
type Decoder[T any] struct {
	into   *T
	plain  *plainLine // nil if T needs encoding/json for every line
	strict bool
	null   bool // a T can be null itself
	raw    bool // a T is a json.RawMessage, which is not changed
}

// NewDecoder returns a decoder. With strict, a field that T does not have is an error.
func NewDecoder[T any](strict bool) *Decoder[T] {
	into := new(T)
	t := reflect.TypeFor[T]()
	raw := t == reflect.TypeFor[json.RawMessage]()
	null := t.Kind() == reflect.Pointer || t.Kind() == reflect.Interface || raw
	return &Decoder[T]{into: into, plain: newPlainLine(reflect.ValueOf(into).Elem(), strict), strict: strict, null: null, raw: raw}
}

// Value is the value that was read last. It shares no memory with the one before.
func (d *Decoder[T]) Value() T { return *d.into }

// Decode reads a line. A null is an error, unless a T can be null itself. So is a line that is
// not UTF-8, unless a T is a [json.RawMessage], and a text with half of a surrogate pair.
func (d *Decoder[T]) Decode(line []byte) error {
	err := d.decode(line)
	if err == nil && !d.raw && hasHalf(line) {
		err = checkHalves(d.into)
	}
	return err
}

func (d *Decoder[T]) decode(line []byte) error {
	var zero T
	*d.into = zero
	if !d.raw {
		if err := CheckUTF8(line); err != nil {
			return err
		}
	}
	if d.plain != nil {
		if d.plain.decode(line) {
			return nil
		}
		*d.into = zero
	}
	if !d.null && string(bytes.TrimSpace(line)) == "null" {
		return errors.New("the record is null")
	}
	if !d.strict {
		return exact.Unmarshal(line, d.into)
	}
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.UseNumber()
	dec.DisallowUnknownFields()
	if err := dec.Decode(d.into); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return errors.New("the JSON value on the line is cut off")
		}
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("the line has more text after its JSON value: write one value a line")
	}
	return nil
}

// Raw returns a bad line as JSON: unchanged if it is valid JSON in UTF-8, otherwise as a
// string.
func Raw(line []byte) json.RawMessage {
	if len(line) <= maxRawBytes && json.Valid(line) && utf8.Valid(line) {
		return bytes.Clone(line)
	}
	text, err := json.Marshal(string(line[:min(len(line), maxRawBytes)]))
	if err != nil {
		return nil // cannot happen: every string can be written as JSON
	}
	return text
}
