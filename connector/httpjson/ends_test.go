package httpjson_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/httpjson"
)

// cutter is an API that cuts its list into pages of at most most records, and then
// leaves out the hidden ones.
type cutter struct {
	n, most int
	hidden  map[int]bool
	status  int // for a page after the last; 0: an empty list
	asked   int
}

func (c *cutter) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	c.asked++
	query := req.URL.Query()
	number := func(name string) int { n, _ := strconv.Atoi(query.Get(name)); return n }
	size := min(c.most, max(number("per_page"), number("limit")))
	from := number("offset")
	if query.Has("page") {
		from = (number("page") - 1) * size
	}
	if from >= c.n && c.status != 0 {
		w.WriteHeader(c.status)
		return
	}
	list := []order{}
	for i := from; i < min(from+size, c.n); i++ {
		if !c.hidden[i+1] {
			list = append(list, order{ID: i + 1})
		}
	}
	_ = json.NewEncoder(w).Encode(list)
}

func (c *cutter) visible(from int) (ids []int) {
	for id := from; id <= c.n; id++ {
		if !c.hidden[id] {
			ids = append(ids, id)
		}
	}
	return ids
}

// A page that is shorter than requested is not the last, because APIs hide records and
// cap sizes. No record is lost or doubled, and later runs read what was added.
func TestSource_ShortPages(t *testing.T) {
	t.Parallel()
	hide := func(ids ...int) map[int]bool {
		set := map[int]bool{}
		for _, id := range ids {
			set[id] = true
		}
		return set
	}
	for name, c := range map[string]cutter{
		"Hidden":       {n: 100, most: 10, hidden: hide(15)},
		"HiddenFirst":  {n: 100, most: 10, hidden: hide(11)},
		"HiddenLast":   {n: 100, most: 10, hidden: hide(20)},
		"HiddenMany":   {n: 95, most: 10, hidden: hide(1, 12, 14, 20, 21, 38, 39, 40, 77)},
		"HiddenAlways": {n: 95, most: 10, hidden: hide(1, 12, 23, 34, 45, 56, 67, 78, 89)},
		"Capped":       {n: 100, most: 3},
		"CappedHidden": {n: 47, most: 4, hidden: hide(6, 14, 15, 31)},
		"Status":       {n: 40, most: 10, status: 404},
	} {
		for paging, p := range map[string]httpjson.Paging{
			"PageNumber": httpjson.PageNumber{Size: 10, EndStatus: c.status},
			"Offset":     httpjson.Offset{Limit: 10, EndStatus: c.status},
		} {
			t.Run(name+paging, func(t *testing.T) {
				t.Parallel()
				c := c
				server := httptest.NewServer(&c)
				defer server.Close()
				src := httpjson.Source[order](server.URL, &httpjson.Options{Paging: p})
				ids, at, err := read(t.Context(), t, src, httpjson.Cursor{})
				require.NoError(t, err)
				require.Equal(t, c.visible(1), ids)
				for range 2 {
					before := c.n
					c.n += 10
					ids, at, err = read(t.Context(), t, src, at)
					require.NoError(t, err)
					require.Equal(t, c.visible(before+1), ids)
				}
			})
		}
	}
}

func TestSource_ShortPageEnds(t *testing.T) {
	t.Parallel()
	for _, p := range []httpjson.Paging{httpjson.PageNumber{Size: 10, ShortPageEnds: true}, httpjson.Offset{Limit: 10, ShortPageEnds: true}} {
		c := &cutter{n: 25, most: 10}
		server := httptest.NewServer(c)
		defer server.Close()
		ids, _, err := read(t.Context(), t, httpjson.Source[order](server.URL, &httpjson.Options{Paging: p}), httpjson.Cursor{})
		require.NoError(t, err)
		require.Equal(t, numbers(1, 25), ids)
		require.Equal(t, 3, c.asked)
	}
}

// Equal records are told apart if the API says how it counts.
func TestOffset_Step(t *testing.T) {
	t.Parallel()
	c := &cutter{n: 100, most: 10, hidden: map[int]bool{15: true, 20: true}}
	server := httptest.NewServer(c)
	defer server.Close()
	src := httpjson.Source[order](server.URL, &httpjson.Options{Paging: httpjson.Offset{Limit: 10, Step: 10}})
	ids, _, err := read(t.Context(), t, src, httpjson.Cursor{})
	require.NoError(t, err)
	require.Equal(t, c.visible(1), ids)
	require.Equal(t, 11, c.asked)
}

