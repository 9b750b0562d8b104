package httpjson_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/httpjson"
)

// bodyServer answers every request with a status and a body.
func bodyServer(t *testing.T, status int, body string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = fmt.Fprint(w, body)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// A gateway answers with a web page and the status 200, as during maintenance. It may pass, and its lines are no records.
func TestSource_WebPage(t *testing.T) {
	t.Parallel()
	address := bodyServer(t, http.StatusOK, " \n<!DOCTYPE html>\n<html>\n<title>Maintenance</title>\n</html>\n")
	for name, opts := range map[string]*httpjson.Options{
		"Page":     {Records: "data"},
		"Whole":    {},
		"Stream":   {Records: "data", Stream: true},
		"Lines":    {Lines: true},
		"Open":     {Open: &httpjson.Open{URL: address, Path: "id", Param: "id"}},
		"Snapshot": {Records: "data.*", Snapshot: true, Paging: httpjson.PageNumber{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ids, _, err := read(t.Context(), t, httpjson.Source[order](address, opts), httpjson.Cursor{})
			require.Empty(t, ids)
			require.ErrorContains(t, err, address+": the response is a web page, not JSON: <!DOCTYPE html> <html> <title>Maintenance")
			require.False(t, dataflow.IsPermanent(err))
			var record *dataflow.RecordError
			require.NotErrorAs(t, err, &record)
		})
	}
}

// An error that the API reports with a status of success is no empty list.
func TestSource_ReportedErrors(t *testing.T) {
	t.Parallel()
	for body, records := range map[string]string{
		`{"data":null,"errors":[{"message":"boom"}]}`:                 "data",
		`{"data":[],"errors":[{"message":"boom"}]}`:                   "data",
		`{"data":{"orders":null},"errors":[{"message":"boom"}]}`:      "data.orders",
		`{"data":null,"errors":{"orders":"boom"}} `:                   "data.orders",
		`{"errors":[{"message":"boom"}]}`:                             "data.orders",
		`{"ok":false,"error":"boom"}`:                                 "data",
		`{"data":null,"error":{"code":5,"message":"boom"}}`:           "data",
		"\uFEFF" + `{"data":null,"errors":[null,{"message":"boom"}]}`: "data",
	} {
		_, _, err := read(t.Context(), t, httpjson.Source[order](bodyServer(t, 200, body), &httpjson.Options{Records: records}), httpjson.Cursor{})
		require.ErrorContains(t, err, "the server reports errors", body)
		require.ErrorContains(t, err, "boom", body)
		require.False(t, dataflow.IsPermanent(err), "it may pass")
	}
	_, _, err := read(t.Context(), t, httpjson.Source[order](bodyServer(t, 200, " null "), nil), httpjson.Cursor{})
	require.ErrorContains(t, err, "the response is null, not records")
	require.True(t, dataflow.IsPermanent(err))
}

// These responses are a list, and no error.
func TestSource_EmptyLists(t *testing.T) {
	t.Parallel()
	for body, records := range map[string]string{
		`{"items":null,"cursor":null}`:                  "items",
		`{"items":null,"errors":[],"error":null}`:       "items",
		`{"items":[],"errors":null,"error":""}`:         "items",
		`{"items":null,"error":false,"errors":{}}`:      "items",
		`{"items":[],"error":"no results"}`:             "items",
		`{"items":[],"errors":"none"}`:                  "items",
		`{"items":null,"errors":"0","error":"None"}`:    "items",
		`{"items":[],"errors":{"items":[],"all":null}}`: "items",
		"\uFEFF[]": "",
		`{"d":{"items":[]},"errors":[],"error":0,"x":[]}`: "d.items",
	} {
		ids, _, err := read(t.Context(), t, httpjson.Source[order](bodyServer(t, 200, body), &httpjson.Options{Records: records}), httpjson.Cursor{})
		require.NoError(t, err, body)
		require.Empty(t, ids)
	}
	for _, p := range []httpjson.Paging{nil, httpjson.PageNumber{Size: 5}, httpjson.Offset{}, httpjson.BodyCursor{Path: "next"}, httpjson.NextURL{Path: "next"}, httpjson.LinkHeader{}} {
		src := httpjson.Source[order](bodyServer(t, http.StatusNoContent, ""), &httpjson.Options{Records: "items", Paging: p})
		ids, at, err := read(t.Context(), t, src, httpjson.Cursor{})
		require.NoError(t, err)
		require.Empty(t, ids)
		require.Zero(t, at)
	}
	ids, _, err := read(t.Context(), t, httpjson.Source[order](bodyServer(t, 200, "\uFEFF"+`[{"id":1}]`), nil), httpjson.Cursor{})
	require.NoError(t, err)
	require.Equal(t, []int{1}, ids)
}

// A null among the records is a bad record, and no record of zero values.
func TestSource_NullRecord(t *testing.T) {
	t.Parallel()
	address := bodyServer(t, 200, `[null,{"id":1}, null ]`)
	var ids []int
	bad := map[string]string{}
	for item, err := range httpjson.Source[order](address, nil).Read(t.Context(), dataflow.Request[httpjson.Cursor]{}) {
		if err != nil {
			var e *dataflow.RecordError
			require.ErrorAs(t, err, &e)
			bad[e.Key] = e.Err.Error()
			continue
		}
		ids = append(ids, item.Value.ID)
	}
	require.Equal(t, []int{1}, ids)
	require.Equal(t, map[string]string{"page first record 1": "the record is null", "page first record 3": "the record is null"}, bad)
	require.Equal(t, []any{nil, map[string]any{"id": json.Number("1")}, nil}, values[any](t, address))
	require.Equal(t, []json.RawMessage{[]byte("null"), []byte(`{"id":1}`), []byte("null")}, values[json.RawMessage](t, address))
	require.Nil(t, values[*order](t, address)[0])
}

func values[T any](t *testing.T, address string) (list []T) {
	t.Helper()
	for item, err := range httpjson.Source[T](address, nil).Read(t.Context(), dataflow.Request[httpjson.Cursor]{}) {
		require.NoError(t, err)
		list = append(list, item.Value)
	}
	return list
}

// A response that was cut off is requested again.
func TestSource_CutBody(t *testing.T) {
	t.Parallel()
	for cuts, ok := range map[int]bool{1: true, 2: false} {
		n := 0
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			body := `[{"id":1},{"id":2}]`
			if n++; n <= cuts {
				body = `[{"id":1},{"id`
			}
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				return
			}
			defer func(c net.Conn) { _ = c.Close() }(conn)
			_, _ = fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"+body)
		}))
		defer server.Close()
		ids, _, err := read(t.Context(), t, httpjson.Source[order](server.URL, &httpjson.Options{Tries: 2}), httpjson.Cursor{})
		if ok {
			require.NoError(t, err)
			require.Equal(t, []int{1, 2}, ids)
			continue
		}
		require.ErrorContains(t, err, "the response ends within a JSON value")
		requireSignal(t, dataflow.Transient(errAny), err)
	}
}

