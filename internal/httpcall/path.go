package httpcall

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Text is a JSON value as a text: that of a string without its quotes, and nothing
// for null.
func Text(value json.RawMessage) string {
	var s string
	switch {
	case string(value) == "null":
		return ""
	case json.Unmarshal(value, &s) == nil:
		return s
	default:
		return string(value)
	}
}

// Find returns what is at a path of names with dots between them.
func Find(value json.RawMessage, path string) (json.RawMessage, error) {
	value = bytes.TrimSpace(value)
	if path == "" {
		return value, nil
	}
	seen := ""
	for name := range strings.SplitSeq(path, ".") {
		var object map[string]json.RawMessage
		if err := json.Unmarshal(value, &object); err != nil {
			if bad := (*json.SyntaxError)(nil); errors.As(err, &bad) {
				return nil, fmt.Errorf("it is not JSON: %w", err)
			}
			return nil, fmt.Errorf("what should have the field %q is no object", seen+name)
		}
		seen += name + "."
		var ok bool
		if value, ok = object[name]; !ok {
			return nil, fmt.Errorf("there is no field %q", strings.TrimSuffix(seen, "."))
		}
	}
	return value, nil
}