// A web page of a gateway with that status is not the end: it may pass.
func TestSource_EndStatus_WebPage(t *testing.T) {
	t.Parallel()
	for _, stream := range []bool{false, true} {
		for _, paging := range []httpjson.Paging{httpjson.PageNumber{Size: 1, EndStatus: 404}, httpjson.Offset{Limit: 1, EndStatus: 404}} {
			a := newAPI(nil)
			a.before = func(n int, _ *http.Request) answer {
				if n == 1 {
					return reply(200, nil, `[{"id":1}]`)
				}
				return reply(404, nil, "<html><head><title>404 Not Found</title></head></html>")
			}
			opts := &httpjson.Options{Client: a.client(), Paging: paging, Stream: stream}
			ids, _, err := read(t.Context(), t, httpjson.Source[order]("https://api.test/x", opts), httpjson.Cursor{})
			require.Equal(t, []int{1}, ids)
			require.ErrorContains(t, err, "it is a web page, as of a gateway, and does not end the list")
			require.False(t, dataflow.IsPermanent(err), "it may pass")

			opts.Classify = func(p *httpjson.Page) httpjson.Verdict {
				if p.Status == 404 {
					return httpjson.Verdict{Action: httpjson.End}
				}
				return httpjson.Verdict{}
			}
			a.requests = nil
			_, _, err = read(t.Context(), t, httpjson.Source[order]("https://api.test/x", opts), httpjson.Cursor{})
			require.NoError(t, err)
		}
	}
}

// A status after the last page is an error that names the option, unless it is set.
func TestSource_EndStatus(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(&cutter{n: 20, most: 10, status: 404})
	defer server.Close()
	for _, p := range []httpjson.Paging{httpjson.PageNumber{Size: 10}, httpjson.Offset{Limit: 10}, httpjson.Offset{Limit: 10, EndStatus: 410}} {
		ids, _, err := read(t.Context(), t, httpjson.Source[order](server.URL, &httpjson.Options{Paging: p}), httpjson.Cursor{})
		require.Equal(t, numbers(1, 20), ids)
		require.True(t, dataflow.IsPermanent(err))
		require.ErrorContains(t, err, "404 Not Found")
	}
	src := httpjson.Source[order](server.URL, &httpjson.Options{Paging: httpjson.PageNumber{Size: 10}})
	_, _, err := read(t.Context(), t, src, httpjson.Cursor{})
	require.ErrorContains(t, err, "set EndStatus in Options.Paging")
	far := reply(400, nil, `{"error":"Offset must be less than 10000"}`)
	a := newAPI(nil)
	a.before = func(n int, _ *http.Request) answer {
		if n == 2 {
			return far
		}
		return reply(200, nil, `{"items":[{"id":1}],"more":true,"n":9}`)
	}
	for _, p := range []httpjson.Paging{httpjson.Offset{HasMore: "more"}, httpjson.Offset{Total: "n"}, httpjson.PageNumber{Pages: "n"}} {
		a.requests = nil
		_, _, err := read(t.Context(), t, httpjson.Source[order]("https://api.test/", &httpjson.Options{Records: "items", Client: a.client(), Paging: p}), httpjson.Cursor{})
		require.ErrorContains(t, err, "Offset must be less than 10000")
		require.ErrorContains(t, err, "the API may limit how far the pages go")
		require.NotContains(t, err.Error(), "EndStatus", "it would end the list there, with success")
	}
	for field, p := range map[string]httpjson.Paging{
		"PageNumber.ShortPageEnds": httpjson.PageNumber{ShortPageEnds: true},
		"PageNumber.EndStatus":     httpjson.PageNumber{EndStatus: 200},
		"Offset.EndStatus":         httpjson.Offset{EndStatus: 500},
		"Offset.Step":              httpjson.Offset{Step: -1},
	} {
		var wrong *dataflow.ConfigError
		require.ErrorAs(t, p.(dataflow.Validator).Validate(), &wrong)
		require.Equal(t, field, wrong.Field)
	}
}

