package httpjson

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
	"github.com/activedataflow/dataflow/dataflowtest"
	"github.com/activedataflow/dataflow/internal/httpcall"
)

// shop is an API that takes rows, and refuses some.
type shop struct {
	refused  []int
	answer   func(rows []int, bad []int) (status int, body string) // bad are places in rows
	partly   bool                                                  // it takes the others
	requests int
	taken    map[int]int
}

func (s *shop) RoundTrip(req *http.Request) (*http.Response, error) {
	data, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	s.requests++
	var rows, bad []int
	if err := json.Unmarshal(data, &rows); err != nil {
		return nil, err
	}
	for i, n := range rows {
		if slices.Contains(s.refused, n) {
			bad = append(bad, i)
		}
	}
	status, body := s.answer(rows, bad)
	for i, n := range rows {
		if status < 300 && (!s.partly || !slices.Contains(bad, i)) {
			s.taken[n]++
		}
	}
	w := httptest.NewRecorder()
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
	return w.Result(), nil
}

func statusOf(refused int) func(rows, bad []int) (int, string) {
	return func(_, bad []int) (int, string) {
		if len(bad) > 0 {
			return refused, fmt.Sprintf(`{"errors":[{"index":%d}]}`, bad[0])
		}
		return 201, "[]"
	}
}

// bulk answers as Elasticsearch's _bulk does.
func bulk(rows, bad []int) (int, string) {
	items := make([]map[string]any, len(rows))
	for i := range rows {
		items[i] = map[string]any{"index": map[string]any{"status": 201}}
		if slices.Contains(bad, i) {
			items[i] = map[string]any{"index": map[string]any{"status": 400, "error": map[string]any{"reason": "mapper_parsing_exception"}}}
		}
	}
	body, _ := json.Marshal(map[string]any{"errors": len(bad) > 0, "items": items})
	return 200, string(body)
}

func checkBulk(r *SinkResponse) error {
	var body struct {
		Items []map[string]struct {
			Error json.RawMessage `json:"error"`
		} `json:"items"`
	}
	if err := json.Unmarshal(r.Body, &body); err != nil {
		return err
	}
	var refused RefusedError
	for i, item := range body.Items {
		if text := item["index"].Error; text != nil {
			refused = append(refused, &dataflow.RowError{Row: i, Err: fmt.Errorf("%s", text)})
		}
	}
	if refused == nil {
		return nil
	}
	return refused
}

func policyClient(t *testing.T, s *shop, opts SinkOptions) *dataflow.Client {
	t.Helper()
	opts.Client, opts.Tries = &http.Client{Transport: s}, 1
	rows := make([]int, 20)
	for i := range rows {
		rows[i] = i + 1
	}
	flow := func(name string, policy dataflow.Policy) *dataflow.Flow {
		return dataflow.NewFlow(name, memory.Slice(rows), dataflow.Identity[int](), Sink[int]("https://api.test/rows", &opts), &dataflow.FlowOptions{OnBadRecord: policy, MaxAttempts: 1})
	}
	return dataflowtest.New(t, flow("keep", dataflow.DeadLetterUpTo(2)), flow("few", dataflow.SkipUpTo(1)), flow("fast", nil)).Client()
}

// A row that the API refuses is for the flow's policy. The others are taken once.
func TestSink_Policy(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		opts     SinkOptions
		shop     shop
		requests int
	}{
		{"422", SinkOptions{}, shop{refused: []int{3, 17}, answer: statusOf(422)}, 15},
		{"400InRequests", SinkOptions{MaxRows: 5}, shop{refused: []int{3, 17}, answer: statusOf(400)}, 12},
		{"409One", SinkOptions{MaxRows: 1}, shop{refused: []int{3, 17}, answer: statusOf(409)}, 20},
		{"Bulk", SinkOptions{Check: checkBulk}, shop{refused: []int{3, 17}, answer: bulk, partly: true}, 1},
		{"BulkInRequests", SinkOptions{Check: checkBulk, MaxRows: 7}, shop{refused: []int{3, 17}, answer: bulk, partly: true}, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := &tt.shop
			s.taken = map[int]int{}
			client := policyClient(t, s, tt.opts)
			run, err := client.Trigger(t.Context(), "keep", nil)
			require.NoError(t, err)
			require.Equal(t, dataflow.Counters{Read: 20, Written: 18, DeadLettered: 2}, run.Counters)
			require.Equal(t, tt.requests, s.requests)
			require.Len(t, s.taken, 18)
			for n, times := range s.taken {
				require.Equal(t, 1, times, n)
			}
			letters, err := client.DeadLetters(t.Context(), nil)
			require.NoError(t, err)
			require.Len(t, letters, 2)
			require.ElementsMatch(t, []string{"3", "17"}, []string{string(letters[0].Payload), string(letters[1].Payload)})
			for _, name := range []string{"few", "fast"} {
				run, err = client.Trigger(t.Context(), name, nil)
				require.Error(t, err)
				require.Equal(t, dataflow.RunFailed, run.State, name)
			}
		})
	}
}

