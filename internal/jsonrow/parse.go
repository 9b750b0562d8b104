package jsonrow

import (
	"encoding/json"
	"unicode/utf8"
)

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

// Text returns a field of an object as text: a string without its quotes, anything else as it is
// written. It returns "" if there is no such field, or if it is null, or not UTF-8: "ä" and "ö" in ISO 8859-1
// would be the same text.
func Text(object []byte, field string) string {
	var fields map[string]json.RawMessage
	if json.Unmarshal(object, &fields) != nil {
		return ""
	}
	var text *string
	switch value := fields[field]; {
	case !utf8.Valid(value):
		return ""
	case json.Unmarshal(value, &text) != nil:
		return string(value)
	case text == nil:
		return ""
	default:
		return *text
	}
}
