package httpjson_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/httpjson"
)

// A header that no full page has may be misspelt. The list may also have one page, so this is no error.
func TestSource_WrongHeader(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		paging httpjson.Paging
		header map[string]string
		query  string
		warns  bool
	}{
		"misspelt":  {httpjson.HeaderCursor{Header: "X-Nxt"}, map[string]string{"X-Next": "b"}, "?limit=2", true},
		"no link":   {httpjson.LinkHeader{}, map[string]string{"X-Next": "b"}, "?limit=2", true},
		"not full":  {httpjson.LinkHeader{}, nil, "?limit=3", false},
		"last link": {httpjson.LinkHeader{}, map[string]string{"Link": `<?a>; rel="first"`}, "?limit=2", false},
		"empty":     {httpjson.HeaderCursor{Header: "X-Next"}, map[string]string{"X-Next": ""}, "?limit=2", false},
	} {
		for _, stream := range []bool{false, true} {
			a := newAPI(nil)
			a.before = func(int, *http.Request) answer { return reply(200, tt.header, `[{"id":1},{"id":2}]`) }
			var log strings.Builder
			opts := &httpjson.Options{Client: a.client(), Paging: tt.paging, Stream: stream, Logger: slog.New(slog.NewTextHandler(&log, nil))}
			ids, _, err := read(t.Context(), t, httpjson.Source[order]("https://api.test/"+tt.query, opts), httpjson.Cursor{})
			require.NoError(t, err)
			require.Equal(t, []int{1, 2}, ids)
			require.Equal(t, tt.warns, strings.Contains(log.String(), "level=WARN"), "%s: %s", name, log.String())
		}
	}
}

// The query of the source's address reaches the API byte for byte, and only the parameters of
// the paging are added.
func TestSource_Query(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]string{
		"filter=status==open;age=gt=5&sort=id": "filter=status==open;age=gt=5&sort=id&page=1",
		"$filter=a%20eq%201&$select=id,name":   "$filter=a%20eq%201&$select=id,name&page=1",
		"x=%zz&y=1":                            "x=%zz&y=1&page=1",
		"z=+&a=%2B&sig=a/b%2F":                 "z=+&a=%2B&sig=a/b%2F&page=1",
		"page=9&x=1":                           "page=1&x=1",
		"x=1&p%61ge=9&page=8&y":                "x=1&page=1&y",
		"":                                     "page=1",
	} {
		a := newAPI(nil)
		a.before = func(int, *http.Request) answer { return reply(200, nil, "[]") }
		src := httpjson.Source[order]("https://api.test/x?"+query, &httpjson.Options{Client: a.client(), Paging: httpjson.PageNumber{}})
		_, _, err := read(t.Context(), t, src, httpjson.Cursor{})
		require.NoError(t, err)
		require.Equal(t, []string{"/x?" + want}, a.requests)
	}
}

// What must not stand in a query is escaped, also in links of the API, which often repeat a
// filter as it was decoded.
func TestSource_QueryWithSpaces(t *testing.T) {
	t.Parallel()
	const filter = `name eq 'é' and {"a|b"}`
	for _, stream := range []bool{false, true} {
		for name, paging := range map[string]httpjson.Paging{"body": httpjson.NextURL{Path: "next"}, "header": httpjson.LinkHeader{}} {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				switch q := req.URL.Query(); {
				case q.Get("filter") != filter || !strings.Contains(req.URL.RawQuery, "z=a%2Bb;c"):
					http.Error(w, "no such filter", http.StatusBadRequest)
				case q.Get("page") == "":
					next := "/?filter=" + filter + "&z=a%2Bb;c&page=2"
					w.Header().Set("Link", "< "+next+" >; rel=next")
					_ = json.NewEncoder(w).Encode(map[string]any{"items": []order{{ID: 1}}, "next": " " + next + "\n"})
				default:
					_, _ = fmt.Fprint(w, `{"items":[{"id":2}]}`)
				}
			}))
			t.Cleanup(server.Close)
			src := httpjson.Source[order](server.URL+"/?filter="+filter+"&z=a%2Bb;c", &httpjson.Options{Records: "items", Paging: paging, Stream: stream})
			ids, at, err := read(t.Context(), t, src, httpjson.Cursor{})
			require.NoError(t, err, name)
			require.Equal(t, []int{1, 2}, ids, name)
			ids, _, err = read(t.Context(), t, src, at)
			require.NoError(t, err, name)
			require.Empty(t, ids, name)
		}
	}
}

