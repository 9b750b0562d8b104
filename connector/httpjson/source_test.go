package httpjson_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/httpjson"
)

// A later run reads only the records added since.
func TestSource_Grows(t *testing.T) {
	t.Parallel()
	for path := range pagings() {
		for _, etag := range []bool{false, true} {
			for _, n := range []int{0, 1, 4, 5, 6, 10} {
				a := newAPI(orders(n))
				a.etag = etag
				src := a.source(path, httpjson.Options{})
				ids, at, err := read(t.Context(), t, src, httpjson.Cursor{})
				require.NoError(t, err)
				require.Equal(t, numbers(1, n), ids, path)
				for range 2 {
					ids, again, err := read(t.Context(), t, src, at)
					require.NoError(t, err)
					require.Empty(t, ids, "%s with %d", path, n)
					require.Equal(t, at, again)
				}
				a.add(orders(n + 7)[n:]...)
				ids, at, err = read(t.Context(), t, src, at)
				require.NoError(t, err)
				require.Equal(t, numbers(n+1, n+7), ids, "%s with %d", path, n)
				ids, _, err = read(t.Context(), t, src, at)
				require.NoError(t, err)
				require.Empty(t, ids)
			}
		}
	}
}

// An unchanged page is not sent again.
func TestSource_Conditional(t *testing.T) {
	t.Parallel()
	a := newAPI(orders(7))
	a.etag = true
	src := a.source("/cursor", httpjson.Options{})
	_, at, err := read(t.Context(), t, src, httpjson.Cursor{})
	require.NoError(t, err)
	require.Equal(t, httpjson.Cursor{Page: "c5", Skip: 2, ETag: `"5-2-false"`, Last: at.Last, First: at.First, Read: 7}, at)
	_, again, err := read(t.Context(), t, src, at)
	require.NoError(t, err)
	require.Equal(t, at, again)
	require.Equal(t, []string{"/cursor", "/cursor?cursor=c5", "/cursor?cursor=c5", "/cursor"}, a.requests, "the first page shows that the list grows at its end")
	require.Equal(t, []string{"", "", `"5-2-false"`, ""}, a.tags)

	at = httpjson.Cursor{}
	header := map[string]string{"Last-Modified": "Wed, 25 Nov 2026 10:00:00 GMT", "Date": "Wed, 25 Nov 2026 10:00:00 GMT"}
	var since []string
	a.before = func(_ int, req *http.Request) answer {
		since = append(since, req.Header.Get("If-Modified-Since"))
		return reply(http.StatusOK, header, `{"data":{"orders":[{"id":1}]}}`)
	}
	src = a.source("/all", httpjson.Options{})
	for range 3 {
		_, at, err = read(t.Context(), t, src, at)
		require.NoError(t, err)
		header["Date"] = "Wed, 25 Nov 2026 10:00:01 GMT"
	}
	require.Equal(t, []string{"", "", "Wed, 25 Nov 2026 10:00:00 GMT"}, since, "the first response is of the second of the change")
}

// A page that is named by a header may follow a page that stays the same. Its tag is neither kept nor sent, also if an
// earlier version has kept it.
func TestSource_ConditionalHeader(t *testing.T) {
	t.Parallel()
	grown := false
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body := `[{"id":1}]`
		switch {
		case req.URL.Query().Get("cursor") == "b":
			body = `[{"id":2}]`
		case grown:
			w.Header().Set("X-Next", "b")
		}
		tag := fmt.Sprintf(`"%x"`, body) // many frameworks make it from the body
		w.Header().Set("ETag", tag)
		if req.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = fmt.Fprint(w, body)
	}))
	t.Cleanup(server.Close)
	src := httpjson.Source[order](server.URL, &httpjson.Options{Paging: httpjson.HeaderCursor{Header: "X-Next"}})
	_, at, err := read(t.Context(), t, src, httpjson.Cursor{})
	require.NoError(t, err)
	require.Empty(t, at.ETag)
	grown = true
	for _, tag := range []string{"", fmt.Sprintf(`"%x"`, `[{"id":1}]`)} {
		at.ETag = tag
		ids, _, err := read(t.Context(), t, src, at)
		require.NoError(t, err)
		require.Equal(t, []int{2}, ids)
	}
}

