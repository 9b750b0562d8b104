package httpjson_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/httpjson"
	"github.com/activedataflow/dataflow/connector/memory"
	"github.com/activedataflow/dataflow/dataflowtest"
)

// With a dot at the end of Records, the value there is the only record of a response.
func TestSource_OneRecord(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		records, body string
		want          []int
		problem       string
	}{
		{records: ".", body: ` {"id":1} `, want: []int{1}},
		{records: ".", body: `{"id":1,"errors":[],"status":"ok"}`, want: []int{1}},
		{records: "data.order.", body: `{"data":{"order":{"id":2}}}`, want: []int{2}},
		{records: "data.order.", body: `{"data":{"order":null}}`},
		{records: "data.order.", body: `{"data":{"order":null},"errors":["no access"]}`, problem: "no access"},
		{records: "data.order.", body: `{"errors":["no access"]}`, problem: "no access"},
		{records: "data.order.", body: `{"data":{}}`, problem: `there is no field "data.order"`},
		{records: ".", body: `{"error":{"code":7}}`, problem: `the server reports errors: {"code":7}`},
		{records: ".", body: `{"id":1,"status":"failed"}`, problem: "if it is the record, let Options.Check return nil for it"},
		{records: ".", body: `[{"id":1}]`, problem: `the only record, at ".", is an array: leave out the dot`},
		{records: ".", body: `null`},
		{records: ".", body: `<html>busy</html>`, problem: "a web page"},
		{records: ".", body: `{"id":1`, problem: "not JSON"},
		{records: ".", body: `{"id":"x"}`, problem: "cannot unmarshal string"},
	} {
		ids, _, err := read(t.Context(), t, httpjson.Source[order](bodyServer(t, http.StatusOK, tt.body), &httpjson.Options{Records: tt.records, Snapshot: true, Tries: 1}), httpjson.Cursor{})
		if tt.problem != "" {
			require.ErrorContains(t, err, tt.problem, tt.body)
			continue
		}
		require.NoError(t, err, tt.body)
		require.Equal(t, tt.want, ids, tt.body)
	}
	passed := &httpjson.Options{Records: ".", Snapshot: true, Check: func(*httpjson.Page) error { return nil }}
	ids, _, err := read(t.Context(), t, httpjson.Source[order](bodyServer(t, http.StatusOK, `{"id":1,"status":"failed"}`), passed), httpjson.Cursor{})
	require.NoError(t, err)
	require.Equal(t, []int{1}, ids, "Check has let it pass: it is the record's own status")
}

// Each run reads the object anew, as it then is, unless it is as it was. A transform makes several rows of it.
func TestSource_OneRecordChanges(t *testing.T) {
	t.Parallel()
	a := newAPI(nil)
	body := ""
	a.before = func(int, *http.Request) answer { return reply(http.StatusOK, nil, body) }
	address, opts := recipeOne("https://api.test")
	opts.Client = a.client()
	var got []rate
	sink := memory.ToFunc(func(_ context.Context, row rate) error {
		got = append(got, row)
		return nil
	})
	kit := dataflowtest.New(t, dataflow.NewFlow("rates", httpjson.Source[rates](address, opts), dataflow.FlatMap(eachRate), sink, nil))
	for _, run := range []struct {
		body string
		want []rate
	}{
		{` {"date":"2026-11-27","rates":{"CHF":0.93,"USD":1.08}} `, []rate{{"2026-11-27", "CHF", "0.93"}, {"2026-11-27", "USD", "1.08"}}},
		{` {"date":"2026-11-27","rates":{"CHF":0.93,"USD":1.08}} `, nil},
		{`{"date":"2026-11-27","rates":{"CHF":0.94}}`, []rate{{"2026-11-27", "CHF", "0.94"}}},
	} {
		body, got = run.body, nil
		kit.Work("rates")
		kit.RequireRun("rates", dataflow.RunSuccess)
		require.Equal(t, run.want, got)
	}
}

// A response that is not ready is no record.
func TestSource_OneRecordUnready(t *testing.T) {
	t.Parallel()
	a := newAPI(nil)
	a.before = func(n int, _ *http.Request) answer {
		if n == 1 {
			return reply(http.StatusAccepted, nil, `{"id":7,"status":"working"}`)
		}
		return reply(http.StatusOK, nil, `{"id":1}`)
	}
	ids, _, err := read(t.Context(), t, httpjson.Source[order]("https://api.test", &httpjson.Options{Records: ".", Snapshot: true, Client: a.client()}), httpjson.Cursor{})
	require.NoError(t, err)
	require.Equal(t, []int{1}, ids)
}

// A page with several lists is one record, and a later run goes on at the page that the last one names.
func TestSource_OneRecordPages(t *testing.T) {
	t.Parallel()
	type page struct {
		Added   []order `json:"added"`
		Removed []order `json:"removed"`
	}
	src := httpjson.Source[page](oddServer(t, map[string]string{
		"":         `{"added":[{"id":1},{"id":2}],"removed":[],"next":"b","more":true}`,
		"cursor=b": `{"added":[],"removed":[{"id":1}],"next":"c","more":false}`,
		"cursor=c": `{"added":[{"id":3}],"removed":[],"next":"d","more":false}`,
		"cursor=d": `{"added":[],"removed":[],"next":"d","more":false}`,
	}), &httpjson.Options{Records: ".", Paging: httpjson.BodyCursor{Path: "next", HasMore: "more", Continues: true}})
	var at httpjson.Cursor
	var added, removed []int
	for range 3 {
		for item, err := range src.Read(t.Context(), dataflow.Request[httpjson.Cursor]{From: at, Resumed: at != httpjson.Cursor{}}) {
			require.NoError(t, err)
			at = item.Cursor
			if item.Mark {
				continue
			}
			for _, o := range item.Value.Added {
				added = append(added, o.ID)
			}
			for _, o := range item.Value.Removed {
				removed = append(removed, o.ID)
			}
		}
	}
	require.Equal(t, []int{1, 2, 3}, added)
	require.Equal(t, []int{1}, removed)
}

func TestSource_OneRecordRefused(t *testing.T) {
	t.Parallel()
	for problem, opts := range map[string]*httpjson.Options{
		"set Snapshot,":        {Records: "."},
		"none is the empty":    {Records: "data.", Paging: httpjson.PageNumber{}},
		"httpjson.Offset ends": {Records: "data.", Paging: httpjson.Offset{}},
		"Stream and Lines":     {Records: ".", Stream: true, Paging: httpjson.LinkHeader{}},
		"cannot be found in":   {Records: ".", Lines: true, Paging: httpjson.LinkHeader{}},
	} {
		v, ok := httpjson.Source[order]("https://api.test", opts).(dataflow.Validator)
		require.True(t, ok)
		require.ErrorContains(t, v.Validate(), problem)
	}
}