// A parameter is escaped so that every server reads it alike.
func TestRequest_Set(t *testing.T) {
	t.Parallel()
	u, err := url.Parse("https://api.test/?a=b;c")
	require.NoError(t, err)
	r := &httpjson.Request{URL: u, Header: http.Header{}}
	require.NoError(t, r.Set("page[after]", "x+y z&=#é"))
	require.NoError(t, r.Set("header:X-Page", 7))
	require.Equal(t, "a=b;c&page%5Bafter%5D=x%2By%20z%26%3D%23%C3%A9", u.RawQuery)
	require.Equal(t, "7", r.Header.Get("X-Page"))
	require.ErrorContains(t, r.Set("body:x", 1), "set Options.Body")

	r.Body = map[string]any{"a.b": 1, "list": []any{map[string]any{}, 2}}
	require.NoError(t, r.Set("variables.after", json.RawMessage(`"c"`)))
	require.NoError(t, r.Set("a.b", 2))
	require.NoError(t, r.Set("list.0.x.y", json.RawMessage(`[12345678901234567890]`)))
	require.NoError(t, r.Set("list.1", "z"))
	require.NoError(t, r.Set("query:q", "1"))
	require.ErrorContains(t, r.Set("list.2", 1), "no element")
	data, err := json.Marshal(r.Body)
	require.NoError(t, err)
	require.Contains(t, string(data), `"list":[{"x":{"y":[12345678901234567890]}},"z"],"variables":{"after":"c"}`)
	require.Contains(t, u.RawQuery, "&q=1")
}

// A path that no response has is told apart from the end of the list.
func TestSource_WrongPath(t *testing.T) {
	t.Parallel()
	for _, p := range []httpjson.Paging{httpjson.NextURL{Path: "links.nxet"}, httpjson.BodyCursor{Path: "meta.nxt"}, httpjson.BodyCursor{Path: "nxt", HasMore: "has_mor"}} {
		a := newAPI(nil)
		a.before = func(int, *http.Request) answer {
			return reply(200, nil, `{"items":[{"id":1},{"id":2}],"next":"x","links":{"next":"x"},"has_more":true}`)
		}
		src := func(query string, p httpjson.Paging, logger *slog.Logger) dataflow.Source[order, httpjson.Cursor] {
			return httpjson.Source[order]("https://api.test/"+query, &httpjson.Options{Records: "items", Client: a.client(), Paging: p, Logger: logger})
		}
		for _, query := range []string{"?limit=2", "?a=1&page%5Bsize%5D=2", "?$top=2"} {
			ids, _, err := read(t.Context(), t, src(query, p, quiet), httpjson.Cursor{})
			require.ErrorContains(t, err, "which should name the next page: check the path in Options.Paging")
			require.True(t, dataflow.IsPermanent(err))
			require.Empty(t, ids)
		}
		var log strings.Builder
		ids, _, err := read(t.Context(), t, src("?limit=3", p, slog.New(slog.NewTextHandler(&log, nil))), httpjson.Cursor{})
		require.NoError(t, err)
		require.Equal(t, numbers(1, 2), ids)
		require.Contains(t, log.String(), "level=WARN")
		require.Contains(t, log.String(), "https://api.test/")
	}
	a := newAPI(nil)
	a.before = func(int, *http.Request) answer { return reply(200, nil, `{"items":[{"id":1}]}`) }
	src := httpjson.Source[order]("https://api.test/?limit=1", &httpjson.Options{Records: "items", Client: a.client(), Paging: httpjson.BodyCursor{Path: "next", Optional: true}})
	ids, _, err := read(t.Context(), t, src, httpjson.Cursor{})
	require.NoError(t, err)
	require.Equal(t, []int{1}, ids)
}