func TestSource_Snapshot(t *testing.T) {
	t.Parallel()
	a := newAPI(orders(3))
	src := a.source("/all", httpjson.Options{Snapshot: true})
	ids, done, err := read(t.Context(), t, src, httpjson.Cursor{})
	require.NoError(t, err)
	require.Equal(t, numbers(1, 3), ids)
	require.True(t, done.Done)
	ids, _, err = read(t.Context(), t, src, done)
	require.NoError(t, err)
	require.Empty(t, ids, "its bytes are the same")

	half := httpjson.Cursor{Skip: 2, Sum: done.Sum} // an attempt that was interrupted
	ids, _, err = read(t.Context(), t, src, half)
	require.NoError(t, err)
	require.Equal(t, []int{3}, ids)
	a.records = a.records[1:]
	for _, from := range []httpjson.Cursor{half, done} {
		ids, _, err = read(t.Context(), t, src, from)
		require.NoError(t, err)
		require.Equal(t, []int{2, 3}, ids, "another list is read from its beginning")
	}

	a = newAPI(orders(12))
	src = a.source("/number", httpjson.Options{Snapshot: true})
	var half2 httpjson.Cursor
	for item, err := range src.Read(t.Context(), dataflow.Request[httpjson.Cursor]{}) {
		require.NoError(t, err)
		if half2 = item.Cursor; item.Value.ID == 7 {
			break
		}
	}
	ids, done, err = read(t.Context(), t, src, half2)
	require.NoError(t, err)
	require.Equal(t, numbers(8, 12), ids)
	ids, _, err = read(t.Context(), t, src, done)
	require.NoError(t, err)
	require.Equal(t, numbers(1, 12), ids, "the next run reads all of it")
	a.records = a.records[1:] // page 2 has changed
	ids, _, err = read(t.Context(), t, src, half2)
	require.NoError(t, err)
	require.Equal(t, numbers(2, 12), ids)
}

// A request is repeated if a later try may succeed.
func TestSource_TriesAgain(t *testing.T) {
	t.Parallel()
	const date = "Wed, 25 Nov 2026 10:00:00 GMT"
	for _, tt := range []struct {
		name    string
		answers []answer // in turn; the last one repeats
		took    time.Duration
		tries   int
		signal  error // nil if a later try succeeds
		text    string
	}{
		{name: "Once", answers: []answer{reply(503, nil, ""), nil}, took: 500 * time.Millisecond, tries: 2},
		{name: "Twice", answers: []answer{reply(500, nil, ""), reply(429, nil, ""), nil}, took: 1500 * time.Millisecond, tries: 3},
		{name: "RetryAfter", answers: []answer{reply(429, map[string]string{"Retry-After": "7"}, ""), nil}, took: 7 * time.Second, tries: 2},
		{name: "RetryAfterDate", answers: []answer{reply(503, map[string]string{"Retry-After": "Wed, 25 Nov 2026 10:00:20 GMT", "Date": date}, ""), nil}, took: 20 * time.Second, tries: 2},
		{name: "RetryAfterLong", answers: []answer{reply(429, map[string]string{"Retry-After": "3600"}, "slow\n down")}, tries: 1, signal: dataflow.RetryAfter(errAny, time.Hour), text: "GET https://api.test/all: 429 Too Many Requests: slow down"},
		{name: "RetryAfterAlways", answers: []answer{reply(503, map[string]string{"Retry-After": "1"}, "")}, took: 3 * time.Second, tries: 4, signal: dataflow.RetryAfter(errAny, time.Second), text: "503 Service Unavailable"},
		{name: "Always", answers: []answer{reply(502, nil, "")}, took: 3500 * time.Millisecond, tries: 4, signal: dataflow.Transient(errAny), text: "502 Bad Gateway"},
		{name: "Permanent", answers: []answer{reply(404, nil, "no such list")}, tries: 1, signal: dataflow.Permanent(errAny), text: "404 Not Found: no such list"},
		{name: "NotJSON", answers: []answer{reply(200, nil, "all is well")}, tries: 1, signal: dataflow.Permanent(errAny), text: "page first of https://api.test/all: the response is not JSON"},
		{name: "NoRecords", answers: []answer{reply(200, nil, `{"data":{}}`)}, tries: 1, signal: dataflow.Permanent(errAny), text: `there is no field "data.orders"`},
		{name: "NoArray", answers: []answer{reply(200, nil, `{"data":{"orders":{}}}`)}, tries: 1, signal: dataflow.Permanent(errAny), text: `the records, at "data.orders"`},
		{name: "TooLong", answers: []answer{reply(200, nil, strings.Repeat(" ", 2000))}, tries: 1, signal: dataflow.Permanent(errAny), text: "has more than 1000 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a := newAPI(orders(3))
				a.before = func(n int, _ *http.Request) answer { return tt.answers[min(n, len(tt.answers))-1] }
				began := time.Now()
				ids, _, err := read(t.Context(), t, a.source("/all", httpjson.Options{MaxBodyBytes: 1000}), httpjson.Cursor{})
				require.Equal(t, tt.took, time.Since(began))
				require.Len(t, a.requests, tt.tries)
				require.Zero(t, a.open.Load())
				if tt.signal == nil {
					require.NoError(t, err)
					require.Equal(t, numbers(1, 3), ids)
					return
				}
				require.ErrorContains(t, err, tt.text)
				requireSignal(t, tt.signal, err)
			})
		})
	}
}

