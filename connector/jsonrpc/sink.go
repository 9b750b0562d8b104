package jsonrpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/httpcall"
)

// SinkOptions are the optional settings of [Sink]. The zero value is ready to use.
type SinkOptions struct {
	// Method is the method to call. Empty means "receive_records", or
	// "receive_record" if Each is set.
	Method string

	// Each makes one call for each row, all in one request. False makes one call
	// for a batch.
	Each bool

	// Param is the name of the parameter with the rows, or with the row. Empty
	// sends it as the only, unnamed parameter.
	Param string

	// The other fields are those of [Options].
	Auth         func(*http.Request) error
	Header       http.Header
	Client       *http.Client
	Timeout      time.Duration
	MaxBodyBytes int64
	Tries        int
	MaxWait      time.Duration
}

// Sink returns a target that sends each batch to the server at address. Delivery is
// at least once. It is exactly once if the server ignores a repeated call id or
// Idempotency-Key. opts may be nil.
func Sink[T any](address string, opts *SinkOptions) dataflow.Target[T] {
	return dataflow.To[T](newSink[T](address, opts))
}

type sink[T any] struct {
	server
	opts SinkOptions
}

func newSink[T any](address string, opts *SinkOptions) *sink[T] {
	if opts == nil {
		opts = &SinkOptions{}
	}
	s := &sink[T]{opts: *opts, server: server{address: address, call: httpcall.Caller{
		Client: opts.Client, Header: opts.Header, Auth: opts.Auth,
		Timeout: opts.Timeout, MaxBodyBytes: opts.MaxBodyBytes, Tries: opts.Tries, MaxWait: opts.MaxWait,
	}.WithDefaults()}}
	switch {
	case s.opts.Method != "":
	case s.opts.Each:
		s.opts.Method = "receive_record"
	default:
		s.opts.Method = "receive_records"
	}
	return s
}

func (s *sink[T]) Validate() error { return s.call.Validate(s.address) }

func (s *sink[T]) Describe() dataflow.Description {
	return dataflow.Description{Type: "jsonrpc.sink", Detail: map[string]any{"url": s.bare(), "method": s.opts.Method}}
}

func (s *sink[T]) Write(ctx context.Context, b dataflow.SinkBatch[T]) error {
	if err := s.Validate(); err != nil {
		return dataflow.Permanent(fmt.Errorf("JSON-RPC sink: %w", err))
	}
	if err := ctx.Err(); err != nil || len(b.Rows) == 0 {
		return err
	}
	rows := make([]json.RawMessage, len(b.Rows))
	for i := range b.Rows {
		row, err := json.Marshal(&b.Rows[i])
		if err != nil {
			return s.bad(b.Keys, nil, i, err)
		}
		rows[i] = row
	}
	write := s.together
	if s.opts.Each {
		write = s.each
	}
	if err := write(ctx, b.ID, b.Keys, rows); err != nil {
		return fmt.Errorf("%s of %s: %w", s.opts.Method, s.bare(), err)
	}
	return nil
}

// together makes one call with all rows.
func (s *sink[T]) together(ctx context.Context, id string, keys []string, rows []json.RawMessage) error {
	_, err := s.one(ctx, id, s.request(id, rows))
	answered := (*Error)(nil)
	if !errors.As(err, &answered) {
		return err
	}
	var errs []error
	for _, named := range answered.records(keys, len(rows)) {
		errs = append(errs, s.bad(keys, rows, named.index, named.err))
	}
	if len(errs) == 0 {
		return answered.signal()
	}
	return errors.Join(errs...)
}

// each makes one call for each row. Rows that the server accepts are kept, even if
// it refuses others.
func (s *sink[T]) each(ctx context.Context, id string, keys []string, rows []json.RawMessage) error {
	calls := make([]*request, len(rows))
	for i, row := range rows {
		calls[i] = s.request(fmt.Sprintf("%s/%d", id, i+1), row)
	}
	body, err := s.post(ctx, id, calls)
	if err != nil {
		return err
	}
	var answers []response
	if err := json.Unmarshal(body, &answers); err != nil {
		var all response // a server that cannot read the request sends a single response
		if json.Unmarshal(body, &all) == nil && all.Error != nil {
			return all.Error.signal()
		}
		return dataflow.Permanent(fmt.Errorf("the response is not a JSON-RPC batch: %w", err))
	}
	byID := make(map[string]*response, len(answers))
	for i := range answers {
		byID[httpcall.Text(answers[i].ID)] = &answers[i]
	}
	var errs []error
	for i, call := range calls {
		answer, ok := byID[call.ID]
		if !ok {
			errs = append(errs, fmt.Errorf("call %q has no response", call.ID))
			continue
		}
		_, err := answer.result(call.ID)
		if answered := (*Error)(nil); errors.As(err, &answered) {
			err = s.bad(keys, rows, i, answered)
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// request returns a call with one parameter.
func (s *sink[T]) request(id string, param any) *request {
	call := &request{Version: version, ID: id, Method: s.opts.Method, Params: []any{param}}
	if s.opts.Param != "" {
		call.Params = map[string]any{s.opts.Param: param}
	}
	return call
}

// bad returns the error of row i.
func (s *sink[T]) bad(keys []string, rows []json.RawMessage, i int, err error) error {
	bad := &dataflow.RecordError{Stage: dataflow.StageWrite, Key: fmt.Sprintf("%d of the batch", i+1), Err: err}
	if i < len(keys) {
		bad.Key = keys[i]
	}
	if i < len(rows) {
		bad.Raw = clip(rows[i])
	}
	return bad
}