// A value that says whether there is more decides, whatever cursor stands beside it.
func TestSource_HasMore(t *testing.T) {
	t.Parallel()
	page := func(from, to int, rest string) answer {
		data, _ := json.Marshal(orders(to)[from-1:])
		return reply(200, nil, `{"items":`+string(data)+rest+`}`)
	}
	for name, tt := range map[string]struct {
		paging httpjson.Paging
		pages  []answer
		want   int
		err    string
	}{
		"Cursor":  {httpjson.BodyCursor{Path: "c", HasMore: "m"}, []answer{page(1, 2, `,"m":true,"c":"a"`), page(3, 4, `,"m":false,"c":"b"`)}, 4, ""},
		"Negated": {httpjson.BodyCursor{Path: "c", HasMore: "!last"}, []answer{page(1, 2, `,"last":false,"c":"a"`), page(3, 4, `,"last":true,"c":"b"`)}, 4, ""},
		"Numbers": {httpjson.PageNumber{HasMore: "m"}, []answer{page(1, 2, `,"m":1`), page(1, 0, `,"m":1`), page(3, 4, `,"m":0`)}, 4, ""},
		"Left":    {httpjson.BodyCursor{Path: "c", HasMore: "m"}, []answer{page(1, 2, `,"m":12,"c":"a"`), page(3, 4, `,"m":0,"c":"b"`)}, 4, ""},
		"Pages":   {httpjson.PageNumber{Pages: "p"}, []answer{page(1, 2, `,"p":2`), page(3, 4, `,"p":2`)}, 4, ""},
		"Total":   {httpjson.Offset{Limit: 2, Total: "t"}, []answer{page(1, 2, `,"t":4`), page(3, 4, `,"t":4`)}, 4, ""},
		"Capped":  {httpjson.Offset{Total: "t"}, []answer{page(1, 2, `,"t":3`), page(3, 3, `,"t":3`)}, 3, ""},
		"Count":   {httpjson.PageNumber{Size: 2, Total: "t"}, []answer{page(1, 2, `,"t":4`), page(3, 4, `,"t":4`)}, 4, ""},
		"Size":    {httpjson.PageNumber{Size: 5, Total: "t"}, []answer{page(1, 2, `,"t":4`)}, 0, `it has 2 of the 4 records at "t", fewer than Size asks for: set Size to 2`},
		"Silent":  {httpjson.Offset{HasMore: "m"}, []answer{page(1, 2, ``), page(1, 0, ``)}, 2, ""},
		"NoName":  {httpjson.BodyCursor{Path: "c", HasMore: "m"}, []answer{page(1, 2, `,"m":true,"c":null`)}, 0, `"m" says that there is one, but there is nothing at "c"`},
		"Neither": {httpjson.BodyCursor{Path: "c", HasMore: "m"}, []answer{page(1, 2, `,"m":"maybe"`)}, 0, `"maybe" at "m" is neither true nor false`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAPI(nil)
			a.before = func(n int, _ *http.Request) answer { return tt.pages[n-1] }
			ids, _, err := read(t.Context(), t, httpjson.Source[order]("https://api.test/", &httpjson.Options{Records: "items", Client: a.client(), Paging: tt.paging, Logger: quiet}), httpjson.Cursor{})
			require.Equal(t, numbers(1, tt.want), ids)
			require.Len(t, a.requests, len(tt.pages))
			if tt.err == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tt.err)
		})
	}
}

// The pages after the first may have another address, which gets the name of the page and nothing else.
func TestBodyCursor_URL(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		url  string
		body any
		want []string
	}{
		{"list/continue", nil, []string{"/v2/list?x=1&since=1970-01-01T00:00:07Z ", "/v2/list/continue?c=a "}},
		{"list", nil, []string{"/v2/list?x=1&since=1970-01-01T00:00:07Z ", "/v2/list?c=a "}},
		{"?y=2", nil, []string{"/v2/list?x=1&since=1970-01-01T00:00:07Z ", "/v2/list?y=2&c=a "}},
		{"https://api.test/scroll", map[string]any{"q": 1}, []string{`/v2/list?x=1 {"q":1,"since":"1970-01-01T00:00:07Z"}`, `/scroll {"c":"a"}`}},
	} {
		a := newAPI(nil)
		var got []string
		a.before = func(n int, req *http.Request) answer {
			var body []byte
			if req.Body != nil {
				body, _ = io.ReadAll(req.Body)
			}
			got = append(got, req.URL.RequestURI()+" "+string(body))
			return reply(200, nil, []string{`{"items":[{"id":1,"at":5}],"c":"a"}`, `{"items":[{"id":2,"at":6}]}`}[n-1])
		}
		src := httpjson.Source[order]("https://api.test/v2/list?x=1", &httpjson.Options{
			Records: "items", Client: a.client(), Body: tt.body, Paging: httpjson.BodyCursor{Path: "c", Param: "c", URL: tt.url},
			Since: &httpjson.Since{Path: "at", Param: "since", First: time.Unix(7, 0)},
		})
		ids, _, err := read(t.Context(), t, src, httpjson.Cursor{})
		require.NoError(t, err)
		require.Equal(t, numbers(1, 2), ids)
		require.Equal(t, tt.want, got)
	}
}

