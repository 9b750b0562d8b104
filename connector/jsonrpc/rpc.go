package jsonrpc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
	Version string `json:"jsonrpc"`
	ID      string `json:"id"`
	Method  string `json:"method"`
	Params  any    `json:"params"`
}

type response struct {
	Version string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Result  json.RawMessage `json:"result"`
	Error   *Error          `json:"error"`
}

const version = "2.0"

// server is the server that receives the calls.
type server struct {
	address string
	call    *httpcall.Caller
}

// bare returns the address without its user, query and fragment, which may hold
// secrets.
func (s *server) bare() string {
	u, err := url.Parse(s.address)
	if err != nil {
		return "?"
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

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
			req.Header.Set("Idempotency-Key", key)
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
		return nil, dataflow.Permanent(fmt.Errorf("the response is not JSON-RPC: %w", err))
	}
	return answer.result(call.ID)
}

// result checks that this is the response to the call with an id, and returns its
// result or its *Error.
func (r *response) result(id string) (json.RawMessage, error) {
	var got string
	switch {
	case r.Version != version:
		return nil, dataflow.Permanent(fmt.Errorf("the response has \"jsonrpc\" %q, but only %q is supported", r.Version, version))
	case r.Error != nil: // checked before the id: a server that cannot read the call does not know it
		return nil, r.Error
	case json.Unmarshal(r.ID, &got) != nil || got != id:
		return nil, fmt.Errorf("the response has the id %s, but the call has %q", r.ID, id)
	case r.Result == nil:
		return nil, dataflow.Permanent(errors.New("the response has neither a result nor an error"))
	default:
		return r.Result, nil
	}
}