var errAny = errors.New("any")

// requireSignal requires that two errors give the engine the same signal.
func requireSignal(t *testing.T, want, err error) {
	t.Helper()
	require.Equal(t, signalOf(want), signalOf(err))
}

// A server that does not answer, and one whose connection breaks.
func TestSource_Unreachable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, transport := range []http.RoundTripper{silent{}, broken{}} {
			src := httpjson.Source[order]("https://user:secret@api.test/all?token=secret", &httpjson.Options{Client: &http.Client{Transport: transport}, Timeout: time.Second, Tries: 2})
			_, _, err := read(t.Context(), t, src, httpjson.Cursor{})
			require.ErrorContains(t, err, "GET https://api.test/all: ")
			require.NotContains(t, err.Error(), "secret")
			require.NotErrorIs(t, err, context.DeadlineExceeded, "it is not the run's own deadline")
			requireSignal(t, dataflow.Transient(errAny), err)
			require.NotContains(t, src.(dataflow.Describer).Describe().Detail["url"], "secret")
		}
	})
}

type broken struct{}

func (broken) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("connection refused")
}

// What Auth adds is sent to no other host.
func TestSource_OtherHost(t *testing.T) {
	t.Parallel()
	for name, resp := range map[string]answer{
		"Next": reply(200, nil, `{"data":{"orders":[{"id":1}]},"next":"https://evil.test/next"}`),
		"Port": reply(200, nil, `{"data":{"orders":[{"id":1}]},"next":"https://api.test:8443/next"}`),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAPI(nil)
			var hosts []string
			a.before = func(int, *http.Request) answer { return resp }
			client := a.client()
			opts := httpjson.Options{Records: "data.orders", Paging: httpjson.NextURL{Path: "next"}, Client: client, Auth: func(req *http.Request) error {
				hosts = append(hosts, req.URL.Scheme+"://"+req.URL.Host)
				return nil
			}}
			_, at, err := read(t.Context(), t, httpjson.Source[order]("https://api.test/next", &opts), httpjson.Cursor{})
			require.ErrorContains(t, err, "not at the host of https://api.test/next")
			require.True(t, dataflow.IsPermanent(err))
			require.Equal(t, 1, at.Skip, "what was read is not lost")
			require.Equal(t, []string{"https://api.test"}, hosts)
		})
	}
}

func TestSource_Auth(t *testing.T) {
	t.Parallel()
	a := newAPI(orders(1))
	var got []string
	a.before = func(_ int, req *http.Request) answer {
		got = append(got, req.Header.Get("Authorization")+" "+req.Header.Get("X-Team"))
		return nil
	}
	src := a.source("/all", httpjson.Options{
		Header: http.Header{"X-Team": {"birds"}},
		Auth:   func(req *http.Request) error { req.Header.Set("Authorization", "Bearer 1"); return nil },
	})
	_, _, err := read(t.Context(), t, src, httpjson.Cursor{})
	require.NoError(t, err)
	require.Equal(t, []string{"Bearer 1 birds"}, got)
	_, _, err = read(t.Context(), t, a.source("/all", httpjson.Options{Auth: func(*http.Request) error { return errAny }}), httpjson.Cursor{})
	require.ErrorIs(t, err, errAny)
	require.ErrorContains(t, err, "GET https://api.test/all: authorize: any")
	require.Len(t, got, 1)
}

// Removed records are an error, so none is skipped unnoticed.
func TestSource_Shrunk(t *testing.T) {
	t.Parallel()
	a := newAPI(orders(3))
	_, _, err := read(t.Context(), t, a.source("/all", httpjson.Options{}), httpjson.Cursor{Skip: 4})
	require.ErrorContains(t, err, "page first has 3 records, but 4 were read")
	require.True(t, dataflow.IsPermanent(err))
}