// A wait that the server asks for is kept, with any status. Classify decides about the rest.
func TestSource_Limits(t *testing.T) {
	t.Parallel()
	const date = "Wed, 25 Nov 2026 10:00:00 GMT"
	for _, tt := range []struct {
		name     string
		answer   answer
		classify func(*httpjson.Page) httpjson.Verdict
		took     time.Duration
		signal   error
	}{
		{"RetryAfter403", reply(403, map[string]string{"Retry-After": "1"}, "secondary rate limit"), nil, time.Second, nil},
		{"Reset403", reply(403, map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1795600807", "Date": date}, ""), nil, 7 * time.Second, nil},
		{"Reset429", reply(429, map[string]string{"X-RateLimit-Reset": "1795600802", "Date": date}, ""), nil, 2 * time.Second, nil},
		{"ResetNow403", reply(403, map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1795600800", "Date": date}, ""), nil, 500 * time.Millisecond, nil},
		{"AtOnce403", reply(403, map[string]string{"Retry-After": "0"}, ""), nil, 500 * time.Millisecond, nil},
		{"RetryAfterEpoch", reply(429, map[string]string{"Retry-After": "1795600807", "Date": date}, ""), nil, 7 * time.Second, nil},
		{"Half", reply(429, map[string]string{"Retry-After": "1.5"}, ""), nil, 1500 * time.Millisecond, nil},
		{"Long", reply(403, map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1795604400", "Date": date}, ""), nil, 0, dataflow.RetryAfter(errAny, time.Hour)},
		{"Forbidden", reply(403, nil, ""), nil, 0, dataflow.Permanent(errAny)},
		{"ClassifyRetry", reply(403, nil, "REQUEST_LIMIT_EXCEEDED"), func(p *httpjson.Page) httpjson.Verdict {
			if p.Status == 403 && strings.Contains(string(p.Body), "LIMIT") {
				return httpjson.Verdict{Action: httpjson.Retry, After: 3 * time.Second}
			}
			return httpjson.Verdict{}
		}, 3 * time.Second, nil},
		{"ClassifyGood", reply(200, nil, `{"ok":false,"error":"ratelimited"}`), func(p *httpjson.Page) httpjson.Verdict {
			if strings.Contains(string(p.Body), `"ok":false`) {
				return httpjson.Verdict{Action: httpjson.Retry}
			}
			return httpjson.Verdict{}
		}, 500 * time.Millisecond, nil},
		{"ClassifyFail", reply(503, map[string]string{"Retry-After": "5"}, ""), func(p *httpjson.Page) httpjson.Verdict {
			if p.Status == 503 {
				return httpjson.Verdict{Action: httpjson.Fail}
			}
			return httpjson.Verdict{}
		}, 0, dataflow.Permanent(errAny)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a := newAPI(orders(12))
				a.before = func(n int, _ *http.Request) answer {
					if n == 2 {
						return tt.answer
					}
					return nil
				}
				opts := httpjson.Options{Records: "data.orders", Client: a.client(), Paging: httpjson.PageNumber{}, Classify: tt.classify}
				began := time.Now()
				ids, _, err := read(t.Context(), t, httpjson.Source[order]("https://api.test/number", &opts), httpjson.Cursor{})
				require.Equal(t, tt.took, time.Since(began))
				if tt.signal == nil {
					require.NoError(t, err)
					require.Equal(t, numbers(1, 12), ids)
					return
				}
				require.Equal(t, numbers(1, 5), ids)
				requireSignal(t, tt.signal, err)
			})
		})
	}
}

// Auth is told of a rejected token, and asked once more.
func TestSource_TokenRejected(t *testing.T) {
	t.Parallel()
	for name, dies := range map[string]bool{"Renewed": false, "Dead": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAPI(orders(30))
			token, used := 1, 0
			a.before = func(_ int, req *http.Request) answer {
				if used++; req.Header.Get("Authorization") != fmt.Sprint(token) || used%3 == 0 && !dies {
					token++
					return reply(http.StatusUnauthorized, nil, "expired")
				}
				return nil
			}
			cached, rejected := 1, 0
			opts := httpjson.Options{Records: "data.orders", Client: a.client(), Paging: httpjson.PageNumber{}, Auth: func(req *http.Request) error {
				if httpjson.TokenRejected(req) {
					rejected++
					if cached = token; dies {
						cached = -1
					}
				}
				req.Header.Set("Authorization", fmt.Sprint(cached))
				return nil
			}}
			if dies {
				token = 7
			}
			ids, _, err := read(t.Context(), t, httpjson.Source[order]("https://api.test/number", &opts), httpjson.Cursor{})
			if dies {
				require.ErrorContains(t, err, "401 Unauthorized: expired")
				require.True(t, dataflow.IsPermanent(err))
				require.Len(t, a.requests, 2)
				return
			}
			require.NoError(t, err)
			require.Equal(t, numbers(1, 30), ids)
			require.Positive(t, rejected)
		})
	}
}

// tick is a limiter that takes a second.
type tick struct{}

func (tick) Wait(ctx context.Context) error {
	select {
	case <-time.After(time.Second):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func TestSource_Limiter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(orders(12))
		began := time.Now()
		_, _, err := read(t.Context(), t, httpjson.Source[order]("https://api.test/number", &httpjson.Options{Records: "data.orders", Client: a.client(), Paging: httpjson.PageNumber{}, Limiter: tick{}}), httpjson.Cursor{})
		require.NoError(t, err)
		require.Equal(t, time.Duration(len(a.requests))*time.Second, time.Since(began))
	})
}

