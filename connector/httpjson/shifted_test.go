package httpjson_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/httpjson"
)

// paged is an API with pages of 100 numbers, whose list may lose and change records.
type paged struct {
	list []order
	page int
}

func (p *paged) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	n, _ := strconv.Atoi(req.URL.Query().Get("page"))
	from := min((n-1)*p.page, len(p.list))
	_ = json.NewEncoder(w).Encode(append([]order{}, p.list[from:min(from+p.page, len(p.list))]...))
}

// A list that has lost records before the cursor is read on at the right place, with and
// without a key, and as a stream.
func TestSource_Retention(t *testing.T) {
	t.Parallel()
	for _, gone := range []int{0, 1, 7, 50, 99, 100, 101, 150, 200, 249} {
		for _, come := range []int{0, 1, 20, 100, 120, 300} {
			for _, opts := range []httpjson.Options{{}, {Key: "id"}, {Stream: true}} {
				p := &paged{list: orders(250), page: 100}
				server := httptest.NewServer(p)
				t.Cleanup(server.Close)
				opts.Paging = httpjson.PageNumber{}
				src := httpjson.Source[order](server.URL, &opts)
				ids, at, err := read(t.Context(), t, src, httpjson.Cursor{})
				require.NoError(t, err)
				require.Equal(t, numbers(1, 250), ids)
				p.list = orders(250 + come)[gone:]
				ids, at, err = read(t.Context(), t, src, at)
				require.NoError(t, err)
				require.Equal(t, numbers(251, 250+come), ids, "%d gone, %d come, %+v", gone, come, opts)
				ids, _, err = read(t.Context(), t, src, at)
				require.NoError(t, err)
				require.Empty(t, ids)
			}
		}
	}
	p := &paged{list: orders(250), page: 100}
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	opts := &httpjson.Options{Paging: httpjson.PageNumber{}, Key: "id"}
	_, at, err := read(t.Context(), t, httpjson.Source[order](server.URL, opts), httpjson.Cursor{})
	require.NoError(t, err)
	p.list = orders(400)[250:]
	_, _, err = read(t.Context(), t, httpjson.Source[order](server.URL, opts), at)
	require.ErrorContains(t, err, "the last records that were read are not in the list")
	require.True(t, dataflow.IsPermanent(err))
	opts.RestartExpired = true
	ids, _, err := read(t.Context(), t, httpjson.Source[order](server.URL, opts), at)
	require.NoError(t, err)
	require.Equal(t, numbers(251, 400), ids)
}

// The last records may change or go, and nothing else is lost. Without a key, a record that
// has changed is another one, and is read again.
func TestSource_LastRecordChanged(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"", "id"} {
		p := &paged{list: orders(25), page: 10}
		server := httptest.NewServer(p)
		t.Cleanup(server.Close)
		src := httpjson.Source[order](server.URL, &httpjson.Options{Paging: httpjson.PageNumber{}, Key: key})
		_, at, err := read(t.Context(), t, src, httpjson.Cursor{})
		require.NoError(t, err)
		p.list = orders(30)
		p.list[24].Note, p.list[23].Note = "changed", "changed"
		ids, _, err := read(t.Context(), t, src, at)
		require.NoError(t, err)
		if key == "" { // it is another record
			require.Equal(t, []int{24, 25, 26, 27, 28, 29, 30}, ids)
		} else {
			require.Equal(t, numbers(26, 30), ids)
		}
		p.list = append(orders(24), orders(30)[25:]...) // 25 is gone
		ids, _, err = read(t.Context(), t, src, at)
		require.NoError(t, err)
		require.Equal(t, numbers(26, 30), ids)
	}
}

// Equal records are not taken for each other.
func TestSource_EqualRecords(t *testing.T) {
	t.Parallel()
	n := 7
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprint(w, "["+strings.Repeat(`{"id":1},`, n-1)+`{"id":1}]`)
	}))
	t.Cleanup(server.Close)
	src := httpjson.Source[order](server.URL, nil)
	ids, at, err := read(t.Context(), t, src, httpjson.Cursor{})
	require.NoError(t, err)
	require.Len(t, ids, 7)
	n = 12
	ids, _, err = read(t.Context(), t, src, at)
	require.NoError(t, err)
	require.Len(t, ids, 5)
}

// newest is an API with its list sorted by creation, newest first, and pages by number.
func newest(p *paged) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		turned := &paged{page: p.page}
		for i := len(p.list) - 1; i >= 0; i-- {
			turned.list = append(turned.list, p.list[i])
		}
		turned.ServeHTTP(w, req)
	})
}