// A request that is too large is sent in halves, with and without a policy. A row that is
// too large alone is for the policy.
func TestSink_TooLarge(t *testing.T) {
	t.Parallel()
	tooMany := func(rows, _ []int) (int, string) {
		if len(rows) > 3 {
			return 413, "too large"
		}
		return 200, ""
	}
	s := &shop{answer: tooMany, taken: map[int]int{}}
	run, err := policyClient(t, s, SinkOptions{}).Trigger(t.Context(), "fast", nil)
	require.NoError(t, err)
	require.Equal(t, dataflow.Counters{Read: 20, Written: 20}, run.Counters)
	require.Len(t, s.taken, 20)

	huge := &shop{refused: []int{5}, answer: statusOf(413), taken: map[int]int{}}
	run, err = policyClient(t, huge, SinkOptions{}).Trigger(t.Context(), "keep", nil)
	require.NoError(t, err)
	require.Equal(t, dataflow.Counters{Read: 20, Written: 19, DeadLettered: 1}, run.Counters)
}

// A response that may refuse some rows is no success as long as nobody says which.
func TestSink_Unchecked(t *testing.T) {
	t.Parallel()
	for body, text := range map[string]string{
		`{"errors":true,"items":[]}`:                                                  `its field "errors" is true`,
		`{"insertErrors":[{"index":3}]}`:                                              `its field "insertErrors" is [{"index":3}]`,
		`{"UnprocessedItems":{"t":[1]}}`:                                              `its field "UnprocessedItems"`,
		`{"FailedRecordCount":1,"Records":[]}`:                                        `its field "FailedRecordCount" is 1`,
		`{"hasErrors":true,"results":[]}`:                                             `its field "hasErrors"`,
		`{"Successful":[],"Failed":[{"Id":"1"}]}`:                                     `its field "Failed"`,
		`{"partialFailureError":{"code":3}}`:                                          `its field "partialFailureError"`,
		`[{"success":true,"errors":[]},{"success":false,"errors":[{"message":"x"}]}]`: `its result 1 is {"errors":[{"message":"x"}],"success":false}`,
		`{"items":[{"status":201},{"status":400,"error":{"type":"x"}}]}`:              `its result 1 is`,
		`{"ok":false,"error":"ratelimited"}`:                                          `the server reports errors: {"ok":false`,
		`{"success":false}`:                                                           `the server reports errors`,
		`{"error":{"message":"no"}}`:                                                  `the server reports errors`,
		`{"partialSuccess":{"rejectedSpans":"3","errorMessage":"late"}}`:              `its field "partialSuccess" is`,
		`{"partial_success":{"rejected_log_records":3}}`:                              `its field "partial_success" is`,
		`{"partialSuccess":{"rejectedSpans":"0","errorMessage":"use v2"}}`:            "",
		`{"writeResults":[{},null],"status":[{},{"code":6,"message":"exists"}]}`:      `status 1 of its field "status" is not 0`,
		`{"status":[{"code":0,"message":""},{"code":200,"message":"OK"},{"code":9}]}`: "",
		`{"status":"fail","data":{}}`:                                                 `the server reports errors`,
		`{"status":"ok","success":true,"error":null,"failed":0,"FailedPutCount":0}`:   "",
		`[{"success":false,"status":"failed"}]`:                                       "", // the rows, sent back
		`{"items":[{"status":500}]}`:                                                  "",
		`{"errors":false,"UnprocessedItems":{}}`:                                      "",
		`{"errors":[],"insertErrors":null,"n":"x"}`:                                   "",
		`[1]`: "",
		``:    "",
	} {
		s := &shop{answer: func([]int, []int) (int, string) { return 200, body }, taken: map[int]int{}}
		_, err := policyClient(t, s, SinkOptions{}).Trigger(t.Context(), "keep", nil)
		if text == "" {
			require.NoError(t, err)
			continue
		}
		require.ErrorContains(t, err, text, body)
		require.ErrorContains(t, err, "set Check")
	}
	s := &shop{answer: func([]int, []int) (int, string) { return 207, "" }, taken: map[int]int{}}
	_, err := policyClient(t, s, SinkOptions{}).Trigger(t.Context(), "keep", nil)
	require.ErrorContains(t, err, "it has the status 207")
	_, err = policyClient(t, s, SinkOptions{Check: func(r *SinkResponse) error { return RefusedError{{Row: r.Rows, Err: io.EOF}} }}).Trigger(t.Context(), "keep", nil)
	require.ErrorContains(t, err, "names row 20 of a request of 20 rows")
}