func TestValidate(t *testing.T) {
	t.Parallel()
	const address = "https://api.test/"
	for field, part := range map[string]any{
		"URL":                 httpjson.Source[order]("api.test", nil),
		"BodyCursor.Path":     httpjson.Source[order](address, &httpjson.Options{Paging: httpjson.BodyCursor{}}),
		"NextURL.Path":        httpjson.Source[order](address, &httpjson.Options{Paging: httpjson.NextURL{}}),
		"HeaderCursor.Header": httpjson.Source[order](address, &httpjson.Options{Paging: httpjson.HeaderCursor{}}),
		"Since.Path":          httpjson.Source[order](address, &httpjson.Options{Since: &httpjson.Since{Param: "since"}}),
		"Since.Param":         httpjson.Source[order](address, &httpjson.Options{Since: &httpjson.Since{Path: "at"}}),
		"Since.Lookback":      httpjson.Source[order](address, &httpjson.Options{Since: &httpjson.Since{Path: "at", Param: "since", Lookback: -2}}),
		"Open.Path":           httpjson.Source[order](address, &httpjson.Options{Open: &httpjson.Open{URL: "x", Param: "id"}}),
		"BodyCursor.HasMore":  httpjson.Source[order](address, &httpjson.Options{Paging: httpjson.BodyCursor{Path: "next", Continues: true}}),
		"NextURL.HasMore":     httpjson.Source[order](address, &httpjson.Options{Paging: httpjson.NextURL{Path: "next", Continues: true}}),
		"BodyCursor.URL":      httpjson.Source[order](address, &httpjson.Options{Paging: httpjson.BodyCursor{Path: "next", URL: "%zz"}}),
		"PageNumber.Total":    httpjson.Source[order](address, &httpjson.Options{Paging: httpjson.PageNumber{Total: "total"}}),
		"Paging.Continues":    httpjson.Source[order](address, &httpjson.Options{Snapshot: true, Paging: httpjson.NextURL{Path: "next", HasMore: "more", Continues: true}}),
		"Order":               httpjson.Source[order](address, &httpjson.Options{Order: 7}),
		"Links":               httpjson.Source[order](address, &httpjson.Options{Links: "all"}),
		"Records":             httpjson.Source[order](address, &httpjson.Options{Lines: true, Records: "data"}),
		"Body":                httpjson.Source[order](address, &httpjson.Options{Body: func() {}}),
		"Snapshot":            httpjson.Source[order](address, &httpjson.Options{Snapshot: true, Order: httpjson.NewestFirst}),
		"Timeout":             httpjson.Source[order](address, &httpjson.Options{Timeout: -1}),
		"MaxBodyBytes":        httpjson.Source[order](address, &httpjson.Options{MaxBodyBytes: -1}),
		"Tries":               httpjson.Source[order](address, &httpjson.Options{Tries: -1}),
		"MaxWait":             httpjson.Source[order](address, &httpjson.Options{MaxWait: -1}),
	} {
		var wrong *dataflow.ConfigError
		require.ErrorAs(t, part.(dataflow.Validator).Validate(), &wrong)
		require.Equal(t, field, wrong.Field)
		_, _, err := read(t.Context(), t, part.(dataflow.Source[order, httpjson.Cursor]), httpjson.Cursor{})
		require.True(t, dataflow.IsPermanent(err))
	}
}

// The records of a real feed.
func TestSource_Earthquakes(t *testing.T) {
	t.Parallel()
	feed, err := os.ReadFile("testdata/earthquakes.json")
	require.NoError(t, err)
	a := newAPI(nil)
	a.before = func(int, *http.Request) answer { return reply(200, nil, string(feed)) }
	type quake struct {
		ID         string `json:"id"`
		Properties struct {
			Mag   float64 `json:"mag"`
			Place string  `json:"place"`
		} `json:"properties"`
	}
	src := httpjson.Source[quake]("https://earthquake.test/week.geojson", &httpjson.Options{Records: "features", Key: "id", Snapshot: true, Client: a.client()})
	var places []string
	for item, err := range src.Read(t.Context(), dataflow.Request[httpjson.Cursor]{}) {
		require.NoError(t, err)
		require.Equal(t, item.Value.ID, item.Key)
		places = append(places, item.Value.Properties.Place)
	}
	require.Len(t, places, 8)
	require.Equal(t, "4km W of Castaic, CA", places[0])
}
