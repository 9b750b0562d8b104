package httpjson

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/connectortest"
)

type row struct {
	N    int    `json:"n"`
	Text string `json:"text"`
}

func numbered(n int) []row {
	rows := make([]row, n)
	for i := range rows {
		rows[i] = row{N: i, Text: "<é>\n"}
	}
	return rows
}

// store is an API that ignores a repeated Idempotency-Key.
type store struct {
	mu     sync.Mutex
	seen   map[string]bool
	rows   []row
	keys   []string
	bodies []string
	status int // of each response; 0 means 200
}

func (s *store) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key := req.Header.Get("Idempotency-Key")
	s.keys, s.bodies = append(s.keys, key), append(s.bodies, req.Method+" "+string(data))
	w := httptest.NewRecorder()
	if s.status != 0 {
		w.WriteHeader(s.status)
		return w.Result(), nil
	}
	if s.seen == nil {
		s.seen = map[string]bool{}
	}
	var rows []row
	if !s.seen[key] && json.Unmarshal(data, &rows) == nil {
		s.seen[key], s.rows = true, append(s.rows, rows...)
	}
	return w.Result(), nil
}

func TestSink_Contract(t *testing.T) {
	t.Parallel()
	for name, size := range map[string]int{"Batch": 0, "Rows": 2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			connectortest.TestSink(t, connectortest.SinkConfig[dataflow.Sink[row], row]{
				Make: func(*testing.T) (dataflow.Sink[row], func() []row) {
					s := &store{}
					return newSink[row]("https://api.test/rows", &SinkOptions{Client: &http.Client{Transport: s}, MaxRows: size}), func() []row { return s.rows }
				},
				Waiting: func(*testing.T) dataflow.Sink[row] {
					return newSink[row]("https://api.test/rows", &SinkOptions{Client: &http.Client{Transport: silent{}}})
				},
				Rows: numbered,
				Huge: func() row { return row{Text: strings.Repeat("x", 1<<20)} },
			})
		})
	}
}

type silent struct{}

func (silent) RoundTrip(req *http.Request) (*http.Response, error) {
	<-req.Context().Done()
	return nil, req.Context().Err()
}

// lines makes JSON lines of rows, and changes what it was given.
func lines(rows []json.RawMessage) (body []byte, err error) {
	for i, row := range rows {
		body = append(append(body, row...), '\n')
		rows[i] = nil
	}
	return body, nil
}

func TestSink_Requests(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name         string
		opts         SinkOptions
		keys, bodies []string
	}{
		{"Batch", SinkOptions{}, []string{"b1"}, []string{`POST [{"n":0},{"n":1},{"n":2}]`}},
		{"Field", SinkOptions{Method: "PUT", Field: "rows"}, []string{"b1"}, []string{`PUT {"rows":[{"n":0},{"n":1},{"n":2}]}`}},
		{"Body", SinkOptions{Body: lines, MaxRows: 2}, []string{"b1-1", "b1-3"}, []string{"POST {\"n\":0}\n{\"n\":1}\n", "POST {\"n\":2}\n"}},
		{"Rows", SinkOptions{MaxRows: 2}, []string{"b1-1", "b1-3"}, []string{`POST [{"n":0},{"n":1}]`, `POST [{"n":2}]`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := &store{}
			tt.opts.Client = &http.Client{Transport: s}
			type small struct {
				N int `json:"n"`
			}
			err := newSink[small]("https://api.test/rows", &tt.opts).Write(t.Context(), dataflow.SinkBatch[small]{ID: "b1", Rows: []small{{0}, {1}, {2}}})
			require.NoError(t, err)
			require.Equal(t, tt.keys, s.keys)
			require.Equal(t, tt.bodies, s.bodies)
		})
	}
}

func TestSink_Refused(t *testing.T) {
	t.Parallel()
	for status, permanent := range map[int]bool{400: true, 401: true, 409: true, 413: true, 422: true, 408: false, 425: false, 429: false, 500: false, 503: false} {
		s := &store{status: status}
		err := newSink[row]("https://api.test/rows", &SinkOptions{Client: &http.Client{Transport: s}, Tries: 1}).Write(t.Context(), dataflow.SinkBatch[row]{ID: "b", Rows: numbered(1)})
		require.ErrorContains(t, err, "POST https://api.test/rows: "+strconv.Itoa(status)+" "+http.StatusText(status))
		require.Equal(t, permanent, dataflow.IsPermanent(err), "%d", status)
		require.Len(t, s.keys, 1)
	}
}

