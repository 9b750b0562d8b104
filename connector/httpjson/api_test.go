package httpjson_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/httpjson"
)

// order is the record of most tests.
type order struct {
	ID   int    `json:"id"`
	Note string `json:"note"`
}

func orders(n int) []order {
	rows := make([]order, n)
	for i := range rows {
		rows[i] = order{ID: i + 1, Note: fmt.Sprintf("no. %d <é>", i+1)}
	}
	return rows
}

// api is an API with every kind of paging and five records a page. It is its own
// transport, without sockets, so that it works with the clock of synctest.
type api struct {
	mu       sync.Mutex
	records  []json.RawMessage
	etag     bool                                  // whether it supports ETags
	before   func(n int, req *http.Request) answer // may answer in its place
	requests []string
	tags     []string     // the If-None-Match headers received
	open     atomic.Int32 // response bodies not closed yet
}

const apiPage = 5

func newAPI(rows []order) *api {
	a := &api{}
	a.add(rows...)
	return a
}

func (a *api) add(rows ...order) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, row := range rows {
		data, _ := json.Marshal(row)
		a.records = append(a.records, data)
	}
}

func (a *api) client() *http.Client { return &http.Client{Transport: a} }

func (a *api) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	a.mu.Lock()
	a.requests = append(a.requests, req.URL.RequestURI())
	a.tags = append(a.tags, req.Header.Get("If-None-Match"))
	n, before := len(a.requests), a.before
	a.mu.Unlock()
	var resp *http.Response
	if before != nil {
		if answer := before(n, req); answer != nil {
			resp = answer()
		}
	}
	if resp == nil {
		w := httptest.NewRecorder()
		a.answer(w, req)
		resp = w.Result()
	}
	a.open.Add(1)
	resp.Body = &body{resp.Body, a}
	resp.Request = req
	return resp, nil
}

type body struct {
	io.ReadCloser
	a *api
}

func (b *body) Close() error {
	b.a.open.Add(-1)
	return b.ReadCloser.Close()
}

func (a *api) answer(w http.ResponseWriter, req *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	query := req.URL.Query()
	from, size := 0, apiPage
	switch req.URL.Path {
	case "/number":
		n, _ := strconv.Atoi(query.Get("page"))
		from = (n - 1) * apiPage
	case "/offset":
		from, _ = strconv.Atoi(query.Get("offset"))
		size, _ = strconv.Atoi(query.Get("limit"))
	case "/cursor", "/link", "/next":
		from, _ = strconv.Atoi(strings.TrimPrefix(query.Get("cursor"), "c"))
	default:
		size = len(a.records)
	}
	from = min(from, len(a.records))
	to := min(from+size, len(a.records))
	records := a.records[from:to]
	if records == nil {
		records = []json.RawMessage{}
	}
	answer := map[string]any{"data": map[string]any{"orders": records}, "next": nil}
	if to < len(a.records) {
		switch next := fmt.Sprintf("c%d", to); req.URL.Path {
		case "/cursor":
			answer["next"] = next
		case "/next":
			answer["next"] = "/next?cursor=" + next
		case "/link":
			w.Header().Add("Link", fmt.Sprintf(`<https://api.test/link?x=1,2>; rel="first"; title="a, b", <?cursor=%s>; rel="last next"`, next))
		}
	}
	data, _ := json.Marshal(answer)
	if a.etag {
		tag := fmt.Sprintf(`"%d-%d-%v"`, from, len(records), answer["next"] != nil) // made from the body, as in many APIs
		w.Header().Set("ETag", tag)
		if req.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	_, _ = w.Write(data)
}

// pagings maps the API's paths to their pagings.
func pagings() map[string]httpjson.Paging {
	return map[string]httpjson.Paging{
		"/all":    nil,
		"/number": httpjson.PageNumber{},
		"/offset": httpjson.Offset{Limit: apiPage},
		"/cursor": httpjson.BodyCursor{Path: "next"},
		"/next":   httpjson.NextURL{Path: "next"},
		"/link":   httpjson.LinkHeader{},
	}
}

func (a *api) source(path string, opts httpjson.Options) dataflow.Source[order, httpjson.Cursor] {
	opts.Records, opts.Client, opts.Paging = "data.orders", a.client(), pagings()[path]
	return httpjson.Source[order]("https://api.test"+path, &opts)
}

// read reads everything after the cursor. It returns the records' numbers, the last
// cursor and the error that ended the read.
func read(ctx context.Context, tb testing.TB, src dataflow.Source[order, httpjson.Cursor], from httpjson.Cursor) (ids []int, last httpjson.Cursor, err error) {
	tb.Helper()
	last = from
	for item, ierr := range src.Read(ctx, dataflow.Request[httpjson.Cursor]{From: from, Resumed: from != httpjson.Cursor{}}) {
		if ierr != nil {
			return ids, last, ierr
		}
		require.True(tb, item.Resume || item.Mark)
		last = item.Cursor
		if !item.Mark {
			ids = append(ids, item.Value.ID)
		}
	}
	return ids, last, nil
}

func numbers(from, to int) []int {
	var list []int
	for n := from; n <= to; n++ {
		list = append(list, n)
	}
	return list
}

// answer returns a new response at each call.
type answer func() *http.Response

func reply(status int, header map[string]string, text string) answer {
	return func() *http.Response {
		w := httptest.NewRecorder()
		for name, value := range header {
			w.Header().Set(name, value)
		}
		w.WriteHeader(status)
		_, _ = w.WriteString(text)
		return w.Result()
	}
}

// quiet is a logger without output.
var quiet = slog.New(slog.DiscardHandler)
