package stored

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// clipAfter is how many bytes of a text Clip keeps.
const clipAfter = 200

// Clip shortens a text for an error message to its first 200 bytes.
func Clip(s string) string {
	if len(s) <= clipAfter {
		return s
	}
	return strings.ToValidUTF8(s[:clipAfter], "") + "…"
}

// Clean makes a text storable: bytes that are not UTF-8, and zero bytes, become U+FFFD.
func Clean(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// CursorText returns a source's cursor as people read it.
func CursorText[C any](cursor C) string {
	if s, ok := any(cursor).(fmt.Stringer); ok {
		return s.String()
	}
	own := cursor // its address alone has all methods
	data, err := json.Marshal(&own)
	if err != nil {
		return fmt.Sprint(cursor)
	}
	return string(data)
}

// PlaceText returns a stored cursor as people read it. A nil cursor is the beginning.
func PlaceText(cursor json.RawMessage) string {
	if cursor == nil {
		return "the beginning"
	}
	return "cursor " + Clip(string(cursor))
}

// HasReplaced reports whether encoding/json has put a replacement character in place of bytes
// that are not UTF-8. It writes one that was there as it is, and one of its own as an escape.
func HasReplaced(data []byte) bool {
	const escape = `\ufffd`
	for {
		i := bytes.Index(data, []byte(escape))
		if i < 0 {
			return false
		}
		backslashes := 0
		for backslashes < i && data[i-1-backslashes] == '\\' {
			backslashes++
		}
		if backslashes%2 == 0 {
			return true
		}
		data = data[i+len(escape):]
	}
}