// What a row that comes back has itself says nothing about the request.
func TestSink_Unchecked_SentBack(t *testing.T) {
	t.Parallel()
	rows := []json.RawMessage{json.RawMessage(`{"id":1,"status":"failed","success":false,"errors":["late"]}`)}
	for body, text := range map[string]string{
		`{"id":1,"status":"failed","success":false,"errors":["late"],"created":"2026"}`: "",
		`{"id":1,"status":"error","success":false}`:                                     `the server reports errors`,
		`{"id":1,"status":"failed","errors":["no such id"]}`:                            `its field "errors" is ["no such id"]`,
		"{\"id\":1,\n \"status\": \"failed\",\n \"errors\": [\n \"late\"\n]}":           "",
		`[{"id":1,"status":"failed","success":false,"errors":["late"]}]`:                "",
		`[{"id":1,"status":"failed","success":false,"errors":["no such id"]}]`:          `its result 0 is`,
		`{"error":{"code":"ok","message":""}}`:                                          "",
		`{"error":{"code":0,"message":""},"failed":"0"}`:                                "",
		`{"error":"none","rejected":{"count":0,"rows":[]}}`:                             "",
		`{"code":429,"message":"slow down"}`:                                            `the server reports errors`,
		`{"code":201,"message":"created"}`:                                              "",
	} {
		err := unchecked(&httpcall.Response{Status: 200, Body: []byte(body)}, rows)
		if text == "" {
			require.NoError(t, err)
			continue
		}
		require.ErrorContains(t, err, text)
	}
}

// A number that is no time must not become one: in the cursor, it would end the flow for good.
func TestSince_NoTime(t *testing.T) {
	t.Parallel()
	for _, value := range []string{`"infinity"`, `"-Infinity"`, `"NaN"`, `1e30`, `-1e30`, `1764370000000000`} {
		at, err := (&Since{Path: "at"}).of(json.RawMessage(`{"at":` + value + `}`))
		require.Error(t, err, "%s is %s", value, at)
	}
	at, err := (&Since{Path: "at"}).of(json.RawMessage(`{"at":1764370000000}`))
	require.NoError(t, err)
	require.Equal(t, 2025, at.Year())
}

// Lists in which some rows are refused, of CouchDB, Kafka's REST proxy, batches of Microsoft Graph, Splunk,
// Postmark, Elastic App Search, Expo, Salesforce and Typesense.
func TestSink_Unchecked_Lists(t *testing.T) {
	t.Parallel()
	rows := []json.RawMessage{json.RawMessage(`{"id":1}`), json.RawMessage(`{"id":2}`)}
	for _, body := range []string{
		`[{"ok":true,"id":"a","rev":"1"},{"id":"b","error":"conflict","reason":"Document update conflict."}]`,
		`{"offsets":[{"offset":1,"error_code":null,"error":null},{"error_code":50002,"error":"no leader"}]}`,
		`{"responses":[{"id":"1","status":201,"body":{}},{"id":"2","status":429,"body":{"error":{"code":"x"}}}]}`,
		`[{"success":true,"id":1},{"failed":true,"message":"no container"}]`,
		`[{"ErrorCode":0,"Message":"OK"},{"ErrorCode":406,"Message":"an inactive recipient"}]`,
		`[{"id":"a","errors":[]},{"id":"b","errors":["no such field"]}]`,
		`{"data":[{"status":"ok","id":"x"},{"status":"error","message":"not registered","details":{}}]}`,
		`{"compositeResponse":[{"httpStatusCode":201,"body":{"id":"x"}},{"httpStatusCode":400,"body":[{"errorCode":"x"}]}]}`,
		"{\"success\":true}\n{\"success\":false,\"error\":\"Bad JSON.\",\"document\":\"{\"}\n",
	} {
		require.ErrorContains(t, unchecked(&httpcall.Response{Status: 200, Body: []byte(body)}, rows), "its result 1 is {")
	}
	for _, body := range []string{
		`[{"id":1,"error":"","reason":"new"},{"id":2,"error":"last try","failed":false},{"id":3,"reason":"returned"}]`,
		`{"data":[{"id":1,"status":"active","message":"hello"},{"id":2,"status":"failed","body":"text"}]}`,
		`[{"id":1,"errors":0,"body":["x"]},{"id":2,"errors":"none","message":"OK"}]`,
		`[{"status":201,"reason":"Created","body":[{"id":1}]}]`,
		`{"compositeResponse":[{"httpStatusCode":204,"body":null},{"httpStatusCode":200,"body":["x"]}]}`,
		"{\"success\":true}\n{\"success\":true}", `{"success":true} x`, "1\n2",
	} {
		require.NoError(t, unchecked(&httpcall.Response{Status: 200, Body: []byte(body)}, rows), body)
	}
}