// So is an empty one, of a page or of a search that is opened.
func TestSource_EmptyBody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, opts := range []httpjson.Options{{}, {Stream: true}, {Open: &httpjson.Open{URL: "/open", Path: "id", Param: "search"}}} {
			for empty, ok := range map[int]bool{1: true, 9: false} {
				n, a := 0, newAPI(nil)
				a.before = func(_ int, req *http.Request) answer {
					first := opts.Open == nil || req.URL.Path == "/open"
					if n++; first && n <= empty {
						return reply(200, map[string]string{"Content-Length": "0"}, "")
					}
					if req.URL.Path == "/open" {
						return reply(200, nil, `{"id":"x"}`)
					}
					return reply(200, nil, `[{"id":1}]`)
				}
				opts.Client, opts.Tries = a.client(), 2
				ids, _, err := read(t.Context(), t, httpjson.Source[order]("https://api.test/x", &opts), httpjson.Cursor{})
				if opts.Stream || !ok { // a stream is tried again by the engine
					requireSignal(t, dataflow.Transient(errAny), err)
					continue
				}
				require.NoError(t, err)
				require.Equal(t, []int{1}, ids)
			}
		}
	})
}

// A Content-Encoding that compresses nothing, or nothing that is there, refuses no response.
func TestSource_EncodingWithoutCompression(t *testing.T) {
	t.Parallel()
	for _, stream := range []bool{false, true} {
		for _, encoding := range []string{"UTF-8", "aws-chunked", "identity"} {
			a := newAPI(nil)
			a.before = func(int, *http.Request) answer {
				return reply(200, map[string]string{"Content-Encoding": encoding}, `[{"id":1}]`)
			}
			ids, _, err := read(t.Context(), t, httpjson.Source[order]("https://api.test/x", &httpjson.Options{Client: a.client(), Stream: stream}), httpjson.Cursor{})
			require.NoError(t, err, encoding)
			require.Equal(t, []int{1}, ids)
		}
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			w.WriteHeader(http.StatusNoContent)
		}))
		t.Cleanup(server.Close)
		ids, _, err := read(t.Context(), t, httpjson.Source[order](server.URL, &httpjson.Options{Stream: stream}), httpjson.Cursor{})
		require.NoError(t, err)
		require.Empty(t, ids)
	}
}

