package jsonl

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
)

// maxRawBytes is how much is kept of a bad line.
const maxRawBytes = 64 << 10

// decoder reads lines into one value.
type decoder[T any] struct {
	into   *T
	plain  *plainLine // nil: no line is
	strict bool
}

func newDecoder[T any](strict bool) *decoder[T] {
	into := new(T)
	return &decoder[T]{into: into, plain: newPlainLine(reflect.ValueOf(into).Elem(), strict), strict: strict}
}

// decode reads a line into a value that shares nothing with the one before.
func (d *decoder[T]) decode(line []byte) error {
	var zero T
	*d.into = zero
	if d.plain != nil {
		if d.plain.decode(line) {
			return nil
		}
		*d.into = zero
	}
	if !d.strict {
		return json.Unmarshal(line, d.into)
	}
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	if err := dec.Decode(d.into); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return errors.New("the line ends within a value")
		}
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the value on its line")
	}
	return nil
}

// raw returns a bad line as JSON: as it is, or as a string if it is none.
func raw(line []byte) json.RawMessage {
	if len(line) <= maxRawBytes && json.Valid(line) {
		return bytes.Clone(line)
	}
	text, err := json.Marshal(string(line[:min(len(line), maxRawBytes)]))
	if err != nil {
		return nil // a string can always be written as JSON
	}
	return text
}
