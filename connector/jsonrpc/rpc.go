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

// Error is an error that a server has answered.
type Error struct {
	Code    int             `json:"code"`
	Message string          `json:"message"`
	Data    json.RawMessage `json:"data,omitempty"`
}

func (e *Error) Error() string { return fmt.Sprintf("error %d: %s", e.Code, e.Message) }

// The codes of errors that would come again.
const (
	codeParse          = -32700
	codeInvalidRequest = -32600
	codeNoMethod       = -32601
	codeInvalidParams  = -32602
)

// signal marks an error for the engine.
func (e *Error) signal() error {
	switch e.Code {
	case codeParse, codeInvalidRequest, codeNoMethod, codeInvalidParams:
		return dataflow.Permanent(e)
	default:
		return e
	}
}

// request is a call.
type request struct {
	Version string `json:"jsonrpc"`
	ID      string `json:"id"`
	Method  string `json:"method"`
	Params  any    `json:"params"`
}

// response is the answer to a call.
type response struct {
	Version string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Result  json.RawMessage `json:"result"`
	Error   *Error          `json:"error"`
}

const version = "2.0"

// server is where calls go.
type server struct {
	address string
	call    *httpcall.Caller
}

// Describe leaves out the address's query, which may hold a secret.
func (s *server) bare() string {
	u, err := url.Parse(s.address)
	if err != nil {
		return "?"
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// post sends one call or a list of them, and returns what is answered. key is the
// Idempotency-Key, if there is one.
func (s *server) post(ctx context.Context, key string, calls any) ([]byte, error) {
	body, err := json.Marshal(calls)
	if err != nil {
		return nil, dataflow.Permanent(err)
	}
	resp, err := s.call.Do(ctx, func(ctx context.Context) (*http.Request, error) {
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
	})
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// one makes one call and returns its result. An error that the server answers is an
// [*Error], not marked yet.
func (s *server) one(ctx context.Context, key string, call *request) (json.RawMessage, error) {
	body, err := s.post(ctx, key, call)
	if err != nil {
		return nil, err
	}
	var answer response
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, dataflow.Permanent(fmt.Errorf("the answer is not one of JSON-RPC: %w", err))
	}
	return answer.result(call.ID)
}

// result checks an answer to the call of that id.
func (r *response) result(id string) (json.RawMessage, error) {
	var got string
	switch {
	case r.Version != version:
		return nil, dataflow.Permanent(fmt.Errorf("the answer has \"jsonrpc\" %q: only %q is known", r.Version, version))
	case r.Error != nil: // a server that could not read the call does not know its id
		return nil, r.Error
	case json.Unmarshal(r.ID, &got) != nil || got != id:
		return nil, fmt.Errorf("the answer has the id %s, and the call %q", r.ID, id)
	case r.Result == nil:
		return nil, dataflow.Permanent(errors.New("the answer has neither a result nor an error"))
	default:
		return r.Result, nil
	}
}
