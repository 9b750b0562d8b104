package jsonl

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
)

// maxRawBytes is how much is kept of a bad line.
const maxRawBytes = 64 << 10

// decoder reads lines into one value.
type decoder struct {
	into   any
	strict bool
}

func newDecoder(into any, strict bool) decoder { return decoder{into: into, strict: strict} }

func (d decoder) decode(line []byte) error {
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
