package httpcall

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
)

// ReportedError is an error that a server reports in a successful response, in place of
// records. It may pass.
type ReportedError struct {
	Text string
	// Beside is true if an empty list is there too, and a field such as "ok" or "status" alone says that the request
	// has failed, and if the response may be the only record.
	Beside bool
}

func (e *ReportedError) Error() string { return "the server reports errors: " + e.Text }

// WebPageError is the error of a response that is a web page in place of JSON, as a gateway, a sign-in or
// maintenance send it with the status 200. It may pass.
type WebPageError struct{ Text string }

func (e *WebPageError) Error() string { return "the response is a web page, not JSON: " + e.Text }

// WebPage returns a *[WebPageError] for a body that begins as HTML does, and nil for any other.
func WebPage(body []byte) error {
	head := bytes.TrimSpace(body)
	for _, begin := range []string{"<!doctype html", "<html"} {
		if len(head) >= len(begin) && strings.EqualFold(string(head[:len(begin)]), begin) {
			return &WebPageError{Text: strings.TrimPrefix(excerpt(head), ": ")}
		}
	}
	return nil
}

// Records returns the array of records at a path of a response. A null is an empty array,
// unless it is the whole response. No records beside an error of the server are a
// *[ReportedError], and a web page is a *[WebPageError].
//
// The response is checked, except for the records: each must be when it is read. rest is the
// response with the last record only.
func Records(body []byte, path string) (records []json.RawMessage, rest json.RawMessage, err error) {
	values := false // the records are the values of an object
	if path == "*" || strings.HasSuffix(path, ".*") {
		path, values = strings.TrimSuffix(strings.TrimSuffix(path, "*"), "."), true
	}
	list, err := FindValid(body, path)
	rest = body
	switch {
	case err != nil || len(list) == 0:
	case list[0] == '{' && values:
		err = members(list, func(_ string, value json.RawMessage) error {
			records = append(records, value)
			return nil
		})
	case list[0] == '[' && !values:
		if records, err = elements(make([]json.RawMessage, 0, 16), list); err == nil {
			rest = without(body, records)
		}
	}
	switch {
	case !json.Valid(rest):
		if err := WebPage(body); err != nil {
			return nil, nil, err
		}
		return nil, nil, fmt.Errorf("the response is not JSON: %w", json.Unmarshal(body, &json.RawMessage{}))
	case err != nil:
		err = errors.Join(reported(rest, "errors", "error"), err)
		if bad := (*ReportedError)(nil); errors.As(err, &bad) {
			return nil, nil, bad
		}
		return nil, nil, err
	case string(bytes.TrimSpace(body)) == "null":
		return nil, nil, errors.New("the response is null, not records")
	case len(records) > 0, path == "" && list[0] == '[':
		return records, rest, nil
	case list[0] == '[' && !values, list[0] == '{' && values:
		return records, rest, besideNone(rest)
	case string(list) == "null":
		return nil, rest, reported(rest, "errors", "error")
	}
	if err := reported(rest, "errors", "error"); err != nil { // in place of a list
		return nil, nil, err
	}
	if values {
		return nil, nil, fmt.Errorf("the records, at %q, are not the values of an object: check the path", path)
	}
	return nil, nil, fmt.Errorf("the records, at %q: %w", path, json.Unmarshal(list, &records))
}

// One returns the value at a path of a response as its only record: the response itself if the path is empty. A null is
// no record. A response that says that it failed is a *[ReportedError], and a web page is a *[WebPageError].
func One(body []byte, path string) (records []json.RawMessage, rest json.RawMessage, err error) {
	if !json.Valid(body) {
		if err := WebPage(body); err != nil {
			return nil, nil, err
		}
		return nil, nil, fmt.Errorf("the response is not JSON: %w", json.Unmarshal(body, &json.RawMessage{}))
	}
	value, err := FindValid(body, path)
	value = bytes.TrimSpace(value)
	switch {
	case err != nil:
		if bad := (*ReportedError)(nil); errors.As(reported(body, "errors", "error"), &bad) {
			return nil, nil, bad
		}
		return nil, nil, err
	case value[0] == '[':
		return nil, nil, fmt.Errorf("the only record, at %q, is an array: leave out the dot at the end of the path", path+".")
	case string(value) == "null":
		return nil, body, reported(body, "errors", "error")
	case path == "":
		if bad := (*ReportedError)(nil); errors.As(reported(body, "errors", "error"), &bad) {
			bad.Beside = true // it may be the record
			return []json.RawMessage{value}, body, bad
		}
	}
	return []json.RawMessage{value}, body, nil
}

// without returns a response without all but the last of its records, which are parts of it.
func without(body []byte, records []json.RawMessage) json.RawMessage {
	if len(records) < 2 {
		return body
	}
	from, to := cap(body)-cap(records[0]), cap(body)-cap(records[len(records)-1])
	return append(append(make([]byte, 0, from+len(body)-to), body[:from]...), body[to:]...)
}

