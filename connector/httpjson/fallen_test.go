package httpjson_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/connector/httpjson"
)

// shrinking is an API with pages of ten by offset, whose list loses records after some of its responses.
type shrinking struct {
	list  []order
	asked int
	lose  map[int][]int // after which response which records
	total func(s *shrinking, offset int) int
}

func (s *shrinking) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	offset, _ := strconv.Atoi(req.URL.Query().Get("offset"))
	total := len(s.list)
	if s.total != nil {
		total = s.total(s, offset)
	}
	from := min(offset, len(s.list))
	_ = json.NewEncoder(w).Encode(map[string]any{"total": total, "items": s.list[from:min(from+10, len(s.list))]})
	s.asked++
	s.list = slices.DeleteFunc(slices.Clone(s.list), func(o order) bool { return slices.Contains(s.lose[s.asked], o.ID) })
}

// Records that are removed while a list is read by offset move the later ones up. None of these is lost or read twice.
func TestSource_OffsetShrinks(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]map[int][]int{
		"one that was read":       {1: {3}},
		"the last that was read":  {2: {20}},
		"the last three":          {2: {18, 19, 20}},
		"one that comes later":    {1: {25}},
		"the last of all":         {2: {45}},
		"some of both":            {1: {1, 2, 10, 11, 12}},
		"a page":                  {2: numbers(11, 20)},
		"more than a page":        {3: append(numbers(1, 12), 35)},
		"again and again":         {1: {1}, 2: {2}, 3: {3}, 4: {4}, 5: {5}, 6: {6}, 7: {7}},
		"so that no page follows": {4: numbers(1, 9)},
		"all that were read":      {1: numbers(1, 9)},
	} {
		for _, opts := range []httpjson.Options{{}, {Key: "id"}, {Snapshot: true}} {
			s := &shrinking{list: orders(45), lose: lose}
			server := httptest.NewServer(s)
			t.Cleanup(server.Close)
			opts.Records, opts.Paging = "items", httpjson.Offset{Limit: 10, Total: "total"}
			src := httpjson.Source[order](server.URL, &opts)
			ids, at, err := read(t.Context(), t, src, httpjson.Cursor{})
			require.NoError(t, err, name)
			for _, o := range s.list {
				require.Contains(t, ids, o.ID, "%s %+v: lost", name, opts)
			}
			if opts.Snapshot {
				continue
			}
			require.Len(t, ids, len(slices.Compact(slices.Clone(ids))), "%s: read twice", name)
			s.list = append(s.list, order{ID: 100})
			ids, _, err = read(t.Context(), t, src, at)
			require.NoError(t, err, name)
			require.Equal(t, []int{100}, ids, name)
		}
	}
}

// A total that is another number, such as that of the records still to come, leads to no loop.
func TestSource_OffsetTotalIsAnother(t *testing.T) {
	t.Parallel()
	for _, total := range []func(s *shrinking, offset int) int{
		func(s *shrinking, offset int) int { return len(s.list) - offset },
		func(s *shrinking, offset int) int { return min(10, len(s.list)-offset) },
		func(s *shrinking, _ int) int { return 1000 - s.asked },
	} {
		s := &shrinking{list: orders(45), total: total}
		server := httptest.NewServer(s)
		t.Cleanup(server.Close)
		opts := &httpjson.Options{Records: "items", Paging: httpjson.Offset{Limit: 10, Total: "total"}}
		ids, _, err := read(t.Context(), t, httpjson.Source[order](server.URL, opts), httpjson.Cursor{})
		require.NoError(t, err)
		require.Subset(t, numbers(1, 45), ids)
		require.Len(t, ids, len(slices.Compact(slices.Clone(ids))))
		require.LessOrEqual(t, s.asked, 80)
	}
}

// A stream has used a page before its total tells that others may be missing. It says so.
func TestSource_StreamedOffsetShrinks(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(&shrinking{list: orders(45), lose: map[int][]int{1: {3}}})
	t.Cleanup(server.Close)
	var log bytes.Buffer
	ids, _, err := read(t.Context(), t, httpjson.Source[order](server.URL, &httpjson.Options{
		Records: "items", Stream: true, Paging: httpjson.Offset{Limit: 10, Total: "total"}, Logger: slog.New(slog.NewTextHandler(&log, nil)),
	}), httpjson.Cursor{})
	require.NoError(t, err)
	require.NotContains(t, ids, 11)
	require.Contains(t, log.String(), "the list has lost records while it was read")
	require.Contains(t, log.String(), "lost=1")
}

// Records without an ID may be equal. The read passes no more of them than the list has lost, also if it goes back twice.
func TestSource_OffsetShrinksEqual(t *testing.T) {
	t.Parallel()
	for name, shrinks := range map[string][]int{"once": {2}, "at the end": {4}, "twice": {2, 3}} {
		total, asked := 45, 0
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			offset, _ := strconv.Atoi(req.URL.Query().Get("offset"))
			items := make([]order, max(0, min(10, total-offset)))
			_ = json.NewEncoder(w).Encode(map[string]any{"total": total, "items": items})
			if asked++; slices.Contains(shrinks, asked) {
				total--
			}
		}))
		t.Cleanup(server.Close)
		ids, _, err := read(t.Context(), t, httpjson.Source[order](server.URL, &httpjson.Options{
			Records: "items", AllowEqualPages: true, Paging: httpjson.Offset{Limit: 10, Total: "total"},
		}), httpjson.Cursor{})
		require.NoError(t, err, name)
		require.Len(t, ids, total, name)
	}
}