// A record that is not UTF-8, as of a server that answers in ISO 8859-1, is bad: it must not get other characters.
func TestSource_NotUTF8(t *testing.T) {
	t.Parallel()
	address := bodyServer(t, 200, "[{\"id\":1,\"name\":\"caf\xe9\"},{\"id\":2,\"name\":\"café\"}]")
	type named struct {
		ID   int    `json:"id"`
		Name string `json:"name"`
	}
	for _, stream := range []bool{false, true} {
		var good []named
		var bad *dataflow.RecordError
		for item, err := range httpjson.Source[named](address, &httpjson.Options{Key: "id", Stream: stream}).Read(t.Context(), dataflow.Request[httpjson.Cursor]{}) {
			if err != nil {
				require.ErrorAs(t, err, &bad)
				continue
			}
			good = append(good, item.Value)
		}
		require.Equal(t, []named{{2, "café"}}, good)
		require.Equal(t, "1", bad.Key)
		require.ErrorContains(t, bad, `its byte 20, \xE9, is not UTF-8`)
		require.True(t, json.Valid(bad.Raw))
		require.Contains(t, string(bad.Raw), `caf\ufffd`, "it says that it is not the text that was read")
	}
	for item, err := range httpjson.Source[json.RawMessage](address, nil).Read(t.Context(), dataflow.Request[httpjson.Cursor]{}) {
		require.NoError(t, err)
		require.Contains(t, []string{"{\"id\":1,\"name\":\"caf\xe9\"}", `{"id":2,"name":"café"}`}, string(item.Value))
	}
}

// Keys that are not UTF-8 name no records: those of different records would become the same text, and their
// dead letters one.
func TestSource_KeyNotUTF8(t *testing.T) {
	t.Parallel()
	address := bodyServer(t, 200, "[{\"id\":\"\xe4\"},{\"id\":\"\xf6\"}]")
	for _, stream := range []bool{false, true} {
		var keys []string
		for _, err := range httpjson.Source[struct{ ID string }](address, &httpjson.Options{Key: "id", Stream: stream}).Read(t.Context(), dataflow.Request[httpjson.Cursor]{}) {
			var bad *dataflow.RecordError
			require.ErrorAs(t, err, &bad)
			keys = append(keys, bad.Key)
		}
		require.Equal(t, []string{"page first record 1", "page first record 2"}, keys)
	}
}

// GraphQL puts null in place of what it could not find, and says so beside the records: that is not silent.
func TestSource_ErrorsBesideRecords(t *testing.T) {
	t.Parallel()
	for body, says := range map[string]bool{
		`{"data":[{"id":1,"name":null}],"errors":[{"message":"no name"}]}`: true,
		`{"data":[{"id":1}],"errors":[]}`:                                  false,
		`{"data":[{"id":1}],"errors":0}`:                                   false,
		`{"data":[{"id":1}],"errors":"none"}`:                              false,
		`{"data":[{"id":1}],"errors":"no name"}`:                           true,
		`{"data":[{"id":1,"errors":["x"]}]}`:                               false,
	} {
		for _, stream := range []bool{false, true} {
			for _, check := range []func(*httpjson.Page) error{nil, func(*httpjson.Page) error { return nil }} {
				var log bytes.Buffer
				ids, _, err := read(t.Context(), t, httpjson.Source[order](bodyServer(t, 200, body), &httpjson.Options{
					Records: "data", Stream: stream, Check: check, Logger: slog.New(slog.NewTextHandler(&log, nil)),
				}), httpjson.Cursor{})
				require.NoError(t, err)
				require.Equal(t, []int{1}, ids)
				require.Equal(t, says && check == nil, strings.Contains(log.String(), "reports errors beside its records"), log.String())
			}
		}
	}
}
