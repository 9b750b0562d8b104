package httpcall

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
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

// Find returns the value at a path: fields separated by dots, and the index of an element of
// an array, where -1 is the last, or a field of an element and its text, as in "rel=next". A field may have dots in its name: of several fields that
// fit, the longest counts. An empty path is the value itself.
func Find(value json.RawMessage, path string) (json.RawMessage, error) {
	value = bytes.TrimSpace(value)
	if path == "" {
		return value, nil
	}
	if !json.Valid(value) {
		return nil, fmt.Errorf("the response is not JSON: %w", json.Unmarshal(value, &json.RawMessage{}))
	}
	return FindValid(value, path)
}

// MissingError is the error of a path that a value does not have.
type MissingError struct{ text string }

func (e *MissingError) Error() string { return e.text }

func missing(format string, args ...any) error {
	return &MissingError{text: fmt.Sprintf(format, args...)}
}

// FindValid is [Find] for a value that is known to be valid.
func FindValid(value json.RawMessage, path string) (json.RawMessage, error) {
	value = bytes.TrimSpace(value)
	seen := ""
	for path != "" {
		name, _, _ := strings.Cut(path, ".")
		var found json.RawMessage
		switch {
		case len(value) > 0 && value[0] == '{':
			key, member, err := longest(value, path)
			if err != nil {
				return nil, err
			}
			if found = member; found != nil {
				name = key
			}
		case len(value) > 0 && value[0] == '[' && isIndex(name):
			element, err := at(value, name)
			if err != nil {
				return nil, err
			}
			found = element
		case len(value) > 0 && value[0] == '[' && strings.Contains(name, "="):
			key, element, err := having(value, path)
			if err != nil {
				return nil, err
			}
			if found = element; found != nil {
				name = key
			}
		case len(value) > 0 && value[0] == '[':
			return nil, fmt.Errorf("the parent of the field %q is an array, not an object: name an element by its index, such as 0, or -1 for the last, or by a field of it, such as rel=next", seen+name)
		case string(value) == "null":
			return nil, missing("the parent of the field %q is not an object", seen+name)
		default:
			return nil, fmt.Errorf("the parent of the field %q is not an object", seen+name)
		}
		if found == nil {
			return nil, missing("there is no field %q", seen+name)
		}
		value, path = found, strings.TrimPrefix(path[len(name):], ".")
		seen += name + "."
	}
	return value, nil
}

func isIndex(name string) bool {
	n, err := strconv.Atoi(name)
	return err == nil && strconv.Itoa(n) == name
}

// longest returns the member of an object whose name is the longest beginning of a path. Of
// several members with one name, the last counts, as for encoding/json.
func longest(object json.RawMessage, path string) (key string, value json.RawMessage, err error) {
	err = members(object, func(name string, member json.RawMessage) error {
		if (path == name || strings.HasPrefix(path, name) && path[len(name)] == '.') && (value == nil || len(name) >= len(key)) {
			key, value = name, member
		}
		return nil
	})
	return key, value, err
}

// at returns an element of an array, or nil.
func at(array json.RawMessage, index string) (json.RawMessage, error) {
	n, err := strconv.Atoi(index)
	if err != nil {
		return nil, err
	}
	list, err := elements(nil, array)
	if n < 0 {
		n += len(list)
	}
	if err != nil || n < 0 || n >= len(list) {
		return nil, err
	}
	return list[n], nil
}

// having returns the first element of an array of objects with a field that has a text, as in "rel=next", or nil. name is the
// longest beginning of a path that fits one, because a text may have dots.
func having(array json.RawMessage, path string) (name string, element json.RawMessage, err error) {
	field, _, _ := strings.Cut(path, "=")
	list, err := elements(nil, array)
	for _, one := range list {
		has, missing := FindValid(one, field)
		fits := field + "=" + Text(has)
		if missing == nil && strings.HasPrefix(path+".", fits+".") && len(fits) > len(name) {
			name, element = fits, one
		}
	}
	return name, element, err
}

// errNotJSON is returned where valid JSON was expected.
var errNotJSON = errors.New("it is not JSON")

// members calls f for each member of an object. It checks only the object's own structure.
func members(object json.RawMessage, f func(name string, value json.RawMessage) error) error {
	return parts(object, '}', func(i int) (int, error) {
		end := skip(object, i)
		if end < 0 || object[i] != '"' {
			return 0, errNotJSON
		}
		name := object[i+1 : end-1]
		text := string(name)
		if bytes.IndexByte(name, '\\') >= 0 {
			text = Text(object[i:end])
		}
		if i = space(object, end); i >= len(object) || object[i] != ':' {
			return 0, errNotJSON
		}
		i = space(object, i+1)
		if end = skip(object, i); end < 0 {
			return 0, errNotJSON
		}
		return end, f(text, object[i:end])
	})
}

// elements appends the elements of an array to a list. It checks only the array's own
// structure.
func elements(list []json.RawMessage, array json.RawMessage) ([]json.RawMessage, error) {
	err := parts(array, ']', func(i int) (int, error) {
		end := skip(array, i)
		if end < 0 {
			return 0, errNotJSON
		}
		list = append(list, array[i:end]) // its capacity tells its place
		return end, nil
	})
	return list, err
}

// parts calls f at each part of an object or array, for the place after the part.
func parts(value json.RawMessage, closed byte, f func(i int) (end int, err error)) error {
	i := space(value, 1)
	if i < len(value) && value[i] == closed {
		return nil
	}
	for {
		end, err := f(i)
		if err != nil {
			return err
		}
		if i = space(value, end); i >= len(value) || value[i] != ',' && value[i] != closed {
			return errNotJSON
		}
		if value[i] == closed {
			return nil
		}
		i = space(value, i+1)
	}
}

// space returns the place of the next byte that is no white space.
func space(data []byte, i int) int {
	for i < len(data) && (data[i] == ' ' || data[i] == '\n' || data[i] == '\t' || data[i] == '\r') {
		i++
	}
	return i
}

// skip returns the place after the value that begins at i, or -1 if there is none that ends.
func skip(data []byte, i int) int {
	if i < len(data) && isEnd(data[i]) && data[i] != '"' && data[i] != '{' && data[i] != '[' {
		return -1
	}
	depth := 0
	for i < len(data) {
		switch data[i] {
		case '"':
			if i = closing(data, i+1); i < 0 {
				return -1
			}
		case '{', '[':
			depth++
			i++
		case '}', ']':
			depth--
			i++
		case ' ', '\n', '\t', '\r', ',', ':':
			i++
			continue
		default:
			for i++; i < len(data) && !isEnd(data[i]); i++ {
			}
		}
		if depth <= 0 {
			return i
		}
	}
	return -1
}

// isEnd reports whether a byte ends a number or a literal.
func isEnd(c byte) bool {
	switch c {
	case ' ', '\n', '\t', '\r', ',', ':', ']', '}', '"', '{', '[':
		return true
	default:
		return false
	}
}

// closing returns the place after the quote that ends a string, or -1.
func closing(data []byte, i int) int {
	for i < len(data) {
		n := bytes.IndexByte(data[i:], '"')
		if n < 0 {
			return -1
		}
		i += n + 1
		slashes := 0
		for j := i - 2; j >= 0 && data[j] == '\\'; j-- {
			slashes++
		}
		if slashes%2 == 0 {
			return i
		}
	}
	return -1
}