// Check's error fails the attempt in the way for which it is marked.
func TestSource_Check(t *testing.T) {
	t.Parallel()
	for _, stream := range []bool{false, true} {
		for _, body := range []string{`{"ok":false,"items":[]}`, `{"errors":["throttled"],"items":null}`, `{"message":"limit"}`} {
			for _, want := range []error{errAny, dataflow.Permanent(errAny), dataflow.RetryAfter(errAny, time.Minute)} {
				src := httpjson.Source[order](bodyServer(t, 200, body), &httpjson.Options{Records: "items", Stream: stream, Check: func(p *httpjson.Page) error {
					require.JSONEq(t, body, string(p.Body))
					return want
				}})
				_, _, err := read(t.Context(), t, src, httpjson.Cursor{})
				require.ErrorContains(t, err, "page first of http://")
				requireSignal(t, want, err)
			}
		}
	}
}

// Links that leave the source's address are followed as the policy says, and never with
// credentials to another host.
func TestSource_Links(t *testing.T) {
	t.Parallel()
	allow := httpjson.Allow("other.test", "api.test:8080")
	for _, tt := range []struct {
		name, source, link string
		policy             httpjson.LinkPolicy
		want               string // the second request; "": it is refused
		secret             bool   // it has credentials
	}{
		{"Relative", "https://api.test/a?x=1", "?page=2", httpjson.SameHost, "https://api.test/a?page=2", true},
		{"Down", "https://api.test/a", "http://api.test/a?page=2", httpjson.SameHost, "https://api.test/a?page=2", true},
		{"DownPort", "https://api.test/a", "http://api.test:80/a?page=2", httpjson.SameHost, "https://api.test/a?page=2", true},
		{"Up", "http://api.test/a", "https://API.test/a?page=2", httpjson.SameHost, "https://API.test/a?page=2", true},
		{"Port", "http://api.test:8080/a", "http://api.test/a?page=2", httpjson.SameHost, "", false},
		{"Other", "https://api.test/a", "https://other.test/a?page=2", httpjson.SameHost, "", false},
		{"KeepPort", "http://api.test:8080/a", "http://api.test/a?page=2", httpjson.KeepOrigin, "http://api.test:8080/a?page=2", true},
		{"KeepInner", "https://api.test/a", "http://internal:8080/a?page=2", httpjson.KeepOrigin, "https://api.test/a?page=2", true},
		{"KeepAddress", "https://api.test/wiki/a?x=1", "/a?page=2", httpjson.KeepAddress, "https://api.test/wiki/a?page=2", true},
		{"KeepAddressInner", "https://api.test/wiki/a", "http://internal:8080/a?page=2", httpjson.KeepAddress, "https://api.test/wiki/a?page=2", true},
		{"Allowed", "https://api.test/a", "https://other.test/a?page=2", allow, "https://other.test/a?page=2", false},
		{"AllowedPort", "https://api.test/a", "https://api.test:8080/a?page=2", allow, "https://api.test:8080/a?page=2", false},
		{"NotAllowed", "https://api.test/a", "https://evil.test/a?page=2", allow, "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a := newAPI(nil)
			var asked []string
			var secrets []bool
			a.before = func(n int, req *http.Request) answer {
				asked = append(asked, req.URL.String())
				secrets = append(secrets, req.Header.Get("X-Key") != "" && req.Header.Get("X-Token") != "")
				require.Equal(t, req.Header.Get("X-Key") != "", req.Header.Get("X-Token") != "")
				if n == 1 {
					return reply(200, nil, `{"items":[{"id":1}],"next":"`+tt.link+`"}`)
				}
				return reply(200, nil, `{"items":[{"id":2}],"next":null}`)
			}
			ids, _, err := read(t.Context(), t, httpjson.Source[order](tt.source, &httpjson.Options{
				Records: "items", Client: a.client(), Paging: httpjson.NextURL{Path: "next"}, Links: tt.policy, Header: http.Header{"X-Key": {"k"}},
				Auth: func(req *http.Request) error { req.Header.Set("X-Token", "t"); return nil },
			}), httpjson.Cursor{})
			if tt.want == "" {
				require.ErrorContains(t, err, "set Options.Links to KeepOrigin or Allow(")
				require.Len(t, asked, 1)
				return
			}
			require.NoError(t, err)
			require.Equal(t, numbers(1, 2), ids)
			require.Equal(t, []string{tt.source, tt.want}, asked)
			require.Equal(t, []bool{true, tt.secret}, secrets)
		})
	}
}

