package httpjson_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/httpjson"
)

// named is an API whose pages of ten are named by the id of the record before them. It counts
// its requests.
type named struct {
	list  []order
	asked int
}

func (n *named) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	n.asked++
	from := 0
	if after := req.URL.Query().Get("after"); after != "" {
		id, _ := strconv.Atoi(after)
		if from = slices.IndexFunc(n.list, func(o order) bool { return o.ID == id }) + 1; from == 0 {
			w.WriteHeader(http.StatusNotFound)
			return
		}
	}
	page := n.list[from:min(from+10, len(n.list))]
	_ = json.NewEncoder(w).Encode(map[string]any{"data": append([]order{}, page...), "more": from+10 < len(n.list)})
}

func (n *named) source(t *testing.T, opts httpjson.Options) dataflow.Source[order, httpjson.Cursor] {
	t.Helper()
	server := httptest.NewServer(n)
	t.Cleanup(server.Close)
	opts.Records, opts.Paging = "data", httpjson.BodyCursor{Path: "data.-1.id", Param: "after", HasMore: "more"}
	return httpjson.Source[order](server.URL, &opts)
}

// manners are the options that change how pages are read.
func manners() []httpjson.Options {
	return []httpjson.Options{{}, {Key: "id"}, {Stream: true}, {Stream: true, Key: "id"}}
}

// turned returns orders newest first.
func turned(n int) []order {
	list := orders(n)
	slices.Reverse(list)
	return list
}

// A list with the newest first whose pages are named by the last record ends with its oldest
// records, after which nothing comes. The first page tells.
func TestSource_OrderNotSet_Named(t *testing.T) {
	t.Parallel()
	for _, come := range []int{1, 4, 5, 9, 10, 11, 45} {
		for _, opts := range manners() {
			api := &named{list: turned(35)}
			src := api.source(t, opts)
			ids, at, err := read(t.Context(), t, src, httpjson.Cursor{})
			require.NoError(t, err)
			require.Len(t, ids, 35)
			ids, again, err := read(t.Context(), t, src, at)
			require.NoError(t, err)
			require.Empty(t, ids)
			require.Equal(t, at, again)
			api.list = turned(35 + come)
			_, _, err = read(t.Context(), t, src, at)
			require.ErrorContains(t, err, "set Options.Order to NewestFirst", "%d come, %+v", come, opts)
			require.True(t, dataflow.IsPermanent(err))
			opts.RestartExpired = true
			ids, _, err = read(t.Context(), t, api.source(t, opts), at)
			require.NoError(t, err)
			require.Len(t, ids, 35+come)
			opts.RestartExpired, opts.Order = false, httpjson.NewestFirst
			src = api.source(t, opts)
			_, at, err = read(t.Context(), t, src, httpjson.Cursor{})
			require.NoError(t, err)
			api.list = turned(35 + come + 12)
			ids, _, err = read(t.Context(), t, src, at)
			require.NoError(t, err)
			require.Len(t, ids, 12)
		}
	}
}

// A list that loses its first records, or has them changed, is none with the newest first. It
// is looked through once, and then asked for two pages again.
func TestSource_Named_Retention(t *testing.T) {
	t.Parallel()
	for _, gone := range []int{0, 1, 4, 5, 6, 10, 29} {
		for _, opts := range manners() {
			api := &named{list: orders(35)}
			src := api.source(t, opts)
			_, at, err := read(t.Context(), t, src, httpjson.Cursor{})
			require.NoError(t, err)
			api.list = orders(35)[gone:]
			api.list[0].Note = "changed"
			for range 3 {
				api.asked = 0
				var ids []int
				ids, at, err = read(t.Context(), t, src, at)
				require.NoError(t, err, "%d gone, %+v", gone, opts)
				require.Empty(t, ids)
			}
			require.LessOrEqual(t, api.asked, 2)
			api.list = append(api.list, orders(52)[35:]...)
			ids, _, err := read(t.Context(), t, src, at)
			require.NoError(t, err)
			require.Equal(t, numbers(36, 52), ids)
		}
	}
}

// The last records may go, and what comes after them is read, in a stream too.
func TestSource_LastRecordsGone(t *testing.T) {
	t.Parallel()
	for gone := range 3 {
		for _, come := range []int{0, 1, 12, 30} {
			for _, opts := range manners() {
				list := append(orders(35-gone), orders(35 + come)[35:]...)
				p := &paged{list: orders(35), page: 10}
				server := httptest.NewServer(p)
				t.Cleanup(server.Close)
				opts.Paging = httpjson.PageNumber{}
				src := httpjson.Source[order](server.URL, &opts)
				_, at, err := read(t.Context(), t, src, httpjson.Cursor{})
				require.NoError(t, err)
				p.list = list
				ids, _, err := read(t.Context(), t, src, at)
				require.NoError(t, err, "%d gone, %d come, %+v", gone, come, opts)
				require.Equal(t, numbers(36, 35+come), ids)

				api := &named{list: orders(35)}
				src = api.source(t, opts)
				_, at, err = read(t.Context(), t, src, httpjson.Cursor{})
				require.NoError(t, err)
				api.list = list
				ids, _, err = read(t.Context(), t, src, at)
				require.NoError(t, err, "%d gone, %d come, %+v", gone, come, opts)
				require.Equal(t, numbers(36, 35+come), ids)
			}
		}
	}
}
