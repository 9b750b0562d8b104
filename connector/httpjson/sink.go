package httpjson

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/httpcall"
)

// SinkOptions are the optional settings of [Sink]. The zero value is ready to use.
type SinkOptions struct {
	// Method is POST, PUT or PATCH. Empty means POST.
	Method string

	// Field wraps the array of rows in an object with this field. Empty sends the
	// array itself.
	Field string

	// MaxRows is the most rows a request may have; a longer batch is split into
	// several requests. 0 sends a batch as one request.
	MaxRows int

	// KeyHeader is the header by which the API recognises a repeated request. Empty
	// means "Idempotency-Key".
	KeyHeader string

	// The other fields are those of [Options].
	Auth         func(*http.Request) error
	Header       http.Header
	Client       *http.Client
	Timeout      time.Duration
	MaxBodyBytes int64
	Tries        int
	MaxWait      time.Duration
}

// Sink returns a target that sends each batch to the API at address, as a JSON
// array. opts may be nil.
//
// A batch that is sent again, after a crash or a lost response, has the same
// Idempotency-Key. Delivery is at least once, and exactly once if the API ignores
// repeated keys.
//
// A status of 2xx is a success. 408, 425, 429 and 5xx are tried again, as for
// [Source]. Any other status of 4xx is a permanent error.
func Sink[T any](address string, opts *SinkOptions) dataflow.Target[T] {
	return dataflow.To[T](newSink[T](address, opts))
}

type sink[T any] struct {
	address string
	opts    SinkOptions
	call    *httpcall.Caller
}

func newSink[T any](address string, opts *SinkOptions) *sink[T] {
	if opts == nil {
		opts = &SinkOptions{}
	}
	s := &sink[T]{address: address, opts: *opts}
	if s.opts.Method == "" {
		s.opts.Method = http.MethodPost
	}
	if s.opts.KeyHeader == "" {
		s.opts.KeyHeader = "Idempotency-Key"
	}
	s.call = httpcall.Caller{
		Client: opts.Client, Header: opts.Header, Auth: opts.Auth,
		Timeout: opts.Timeout, MaxBodyBytes: opts.MaxBodyBytes, Tries: opts.Tries, MaxWait: opts.MaxWait,
	}.WithDefaults()
	return s
}

func (s *sink[T]) Validate() error {
	errs := []error{s.call.Validate(s.address)}
	switch s.opts.Method {
	case http.MethodPost, http.MethodPut, http.MethodPatch:
	default:
		errs = append(errs, &dataflow.ConfigError{Field: "Method", Reason: fmt.Sprintf("%q cannot send rows: use POST, PUT or PATCH", s.opts.Method)})
	}
	if s.opts.MaxRows < 0 {
		errs = append(errs, &dataflow.ConfigError{Field: "MaxRows", Reason: fmt.Sprintf("%d is negative: use 1 or more, or 0 for all of a batch", s.opts.MaxRows)})
	}
	return errors.Join(errs...)
}

func (s *sink[T]) Describe() dataflow.Description {
	return dataflow.Description{Type: "httpjson.sink", Detail: map[string]any{"method": s.opts.Method, "url": bare(s.address)}}
}

func (s *sink[T]) Write(ctx context.Context, b dataflow.SinkBatch[T]) error {
	if err := s.Validate(); err != nil {
		return dataflow.Permanent(fmt.Errorf("HTTP sink: %w", err))
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	size := s.opts.MaxRows
	if size == 0 {
		size = len(b.Rows)
	}
	for from := 0; from < len(b.Rows); from += size {
		to := min(from+size, len(b.Rows))
		key := b.ID
		if size < len(b.Rows) { // name the part by its first row
			key += "-" + strconv.Itoa(from+1)
		}
		if err := s.send(ctx, key, b, from, to); err != nil {
			return err
		}
	}
	return nil
}

// send makes one request with rows[from:to] of a batch.
func (s *sink[T]) send(ctx context.Context, key string, b dataflow.SinkBatch[T], from, to int) error {
	body, err := s.body(b, from, to)
	if err != nil {
		return err
	}
	_, err = s.call.Do(ctx, func(ctx context.Context) (*http.Request, error) {
		req, err := http.NewRequestWithContext(ctx, s.opts.Method, s.address, bytes.NewReader(body))
		if err != nil {
			return nil, dataflow.Permanent(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Accept", "application/json")
		req.Header.Set(s.opts.KeyHeader, key)
		return req, nil
	})
	return err
}

// body returns rows as JSON. A row that cannot be written is a *RecordError.
func (s *sink[T]) body(b dataflow.SinkBatch[T], from, to int) ([]byte, error) {
	list := make([]json.RawMessage, 0, to-from)
	for i := from; i < to; i++ {
		row, err := json.Marshal(&b.Rows[i])
		if err != nil {
			key := fmt.Sprintf("%d of batch %s", i+1, b.ID)
			if i < len(b.Keys) {
				key = b.Keys[i]
			}
			return nil, &dataflow.RecordError{Stage: dataflow.StageWrite, Key: key, Err: err}
		}
		list = append(list, row)
	}
	var value any = list
	if s.opts.Field != "" {
		value = map[string]any{s.opts.Field: list}
	}
	body, err := json.Marshal(value)
	if err != nil {
		return nil, dataflow.Permanent(err)
	}
	return body, nil
}
