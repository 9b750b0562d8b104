package jsonl

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"

	"github.com/activedataflow/dataflow/internal/exact"
)

// maxRawBytes limits the bytes kept of a bad line.
const maxRawBytes = 64 << 10

// decoder reads every line into the same value.
type decoder[T any] struct {
	into   *T
	plain  *plainLine // nil if T needs encoding/json for every line
	strict bool
	null   bool // a T can be null itself
}

func newDecoder[T any](strict bool) *decoder[T] {
	into := new(T)
	t := reflect.TypeFor[T]()
	null := t.Kind() == reflect.Pointer || t.Kind() == reflect.Interface || t == reflect.TypeFor[json.RawMessage]()
	return &decoder[T]{into: into, plain: newPlainLine(reflect.ValueOf(into).Elem(), strict), strict: strict, null: null}
}

// decode reads a line into a value that shares no memory with the previous one.
func (d *decoder[T]) decode(line []byte) error {
	var zero T
	*d.into = zero
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

// raw returns a bad line as JSON: unchanged if it is valid JSON, otherwise as a
// string.
func raw(line []byte) json.RawMessage {
	if len(line) <= maxRawBytes && json.Valid(line) {
		return bytes.Clone(line)
	}
	text, err := json.Marshal(string(line[:min(len(line), maxRawBytes)]))
	if err != nil {
		return nil // cannot happen: every string can be written as JSON
	}
	return text
}
