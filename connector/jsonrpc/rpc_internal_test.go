package jsonrpc

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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

func hugeRow() row { return row{Text: strings.Repeat("x", 1<<20)} }

// rpc is a server that lists records, five at a time, and stores the records it
// receives. It is its own transport.
type rpc struct {
	mu      sync.Mutex
	list    []json.RawMessage
	seen    map[string]bool
	rows    []row
	calls   []string
	keys    []string
	refuse  map[int]string // error objects of receive_record, by the row's N
	refused string         // error object of every call
	answer  string         // replaces every response
	shuffle bool           // answer a batch in another order
	open    atomic.Int32
}

func (s *rpc) client() *http.Client { return &http.Client{Transport: s} }

func (s *rpc) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls, s.keys = append(s.calls, string(data)), append(s.keys, req.Header.Get("Idempotency-Key"))
	w := httptest.NewRecorder()
	var batch []json.RawMessage
	switch {
	case s.answer != "":
		_, _ = w.WriteString(s.answer)
	case json.Unmarshal(data, &batch) == nil:
		var answers []string
		for _, call := range batch {
			answers = append(answers, s.handle(call))
		}
		if s.shuffle {
			slices.Reverse(answers)
		}
		_, _ = w.WriteString("[" + strings.Join(answers, ",") + "]")
	default:
		_, _ = w.WriteString(s.handle(data))
	}
	s.open.Add(1)
	resp := w.Result()
	resp.Body = &body{resp.Body, s}
	return resp, nil
}

type body struct {
	io.ReadCloser
	s *rpc
}

func (b *body) Close() error {
	b.s.open.Add(-1)
	return b.ReadCloser.Close()
}