// A list that has lost records may have no page any more where the last run ended. What has come since stands on an
// earlier one.
func TestSource_EndStatusShorter(t *testing.T) {
	t.Parallel()
	for _, stream := range []bool{false, true} {
		list := orders(25)
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			from := (number(req, "page") - 1) * 10
			if from >= len(list) {
				refuse(w, http.StatusBadRequest, `{"code":"rest_post_invalid_page_number"}`)
				return
			}
			write(w, list[from:min(from+10, len(list))])
		}))
		t.Cleanup(server.Close)
		src := httpjson.Source[order](server.URL, &httpjson.Options{Key: "id", Stream: stream, Paging: httpjson.PageNumber{EndStatus: 400}})
		ids, at, err := read(t.Context(), t, src, httpjson.Cursor{})
		require.NoError(t, err)
		require.Equal(t, numbers(1, 25), ids)
		list = orders(27)[10:]
		ids, last, err := read(t.Context(), t, src, at)
		require.NoError(t, err)
		require.Equal(t, numbers(26, 27), ids)
		ids, _, err = read(t.Context(), t, src, last)
		require.NoError(t, err)
		require.Empty(t, ids)
		list = orders(40)[30:]
		_, _, err = read(t.Context(), t, src, at)
		require.ErrorContains(t, err, "not in the list of "+server.URL+" any more")
	}
}

// A last page that names the place where the list will continue is not requested again.
func TestSource_Continues(t *testing.T) {
	t.Parallel()
	for _, stream := range []bool{false, true} {
		for _, paging := range []httpjson.Paging{
			httpjson.BodyCursor{Path: "at", Param: "after", HasMore: "more", Continues: true},
			httpjson.NextURL{Path: "link", HasMore: "more", Continues: true},
		} {
			last := 25
			var asked []string
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				asked = append(asked, req.URL.RawQuery)
				from, _ := strconv.Atoi(req.URL.Query().Get("after"))
				to := min(from+10, last)
				_ = json.NewEncoder(w).Encode(map[string]any{
					"rows": append([]order{}, orders(last)[from:to]...), "at": strconv.Itoa(to), "more": to < last, "link": fmt.Sprintf("?after=%d", to),
				})
			}))
			t.Cleanup(server.Close)
			src := httpjson.Source[order](server.URL, &httpjson.Options{Records: "rows", Paging: paging, Stream: stream})
			ids, at, err := read(t.Context(), t, src, httpjson.Cursor{})
			require.NoError(t, err)
			require.Equal(t, numbers(1, 25), ids)
			for range 2 {
				ids, again, err := read(t.Context(), t, src, at)
				require.NoError(t, err)
				require.Empty(t, ids)
				require.Equal(t, at, again)
			}
			last = 40
			ids, _, err = read(t.Context(), t, src, at)
			require.NoError(t, err)
			require.Equal(t, numbers(26, 40), ids)
			require.Equal(t, []string{"", "after=10", "after=20", "after=25", "after=25", "after=25", "after=35"}, asked)
		}
	}
}

// A record that was read and then changed has left its page of a list that continues, and stands at the list's end. A
// run that comes back to the page, after a crash, goes on there and reads the change.
func TestSource_ContinuesChanged(t *testing.T) {
	t.Parallel()
	for _, stream := range []bool{false, true} {
		for _, stop := range []int{1, 3, 4, 5, 6} {
			type change struct {
				ID  int `json:"id"`
				Seq int `json:"note,string"`
			}
			changes := []change{{1, 1}, {2, 2}, {3, 3}, {4, 4}, {5, 5}, {6, 6}}
			var mu sync.Mutex // a page that is requested ahead is given up
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				mu.Lock()
				defer mu.Unlock()
				after, _ := strconv.Atoi(req.URL.Query().Get("since"))
				from := slices.IndexFunc(changes, func(c change) bool { return c.Seq > after })
				if from < 0 {
					from = len(changes)
				}
				to := min(from+3, len(changes))
				if to > from {
					after = changes[to-1].Seq
				}
				_ = json.NewEncoder(w).Encode(map[string]any{"results": append([]change{}, changes[from:to]...), "last_seq": strconv.Itoa(after), "pending": len(changes) - to})
			}))
			t.Cleanup(server.Close)
			src := httpjson.Source[order](server.URL, &httpjson.Options{
				Records: "results", Key: "id", Stream: stream,
				Paging: httpjson.BodyCursor{Path: "last_seq", Param: "since", HasMore: "pending", Continues: true},
			})
			var at httpjson.Cursor
			have := map[int]string{}
			take := func(most int) {
				for item, err := range src.Read(t.Context(), dataflow.Request[httpjson.Cursor]{From: at, Resumed: at != httpjson.Cursor{}}) {
					require.NoError(t, err)
					if at = item.Cursor; !item.Mark {
						have[item.Value.ID] = item.Value.Note
					}
					if most--; most == 0 {
						return
					}
				}
			}
			take(stop)
			mu.Lock()
			changes = append(slices.Delete(changes, stop-1, stop), change{stop, 7})
			mu.Unlock()
			take(-1)
			require.Len(t, have, 6, "stopped after %d", stop)
			require.Equal(t, "7", have[stop], "stopped after %d", stop)
		}
	}
}

