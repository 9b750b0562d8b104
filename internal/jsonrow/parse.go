package jsonrow

import "encoding/json"

// Parse reads a record from what Raw has kept of it, which may have been edited since. A text
// is the line as it was, unless only the text itself is a T.
func Parse[T any](raw json.RawMessage, edited, strict bool) (T, error) {
	dec := NewDecoder[T](strict)
	var text string
	if json.Unmarshal(raw, &text) != nil {
		err := dec.Decode(raw)
		return dec.Value(), err
	}
	err := dec.Decode([]byte(text))
	if err != nil && edited && dec.Decode(raw) == nil {
		err = nil
	}
	return dec.Value(), err
}
