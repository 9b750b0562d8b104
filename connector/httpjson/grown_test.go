package httpjson_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

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
	for name, paging := range map[string]httpjson.Paging{"number": httpjson.PageNumber{}, "offset": httpjson.Offset{Limit: 5}, "link": httpjson.LinkHeader{}} {
		for _, g := range []growing{{25, 1, 9}, {25, 2, 2}, {25, 4, 3}, {25, 5, 2}, {25, 7, 2}, {23, 3, 1}} {
			for _, stream := range []bool{false, true} {
				if stream && g.come > 5 {
					continue // a stream yields the records before it knows what follows
				}
				g := g
				a := newAPI(nil)
				a.before = g.page
				opts := &httpjson.Options{Key: "id", Paging: paging, Order: httpjson.NewestFirst, Client: a.client(), Stream: stream}
				at := httpjson.Cursor{}
				have := map[int]int{}
				for range 5 {
					ids, last, err := read(t.Context(), t, httpjson.Source[order]("https://api.test/x", opts), at)
					require.NoError(t, err, "%s %+v %v", name, g, stream)
					for at = last; len(ids) > 0; ids = ids[1:] {
						have[ids[0]]++
					}
				}
				require.Len(t, have, g.total, "%s %+v %v", name, g, stream)
				for id, times := range have {
					require.Equal(t, 1, times, "%s %+v %v: %d", name, g, stream, id)
				}
			}
		}
	}
}

// An API that sends its last page for each later one is still noticed.
func TestSource_NewestFirstLastPageAgain(t *testing.T) {
	t.Parallel()
	for _, stream := range []bool{false, true} {
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
		ids, _, err := read(t.Context(), t, httpjson.Source[order]("https://api.test/x", &httpjson.Options{Paging: httpjson.PageNumber{}, Order: httpjson.NewestFirst, Client: a.client(), Stream: stream}), httpjson.Cursor{})
		require.ErrorContains(t, err, "it has the same records as the page 3")
		require.Len(t, ids, 12)
		require.Len(t, a.requests, 7)
	}
}