// A client that follows redirects to another host sends it no headers. Links of that host
// are followed by the policy.
func TestSource_Redirected(t *testing.T) {
	t.Parallel()
	var leaked atomic.Bool
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Header.Get("X-Token") != "" || req.Header.Get("X-Key") != "" {
			leaked.Store(true)
		}
		if req.URL.Query().Get("page") == "2" {
			_, _ = fmt.Fprint(w, `{"items":[{"id":2}]}`)
			return
		}
		_, _ = fmt.Fprint(w, `{"items":[{"id":1}],"next":"/v2?page=2"}`)
	}))
	t.Cleanup(other.Close)
	home := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		http.Redirect(w, req, other.URL+req.URL.RequestURI(), http.StatusMovedPermanently)
	}))
	t.Cleanup(home.Close)
	for _, policy := range []httpjson.LinkPolicy{httpjson.KeepOrigin, httpjson.Allow(strings.TrimPrefix(other.URL, "http://"))} {
		ids, _, err := read(t.Context(), t, httpjson.Source[order](home.URL, &httpjson.Options{
			Records: "items", Client: &http.Client{}, Paging: httpjson.NextURL{Path: "next"}, Links: policy, Header: http.Header{"X-Key": {"k"}},
			Auth: func(req *http.Request) error { req.Header.Set("X-Token", "t"); return nil },
		}), httpjson.Cursor{})
		require.NoError(t, err)
		require.Equal(t, numbers(1, 2), ids)
		require.False(t, leaked.Load())
	}
}

// A redirect to another host gets no handle of a session either, which may be a secret.
func TestSource_RedirectedSession(t *testing.T) {
	t.Parallel()
	got := make(chan http.Header, 1)
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		got <- req.Header
		_, _ = fmt.Fprint(w, `[]`)
	}))
	t.Cleanup(other.Close)
	home := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/login" {
			_, _ = fmt.Fprint(w, `{"session":"secret"}`)
			return
		}
		http.Redirect(w, req, other.URL, http.StatusTemporaryRedirect)
	}))
	t.Cleanup(home.Close)
	_, _, err := read(t.Context(), t, httpjson.Source[order](home.URL, &httpjson.Options{
		Client: &http.Client{}, Open: &httpjson.Open{URL: "/login", Path: "session", Param: "header:X-Session"},
	}), httpjson.Cursor{})
	require.NoError(t, err)
	header := <-got
	require.Empty(t, header.Get("X-Session"))
	require.Equal(t, "application/json", header.Get("Accept"))
}

