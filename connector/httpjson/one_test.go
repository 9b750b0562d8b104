package httpjson_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/httpjson"
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
		{records: ".", body: `{"id":1,"status":"failed"}`, problem: "the server reports errors"},
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

// Each run reads the object anew, as it then is, unless the server says that it is unchanged.
func TestSource_OneRecordChanges(t *testing.T) {
	t.Parallel()
	var id atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		tag := `"` + string(rune('0'+id.Load())) + `"`
		w.Header().Set("ETag", tag)
		if req.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"id": id.Load(), "date": "2026-11-27"})
	}))
	t.Cleanup(server.Close)
	src := httpjson.Source[order](recipeOne(server.URL))
	at := httpjson.Cursor{}
	for _, want := range [][]int{{1}, nil, {2}} {
		if want != nil {
			id.Store(int64(want[0]))
		}
		ids, next, err := read(t.Context(), t, src, at)
		require.NoError(t, err)
		require.Equal(t, want, ids)
		if next != (httpjson.Cursor{}) {
			at = next
		}
	}
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