// A batch that was taken is not sent again because its empty response claims to be compressed.
func TestSink_EncodingOfNothing(t *testing.T) {
	t.Parallel()
	for _, status := range []int{200, 201, 204} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			w.Header().Set("Content-Length", "0")
			w.WriteHeader(status)
		}))
		t.Cleanup(server.Close)
		require.NoError(t, newSink[row](server.URL, nil).Write(t.Context(), dataflow.SinkBatch[row]{ID: "b", Rows: numbered(1)}), status)
	}
}

// A web page, as of a sign-in or during maintenance, has taken no rows. Check may know better.
func TestSink_WebPage(t *testing.T) {
	t.Parallel()
	for body, page := range map[string]bool{"<!doctype HTML><p>Maintenance": true, "\n<html>\n": true, "ok": false, "<?xml version='1.0'?><ok/>": false, "": false} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }))
		t.Cleanup(server.Close)
		batch := dataflow.SinkBatch[row]{ID: "b", Rows: numbered(1)}
		err := newSink[row](server.URL, nil).Write(t.Context(), batch)
		if page {
			require.ErrorContains(t, err, "the response is a web page, not JSON: <")
			require.False(t, dataflow.IsPermanent(err))
		} else {
			require.NoError(t, err)
		}
		require.NoError(t, newSink[row](server.URL, &SinkOptions{Check: func(*SinkResponse) error { return nil }}).Write(t.Context(), batch))
	}
}

func TestSink_BadRow(t *testing.T) {
	t.Parallel()
	s := &store{}
	err := newSink[any]("https://api.test/rows", &SinkOptions{Client: &http.Client{Transport: s}}).
		Write(t.Context(), dataflow.SinkBatch[any]{ID: "b", Rows: []any{1, func() {}}, Keys: []string{"x", "y"}})
	var bad *dataflow.RecordError
	require.ErrorAs(t, err, &bad)
	require.Equal(t, "y", bad.Key)
	require.Empty(t, s.keys)
}

func TestSink_Validate(t *testing.T) {
	t.Parallel()
	for field, s := range map[string]*sink[row]{
		"URL":     newSink[row]("ftp://x", nil),
		"Method":  newSink[row]("https://x", &SinkOptions{Method: "GET"}),
		"MaxRows": newSink[row]("https://x", &SinkOptions{MaxRows: -1}),
		"Field":   newSink[row]("https://x", &SinkOptions{Field: "rows", Body: lines}),
	} {
		var wrong *dataflow.ConfigError
		require.ErrorAs(t, s.Validate(), &wrong)
		require.Equal(t, field, wrong.Field)
	}
}

// FuzzNextLink requires that no header makes nextLink panic, and that it finds the
// link in a valid header.
func FuzzNextLink(f *testing.F) {
	for _, header := range []string{"", "<", "<a", "<a>", `<a>; rel="next"`, `<a>; rel=prev, <b>; title="x, <y>"; rel="last NEXT"`, `<a>; rel`, `<a>,,<b>;rel=next`} {
		f.Add(header)
	}
	f.Fuzz(func(t *testing.T, header string) {
		_ = nextLink(header)
		if !strings.ContainsAny(header, "<>\",") {
			require.Equal(t, "https://x/?a=1,2", nextLink("<"+header+">; rel=prev; t=\"a,<b>; rel=next\", <https://x/?a=1,2>; rel=\"next\""))
		}
	})
}

// A text that is not UTF-8 is refused: the server must not get other characters.
func TestSink_NotUTF8(t *testing.T) {
	t.Parallel()
	s := &store{}
	var refused []int
	err := newSink[row]("https://api.test/rows", &SinkOptions{Client: &http.Client{Transport: s}}).Write(t.Context(), dataflow.SinkBatch[row]{
		ID: "b", Rows: []row{{N: 1, Text: "café"}, {N: 2, Text: "caf\xe9"}}, Keys: []string{"1", "2"},
		Refuse: func(i int, err error) error {
			require.ErrorContains(t, err, `the text "caf\xe9" of the field Text is not UTF-8`)
			refused = append(refused, i)
			return nil
		},
	})
	require.NoError(t, err)
	require.Equal(t, []int{1}, refused)
	require.Equal(t, []row{{N: 1, Text: "café"}}, s.rows)
}