// If none of the last records is on its page any more, the others come again. They count as read again, and the log says so.
func TestSource_ContinuesAgain(t *testing.T) {
	t.Parallel()
	for _, stream := range []bool{false, true} {
		var logs bytes.Buffer
		body := `{"d":[{"id":1},{"id":2},{"id":3},{"id":4},{"id":5},{"id":6}],"more":false}`
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, body) }))
		t.Cleanup(server.Close)
		src := httpjson.Source[order](server.URL, &httpjson.Options{
			Records: "d", Key: "id", Stream: stream, Logger: slog.New(slog.NewTextHandler(&logs, nil)),
			Paging: httpjson.BodyCursor{Path: "next", HasMore: "more", Continues: true, Optional: true},
		})
		var at httpjson.Cursor
		var again, fresh []int
		for _, most := range []int{5, 9} {
			for item, err := range src.Read(t.Context(), dataflow.Request[httpjson.Cursor]{From: at, Resumed: at != httpjson.Cursor{}}) {
				require.NoError(t, err)
				at = item.Cursor
				if item.Again {
					again = append(again, item.Value.ID)
				} else if !item.Mark {
					fresh = append(fresh, item.Value.ID)
				}
				if most--; most == 0 {
					break
				}
			}
			body = `{"d":[{"id":1},{"id":2},{"id":6},{"id":3,"note":"b"},{"id":4,"note":"b"},{"id":5,"note":"b"}],"more":false}`
		}
		require.Equal(t, []int{1, 2}, again)
		require.Equal(t, []int{1, 2, 3, 4, 5, 6, 3, 4, 5}, fresh)
		require.Contains(t, logs.String(), "a record that was read has left its page")
	}
}

// An API that leaves out an empty list has no records, also where another page follows.
func TestSource_OmitsEmpty(t *testing.T) {
	t.Parallel()
	for _, stream := range []bool{false, true} {
		for _, empty := range []string{`{"next":"b"}`, `{"d":null,"next":"b"}`, `{"d":{},"next":"b"}`} {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				if req.URL.Query().Get("cursor") == "b" {
					_, _ = fmt.Fprint(w, `{"d":{"rows":[{"id":1}]}}`)
					return
				}
				_, _ = fmt.Fprint(w, empty)
			}))
			t.Cleanup(server.Close)
			opts := &httpjson.Options{Records: "d.rows", Paging: httpjson.BodyCursor{Path: "next"}, Stream: stream}
			_, _, err := read(t.Context(), t, httpjson.Source[order](server.URL, opts), httpjson.Cursor{})
			require.Error(t, err, empty)
			opts.OmitsEmpty = true
			ids, _, err := read(t.Context(), t, httpjson.Source[order](server.URL, opts), httpjson.Cursor{})
			require.NoError(t, err)
			require.Equal(t, []int{1}, ids)
		}
		src := httpjson.Source[order](bodyServer(t, 200, `{"errors":[{"message":"no"}]}`), &httpjson.Options{Records: "d.rows", OmitsEmpty: true, Stream: stream})
		_, _, err := read(t.Context(), t, src, httpjson.Cursor{})
		require.ErrorContains(t, err, "the server reports errors")
	}
}

// A page without content may link to another.
func TestSource_NoContentWithLink(t *testing.T) {
	t.Parallel()
	for _, stream := range []bool{false, true} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if req.URL.Query().Get("p") == "2" {
				_, _ = fmt.Fprint(w, `[{"id":1}]`)
				return
			}
			w.Header().Set("Link", `<?p=2>; rel="next"`)
			w.WriteHeader(http.StatusNoContent)
		}))
		t.Cleanup(server.Close)
		ids, _, err := read(t.Context(), t, httpjson.Source[order](server.URL, &httpjson.Options{Paging: httpjson.LinkHeader{}, Stream: stream}), httpjson.Cursor{})
		require.NoError(t, err)
		require.Equal(t, []int{1}, ids)
	}
}
