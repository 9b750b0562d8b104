package jsonrpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/httpcall"
	"github.com/activedataflow/dataflow/internal/jsonrow"
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

	// Version is the version of the protocol that the server speaks: "2.0", "1.1" or
	// "1.0". Empty means "2.0".
	Version string

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
	s := &sink[T]{opts: *opts, server: newServer(address, opts.Version, httpcall.Caller{
		Client: opts.Client, Header: opts.Header, KeyHeader: keyHeader, Auth: opts.Auth,
		Timeout: opts.Timeout, MaxBodyBytes: opts.MaxBodyBytes, Tries: opts.Tries, MaxWait: opts.MaxWait,
	})}
	switch {
	case s.opts.Method != "":
	case s.opts.Each:
		s.opts.Method = "receive_record"
	default:
		s.opts.Method = "receive_records"
	}
	return s
}

func (s *sink[T]) Validate() error {
	return errors.Join(s.call.Validate(s.address), checkVersion(s.opts.Version))
}

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
	all := make([]int, 0, len(b.Rows))
	for i := range b.Rows {
		row, err := json.Marshal(&b.Rows[i])
		if err == nil {
			err = jsonrow.CheckWritten(row, &b.Rows[i])
		}
		if err == nil {
			rows[i], all = row, append(all, i)
			continue
		}
		if err := refuse(b, nil, i, err); err != nil {
			return err
		}
	}
	write := s.together
	if s.opts.Each {
		write = s.each
	}
	if err := write(ctx, b.ID, b, rows, all); err != nil {
		return fmt.Errorf("%s of %s: %w", s.opts.Method, s.bare(), err)
	}
	return nil
}

// refuse lets the flow's policy decide about row i, or returns its error.
func refuse[T any](b dataflow.SinkBatch[T], rows []json.RawMessage, i int, err error) error {
	if b.Refuse != nil {
		return b.Refuse(i, err)
	}
	return &dataflow.RowError{Row: i, Err: bad(b.Keys, rows, i, err)}
}

// together makes one call with the rows at these places. If the server refuses it for some of
// them, and the flow has a policy, it is called with the others, in halves if the error does
// not say which rows are meant.
func (s *sink[T]) together(ctx context.Context, id string, b dataflow.SinkBatch[T], rows []json.RawMessage, at []int) error {
	if len(at) == 0 {
		return nil
	}
	sent, keys := make([]json.RawMessage, len(at)), make([]string, 0, len(at))
	for i, place := range at {
		sent[i] = rows[place]
		if place < len(b.Keys) {
			keys = append(keys, b.Keys[place])
		}
	}
	_, err := s.one(ctx, id, s.callFor(id, sent))
	if errors.Is(err, errNoResult) { // some servers leave out a result that is null
		return nil
	}
	answered := (*Error)(nil)
	if !errors.As(err, &answered) {
		return err
	}
	named := answered.records(keys, len(at))
	switch {
	case len(named) == 0 && (b.Refuse == nil || !answered.aboutRows()):
		return answered.signal()
	case len(named) == 0 && len(at) == 1:
		return b.Refuse(at[0], answered)
	case len(named) == 0:
		middle := len(at) / 2
		for _, half := range [][]int{at[:middle], at[middle:]} {
			if err := s.together(ctx, partID(b.ID, half), b, rows, half); err != nil {
				return err
			}
		}
		return nil
	}
	var errs []error
	left := slices.Clone(at)
	for _, n := range named {
		errs = append(errs, refuse(b, rows, at[n.index], n.err))
		left[n.index] = -1
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	left = slices.DeleteFunc(left, func(i int) bool { return i < 0 })
	return s.together(ctx, partID(b.ID, left), b, rows, left)
}

// partID names a part of a batch. It is the same one after a retry.
func partID(id string, at []int) string {
	if len(at) == 0 {
		return id
	}
	return fmt.Sprintf("%s-%d-%d-%d", id, at[0]+1, at[len(at)-1]+1, len(at))
}

// aboutRows reports whether a server uses the error for rows that it does not accept: one of
// its own codes, or that of invalid params. The other codes of the protocol are about the
// server.
func (e *Error) aboutRows() bool {
	return e.Code == codeInvalidParams || e.Code < -32768 || e.Code > -32000
}

// each makes one call for each row. Rows that the server accepts are kept, even if
// it refuses others.
func (s *sink[T]) each(ctx context.Context, id string, b dataflow.SinkBatch[T], rows []json.RawMessage, at []int) error {
	if len(at) == 0 {
		return nil
	}
	calls := make([]*request, len(at))
	for i, place := range at {
		calls[i] = s.callFor(fmt.Sprintf("%s/%d", id, place+1), rows[place])
	}
	body, err := s.post(ctx, id, calls)
	if err != nil {
		return err
	}
	var answers []response
	if err := json.Unmarshal(body, &answers); err != nil {
		var all response // a server that cannot read the request sends a single response
		if json.Unmarshal(body, &all) == nil && all.failure() != nil {
			return all.failure().signal()
		}
		return unreadable("a JSON-RPC batch", body, err)
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
		_, err := answer.result(call)
		answered := (*Error)(nil)
		switch {
		case errors.Is(err, errNoResult): // some servers leave out a result that is null
			err = nil
		case errors.As(err, &answered) && answered.Code == codeNoMethod:
			err = answered.signal()
		case answered != nil:
			err = refuse(b, rows, at[i], answered)
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// callFor returns a call with one parameter.
func (s *sink[T]) callFor(id string, param any) *request {
	if s.opts.Param != "" {
		return s.request(id, s.opts.Method, map[string]any{s.opts.Param: param})
	}
	return s.request(id, s.opts.Method, []any{param})
}

// bad returns the error of row i.
func bad(keys []string, rows []json.RawMessage, i int, err error) error {
	bad := &dataflow.RecordError{Stage: dataflow.StageWrite, Key: fmt.Sprintf("%d of the batch", i+1), Err: err}
	if i < len(keys) {
		bad.Key = keys[i]
	}
	if i < len(rows) {
		bad.Raw = clip(rows[i])
	}
	return bad
}
