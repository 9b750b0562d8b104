package httpjson

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/httpcall"
)

// refusals are the fields by which APIs say that they have refused rows.
func refusals() []string {
	return []string{
		"errors", "insertErrors", "UnprocessedItems", "partialFailureError", "hasErrors", "has_errors",
		"failed", "Failed", "failures", "rejected", "FailedRecordCount", "FailedPutCount", "FailedEntryCount", "failedCount", "failed_count",
	}
}

// unchecked returns an error for a response that may refuse some of the rows that were sent, or all.
func unchecked(resp *httpcall.Response, sent []json.RawMessage) error {
	if resp.Status == http.StatusMultiStatus {
		return mayRefuse("it has the status 207")
	}
	var object map[string]any
	if json.Unmarshal(resp.Body, &object) != nil {
		var list []any
		_ = json.Unmarshal(resp.Body, &list) // or it is something else
		return refusesOne(list, sent)
	}
	if refuses(object) || failed(object) || !none(object["error"]) {
		for _, row := range sent {
			leaveOut(object, row)
		}
	}
	for _, field := range refusals() {
		if !none(object[field]) {
			return mayRefuse(fmt.Sprintf("its field %q is %.200s", field, asJSON(object[field])))
		}
	}
	if failed(object) || !none(object["error"]) { // it may pass
		return fmt.Errorf("the server reports errors: %.200s: set Check, which says what they mean", resp.Body)
	}
	for _, field := range []string{"results", "items", "responses"} {
		list, _ := object[field].([]any)
		if err := refusesOne(list, sent); err != nil {
			return err
		}
	}
	return nil
}

func refuses(object map[string]any) bool {
	return slices.ContainsFunc(refusals(), func(field string) bool { return !none(object[field]) })
}

// leaveOut removes from an object what a row that was sent has too: an API may send rows back.
func leaveOut(object map[string]any, row json.RawMessage) {
	var fields map[string]any
	_ = json.Unmarshal(row, &fields) // or it is no object
	for field, value := range fields {
		if reflect.DeepEqual(value, object[field]) {
			delete(object, field)
		}
	}
}

// none reports whether a value is empty, or an object of empty values, or says that all is well.
func none(value any) bool {
	switch v := value.(type) {
	case nil:
		return true
	case bool:
		return !v
	case float64:
		return v == 0
	case string:
		return slices.Contains([]string{"", "0", "false", "none", "null", "ok", "success"}, strings.ToLower(v))
	case []any:
		return len(v) == 0
	case map[string]any:
		for _, v := range v {
			if !none(v) {
				return false
			}
		}
	}
	return true
}

// failed is [httpcall.Failed] for values.
func failed(object map[string]any) bool {
	fields := make(map[string]json.RawMessage)
	for _, field := range []string{"ok", "success", "status"} {
		if value, ok := object[field]; ok {
			fields[field] = asJSON(value)
		}
	}
	return httpcall.Failed(fields)
}

// asJSON is a value as JSON, from which it was read.
func asJSON(value any) json.RawMessage {
	text, _ := json.Marshal(value)
	return text
}

// refusesOne returns an error for a list that refuses one of the rows. A field that says so is not
// enough: an error must be beside it.
func refusesOne(list []any, sent []json.RawMessage) error {
	for i, value := range list {
		result, ok := value.(map[string]any)
		if !ok {
			continue
		}
		beside := func() bool { return !none(result["error"]) || !none(result["errors"]) }
		status, _ := result["status"].(float64)
		if !beside() || !failed(result) && status < 400 {
			continue
		}
		text := asJSON(result)
		if i < len(sent) {
			leaveOut(result, sent[i])
		}
		if beside() {
			return mayRefuse(fmt.Sprintf("its result %d is %.200s", i, text))
		}
	}
	return nil
}

func mayRefuse(why string) error {
	return dataflow.Permanent(fmt.Errorf("the response may refuse some of the rows, because %s: set Check, which says which ones", why))
}
