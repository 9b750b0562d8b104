package httpcall

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Text returns a JSON value as text: a string without its quotes, and "" for null.
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

// Find returns the value at a path of fields separated by dots. An empty path is
// the value itself.
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
				return nil, fmt.Errorf("the response is not JSON: %w", err)
			}
			return nil, fmt.Errorf("the parent of the field %q is not an object", seen+name)
		}
		seen += name + "."
		var ok bool
		if value, ok = object[name]; !ok {
			return nil, fmt.Errorf("there is no field %q", strings.TrimSuffix(seen, "."))
		}
	}
	return value, nil
}