// The user and password of the address are sent for each page and after a redirect, and are not stored.
func TestSource_User(t *testing.T) {
	t.Parallel()
	var password atomic.Value
	password.Store("old")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		_, given, _ := req.BasicAuth()
		next := map[string]string{"": "/orders?page=2", "2": "http://" + req.Host + "/orders?page=3"}[req.URL.Query().Get("page")]
		switch {
		case given != password.Load():
			w.WriteHeader(http.StatusUnauthorized)
		case req.URL.Path == "/moved":
			http.Redirect(w, req, "http://"+req.Host+"/orders", http.StatusFound)
		case next != "":
			_, _ = fmt.Fprintf(w, `{"data":[{"id":%s1}],"next":%q}`, req.URL.Query().Get("page"), next)
		default:
			_, _ = fmt.Fprint(w, `{"data":[{"id":31}],"next":null}`)
		}
	}))
	t.Cleanup(server.Close)
	source := func(password, path string) dataflow.Source[order, httpjson.Cursor] {
		return httpjson.Source[order](strings.Replace(server.URL, "//", "//me:"+password+"@", 1)+path, &httpjson.Options{Records: "data", Key: "id", Paging: httpjson.NextURL{Path: "next"}})
	}
	for _, path := range []string{"/orders", "/moved"} {
		var ids []int
		for item, err := range source("old", path).Read(t.Context(), dataflow.Request[httpjson.Cursor]{}) {
			require.NoError(t, err, path)
			require.NotContains(t, item.Cursor.Page, "old")
			if !item.Mark {
				ids = append(ids, item.Value.ID)
			}
		}
		require.Equal(t, []int{1, 21, 31}, ids, path)
	}
	password.Store("new")
	stored := httpjson.Cursor{Page: strings.Replace(server.URL, "//", "//me:old@", 1) + "/orders?page=2"} // as earlier versions stored it
	ids, _, err := read(t.Context(), t, source("new", "/orders"), stored)
	require.NoError(t, err)
	require.Equal(t, []int{21, 31}, ids)
}

// An opening request goes through Auth, limits and retries like any other.
func TestSource_Open(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(nil)
		a.before = func(n int, req *http.Request) answer {
			require.Equal(t, "t", req.Header.Get("X-Token"))
			switch n {
			case 1:
				return reply(429, map[string]string{"Retry-After": "2"}, "")
			case 2:
				require.Equal(t, http.MethodPost, req.Method)
				return reply(200, nil, `{"id":"p1"}`)
			case 4: // the search has expired
				return reply(404, nil, "search_context_missing")
			case 5:
				return reply(200, nil, `{"id":"p2"}`)
			case 3:
				return reply(200, nil, `{"hits":[{"id":1}],"next":"a"}`)
			default:
				return reply(200, nil, `{"hits":[{"id":2}],"next":null}`)
			}
		}
		began := time.Now()
		ids, _, err := read(t.Context(), t, httpjson.Source[order]("https://api.test/search", &httpjson.Options{
			Records: "hits", Client: a.client(), Paging: httpjson.BodyCursor{Path: "next"}, Open: &httpjson.Open{URL: "/open", Path: "id", Param: "pit"},
			Auth: func(req *http.Request) error { req.Header.Set("X-Token", "t"); return nil },
		}), httpjson.Cursor{})
		require.NoError(t, err)
		require.Equal(t, numbers(1, 2), ids)
		require.Equal(t, 2*time.Second, time.Since(began))
		require.Equal(t, []string{"/open", "/open", "/search?pit=p1", "/search?cursor=a&pit=p1", "/open", "/search?cursor=a&pit=p2"}, a.requests)
	})
}

// A page whose cursor has expired is an error that says what to do, if the place is not found.
func TestSource_Expired(t *testing.T) {
	t.Parallel()
	a := newAPI(nil)
	a.before = func(_ int, req *http.Request) answer {
		if req.URL.Query().Has("cursor") {
			return reply(422, nil, "expired")
		}
		return reply(200, nil, `{"items":[{"id":8},{"id":9}],"next":null}`)
	}
	src := func(opts httpjson.Options) dataflow.Source[order, httpjson.Cursor] {
		opts.Records, opts.Client, opts.Paging = "items", a.client(), httpjson.BodyCursor{Path: "next"}
		return httpjson.Source[order]("https://api.test/", &opts)
	}
	gone := httpjson.Cursor{Page: "c", Skip: 1, Last: [3]int64{1, 2, 3}}
	_, _, err := read(t.Context(), t, src(httpjson.Options{}), gone)
	require.ErrorContains(t, err, "set the flow's cursor")
	require.True(t, dataflow.IsPermanent(err))
	_, _, err = read(t.Context(), t, src(httpjson.Options{}), httpjson.Cursor{Page: "c", Skip: 1})
	require.ErrorContains(t, err, "cursor set")
	require.ErrorContains(t, err, "422")
	for _, at := range []httpjson.Cursor{gone, {Page: "c", Skip: 1}} {
		for _, opts := range []httpjson.Options{{RestartExpired: true}, {Snapshot: true}} {
			ids, _, err := read(t.Context(), t, src(opts), at)
			require.NoError(t, err)
			require.Equal(t, numbers(8, 9), ids)
		}
	}
}

