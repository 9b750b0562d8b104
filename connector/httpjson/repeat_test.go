package httpjson_test

import (
	"encoding/json"
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

// script maps a page's name to its records and the name of the next page.
type script map[string]struct {
	ids  []int
	next string
}

func (s script) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	page := s[req.URL.Query().Get("cursor")]
	list := []order{}
	for _, id := range page.ids {
		list = append(list, order{ID: id})
	}
	answer := map[string]any{"items": list, "cursor": page.next, "link": ""}
	if page.next != "" {
		answer["link"] = "?cursor=" + page.next
		w.Header().Set("Link", fmt.Sprintf(`<?cursor=%s>; rel="next"`, page.next))
	}
	_ = json.NewEncoder(w).Encode(answer)
}

func cursorPagings() map[string]httpjson.Paging {
	return map[string]httpjson.Paging{
		"BodyCursor": httpjson.BodyCursor{Path: "cursor"},
		"NextURL":    httpjson.NextURL{Path: "link"},
		"LinkHeader": httpjson.LinkHeader{},
	}
}

// A page that names itself as the next is the last. Its records are read once, and a
// later run reads what was added.
func TestSource_NextIsItself(t *testing.T) {
	t.Parallel()
	for name, p := range cursorPagings() {
		for _, empty := range []bool{true, false} {
			t.Run(fmt.Sprint(name, empty), func(t *testing.T) {
				t.Parallel()
				s := script{"": {[]int{1, 2}, "c2"}, "c2": {[]int{3, 4}, "c2"}}
				if empty {
					s = script{"": {[]int{1, 2}, "c2"}, "c2": {[]int{3, 4}, "c4"}, "c4": {nil, "c4"}}
				}
				server := httptest.NewServer(s)
				defer server.Close()
				src := httpjson.Source[order](server.URL, &httpjson.Options{Records: "items", Paging: p})
				ids, at, err := read(t.Context(), t, src, httpjson.Cursor{})
				require.NoError(t, err)
				require.Equal(t, numbers(1, 4), ids)
				ids, at, err = read(t.Context(), t, src, at)
				require.NoError(t, err)
				require.Empty(t, ids)
				s["c2"] = script{"": {[]int{3, 4}, "c4"}}[""]
				s["c4"] = script{"": {[]int{5}, "c4"}}[""]
				ids, _, err = read(t.Context(), t, src, at)
				require.NoError(t, err)
				require.Equal(t, []int{5}, ids)
			})
		}
	}
}

// A page that names itself as the next is not the last if HasMore says that another follows: all records
// after it would be missing, in silence.
func TestSource_NextIsItselfButMore(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		id := 1 + len(req.URL.Query().Get("cursor"))
		_, _ = fmt.Fprintf(w, `{"items":[{"id":%d}],"cursor":"s","link":"?cursor=s","more":true,"last":false}`, id)
	}))
	defer server.Close()
	for name, p := range map[string]httpjson.Paging{
		"more": httpjson.BodyCursor{Path: "cursor", HasMore: "more"}, "!last": httpjson.NextURL{Path: "link", HasMore: "!last"},
	} {
		for _, stream := range []bool{false, true} {
			src := httpjson.Source[order](server.URL, &httpjson.Options{Records: "items", Paging: p, Stream: stream})
			_, at, err := read(t.Context(), t, src, httpjson.Cursor{})
			require.ErrorContains(t, err, fmt.Sprintf("it names itself as the next page, though %q says that another one follows", name))
			require.True(t, dataflow.IsPermanent(err))
			_, _, err = read(t.Context(), t, src, at)
			require.Error(t, err, "a later run is no success either")
		}
	}
}

// A cycle of pages is an error before a record is doubled, in each run.
func TestSource_Cycle(t *testing.T) {
	t.Parallel()
	for name, p := range cursorPagings() {
		for cycle, s := range map[string]script{
			"ToSecond": {"": {[]int{1, 2}, "c2"}, "c2": {[]int{3, 4}, "c4"}, "c4": {[]int{5, 6}, "c2"}},
			"ToFirst":  {"": {[]int{1, 2}, "c2"}, "c2": {[]int{3, 4}, "c0"}, "c0": {[]int{1, 2}, "c2"}},
		} {
			t.Run(name+cycle, func(t *testing.T) {
				t.Parallel()
				server := httptest.NewServer(s)
				defer server.Close()
				src := httpjson.Source[order](server.URL, &httpjson.Options{Records: "items", Paging: p})
				ids, at, err := read(t.Context(), t, src, httpjson.Cursor{})
				require.Equal(t, numbers(1, 4), ids)
				require.True(t, dataflow.IsPermanent(err))
				require.ErrorContains(t, err, map[string]string{"ToSecond": "c4", "ToFirst": "c0"}[cycle])
				require.ErrorContains(t, err, map[string]string{"ToSecond": "c2", "ToFirst": "c2"}[cycle])
				for range 3 {
					ids, at, err = read(t.Context(), t, src, at)
					require.True(t, dataflow.IsPermanent(err))
					require.Empty(t, ids)
				}
			})
		}
	}
}