// besideNone is reported for a response with an empty list.
func besideNone(body []byte) error {
	var object map[string]json.RawMessage
	if json.Unmarshal(body, &object) != nil {
		return nil //nolint:nilerr // it has no fields
	}
	fields := []string{"errors"}
	if value := object["error"]; len(value) > 0 && (value[0] == '{' || value[0] == '[') { // a text may say that all is well
		fields = append(fields, "error")
	}
	says := Failed(object)
	if IsEmpty(object["message"]) && IsEmpty(object["error"]) {
		delete(object, "status") // it may be a field of what the list belongs to
		says = Failed(object)
	}
	err := reportedIn(body, object, false, fields...)
	if err == nil && says {
		return &ReportedError{Text: clipped(body), Beside: true}
	}
	return err
}

// ErrorsBeside returns the errors that a response has beside its records, in the field "errors", or "".
func ErrorsBeside(body []byte) string {
	var object map[string]json.RawMessage
	if json.Unmarshal(body, &object) != nil || SaysNone(object["errors"]) {
		return ""
	}
	return clipped(object["errors"])
}

// reported returns the *ReportedError of a response that has one of the fields, with a
// value that is not empty, or that says that the request has failed.
func reported(body []byte, fields ...string) error {
	var object map[string]json.RawMessage
	if json.Unmarshal(body, &object) != nil {
		return nil //nolint:nilerr // it has no fields
	}
	return reportedIn(body, object, Failed(object), fields...)
}

func reportedIn(body []byte, object map[string]json.RawMessage, says bool, fields ...string) error {
	if says {
		return &ReportedError{Text: clipped(body)}
	}
	for _, field := range fields {
		if text := object[field]; !SaysNone(text) {
			return &ReportedError{Text: clipped(text)}
		}
	}
	return nil
}

// clipped is the beginning of a response, as text.
func clipped(body []byte) string {
	return string(bytes.ToValidUTF8(body[:min(len(body), maxShown)], nil))
}

// IsEmpty reports whether a value is missing, null, false, 0, or an empty text, list or object.
func IsEmpty(text json.RawMessage) bool {
	var value any
	if json.Unmarshal(text, &value) != nil {
		return true
	}
	switch v := value.(type) {
	case nil:
		return true
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	default:
		return reflect.ValueOf(v).IsZero()
	}
}

// SaysNone reports whether a value is empty, or an object of empty values, or a text such as "none" or "ok".
func SaysNone(text json.RawMessage) bool {
	if IsEmpty(text) {
		return true
	}
	var value any
	_ = json.Unmarshal(text, &value) // it is JSON, or it would be empty
	switch v := value.(type) {
	case string:
		return slices.Contains([]string{"0", "false", "none", "null", "ok", "success"}, strings.ToLower(v))
	case map[string]any:
		var fields map[string]json.RawMessage
		_ = json.Unmarshal(text, &fields) // it is an object
		for _, field := range fields {
			if !SaysNone(field) {
				return false
			}
		}
		return true
	default:
		return false
	}
}

// Failed reports whether a response says that the request has failed, by one of the usual fields.
func Failed(object map[string]json.RawMessage) bool {
	for _, field := range []string{"ok", "success"} {
		if string(object[field]) == "false" {
			return true
		}
	}
	switch strings.ToLower(Text(object["status"])) {
	case "error", "fail", "failed", "failure": // the first two are of JSend
		return true
	default:
		return hasErrorCode(object)
	}
}

// hasErrorCode reports whether a response has the status of an error, as a number in one of the usual fields, and a text
// beside it. A title is one beside "status" alone, as in problem details (RFC 9457): what a list belongs to may have a code
// and a title. By 404 some APIs say that there is nothing.
func hasErrorCode(object map[string]json.RawMessage) bool {
	says := func(field string) bool {
		return bytes.HasPrefix(object[field], []byte{'"'}) && !SaysNone(object[field])
	}
	isError := func(field string) bool {
		var code float64
		return json.Unmarshal(object[field], &code) == nil && code >= 400 && code <= 599 && code != http.StatusNotFound
	}
	return says("title") && isError("status") ||
		slices.ContainsFunc([]string{"message", "msg", "detail"}, says) && slices.ContainsFunc([]string{"status", "statusCode", "code"}, isError)
}

// IsCut reports whether the error is that of a response that ends within a JSON value, or before it: an
// overloaded server or a gateway may send an empty one with the status 200. With 202 and 204, one is empty on purpose.
func IsCut(err error, resp *Response) bool {
	var bad *json.SyntaxError
	return errors.As(err, &bad) && bad.Error() == "unexpected end of JSON input" && (resp.Status == http.StatusOK || len(resp.Body) > 0)
}

// onlyError returns the *ReportedError of a line that is an error in place of a record: it has
// no other field.
func onlyError(line []byte) error {
	var object map[string]json.RawMessage
	if json.Unmarshal(line, &object) != nil || len(object) != 1 {
		return nil //nolint:nilerr // it is a record, good or bad
	}
	return reported(line, "error", "errors")
}

// Overlap returns how many records at the beginning of a page, most at most, are those at the end of the page before.
func Overlap(before, records []json.RawMessage, most int) int {
	for n := min(most, len(before), len(records)); n > 0; n-- {
		if slices.EqualFunc(before[len(before)-n:], records[:n], func(a, b json.RawMessage) bool { return bytes.Equal(a, b) }) {
			return n
		}
	}
	return 0
}
