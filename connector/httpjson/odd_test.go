package httpjson_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/httpjson"
)

// oddServer answers each query by a body.
func oddServer(t *testing.T, bodies map[string]string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, ok := bodies[req.URL.RawQuery]
		if !ok {
			w.WriteHeader(http.StatusBadRequest)
		}
		_, _ = fmt.Fprint(w, body)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// A total or a number of pages that is less than what a page shows is wrong, and ends nothing.
func TestSource_WrongTotal(t *testing.T) {
	t.Parallel()
	for _, stream := range []bool{false, true} {
		for _, total := range []string{"0", "-1", "1", `"0"`} {
			offsets := oddServer(t, map[string]string{
				"offset=0&limit=2": `{"d":[{"id":1},{"id":2}],"t":` + total + `}`, "offset=2&limit=2": `{"d":[{"id":3}],"t":` + total + `}`, "offset=3&limit=2": `{"d":[],"t":` + total + `}`,
			})
			ids, _, err := read(t.Context(), t, httpjson.Source[order](offsets, &httpjson.Options{Records: "d", Stream: stream, Paging: httpjson.Offset{Limit: 2, Total: "t"}}), httpjson.Cursor{})
			require.NoError(t, err)
			require.Equal(t, []int{1, 2, 3}, ids, total)
		}
		pages := oddServer(t, map[string]string{"page=1": `{"d":[{"id":1}],"p":0}`, "page=2": `{"d":[{"id":2}],"p":0}`, "page=3": `{"d":[],"p":0}`})
		ids, _, err := read(t.Context(), t, httpjson.Source[order](pages, &httpjson.Options{Records: "d", Stream: stream, Paging: httpjson.PageNumber{Pages: "p"}}), httpjson.Cursor{})
		require.NoError(t, err)
		require.Equal(t, []int{1, 2}, ids)
	}
}

// A total that is only what the list has at least ends nothing. Where the API then refuses a page, the read fails.
func TestOffset_LeastTotal(t *testing.T) {
	t.Parallel()
	for _, stream := range []bool{false, true} {
		for relation, refused := range map[string]bool{"eq": false, "gte": true} {
			total := `,"hits":{"total":{"value":2,"relation":"` + relation + `"}}}`
			url := oddServer(t, map[string]string{"offset=0&limit=2": `{"d":[{"id":1},{"id":2}]` + total})
			ids, _, err := read(t.Context(), t, httpjson.Source[order](url, &httpjson.Options{Records: "d", Stream: stream, Paging: httpjson.Offset{Limit: 2, Total: "hits.total.value"}}), httpjson.Cursor{})
			require.Equal(t, []int{1, 2}, ids)
			if !refused {
				require.NoError(t, err)
				continue
			}
			require.ErrorContains(t, err, "the API may limit how far the pages go: ask for a part of the list, or page by a cursor")
		}
	}
}

// The numbers 0 and -1 name no next page, unless they are a record's.
func TestBodyCursor_EndMark(t *testing.T) {
	t.Parallel()
	for _, stream := range []bool{false, true} {
		for _, end := range []string{"0", "-1"} {
			url := oddServer(t, map[string]string{"": `{"d":[{"id":1}],"next":2}`, "cursor=2": `{"d":[{"id":2}],"next":` + end + `}`})
			ids, _, err := read(t.Context(), t, httpjson.Source[order](url, &httpjson.Options{Records: "d", Stream: stream, Paging: httpjson.BodyCursor{Path: "next"}}), httpjson.Cursor{})
			require.NoError(t, err)
			require.Equal(t, []int{1, 2}, ids)
		}
		url := oddServer(t, map[string]string{"": `{"d":[{"id":-5},{"id":0}]}`, "cursor=0": `{"d":[{"id":7}]}`, "cursor=7": `{"d":[]}`})
		ids, _, err := read(t.Context(), t, httpjson.Source[order](url, &httpjson.Options{Records: "d", Stream: stream, Paging: httpjson.BodyCursor{Path: "d.-1.id"}}), httpjson.Cursor{})
		require.NoError(t, err)
		require.Equal(t, []int{-5, 0, 7}, ids)
	}
}

// A response that is no page is an error, and not an empty list.
func TestSource_NoPage(t *testing.T) {
	t.Parallel()
	for _, stream := range []bool{false, true} {
		for name, c := range map[string]struct {
			answer func(w http.ResponseWriter)
			opts   httpjson.Options
			want   string
		}{
			"304": {func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotModified) }, httpjson.Options{}, "though the request did not ask for changes only"},
			"gzip": {
				func(w http.ResponseWriter) {
					w.Header().Set("Content-Encoding", "gzip")
					_, _ = w.Write([]byte("\x1f\x8b"))
				},
				httpjson.Options{Header: http.Header{"Accept-Encoding": {"gzip"}}},
				`compressed by "gzip"`,
			},
			"br":    {func(w http.ResponseWriter) { w.Header().Set("Content-Encoding", "br"); _, _ = w.Write([]byte("[]")) }, httpjson.Options{}, `compressed by "br"`},
			"error": {func(w http.ResponseWriter) { _, _ = w.Write([]byte(`{"items":[],"error":{"code":429}}`)) }, httpjson.Options{Records: "items"}, "the server reports errors"},
			"202":   {func(w http.ResponseWriter) { w.Header().Set("Retry-After", "9"); w.WriteHeader(http.StatusAccepted) }, httpjson.Options{}, "202 Accepted"},
		} {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { c.answer(w) }))
			t.Cleanup(server.Close)
			c.opts.Stream, c.opts.Tries, c.opts.MaxWait = stream, 2, time.Millisecond
			ids, at, err := read(t.Context(), t, httpjson.Source[order](server.URL, &c.opts), httpjson.Cursor{})
			require.ErrorContains(t, err, c.want, name)
			require.Empty(t, ids)
			require.Equal(t, httpjson.Cursor{}, at)
		}
	}
	// With a text, or as part of a record, an error may be none.
	for _, body := range []string{`{"items":[],"error":"0"}`, `{"items":[],"error":null}`, `{"items":[],"error":{}}`} {
		_, _, err := read(t.Context(), t, httpjson.Source[order](bodyServer(t, 200, body), &httpjson.Options{Records: "items"}), httpjson.Cursor{})
		require.NoError(t, err, body)
	}
}

