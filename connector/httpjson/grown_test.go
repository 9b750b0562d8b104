package httpjson_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/httpjson"
)

// growing is an API of pages of five, newest first, to which records come after each of its
// first responses.
type growing struct {
	total, come, times int
}

func (g *growing) page(n int, req *http.Request) answer {
	from := 0 // counted from the newest
	switch q := req.URL.Query(); {
	case q.Has("offset"):
		from, _ = strconv.Atoi(q.Get("offset"))
	case q.Has("page"):
		page, _ := strconv.Atoi(q.Get("page"))
		from = (page - 1) * 5
	}
	list := []order{}
	for i := from; i < min(from+5, g.total); i++ {
		list = append(list, order{ID: g.total - i})
	}
	header := map[string]string{}
	if from+5 < g.total {
		header["Link"] = fmt.Sprintf(`</x?page=%d>; rel="next"`, from/5+2)
	}
	if n <= g.times {
		g.total += g.come
	}
	data, _ := json.Marshal(list)
	return reply(200, header, string(data))
}

// Records that come while a list with the newest first is read move those that were read to
// the next page. They are read once, and the later ones by the next run.
func TestSource_NewestFirstGrowing(t *testing.T) {
	t.Parallel()
	for name, paging := range map[string]httpjson.Paging{"number": httpjson.PageNumber{}, "offset": httpjson.Offset{Limit: 5}, "link": httpjson.LinkHeader{}, "stream": httpjson.PageNumber{}, "link stream": httpjson.LinkHeader{}} {
		for _, g := range []growing{{25, 1, 9}, {25, 2, 2}, {25, 4, 3}, {25, 5, 2}, {23, 3, 1}} {
			a := newAPI(nil)
			a.before = g.page
			opts := &httpjson.Options{Key: "id", Paging: paging, Order: httpjson.NewestFirst, Client: a.client(), Stream: strings.HasSuffix(name, "stream")}
			at := httpjson.Cursor{}
			have := map[int]int{}
			for range 5 {
				ids, last, err := read(t.Context(), t, httpjson.Source[order]("https://api.test/x", opts), at)
				require.NoError(t, err, "%s %+v", name, g)
				for at = last; len(ids) > 0; ids = ids[1:] {
					have[ids[0]]++
				}
			}
			require.Len(t, have, g.total, "%s %+v", name, g)
			for id, times := range have {
				require.Equal(t, 1, times, "%s %+v: %d", name, g, id)
			}
		}
	}
}

// Without a key, records that have moved to the next page are read again, because others may be equal. The log says so.
func TestSource_NewestFirstGrowingWithoutKey(t *testing.T) {
	t.Parallel()
	for _, stream := range []bool{false, true} {
		for _, come := range []int{0, 2} {
			g := growing{total: 12, come: come, times: 1}
			a := newAPI(nil)
			a.before = g.page
			var log bytes.Buffer
			ids, _, err := read(t.Context(), t, httpjson.Source[order]("https://api.test/x", &httpjson.Options{
				Paging: httpjson.PageNumber{}, Order: httpjson.NewestFirst, Client: a.client(), Stream: stream, Logger: slog.New(slog.NewTextHandler(&log, nil)),
			}), httpjson.Cursor{})
			require.NoError(t, err)
			require.Len(t, ids, 12+come)
			require.Equal(t, min(come, 1), strings.Count(log.String(), "set Options.Key"), log.String())
			require.Equal(t, come > 0, strings.Contains(log.String(), "records=2"), log.String())
		}
	}
}

// An API that sends its last page for each later one is still noticed.
func TestSource_NewestFirstLastPageAgain(t *testing.T) {
	t.Parallel()
	for key, requests := range map[string]int{"": 4, "id": 7} {
		a := newAPI(nil)
		g := growing{total: 12}
		a.before = func(n int, req *http.Request) answer {
			q := req.URL.Query()
			if page, _ := strconv.Atoi(q.Get("page")); page > 3 {
				q.Set("page", "3")
			}
			req = req.Clone(req.Context())
			req.URL.RawQuery = q.Encode()
			return g.page(n, req)
		}
		ids, _, err := read(t.Context(), t, httpjson.Source[order]("https://api.test/x", &httpjson.Options{Key: key, Paging: httpjson.PageNumber{}, Order: httpjson.NewestFirst, Client: a.client()}), httpjson.Cursor{})
		require.ErrorContains(t, err, "it has the same records as the page 3")
		require.Len(t, ids, 12)
		require.Len(t, a.requests, requests, key)
	}
}

// Records that are equal, or that were removed before an attempt goes on, hide no others.
func TestSource_NewestFirstHidesNothing(t *testing.T) {
	t.Parallel()
	for _, stream := range []bool{false, true} {
		pinned := []string{`[{"id":9},{"id":1}]`, `[{"id":8},{"id":1}]`, `[{"id":7}]`, `[]`}
		a := newAPI(nil)
		a.before = func(n int, _ *http.Request) answer { return reply(200, nil, pinned[n-1]) }
		for _, key := range []string{"", "id"} {
			a.requests = nil
			ids, _, err := read(t.Context(), t, httpjson.Source[order]("https://api.test/x", &httpjson.Options{Key: key, Paging: httpjson.PageNumber{}, Order: httpjson.NewestFirst, Client: a.client(), Stream: stream}), httpjson.Cursor{})
			require.NoError(t, err)
			require.Equal(t, []int{9, 1, 8, 1, 7}, ids)
		}

		list := []order{}
		for i := range 20 {
			list = append(list, order{ID: 20 - i})
		}
		a = newAPI(nil)
		a.before = func(_ int, req *http.Request) answer {
			page, _ := strconv.Atoi(req.URL.Query().Get("page"))
			from := min(max(page-1, 0)*4, len(list))
			data, _ := json.Marshal(list[from:min(from+4, len(list))])
			return reply(200, nil, string(data))
		}
		source := httpjson.Source[order]("https://api.test/x", &httpjson.Options{Key: "id", Paging: httpjson.PageNumber{}, Order: httpjson.NewestFirst, Client: a.client(), Stream: stream})
		var at httpjson.Cursor
		have := map[int]bool{}
		for item, err := range source.Read(t.Context(), dataflow.Request[httpjson.Cursor]{}) {
			require.NoError(t, err)
			have[item.Value.ID], at = true, item.Cursor
			if len(have) == 7 {
				break // the attempt ends within the second page
			}
		}
		list = slices.DeleteFunc(list, func(o order) bool { return o.ID >= 14 && o.ID <= 16 })
		ids, _, err := read(t.Context(), t, source, at)
		require.NoError(t, err)
		for _, id := range ids {
			have[id] = true
		}
		require.Len(t, have, 20, "%v", ids)
	}
}
