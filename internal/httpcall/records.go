package httpcall

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	"github.com/activedataflow/dataflow/internal/exact"
)

// ReportedError is an error that a server reports in a successful response, in place of
// records. It may pass.
type ReportedError struct{ Text string }

func (e *ReportedError) Error() string { return "the server reports errors: " + e.Text }

// Records returns the array of records at a path of a response. A null is an empty array,
// unless it is the whole response. No records beside an error of the server are a
// *[ReportedError].
func Records(body []byte, path string) (records []json.RawMessage, err error) {
	list, err := Find(body, path)
	switch {
	case err != nil:
		err = errors.Join(reported(body, "errors", "error"), err)
		if bad := (*ReportedError)(nil); errors.As(err, &bad) {
			return nil, bad
		}
		return nil, err
	case string(bytes.TrimSpace(body)) == "null":
		return nil, errors.New("the response is null, not records")
	}
	if err := json.Unmarshal(list, &records); err != nil {
		return nil, fmt.Errorf("the records, at %q: %w", path, err)
	}
	switch {
	case path == "" || len(records) > 0:
		return records, nil
	case records == nil:
		return records, reported(body, "errors", "error")
	default:
		return records, reported(body, "errors")
	}
}

// reported returns the *ReportedError of a response that has one of the fields, with a
// value that is not empty.
func reported(body []byte, fields ...string) error {
	var object map[string]json.RawMessage
	if json.Unmarshal(body, &object) != nil {
		return nil //nolint:nilerr // it has no fields
	}
	for _, field := range fields {
		var value any
		if json.Unmarshal(object[field], &value) != nil {
			continue
		}
		switch v := value.(type) {
		case nil:
			continue
		case []any:
			if len(v) == 0 {
				continue
			}
		case map[string]any:
			if len(v) == 0 {
				continue
			}
		default:
			if reflect.ValueOf(v).IsZero() {
				continue
			}
		}
		text := object[field]
		return &ReportedError{Text: string(bytes.ToValidUTF8(text[:min(len(text), maxShown)], nil))}
	}
	return nil
}

// ErrNull is the error of a record that is null.
var ErrNull = errors.New("the record is null")

// Decode reads a record. A null is an ErrNull, unless a T can be null itself: it is a
// pointer, an interface or a [json.RawMessage].
func Decode[T any](record json.RawMessage, into *T) error {
	if string(record) == "null" {
		switch t := reflect.TypeFor[T](); {
		case t.Kind() == reflect.Pointer, t.Kind() == reflect.Interface, t == reflect.TypeFor[json.RawMessage]():
		default:
			return ErrNull
		}
	}
	return exact.Unmarshal(record, into)
}

// IsCut reports whether the error is that of a response that ends within a JSON value. A
// response that is empty on purpose does not.
func IsCut(err error, resp *Response) bool {
	var bad *json.SyntaxError
	return errors.As(err, &bad) && bad.Error() == "unexpected end of JSON input" && (resp.length != 0 || len(resp.Body) > 0)
}