// An answer without records that says that the request has failed is an error, and no empty list.
func TestSource_SaysFailed(t *testing.T) {
	t.Parallel()
	for _, stream := range []bool{false, true} {
		for _, body := range []string{
			`{"ok":false,"error":"ratelimited","items":[]}`, `{"success":false,"items":null}`, `{"status":"error","message":"down","items":[]}`,
			`{"items":[],"success": false }`, `{"status":"FAILED","items":null}`, `{"ok":false,"error":"ratelimited"}`,
			`{"type":"about:blank","title":"Too Many Requests","status":429}`, `{"code":500,"msg":"busy","items":null}`, `{"statusCode":503,"message":"down","items":[]}`,
		} {
			for _, omits := range []bool{false, true} {
				ids, at, err := read(t.Context(), t, httpjson.Source[order](bodyServer(t, 200, body), &httpjson.Options{Records: "items", Stream: stream, OmitsEmpty: omits}), httpjson.Cursor{})
				require.ErrorContains(t, err, "the server reports errors: {", body)
				require.False(t, dataflow.IsPermanent(err), "it may pass: %s", body)
				require.Empty(t, ids)
				require.Equal(t, httpjson.Cursor{}, at)
			}
		}
		for _, body := range []string{`{"ok":false,"error":"ratelimited"}`, `{"errors":[{"message":"Throttled"}]}`, `{"status":429,"message":"x"}`} { // where the list is all
			_, _, err := read(t.Context(), t, httpjson.Source[order](bodyServer(t, 200, body), &httpjson.Options{Stream: stream}), httpjson.Cursor{})
			require.ErrorContains(t, err, "the server reports errors: ", body)
			require.False(t, dataflow.IsPermanent(err), "it may pass: %s", body)
		}
		for _, body := range []string{
			`{"ok":true,"items":[]}`, `{"success":true,"status":"ok","items":[]}`, `{"status":200,"items":[]}`, `{"status":null,"success":null,"items":[]}`,
			`{"status":"error","items":[{"id":1}]}`, `{"id":7,"status":"failed","items":[]}`, `{"code":404,"message":"no orders","items":null}`,
			`{"code":415,"title":"San Francisco","items":[]}`, `{"code":415,"title":"San Francisco","items":null}`, // of what the list belongs to
			`{"code":500,"items":[]}`, `{"code":200,"message":"ok","items":[]}`, `{"code":500,"msg":"x","items":[{"id":1}]}`,
		} {
			_, _, err := read(t.Context(), t, httpjson.Source[order](bodyServer(t, 200, body), &httpjson.Options{Records: "items", Stream: stream}), httpjson.Cursor{})
			require.NoError(t, err, body)
		}
	}
}

