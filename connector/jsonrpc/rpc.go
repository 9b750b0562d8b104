package jsonrpc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/httpcall"
)

// Error is an error response of a server.
type Error struct {
	Code    int             `json:"code"`
	Message string          `json:"message"`
	Data    json.RawMessage `json:"data,omitempty"`
}

func (e *Error) Error() string { return fmt.Sprintf("error %d: %s", e.Code, e.Message) }

// The codes of errors that would occur again.
const (
	codeParse          = -32700
	codeInvalidRequest = -32600
	codeNoMethod       = -32601
	codeInvalidParams  = -32602
)

// signal marks a protocol error as permanent.
func (e *Error) signal() error {
	switch e.Code {
	case codeParse, codeInvalidRequest, codeNoMethod, codeInvalidParams:
		return dataflow.Permanent(e)
	default:
		return e
	}
}

type request struct {
	Version string `json:"jsonrpc,omitempty"` // of 2.0
	Old     string `json:"version,omitempty"` // of 1.1
	ID      string `json:"id"`
	Method  string `json:"method"`
	Params  any    `json:"params"`
}

type response struct {
	Version string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Result  json.RawMessage `json:"result"`
	Failure json.RawMessage `json:"error"`
}

// failure returns the response's error, or nil if it has none. In version 1.0, an error may
// be any value.
func (r *response) failure() *Error {
	if len(r.Failure) == 0 || string(r.Failure) == "null" {
		return nil
	}
	var e Error
	if json.Unmarshal(r.Failure, &e) != nil {
		e = Error{Message: httpcall.Text(r.Failure), Data: r.Failure}
	}
	return &e
}

// The versions of the protocol.
const (
	version   = "2.0"
	version11 = "1.1"
	version10 = "1.0"
)

// checkVersion returns a [dataflow.ConfigError] for a version that is not known.
func checkVersion(v string) error {
	switch v {
	case "", version, version11, version10:
		return nil
	default:
		return &dataflow.ConfigError{Field: "Version", Reason: fmt.Sprintf("%q is unknown: use 2.0, 1.1 or 1.0", v)}
	}
}

// server is the server that receives the calls.
type server struct {
	address string
	version string // "" is 2.0
	call    *httpcall.Caller
}

func newServer(address, version string, call httpcall.Caller) server {
	filled := call.WithDefaults()
	client := *filled.Client
	client.Transport = anyStatus{client.Transport}
	filled.Client = &client
	return server{address: address, version: version, call: filled}
}

// request returns a call.
func (s *server) request(id, method string, params any) *request {
	r := &request{ID: id, Method: method, Params: params}
	switch s.version {
	case "", version:
		r.Version = version
	case version11:
		r.Old = version11
	}
	return r
}

// anyStatus passes on a JSON-RPC response as a success, whatever its HTTP status: servers of
// version 1 send errors with the status 500 or 404. It leaves alone what HTTP itself uses:
// statuses about the credentials and the rate, and responses that ask for a wait.
type anyStatus struct{ next http.RoundTripper }

// Next tells package httpcall which transport is used.
func (t anyStatus) Next() http.RoundTripper { return t.next }

func (t anyStatus) RoundTrip(req *http.Request) (*http.Response, error) {
	next := t.next
	if next == nil {
		next = http.DefaultTransport
	}
	resp, err := next.RoundTrip(req)
	if err != nil || resp.StatusCode < 400 || resp.Header.Get("Retry-After") != "" {
		return resp, err
	}
	switch resp.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired, http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return resp, nil
	}
	head, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBytes))
	if err == nil && isResponse(head) {
		resp.StatusCode, resp.Status = http.StatusOK, "200 OK"
	}
	rest := io.Reader(resp.Body)
	if err != nil {
		rest = failing{err}
	}
	resp.Body = readBody{io.MultiReader(bytes.NewReader(head), rest), resp.Body}
	return resp, nil
}

// maxErrorBytes is how much of the body of an HTTP error is looked at.
const maxErrorBytes = 1 << 20

// isResponse reports whether a body is a response of JSON-RPC, or a list of them.
func isResponse(body []byte) bool {
	var list []response
	if json.Unmarshal(body, &list) != nil {
		list = make([]response, 1)
		if json.Unmarshal(body, &list[0]) != nil {
			return false
		}
	}
	for i := range list {
		var e Error
		if r := &list[i]; len(r.ID) == 0 || json.Unmarshal(r.Failure, &e) != nil || e.Message == "" && e.Code == 0 && r.Result == nil {
			return false
		}
	}
	return len(list) > 0
}

// readBody is a body whose beginning was read.
type readBody struct {
	io.Reader
	io.Closer
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// bare returns the address without its user, query and fragment, which may hold
// secrets.
func (s *server) bare() string {
	u, err := url.Parse(s.address)
	if err != nil {
		return "?"
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// keyHeader is the header by which a server knows a repeated request.
const keyHeader = "Idempotency-Key"

// post sends one call or a list of calls, and returns the body of the response. key
// is the Idempotency-Key; "" sends none.
func (s *server) post(ctx context.Context, key string, calls any) ([]byte, error) {
	body, err := json.Marshal(calls)
	if err != nil {
		return nil, dataflow.Permanent(err)
	}
	resp, err := s.call.DoRead(ctx, func(ctx context.Context) (*http.Request, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.address, bytes.NewReader(body))
		if err != nil {
			return nil, dataflow.Permanent(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Accept", "application/json")
		if key != "" {
			req.Header.Set(keyHeader, key)
		}
		return req, nil
	}, func(resp *httpcall.Response) error {
		var value json.RawMessage
		if err := json.Unmarshal(resp.Body, &value); httpcall.IsCut(err, resp) {
			return err
		}
		return nil // the caller reports a response that is not JSON
	})
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// one makes one call and returns its result. An error response is returned as an
// [*Error], not marked as permanent yet.
func (s *server) one(ctx context.Context, key string, call *request) (json.RawMessage, error) {
	body, err := s.post(ctx, key, call)
	if err != nil {
		return nil, err
	}
	var answer response
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, unreadable("JSON-RPC", body, err)
	}
	return answer.result(call)
}

// unreadable returns the error of a response that is not JSON-RPC. A web page in its place may pass.
func unreadable(what string, body []byte, err error) error {
	if page := httpcall.WebPage(body); page != nil {
		return page
	}
	return dataflow.Permanent(fmt.Errorf("the response is not %s: %w", what, err))
}

// errNoResult is returned for a response without a result and without an error.
var errNoResult = errors.New("the response has neither a result nor an error")

// result checks that this is the response to a call, and returns its result or its *Error.
func (r *response) result(call *request) (json.RawMessage, error) {
	var got string
	switch failure := r.failure(); {
	case call.Version != "" && r.Version != call.Version:
		return nil, dataflow.Permanent(fmt.Errorf("the response has \"jsonrpc\" %q, but only %q is supported: for a server of an older version, set Version", r.Version, call.Version))
	case failure != nil: // checked before the id: a server that cannot read the call does not know it
		return nil, failure
	case json.Unmarshal(r.ID, &got) != nil || got != call.ID:
		return nil, fmt.Errorf("the response has the id %s, but the call has %q", r.ID, call.ID)
	case r.Result == nil:
		return nil, dataflow.Permanent(errNoResult)
	default:
		return r.Result, nil
	}
}
