package jsonrpc

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// canned answers every call with a status, a body and headers, and keeps the calls.
type canned struct {
	status int
	body   string
	header http.Header
	calls  []string
}

func (c *canned) RoundTrip(req *http.Request) (*http.Response, error) {
	data, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	c.calls = append(c.calls, string(data))
	w := httptest.NewRecorder()
	for name, values := range c.header {
		w.Header()[name] = values
	}
	w.WriteHeader(c.status)
	_, _ = io.WriteString(w, c.body)
	return w.Result(), nil
}

func readAll(t *testing.T, c *canned, opts Options) (rows []row, last error) {
	t.Helper()
	opts.Client, opts.Tries = &http.Client{Transport: c}, 1
	for item, err := range Source[row]("https://api.test/rpc", "list", &opts).Read(t.Context(), dataflow.Request[Cursor]{}) {
		if err != nil {
			last = err
			continue
		}
		rows = append(rows, item.Value)
	}
	return rows, last
}

// Servers answer with old versions of the protocol, and with HTTP statuses for errors.
func TestSource_Servers(t *testing.T) {
	t.Parallel()
	positional := Options{Positional: []any{map[string]any{"fromBlock": "0x1"}, true}}
	for _, tt := range []struct {
		name   string
		server canned
		opts   Options
		call   string
		rows   int
		text   string
		perm   bool
	}{
		{
			name: "Positional", server: canned{status: 200, body: `{"jsonrpc":"2.0","id":"1","result":[{"n":1}]}`}, opts: positional,
			call: `{"jsonrpc":"2.0","id":"1","method":"list","params":[{"fromBlock":"0x1"},true]}`, rows: 1,
		},
		{
			name: "PositionalNone", server: canned{status: 200, body: `{"jsonrpc":"2.0","id":"1","result":[]}`}, opts: Options{Positional: []any{}},
			call: `{"jsonrpc":"2.0","id":"1","method":"list","params":[]}`,
		},
		{
			name: "Version1.0", server: canned{status: 200, body: `{"result":[{"n":1},{"n":2}],"error":null,"id":"1"}`}, opts: Options{Version: "1.0", Positional: []any{7}},
			call: `{"id":"1","method":"list","params":[7]}`, rows: 2,
		},
		{
			name: "Version1.1", server: canned{status: 200, body: `{"version":"1.1","result":[{"n":1}],"id":"1"}`}, opts: Options{Version: "1.1"},
			call: `{"version":"1.1","id":"1","method":"list","params":{}}`, rows: 1,
		},
		{name: "NoVersion", server: canned{status: 200, body: `{"result":[],"error":null,"id":"1"}`}, text: "for a server of an older version, set Version", perm: true},
		{name: "OldError", server: canned{status: 500, body: `{"result":null,"error":{"code":-8,"message":"Block height out of range"},"id":"1"}`}, opts: Options{Version: "1.0"}, text: "error -8: Block height out of range"},
		{name: "OldErrorText", server: canned{status: 200, body: `{"result":null,"error":"no such thing","id":"1"}`}, opts: Options{Version: "1.0"}, text: "error 0: no such thing"},
		{name: "NoMethodIn404", server: canned{status: 404, body: `{"jsonrpc":"2.0","error":{"code":-32601,"message":"Method not found"},"id":"1"}`}, text: "error -32601: Method not found", perm: true},
		{name: "PassingIn400", server: canned{status: 400, body: `{"jsonrpc":"2.0","error":{"code":-32000,"message":"busy"},"id":"1"}`}, text: "error -32000: busy"},
		{name: "NotRPCIn400", server: canned{status: 400, body: `{"error":{"code":-32000}}`}, text: "400 Bad Request", perm: true},
		{name: "HTML500", server: canned{status: 500, body: `<html>`}, text: "500 Internal Server Error"},
		{name: "ResultNull", server: canned{status: 200, body: `{"jsonrpc":"2.0","id":"1","result":null}`}, text: "the response is null, not records", perm: true},
		{name: "ResultNullPath", server: canned{status: 200, body: `{"jsonrpc":"2.0","id":"1","result":null}`}, opts: Options{Records: "page"}, text: `the parent of the field "page" is not an object`, perm: true},
		{name: "ResultAbsent", server: canned{status: 200, body: `{"jsonrpc":"2.0","id":"1"}`}, text: "neither a result nor an error", perm: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			rows, err := readAll(t, &tt.server, tt.opts)
			require.Len(t, rows, tt.rows)
			if tt.call != "" {
				require.Equal(t, []string{tt.call}, tt.server.calls)
			}
			if tt.text == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tt.text)
			require.Equal(t, tt.perm, dataflow.IsPermanent(err))
			var answered *Error
			require.Equal(t, tt.text[:5] == "error", errors.As(err, &answered))
		})
	}
}

