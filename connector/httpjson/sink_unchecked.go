package httpjson

import (
	"bytes"
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
	if err := httpcall.WebPage(resp.Body); err != nil { // it may pass
		return fmt.Errorf("%w: set Check if the API answers so", err)
	}
	var object map[string]json.RawMessage
	if json.Unmarshal(resp.Body, &object) != nil {
		return refusesOne(asList(resp.Body), sent)
	}
	says := func() bool { return httpcall.Failed(object) || !httpcall.SaysNone(object["error"]) }
	refused := func(field string) bool { return !httpcall.SaysNone(object[field]) }
	if says() || slices.ContainsFunc(refusals(), refused) {
		for _, row := range sent {
			leaveOut(object, row)
		}
	}
	if i := slices.IndexFunc(refusals(), refused); i >= 0 {
		field := refusals()[i]
		return mayRefuse(fmt.Sprintf("its field %q is %.200s", field, object[field]))
	}
	if says() { // it may pass
		return fmt.Errorf("the server reports errors: %.200s: set Check, which says what they mean", resp.Body)
	}
	for _, field := range []string{"partialSuccess", "partial_success"} {
		if rejects(object[field]) {
			return mayRefuse(fmt.Sprintf("its field %q is %.200s", field, object[field]))
		}
	}
	if i := slices.IndexFunc(codes(object["status"]), func(code float64) bool { return code != 0 && (code < 200 || code > 299) }); i >= 0 {
		return mayRefuse(fmt.Sprintf("status %d of its field %q is not 0, as in %.200s", i, "status", object["status"]))
	}
	for _, field := range []string{"results", "items", "responses", "offsets", "data", "compositeResponse"} {
		if err := refusesOne(object[field], sent); err != nil {
			return err
		}
	}
	return nil
}

// asList returns JSON lines as an array, as Typesense's import answers, and any other body as it is.
func asList(body []byte) json.RawMessage {
	var list []json.RawMessage
	for lines := json.NewDecoder(bytes.NewReader(body)); lines.More(); {
		var line json.RawMessage
		if lines.Decode(&line) != nil {
			return body
		}
		list = append(list, line)
	}
	if len(list) < 2 {
		return body
	}
	text, _ := json.Marshal(list) // it was JSON
	return text
}

// rejects reports whether a partial success of OpenTelemetry's protocol has rejected rows. Its message alone is a hint.
func rejects(text json.RawMessage) bool {
	var fields map[string]json.RawMessage
	_ = json.Unmarshal(text, &fields) // or it is no object
	for field, value := range fields {
		if strings.HasPrefix(field, "rejected") && !httpcall.SaysNone(value) {
			return true
		}
	}
	return false
}

// codes returns the codes of a list of google.rpc.Status, as Firestore's batchWrite returns one for each row.
func codes(list json.RawMessage) []float64 {
	var statuses []map[string]any
	if json.Unmarshal(list, &statuses) != nil {
		return nil
	}
	found := make([]float64, len(statuses))
	for i, status := range statuses {
		if _, says := status["message"].(string); says {
			found[i], _ = status["code"].(float64) // without one, it is 0
		}
	}
	return found
}

// leaveOut removes from an object what a row that was sent has too: an API may send rows back.
func leaveOut(object map[string]json.RawMessage, row json.RawMessage) {
	var fields map[string]json.RawMessage
	_ = json.Unmarshal(row, &fields) // or it is no object
	for field, value := range fields {
		if text, ok := object[field]; ok && reflect.DeepEqual(valueOf(text), valueOf(value)) {
			delete(object, field)
		}
	}
}

func valueOf(text json.RawMessage) (value any) {
	_ = json.Unmarshal(text, &value) // it is nil if there is none
	return value
}

// refusesOne returns an error for a list that refuses one of the rows. A field that says so is not
// enough: an error must be beside it.
func refusesOne(list json.RawMessage, sent []json.RawMessage) error {
	var results []map[string]json.RawMessage
	if json.Unmarshal(list, &results) != nil {
		return nil //nolint:nilerr // it is something else
	}
	for i, result := range results {
		if !saysRefused(result) || !saysWhy(result) {
			continue
		}
		text, _ := json.Marshal(result) // it was JSON
		if i < len(sent) {
			leaveOut(result, sent[i])
		}
		if saysWhy(result) {
			return mayRefuse(fmt.Sprintf("its result %d is %.200s", i, text))
		}
	}
	return nil
}

// saysRefused reports whether a result says that its row was refused: by its status, its errors, or as CouchDB
// ("reason"), Kafka's REST proxy ("error_code"), Postmark ("ErrorCode"), Salesforce ("httpStatusCode") and
// Splunk ("failed") do.
func saysRefused(result map[string]json.RawMessage) bool {
	return httpcall.Failed(result) || hasErrorStatus(result) || string(result["failed"]) == "true" ||
		slices.ContainsFunc([]string{"reason", "error_code", "ErrorCode"}, func(field string) bool { return !httpcall.SaysNone(result[field]) }) ||
		isList(result["errors"])
}

// saysWhy reports whether a result has an error, also in the body that Microsoft Graph and Salesforce give with each
// status, or as a message.
func saysWhy(result map[string]json.RawMessage) bool {
	var body map[string]json.RawMessage
	_ = json.Unmarshal(result["body"], &body) // or it is no object
	failed := httpcall.Failed(result) || string(result["failed"]) == "true" || !httpcall.SaysNone(result["ErrorCode"])
	return !httpcall.SaysNone(result["error"]) || !httpcall.SaysNone(result["errors"]) || !httpcall.SaysNone(body["error"]) ||
		hasErrorStatus(result) && isList(result["body"]) ||
		failed && (!httpcall.SaysNone(result["message"]) || !httpcall.SaysNone(result["Message"]))
}

// hasErrorStatus reports whether a result has the status of an HTTP response that is an error.
func hasErrorStatus(result map[string]json.RawMessage) bool {
	status, _ := valueOf(result["status"]).(float64)
	composite, _ := valueOf(result["httpStatusCode"]).(float64)
	return max(status, composite) >= http.StatusBadRequest
}

// isList reports whether a value is a list that is not empty.
func isList(text json.RawMessage) bool {
	return bytes.HasPrefix(text, []byte{'['}) && !httpcall.IsEmpty(text)
}

func mayRefuse(why string) error {
	return dataflow.Permanent(fmt.Errorf("the response may refuse some of the rows, because %s: set Check, which says which ones", why))
}