// A panic in the code of the options reaches the caller, also in a request made ahead.
func TestSource_Panic(t *testing.T) {
	t.Parallel()
	a := newAPI(orders(12))
	src := httpjson.Source[order]("https://api.test/number", &httpjson.Options{Records: "data.orders", Client: a.client(), Paging: httpjson.PageNumber{}, Auth: func(req *http.Request) error {
		if req.URL.Query().Get("page") == "2" {
			panic("no token")
		}
		return nil
	}})
	var ids []int
	require.Panics(t, func() {
		for item, err := range src.Read(t.Context(), dataflow.Request[httpjson.Cursor]{}) {
			require.NoError(t, err)
			ids = append(ids, item.Value.ID)
		}
	})
	require.Equal(t, numbers(1, 5), ids)
}

// hourly is a source of tokens that renews them as golang.org/x/oauth2 does.
type hourly struct{ n int }

func (h *hourly) Token() (*Token, error) {
	h.n++
	return &Token{AccessToken: fmt.Sprint(h.n)}, nil
}

func TestSource_TokenSource(t *testing.T) {
	t.Parallel()
	a := newAPI(orders(12))
	var got []string
	a.before = func(_ int, req *http.Request) answer {
		got = append(got, req.Header.Get("Authorization"))
		return nil
	}
	src := a.source("/cursor", httpjson.Options{Auth: recipeToken(&hourly{})})
	ids, _, err := read(t.Context(), t, src, httpjson.Cursor{})
	require.NoError(t, err)
	require.Equal(t, numbers(1, 12), ids)
	require.Equal(t, []string{"Bearer 1", "Bearer 2", "Bearer 3"}, got)
}

func TestRetryIf(t *testing.T) {
	t.Parallel()
	page := &httpjson.Page{Status: 403, Body: []byte("rate limit")}
	again := httpjson.Verdict{Action: httpjson.Retry, After: time.Minute}
	require.Equal(t, again, httpjson.RetryIf(403, "limit", time.Minute)(page))
	require.Equal(t, again, httpjson.RetryIf(0, "limit", time.Minute)(page))
	require.Equal(t, again, httpjson.RetryIf(403, "", time.Minute)(page))
	require.Zero(t, httpjson.RetryIf(403, "quota", time.Minute)(page))
	require.Zero(t, httpjson.RetryIf(200, "", time.Minute)(page))
}

// Check judges any status. A status that is tried again stays so, unless the error is permanent.
func TestSource_CheckStatus(t *testing.T) {
	t.Parallel()
	plain, gone := errors.New("bad account"), dataflow.Permanent(errors.New("account closed"))
	for _, stream := range []bool{false, true} {
		for _, c := range []struct {
			status    int
			err       error
			tries     int
			permanent bool
		}{
			{200, plain, 1, false},
			{200, gone, 1, true},
			{400, nil, 1, true},
			{400, plain, 1, false},
			{403, dataflow.Transient(plain), 1, false},
			{404, gone, 1, true},
			{500, plain, 2, false},
			{500, gone, 1, true},
			{429, plain, 2, false},
		} {
			tries := 0
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				tries++
				w.WriteHeader(c.status)
				_, _ = fmt.Fprint(w, `{"rows":[],"failure":"x"}`)
			}))
			t.Cleanup(server.Close)
			src := httpjson.Source[order](server.URL, &httpjson.Options{Records: "rows", Stream: stream, Tries: 2, MaxWait: time.Millisecond, Check: func(p *httpjson.Page) error {
				require.Equal(t, c.status, p.Status)
				require.Contains(t, string(p.Body), `"failure":"x"`)
				return c.err
			}})
			_, _, err := read(t.Context(), t, src, httpjson.Cursor{})
			require.Error(t, err, "%+v", c)
			if c.err != nil {
				require.ErrorIs(t, err, c.err)
			}
			require.Equal(t, c.permanent, dataflow.IsPermanent(err), "%+v: %v", c, err)
			require.Equal(t, c.tries, tries, "%+v", c)
		}
	}
}

// Accept reads a page from a response with an error status.
func TestSource_Accept(t *testing.T) {
	t.Parallel()
	for _, stream := range []bool{false, true} {
		src := httpjson.Source[order](bodyServer(t, 404, `{"rows":[{"id":7}]}`), &httpjson.Options{Records: "rows", Stream: stream, Classify: func(p *httpjson.Page) httpjson.Verdict {
			if p.Status == http.StatusNotFound {
				return httpjson.Verdict{Action: httpjson.Accept}
			}
			return httpjson.Verdict{}
		}})
		ids, _, err := read(t.Context(), t, src, httpjson.Cursor{})
		require.NoError(t, err)
		require.Equal(t, []int{7}, ids)
	}
}
