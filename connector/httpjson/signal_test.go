package httpjson_test

import (
	"errors"
	"fmt"
	"strings"
)

// signalOf returns the signal of an error for the engine, as text: only the text
// shows all of it.
func signalOf(err error) string {
	for ; err != nil; err = errors.Unwrap(err) {
		if text := fmt.Sprintf("%#v", err); strings.HasPrefix(text, "&dataflow.signal{") {
			return text[strings.LastIndex(text, "permanent:"):]
		}
	}
	return "none"
}