func (s *rpc) handle(data []byte) string {
	var call struct {
		ID     string          `json:"id"`
		Method string          `json:"method"`
		Params json.RawMessage `json:"params"`
	}
	if err := json.Unmarshal(data, &call); err != nil {
		return `{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"Parse error"}}`
	}
	failed := func(object string) string {
		return fmt.Sprintf(`{"jsonrpc":"2.0","id":%q,"error":%s}`, call.ID, object)
	}
	if s.refused != "" {
		return failed(s.refused)
	}
	var rows []row
	switch call.Method {
	case "list":
		return fmt.Sprintf(`{"jsonrpc":"2.0","id":%q,"result":%s}`, call.ID, s.page(call.Params))
	case "receive_records":
		var params [1][]row
		if json.Unmarshal(call.Params, &params) != nil {
			return failed(`{"code":-32602,"message":"Invalid params"}`)
		}
		rows = params[0]
	case "receive_record":
		var params [1]row
		if json.Unmarshal(call.Params, &params) != nil {
			return failed(`{"code":-32602,"message":"Invalid params"}`)
		}
		if object, ok := s.refuse[params[0].N]; ok {
			return failed(object)
		}
		rows = params[:]
	default:
		return failed(`{"code":-32601,"message":"Method not found"}`)
	}
	if s.seen == nil {
		s.seen = map[string]bool{}
	}
	if !s.seen[call.ID] {
		s.seen[call.ID], s.rows = true, append(s.rows, rows...)
	}
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%q,"result":null}`, call.ID)
}

func (s *rpc) page(params json.RawMessage) string {
	var p struct {
		Cursor struct{ At int }
	}
	_ = json.Unmarshal(params, &p)
	from := min(p.Cursor.At, len(s.list))
	to := min(from+5, len(s.list))
	next := "null"
	if to < len(s.list) {
		next = fmt.Sprintf(`{"at":%d}`, to)
	}
	list, _ := json.Marshal(append([]json.RawMessage{}, s.list[from:to]...))
	return fmt.Sprintf(`{"page":{"records":%s,"next":%s}}`, list, next)
}

func (s *rpc) source() dataflow.Source[row, Cursor] {
	return Source[row]("https://api.test/rpc", "list", &Options{Records: "page.records", Next: "page.next", Client: s.client(), Params: map[string]any{"of": "birds"}})
}

func newRPC(rows []row) *rpc {
	s := &rpc{}
	for _, r := range rows {
		data, _ := json.Marshal(r)
		s.list = append(s.list, data)
	}
	return s
}

func TestSource_Contract(t *testing.T) {
	t.Parallel()
	type source = dataflow.Source[row, Cursor]
	var servers sync.Map
	of := func(s *rpc) source {
		src := s.source()
		servers.Store(src, s)
		return src
	}
	connectortest.TestSource(t, connectortest.SourceConfig[row, Cursor]{
		Make: func(_ *testing.T, rows []row) source { return of(newRPC(rows)) },
		MakeBad: func(_ *testing.T, rows []row, at int) source {
			s := newRPC(rows)
			s.list = slices.Insert(s.list, at, []byte(`{"n":"x"}`))
			return of(s)
		},
		Waiting: func(*testing.T) source {
			return Source[row]("https://api.test/rpc", "list", &Options{Client: &http.Client{Transport: silent{}}})
		},
		Open: func(src source) int {
			s, ok := servers.Load(src)
			if !ok {
				return 0
			}
			return int(s.(*rpc).open.Load())
		},
		Rows: numbered,
		Huge: hugeRow,
	})
}

func TestSink_Contract(t *testing.T) {
	t.Parallel()
	for name, each := range map[string]bool{"Together": false, "Each": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			connectortest.TestSink(t, connectortest.SinkConfig[dataflow.Sink[row], row]{
				Make: func(*testing.T) (dataflow.Sink[row], func() []row) {
					s := &rpc{shuffle: true}
					return newSink[row]("https://api.test/rpc", &SinkOptions{Client: s.client(), Each: each}), func() []row { return s.rows }
				},
				Waiting: func(*testing.T) dataflow.Sink[row] {
					return newSink[row]("https://api.test/rpc", &SinkOptions{Client: &http.Client{Transport: silent{}}})
				},
				Rows: numbered,
				Huge: hugeRow,
			})
		})
	}
}

// silent never answers.
type silent struct{}

func (silent) RoundTrip(req *http.Request) (*http.Response, error) {
	<-req.Context().Done()
	return nil, req.Context().Err()
}

// A later run reads only the records added since.
func TestSource_Grows(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 3, 5, 7} {
		s := newRPC(numbered(n))
		var at Cursor
		read := func() (rows []row) {
			for item, err := range s.source().Read(t.Context(), dataflow.Request[Cursor]{From: at, Resumed: true}) {
				require.NoError(t, err)
				if at = item.Cursor; !item.Mark {
					rows = append(rows, item.Value)
				}
			}
			return rows
		}
		require.Len(t, read(), n)
		require.Empty(t, read())
		s.list = newRPC(numbered(n + 9)).list
		require.Equal(t, numbered(n + 9)[n:], read())
		require.Empty(t, read())
	}
}

func TestSource_Calls(t *testing.T) {
	t.Parallel()
	s := newRPC(numbered(6))
	for _, err := range s.source().Read(t.Context(), dataflow.Request[Cursor]{}) {
		require.NoError(t, err)
	}
	require.Equal(t, []string{
		`{"jsonrpc":"2.0","id":"1","method":"list","params":{"of":"birds"}}`,
		`{"jsonrpc":"2.0","id":"1","method":"list","params":{"cursor":{"at":5},"of":"birds"}}`,
	}, s.calls)
}

func TestSource_Errors(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name      string
		server    *rpc
		from      Cursor
		text      string
		permanent bool
	}{
		{"Refused", &rpc{refused: `{"code":-32602,"message":"no such list"}`}, Cursor{}, "list of https://api.test/rpc at first call record 0: error -32602: no such list", true},
		{"Busy", &rpc{refused: `{"code":-32000,"message":"busy"}`}, Cursor{}, "error -32000: busy", false},
		{"NotJSON", &rpc{answer: `all is well`}, Cursor{}, "the response is not JSON-RPC", true},
		{"WebPage", &rpc{answer: `<html><title>Maintenance`}, Cursor{}, "the response is a web page, not JSON: <html><title>Maintenance", false},
		{"OtherVersion", &rpc{answer: `{"id":"1","result":[]}`}, Cursor{}, `the response has "jsonrpc" ""`, true},
		{"OtherID", &rpc{answer: `{"jsonrpc":"2.0","id":1,"result":[]}`}, Cursor{}, `the response has the id 1, but the call has "1"`, false},
		{"Nothing", &rpc{answer: `{"jsonrpc":"2.0","id":"1"}`}, Cursor{}, "neither a result nor an error", true},
		{"NoRecords", &rpc{answer: `{"jsonrpc":"2.0","id":"1","result":{}}`}, Cursor{}, `there is no field "page"`, true},
		{"NoArray", &rpc{answer: `{"jsonrpc":"2.0","id":"1","result":{"page":{"records":1}}}`}, Cursor{}, `the records, at "page.records"`, true},
		{"Shrunk", &rpc{}, Cursor{Skip: 3}, "returns 0 records, but 3 were read", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var last error
			for item, err := range tt.server.source().Read(t.Context(), dataflow.Request[Cursor]{From: tt.from, Resumed: true}) {
				require.Zero(t, item)
				last = err
			}
			require.ErrorContains(t, last, tt.text)
			require.Equal(t, tt.permanent, dataflow.IsPermanent(last))
		})
	}
}

// An error that names a record becomes the record's error.
func TestSink_Errors(t *testing.T) {
	t.Parallel()
	rows, keys := numbered(4), []string{"k0", "k1", "k2", "k3"}
	for _, tt := range []struct {
		name      string
		opts      SinkOptions
		server    *rpc
		bad       map[string]string // by key
		text      string
		permanent bool
	}{
		{name: "Index", server: &rpc{refused: `{"code":7,"message":"no","data":{"index":2}}`}, bad: map[string]string{"k2": "error 7: no"}},
		{name: "Key", server: &rpc{refused: `{"code":7,"message":"no","data":{"key":"k1"}}`}, bad: map[string]string{"k1": "error 7: no"}},
		{name: "List", server: &rpc{refused: `{"code":7,"message":"no","data":{"errors":[{"index":0,"message":"zero"},{"key":"k3"}]}}`}, bad: map[string]string{"k0": "error 7: zero", "k3": "error 7: no"}},
		{name: "OtherIndex", server: &rpc{refused: `{"code":7,"message":"no","data":{"index":4}}`}, text: "receive_records of https://api.test/rpc: error 7: no"},
		{name: "OtherData", server: &rpc{refused: `{"code":7,"message":"no","data":"k1"}`}, text: "error 7: no"},
		{name: "Params", server: &rpc{refused: `{"code":-32602,"message":"no"}`}, text: "error -32602: no", permanent: true},
		{name: "NoMethod", opts: SinkOptions{Method: "none"}, server: &rpc{}, text: "none of https://api.test/rpc: error -32601: Method not found", permanent: true},
		{name: "Each", opts: SinkOptions{Each: true}, server: &rpc{refuse: map[int]string{1: `{"code":7,"message":"one"}`, 3: `{"code":8,"message":"three"}`}}, bad: map[string]string{"k1": "error 7: one", "k3": "error 8: three"}},
		{name: "EachOnce", opts: SinkOptions{Each: true}, server: &rpc{answer: `{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"no batches"}}`}, text: "error -32600: no batches", permanent: true},
		{name: "EachMissing", opts: SinkOptions{Each: true}, server: &rpc{answer: `[]`}, text: `call "b/1" has no response`},
		{name: "EachNotJSON", opts: SinkOptions{Each: true}, server: &rpc{answer: `all is well`}, text: "the response is not a JSON-RPC batch", permanent: true},
		{name: "EachWebPage", opts: SinkOptions{Each: true}, server: &rpc{answer: `<!DOCTYPE html>`}, text: "the response is a web page, not JSON: <!DOCTYPE html>"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.opts.Client = tt.server.client()
			err := newSink[row]("https://api.test/rpc", &tt.opts).Write(t.Context(), dataflow.SinkBatch[row]{ID: "b", Rows: rows, Keys: keys})
			require.ErrorContains(t, err, tt.text)
			require.Equal(t, tt.permanent, dataflow.IsPermanent(err))
			bad := map[string]string{}
			for _, e := range recordErrors(err) {
				require.Contains(t, string(e.Raw), fmt.Sprintf(`"n":%s`, e.Key[1:]))
				var answered *Error
				require.ErrorAs(t, e, &answered)
				bad[e.Key] = e.Err.Error()
			}
			require.Len(t, bad, len(tt.bad))
			for key, text := range tt.bad {
				require.Equal(t, text, bad[key])
			}
		})
	}
}

// recordErrors returns all record errors in an error.
func recordErrors(err error) (list []*dataflow.RecordError) {
	switch e := err.(type) { //nolint:errorlint // it walks the tree itself
	case nil:
	case *dataflow.RecordError:
		list = append(list, e)
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			list = append(list, recordErrors(inner)...)
		}
	default:
		list = recordErrors(errors.Unwrap(err))
	}
	return list
}

func TestSink_Calls(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		opts SinkOptions
		want string
	}{
		{SinkOptions{}, `{"jsonrpc":"2.0","id":"b","method":"receive_records","params":[[1,2]]}`},
		{SinkOptions{Method: "put", Param: "rows"}, `{"jsonrpc":"2.0","id":"b","method":"put","params":{"rows":[1,2]}}`},
		{SinkOptions{Each: true}, `[{"jsonrpc":"2.0","id":"b/1","method":"receive_record","params":[1]},{"jsonrpc":"2.0","id":"b/2","method":"receive_record","params":[2]}]`},
	} {
		s := &rpc{answer: "null"}
		tt.opts.Client = s.client()
		require.Error(t, newSink[int]("https://api.test/rpc", &tt.opts).Write(t.Context(), dataflow.SinkBatch[int]{ID: "b", Rows: []int{1, 2}}))
		require.Equal(t, []string{tt.want}, s.calls)
		require.Equal(t, []string{"b"}, s.keys)
	}
	err := newSink[any]("https://api.test/rpc", nil).Write(t.Context(), dataflow.SinkBatch[any]{ID: "b", Rows: []any{1, func() {}}, Keys: []string{"x", "y"}})
	var bad *dataflow.RecordError
	require.ErrorAs(t, err, &bad)
	require.Equal(t, "y", bad.Key)
}

func TestValidate(t *testing.T) {
	t.Parallel()
	require.ErrorContains(t, Source[row]("https://api.test", "list", &Options{Records: "."}).(dataflow.Validator).Validate(), `Records: "." ends in a dot`)
	for field, part := range map[string]any{
		"URL":     Source[row]("api.test", "list", nil),
		"Method":  Source[row]("https://api.test", "", nil),
		"Records": Source[row]("https://api.test", "list", &Options{Next: "next"}),
		"Tries":   newSink[row]("https://api.test", &SinkOptions{Tries: -1}),
	} {
		var wrong *dataflow.ConfigError
		require.ErrorAs(t, part.(dataflow.Validator).Validate(), &wrong)
		require.Equal(t, field, wrong.Field)
	}
}

// FuzzAnswer requires that no response makes a source or a sink panic, or a source
// read a record that the response lacks.
func FuzzAnswer(f *testing.F) {
	for _, answer := range []string{
		"", "null", "[]", "{}", `{"jsonrpc":"2.0","id":"1","result":{"page":{"records":[{"n":1},2,null]}}}`,
		`[{"jsonrpc":"2.0","id":"b/1","error":{"code":1,"data":{"errors":[{"index":-1}]}}}]`, `{"error":{"data":{"index":1e3}}}`,
	} {
		f.Add(answer)
	}
	f.Fuzz(func(t *testing.T, answer string) {
		s := &rpc{answer: answer + " "}
		src := Source[row]("https://api.test/rpc", "list", &Options{Records: "page.records", Next: "page.next", Client: s.client(), Tries: 1})
		for _, err := range src.Read(t.Context(), dataflow.Request[Cursor]{}) {
			if err == nil {
				require.Contains(t, answer, "records")
			}
		}
		for _, each := range []bool{false, true} {
			opts := &SinkOptions{Client: s.client(), Tries: 1, Each: each}
			_ = newSink[row]("https://api.test/rpc", opts).Write(t.Context(), dataflow.SinkBatch[row]{ID: "b", Rows: numbered(2)})
		}
	})
}

// A record that is not UTF-8 is bad: it must not get other characters.
func TestSource_NotUTF8(t *testing.T) {
	t.Parallel()
	s := &rpc{answer: "{\"jsonrpc\":\"2.0\",\"id\":\"1\",\"result\":[{\"n\":1,\"text\":\"caf\xe9\"},{\"n\":2}]}"}
	var got []row
	var bad *dataflow.RecordError
	for item, err := range Source[row]("https://api.test/rpc", "list", &Options{Client: s.client()}).Read(t.Context(), dataflow.Request[Cursor]{}) {
		if err != nil {
			require.ErrorAs(t, err, &bad)
			continue
		}
		got = append(got, item.Value)
	}
	require.Equal(t, []row{{N: 2}}, got)
	require.ErrorContains(t, bad, `its byte 19, \xE9, is not UTF-8`)
	require.True(t, json.Valid(bad.Raw))
}

// Keys that are not UTF-8 name no records: those of different records would become the same text.
func TestSource_KeyNotUTF8(t *testing.T) {
	t.Parallel()
	s := &rpc{answer: "{\"jsonrpc\":\"2.0\",\"id\":\"1\",\"result\":[{\"text\":\"\xe4\"},{\"text\":\"\xf6\"}]}"}
	var keys []string
	for _, err := range Source[row]("https://api.test/rpc", "list", &Options{Client: s.client(), Key: "text"}).Read(t.Context(), dataflow.Request[Cursor]{}) {
		var bad *dataflow.RecordError
		require.ErrorAs(t, err, &bad)
		keys = append(keys, bad.Key)
	}
	require.Equal(t, []string{Cursor{Skip: 1}.String(), Cursor{Skip: 2}.String()}, keys)
}

// A text that is not UTF-8 is refused: the server must not get other characters.
func TestSink_NotUTF8(t *testing.T) {
	t.Parallel()
	s := &rpc{}
	var refused []int
	err := newSink[row]("https://api.test/rpc", &SinkOptions{Client: s.client()}).Write(t.Context(), dataflow.SinkBatch[row]{
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

// A redirect to another host, which only a client of one's own follows, keeps the key by which the server knows a repeated
// request, and no secret.
func TestSink_RedirectKeepsKey(t *testing.T) {
	t.Parallel()
	got := make(chan http.Header, 1)
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		got <- req.Header
		var call struct{ ID any }
		_ = json.NewDecoder(req.Body).Decode(&call)
		_ = json.NewEncoder(w).Encode(map[string]any{"jsonrpc": "2.0", "id": call.ID, "result": nil})
	}))
	t.Cleanup(other.Close)
	home := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	t.Cleanup(home.Close)
	sink := newSink[int](home.URL, &SinkOptions{Client: &http.Client{}, Header: http.Header{"X-Secret": {"s"}}})
	require.NoError(t, sink.Write(t.Context(), dataflow.SinkBatch[int]{ID: "batch", Rows: []int{1}, Keys: []string{"1"}}))
	header := <-got
	require.Equal(t, "batch", header.Get("Idempotency-Key"))
	require.Empty(t, header.Get("X-Secret"))
}