// A list with the newest first is read from its beginning to what is known. Records that come
// while a run is interrupted, and records that go, lose nothing.
func TestSource_NewestFirst(t *testing.T) {
	t.Parallel()
	for _, stream := range []bool{false, true} {
		for _, key := range []string{"", "id"} {
			for _, lost := range []int{0, 1, 4} { // of those that are known
				p := &paged{list: orders(280), page: 100}
				asked := 0
				server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
					asked++
					newest(p).ServeHTTP(w, req)
				}))
				t.Cleanup(server.Close)
				src := httpjson.Source[order](server.URL, &httpjson.Options{Paging: httpjson.PageNumber{}, Key: key, Order: httpjson.NewestFirst, Stream: stream})
				have := map[int]int{}
				take := func(from httpjson.Cursor, most int) (at httpjson.Cursor) {
					at = from
					for item, err := range src.Read(t.Context(), dataflow.Request[httpjson.Cursor]{From: from}) {
						require.NoError(t, err)
						if at = item.Cursor; !item.Mark {
							have[item.Value.ID]++
						}
						if most--; most == 0 {
							break
						}
					}
					return at
				}
				at := take(httpjson.Cursor{}, 150)
				p.list = orders(290)
				at = take(at, -1)
				require.Len(t, have, 280, "those that came later are for the next run")
				asked = 0
				p.list = append(orders(280-lost), orders(310)[280:]...)
				at = take(at, -1)
				require.Len(t, have, 310)
				require.Equal(t, 1, asked, "it stops at what is known")
				require.Equal(t, at, take(at, -1), "nothing is new")
				for id, times := range have {
					require.Equal(t, 1, times, "record %d", id)
				}
			}
		}
	}
}

// With a time, the run stops at the first record before it.
func TestSource_NewestFirstByTime(t *testing.T) {
	t.Parallel()
	f := &fake{page: 10}
	f.grow(95)
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		asked++
		list := append([]thing{}, f.things...)
		for i, j := 0, len(list)-1; i < j; i, j = i+1, j-1 {
			list[i], list[j] = list[j], list[i]
		}
		page, _ := f.cut(list, (number(req, "page")-1)*10)
		write(w, rows(page, "at", iso))
	}))
	t.Cleanup(server.Close)
	src := httpjson.Source[order](server.URL, &httpjson.Options{Paging: httpjson.PageNumber{}, Order: httpjson.NewestFirst, Since: &httpjson.Since{Path: "at", Lookback: 11 * 60 * 1e9}})
	ids, at, err := read(t.Context(), t, src, httpjson.Cursor{})
	require.NoError(t, err)
	require.Len(t, ids, 95)
	f.things = append(f.things, thing{n: 100, changed: f.things[94].changed}, thing{n: 101, changed: f.things[94].changed.Add(3e11)})
	asked = 0
	ids, _, err = read(t.Context(), t, src, at)
	require.NoError(t, err)
	require.Equal(t, []int{101, 100, 95, 94, 93}[:2], ids[:2])
	require.Equal(t, 1, asked)
}

// A list with the newest first, for which the options do not say so, is an error and no run
// without records. It is told from a list that has lost records, and from pages of another size.
func TestSource_OrderNotSet(t *testing.T) {
	t.Parallel()
	for _, come := range []int{1, 3, 10, 99, 100, 300} {
		for _, opts := range []httpjson.Options{{}, {Key: "id"}, {Stream: true}} {
			p := &paged{list: orders(250), page: 100}
			server := httptest.NewServer(newest(p))
			t.Cleanup(server.Close)
			opts.Paging = httpjson.PageNumber{}
			_, at, err := read(t.Context(), t, httpjson.Source[order](server.URL, &opts), httpjson.Cursor{})
			require.NoError(t, err)
			p.list = orders(250 + come)
			_, _, err = read(t.Context(), t, httpjson.Source[order](server.URL, &opts), at)
			require.ErrorContains(t, err, "set Options.Order to NewestFirst", "%d come, %+v", come, opts)
			require.True(t, dataflow.IsPermanent(err))
			opts.RestartExpired = true
			ids, _, err := read(t.Context(), t, httpjson.Source[order](server.URL, &opts), at)
			require.NoError(t, err)
			require.Len(t, ids, 250+come)
		}
	}
	for _, size := range []int{30, 70, 200} {
		p := &paged{list: orders(250), page: 100}
		server := httptest.NewServer(p)
		t.Cleanup(server.Close)
		src := httpjson.Source[order](server.URL, &httpjson.Options{Paging: httpjson.PageNumber{}})
		_, at, err := read(t.Context(), t, src, httpjson.Cursor{})
		require.NoError(t, err)
		p.list, p.page = orders(260), size
		ids, at, err := read(t.Context(), t, src, at)
		require.NoError(t, err)
		require.Equal(t, numbers(251, 260), ids)
		p.list = orders(270)
		ids, _, err = read(t.Context(), t, src, at)
		require.NoError(t, err)
		require.Equal(t, numbers(261, 270), ids)
	}
}