// A rate limit is waited for, also if its body is an RPC error.
func TestSource_RateLimit(t *testing.T) {
	t.Parallel()
	for _, status := range []int{429, 500} {
		s := &canned{status: status, body: `{"jsonrpc":"2.0","id":"1","error":{"code":-32005,"message":"slow down"}}`, header: http.Header{"Retry-After": {"1"}}}
		_, err := readAll(t, s, Options{})
		var answered *Error
		require.NotErrorAs(t, err, &answered)
		require.ErrorContains(t, err, "slow down")
		require.False(t, dataflow.IsPermanent(err))
	}
}

// A cursor follows the positional params, or is put where MakeParams wants it.
func TestSource_PositionalCursor(t *testing.T) {
	t.Parallel()
	s := &canned{status: 200}
	made := func(cursor json.RawMessage) (any, error) {
		if cursor == nil {
			cursor = json.RawMessage("0")
		}
		return []any{map[string]any{"from": cursor}}, nil
	}
	for _, tt := range []struct {
		opts Options
		want string
	}{
		{Options{Positional: []any{"a"}}, `["a",{"at":7}]`},
		{Options{MakeParams: made}, `[{"from":{"at":7}}]`},
	} {
		src := Source[row]("https://api.test/rpc", "list", &tt.opts).(*source[row])
		params, err := src.params(Cursor{Call: `{"at":7}`})
		require.NoError(t, err)
		got, err := json.Marshal(params)
		require.NoError(t, err)
		require.JSONEq(t, tt.want, string(got))
	}
	fails := errors.New("no block")
	_, err := readAll(t, s, Options{MakeParams: func(json.RawMessage) (any, error) { return nil, fails }})
	require.ErrorIs(t, err, fails)
	require.Empty(t, s.calls)
	for field, opts := range map[string]Options{"Positional": {Params: map[string]any{"a": 1}, Positional: []any{1}}, "Params": {Version: "1.0", Params: map[string]any{"a": 1}}, "Version": {Version: "3"}} {
		var wrong *dataflow.ConfigError
		require.ErrorAs(t, Source[row]("https://api.test/rpc", "list", &opts).(dataflow.Validator).Validate(), &wrong)
		require.Equal(t, field, wrong.Field)
	}
}

// A number in an interface keeps all its digits.
func TestSource_Digits(t *testing.T) {
	t.Parallel()
	s := &canned{status: 200, body: `{"jsonrpc":"2.0","id":"1","result":[{"n":1610521604143693812}]}`}
	for item, err := range Source[map[string]any]("https://api.test/rpc", "list", &Options{Client: &http.Client{Transport: s}}).Read(t.Context(), dataflow.Request[Cursor]{}) {
		require.NoError(t, err)
		require.Equal(t, map[string]any{"n": json.Number("1610521604143693812")}, item.Value)
	}
	require.Len(t, s.calls, 1)
}

// A proxy that refuses a connection is named, as with package httpjson.
func TestSink_Proxy(t *testing.T) {
	t.Parallel()
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }))
	t.Cleanup(proxy.Close)
	at, err := url.Parse(proxy.URL)
	require.NoError(t, err)
	client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(at)}}
	err = newSink[row]("https://api.test/rpc", &SinkOptions{Client: client, Tries: 1}).Write(t.Context(), dataflow.SinkBatch[row]{ID: "b", Rows: numbered(1)})
	require.ErrorContains(t, err, "through the proxy "+at.Host+": Bad Gateway")
}
