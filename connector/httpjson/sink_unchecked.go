package httpjson

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"

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
	var object map[string]json.RawMessage
	if json.Unmarshal(resp.Body, &object) != nil {
		return refusesOne(resp.Body)
	}
	if judge(resp.Body, object) == nil {
		return nil
	}
	for _, row := range sent { // an API may send a row back: what that has says nothing
		var fields map[string]json.RawMessage
		_ = json.Unmarshal(row, &fields) // or it is no object
		for field, value := range fields {
			if bytes.Equal(value, object[field]) {
				delete(object, field)
			}
		}
	}
	return judge(resp.Body, object)
}

// judge returns an error if an object says that rows were refused.
func judge(body []byte, object map[string]json.RawMessage) error {
	for _, field := range refusals() {
		if text := object[field]; !httpcall.IsEmpty(text) {
			return mayRefuse(fmt.Sprintf("its field %q is %.200s", field, text))
		}
	}
	if httpcall.Failed(object) || !httpcall.IsEmpty(object["error"]) { // it may pass
		return fmt.Errorf("the server reports errors: %.200s: set Check, which says what they mean", body)
	}
	for _, field := range []string{"results", "items", "responses"} {
		if err := refusesOne(object[field]); err != nil {
			return err
		}
	}
	return nil
}

// refusesOne returns an error for a list that refuses one of the rows. An API may also send the rows
// back, so a field that says so is not enough: an error must be beside it.
func refusesOne(list json.RawMessage) error {
	var results []map[string]json.RawMessage
	if json.Unmarshal(list, &results) != nil {
		return nil //nolint:nilerr // it is something else
	}
	for i, result := range results {
		var status int
		_ = json.Unmarshal(result["status"], &status) // or it is no number
		if (httpcall.Failed(result) || status >= 400) && (!httpcall.IsEmpty(result["error"]) || !httpcall.IsEmpty(result["errors"])) {
			text, _ := json.Marshal(result) // it was JSON
			return mayRefuse(fmt.Sprintf("its result %d is %.200s", i, text))
		}
	}
	return nil
}

func mayRefuse(why string) error {
	return dataflow.Permanent(fmt.Errorf("the response may refuse some of the rows, because %s: set Check, which says which ones", why))
}