// Check decides about an empty list that an API takes for a failure.
func TestSource_SaysFailed_Check(t *testing.T) {
	t.Parallel()
	for _, stream := range []bool{false, true} {
		passing := func(*httpjson.Page) error { return nil }
		for body, text := range map[string]string{
			`{"success":false,"message":"No records found","items":[]}`: "",
			`{"success":false,"message":"down","items":null}`:           "the server reports errors",
			`{"errors":["down"],"items":[]}`:                            "the server reports errors",
			`{"ok":false,"errors":["down"],"items":[]}`:                 "the server reports errors",
		} {
			_, _, err := read(t.Context(), t, httpjson.Source[order](bodyServer(t, 200, body), &httpjson.Options{Records: "items", Stream: stream, Check: passing}), httpjson.Cursor{})
			if text == "" {
				require.NoError(t, err, body)
				continue
			}
			require.ErrorContains(t, err, text, body)
		}
	}
}

// An answer that is not ready is asked for again after the time that it names.
func TestSource_NotReady(t *testing.T) {
	t.Parallel()
	for _, stream := range []bool{false, true} {
		asked := 0
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if asked++; asked == 1 {
				w.Header().Set("Retry-After", "0.01")
				w.WriteHeader(http.StatusAccepted)
				return
			}
			_, _ = fmt.Fprint(w, `[{"id":1}]`)
		}))
		t.Cleanup(server.Close)
		ids, _, err := read(t.Context(), t, httpjson.Source[order](server.URL, &httpjson.Options{Stream: stream}), httpjson.Cursor{})
		require.NoError(t, err)
		require.Equal(t, []int{1}, ids)
	}
}

// So is one that names no time and has no records, such as GitHub's statistics.
func TestSource_NotReadyWithoutTime(t *testing.T) {
	t.Parallel()
	for _, stream := range []bool{false, true} {
		for _, body := range []string{"", "{}", `{"status":"computing"}`} {
			synctest.Test(t, func(t *testing.T) {
				a := newAPI(nil)
				a.before = func(n int, _ *http.Request) answer {
					switch n {
					case 1, 3:
						return reply(202, nil, body)
					case 2:
						return reply(202, nil, `{"items":[{"id":1}],"next":"x"}`) // a status is no reason to refuse records
					default:
						return reply(200, nil, `{"items":[{"id":2}]}`)
					}
				}
				opts := &httpjson.Options{Client: a.client(), Stream: stream, Records: "items", OmitsEmpty: true, Paging: httpjson.BodyCursor{Path: "next"}}
				began := time.Now()
				ids, _, err := read(t.Context(), t, httpjson.Source[order]("https://api.test/x", opts), httpjson.Cursor{})
				require.NoError(t, err)
				require.Equal(t, []int{1, 2}, ids)
				require.Equal(t, time.Second, time.Since(began))
			})
		}
	}
}

// With Lines, what a response says that is not ready is no record, and none is no empty list.
func TestSource_LinesNotReady(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"", `{"status":"running"}`} {
		synctest.Test(t, func(t *testing.T) {
			a := newAPI(nil)
			a.before = func(n int, _ *http.Request) answer {
				if n == 1 {
					return reply(202, nil, body)
				}
				return reply(200, nil, `{"id":1}`)
			}
			ids, _, err := read(t.Context(), t, httpjson.Source[order]("https://api.test/x", &httpjson.Options{Client: a.client(), Lines: true}), httpjson.Cursor{})
			require.NoError(t, err)
			require.Equal(t, []int{1}, ids)
		})
	}
}

// A line that is only an error is no record.
func TestSource_LinesWithError(t *testing.T) {
	t.Parallel()
	ids, _, err := read(t.Context(), t, httpjson.Source[order](bodyServer(t, 200, "{\"id\":1}\n{\"error\":\"timeout\"}\n"), &httpjson.Options{Lines: true}), httpjson.Cursor{})
	require.ErrorContains(t, err, `the server reports errors: "timeout"`)
	require.Equal(t, []int{1}, ids)
	ids, _, err = read(t.Context(), t, httpjson.Source[order](bodyServer(t, 200, "{\"error\":null,\"id\":1}\n{\"error\":\"x\",\"id\":2}\n"), &httpjson.Options{Lines: true}), httpjson.Cursor{})
	require.NoError(t, err)
	require.Equal(t, []int{1, 2}, ids)
}