// An API that sends its last page for any later one.
func TestSource_ClampedPages(t *testing.T) {
	t.Parallel()
	list := orders(12)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		from := 0
		_, _ = fmt.Sscan(req.URL.Query().Get("offset"), &from)
		if n := 0; req.URL.Query().Has("page") {
			_, _ = fmt.Sscan(req.URL.Query().Get("page"), &n)
			from = (n - 1) * 5
		}
		from = min(from, 10)
		_ = json.NewEncoder(w).Encode(list[from:min(from+5, len(list))])
	}))
	defer server.Close()
	for _, p := range []httpjson.Paging{httpjson.PageNumber{}, httpjson.PageNumber{Size: 5}, httpjson.Offset{Limit: 5, Step: 5}} {
		src := httpjson.Source[order](server.URL, &httpjson.Options{Paging: p})
		ids, at, err := read(t.Context(), t, src, httpjson.Cursor{})
		require.Equal(t, numbers(1, 12), ids)
		require.ErrorContains(t, err, "it has the same records as the page")
		require.True(t, dataflow.IsPermanent(err))
		ids, _, err = read(t.Context(), t, src, at)
		require.Empty(t, ids)
		require.Error(t, err)
	}
}

func TestSource_AllowEqualPages(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(script{"": {[]int{1, 1}, "b"}, "b": {[]int{1, 1}, ""}})
	defer server.Close()
	opts := httpjson.Options{Records: "items", Paging: httpjson.BodyCursor{Path: "cursor"}, AllowEqualPages: true}
	ids, _, err := read(t.Context(), t, httpjson.Source[order](server.URL, &opts), httpjson.Cursor{})
	require.NoError(t, err)
	require.Equal(t, []int{1, 1, 1, 1}, ids)
}

// Empty pages in a row are requested at a bounded rate. Each moves the cursor.
func TestSource_EmptyPages(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(nil)
		a.before = func(n int, _ *http.Request) answer {
			if n == 100 {
				return reply(200, nil, `{"data":{"orders":[{"id":1}]},"next":null}`)
			}
			return reply(200, nil, fmt.Sprintf(`{"data":{"orders":[]},"next":"c%d"}`, n))
		}
		began, marks := time.Now(), 0
		for item, err := range a.source("/cursor", httpjson.Options{}).Read(t.Context(), dataflow.Request[httpjson.Cursor]{}) {
			require.NoError(t, err)
			if item.Mark {
				marks++
				require.Equal(t, httpjson.Cursor{Page: fmt.Sprintf("c%d", marks)}, item.Cursor)
			}
		}
		require.Equal(t, 99, marks)
		require.Equal(t, 175*time.Millisecond+93*200*time.Millisecond, time.Since(began))
	})
}

// An API may begin a page with the record that names it, such as CouchDB with start_key. That record is
// read once, in each run, and a later run finds its place.
func TestSource_PageBeginsWithItsName(t *testing.T) {
	t.Parallel()
	n := 23
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		from := 1
		_, _ = fmt.Sscan(req.URL.Query().Get("start_key"), &from)
		list := []order{}
		for id := from; id <= min(n, from+4); id++ {
			list = append(list, order{ID: id})
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"rows": list})
	}))
	defer server.Close()
	for _, stream := range []bool{false, true} {
		for _, key := range []string{"", "id"} {
			n = 23
			src := httpjson.Source[order](server.URL, &httpjson.Options{
				Records: "rows", Key: key, Stream: stream, Paging: httpjson.BodyCursor{Path: "rows.-1.id", Param: "start_key"},
			})
			ids, at, err := read(t.Context(), t, src, httpjson.Cursor{})
			require.NoError(t, err)
			require.Equal(t, numbers(1, n), ids)
			for range 6 {
				n++
				ids, at, err = read(t.Context(), t, src, at)
				require.NoError(t, err)
				require.Equal(t, []int{n}, ids)
			}
			ids, _, err = read(t.Context(), t, src, httpjson.Cursor{Page: "404", Skip: 1, Last: at.Last, Read: at.Read, First: at.First})
			require.NoError(t, err)
			require.Empty(t, ids, "it looks for the last record from the first page on")
		}
	}
}

// Several records may have the name of a page, as those of one second: a page that begins with all of them, or
// with the last, doubles none, and takes no later one for them.
func TestSource_PageBeginsWithItsNames(t *testing.T) {
	t.Parallel()
	type event struct {
		ID int `json:"id"`
		At int `json:"at"`
	}
	for _, last := range []bool{false, true} {
		var list []event
		for id := 1; id <= 60; id++ {
			list = append(list, event{id, (id + 2) / 3})
		}
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			at, from := 0, 0
			if _, err := fmt.Sscan(req.URL.Query().Get("from"), &at); err == nil {
				for from < len(list) && list[from].At < at {
					from++
				}
				for last && from+1 < len(list) && list[from+1].At == at {
					from++
				}
			}
			_ = json.NewEncoder(w).Encode(map[string]any{"rows": list[from:min(from+9, len(list))]})
		}))
		t.Cleanup(server.Close)
		for _, stream := range []bool{false, true} {
			for _, key := range []string{"", "id"} {
				src := httpjson.Source[order](server.URL, &httpjson.Options{
					Records: "rows", Key: key, Stream: stream, Paging: httpjson.BodyCursor{Path: "rows.-1.at", Param: "from"},
				})
				ids, at, err := read(t.Context(), t, src, httpjson.Cursor{})
				require.NoError(t, err)
				require.Equal(t, numbers(1, 60), ids, "last %v, stream %v, key %q", last, stream, key)
				ids, _, err = read(t.Context(), t, src, at)
				require.NoError(t, err)
				require.Empty(t, ids)
			}
		}
	}
}
