package httpjson

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/httpcall"
	"github.com/activedataflow/dataflow/internal/jsonrow"
)

// SinkOptions are the optional settings of [Sink]. The zero value is ready to use.
type SinkOptions struct {
	// Method is POST, PUT or PATCH. Empty means POST.
	Method string

	// Field wraps the array of rows in an object with this field. Empty sends the
	// array itself.
	Field string

	// Body makes the body of a request from its rows, for an API that takes no JSON array: JSON lines, one row alone (with
	// MaxRows 1), or an object with more than the rows. Set the Content-Type in Header, unless it is application/json. An
	// error ends the run. Nil sends the array, in Field.
	Body func(rows []json.RawMessage) ([]byte, error)

	// MaxRows is the most rows a request may have; a longer batch is split into
	// several requests. 0 sends a batch as one request.
	MaxRows int

	// KeyHeader is the header by which the API recognises a repeated request. Empty
	// means "Idempotency-Key".
	KeyHeader string

	// Check looks at each response with a status of 2xx. Nil means that all rows were
	// taken. [RefusedError] names the rows that were not, and the flow's policy decides about
	// them. Any other error fails the attempt; mark it by [dataflow.Transient] or
	// [dataflow.RetryAfter] if the request should be made again. A nil Check takes a
	// response for a success, unless its status is 207, it is a web page, or its text says otherwise
	// by a usual field, such as "errors", "failed" or "success": that is an error.
	Check func(*SinkResponse) error

	// The other fields are those of [Options].
	Auth         func(*http.Request) error
	Header       http.Header
	Client       *http.Client
	Timeout      time.Duration
	MaxBodyBytes int64
	Tries        int
	MaxWait      time.Duration
}

// SinkResponse is the response to a request with rows.
type SinkResponse struct {
	Status int
	Header http.Header
	// Body is the whole body, without a byte order mark.
	Body []byte
	// Rows is the number of rows in the request.
	Rows int
}

// RefusedError is the error of a response that refuses some rows of a request and takes all
// others. Row is a row's index in the request.
type RefusedError []*dataflow.RowError

func (r RefusedError) Error() string {
	if len(r) == 0 {
		return "no rows were refused"
	}
	return fmt.Sprintf("%d rows were refused, the first is row %d: %v", len(r), r[0].Row, r[0].Err)
}

// Sink returns a target that sends each batch to the API at address, as a JSON
// array, or as [SinkOptions].Body makes it. opts may be nil.
//
// A batch that is sent again, after a crash or a lost response, has the same
// Idempotency-Key. Delivery is at least once, and exactly once if the API ignores
// repeated keys.
//
// A status of 2xx is a success, unless [SinkOptions].Check says otherwise. 429, 5xx and others
// that pass by themselves are tried again, as for [Source]. A request that is too large (413) is sent in halves.
// So is one that the API refuses with 400, 409 or 422, if the flow has a policy: it decides
// about the rows that are refused alone. A 409 about the Idempotency-Key, or after a try that
// got no response or a 5xx, is tried again: the API may still be at work. Any other status of 4xx is a
// permanent error.
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
		Client: opts.Client, Header: opts.Header, KeyHeader: s.opts.KeyHeader, Auth: opts.Auth,
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
	if s.opts.Body != nil && s.opts.Field != "" {
		errs = append(errs, &dataflow.ConfigError{Field: "Field", Reason: "Body makes the whole body: leave Field out"})
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
		p, err := s.encode(b, from, to)
		if err != nil {
			return err
		}
		if err := s.send(ctx, key, b, p); err != nil {
			return err
		}
	}
	return nil
}

// part is the rows of one request.
type part struct {
	rows []int // their places in the batch
	json []json.RawMessage
}

// encode returns rows[from:to] as JSON, without those that cannot be written.
func (s *sink[T]) encode(b dataflow.SinkBatch[T], from, to int) (p part, err error) {
	for i := from; i < to; i++ {
		row, err := json.Marshal(&b.Rows[i])
		if err == nil {
			err = jsonrow.CheckWritten(row, &b.Rows[i])
		}
		if err == nil {
			p.rows, p.json = append(p.rows, i), append(p.json, row)
			continue
		}
		if err := refuse(b, i, err); err != nil {
			return part{}, err
		}
	}
	return p, nil
}

// refuse lets the flow's policy decide about row i, or returns its error.
func refuse[T any](b dataflow.SinkBatch[T], i int, err error) error {
	if b.Refuse != nil {
		return b.Refuse(i, err)
	}
	key := fmt.Sprintf("%d of batch %s", i+1, b.ID)
	if i < len(b.Keys) {
		key = b.Keys[i]
	}
	return &dataflow.RowError{Row: i, Alone: true, Err: &dataflow.RecordError{Stage: dataflow.StageWrite, Key: key, Err: err}}
}

// send makes one request with a part of a batch. If the API refuses it for its rows, and the
// flow has a policy, or if it is too large, it sends the halves, down to the rows that are
// refused.
func (s *sink[T]) send(ctx context.Context, key string, b dataflow.SinkBatch[T], p part) error {
	if len(p.rows) == 0 {
		return nil
	}
	resp, err := s.post(ctx, key, p)
	status, keyed := (*httpcall.StatusError)(nil), (*keyError)(nil)
	switch {
	case err == nil:
		return s.check(b, p, resp)
	case !errors.As(err, &status), errors.As(err, &keyed):
		return err
	case len(p.rows) == 1 && b.Refuse != nil && (status.Status == http.StatusRequestEntityTooLarge || aboutRows(status.Status)):
		return refuse(b, p.rows[0], errors.New(err.Error())) // its mark is about a request of many rows
	case len(p.rows) == 1:
		return err
	case status.Status != http.StatusRequestEntityTooLarge && (b.Refuse == nil || !aboutRows(status.Status)):
		return err
	}
	middle := len(p.rows) / 2
	for _, half := range []part{{p.rows[:middle], p.json[:middle]}, {p.rows[middle:], p.json[middle:]}} {
		key := fmt.Sprintf("%s-%d-%d", b.ID, half.rows[0]+1, half.rows[len(half.rows)-1]+1)
		if err := s.send(ctx, key, b, half); err != nil {
			return err
		}
	}
	return nil
}

// aboutRows reports whether an API uses a status for rows that it does not accept.
func aboutRows(status int) bool {
	return status == http.StatusBadRequest || status == http.StatusConflict || status == http.StatusUnprocessableEntity
}

// statusCancelled is the status of a request that a server has given up. A part of it may be done.
const statusCancelled = 499

// keyError is the error of a request that was refused for its Idempotency-Key: another request
// with it is still at work, or had other rows. In halves, with other keys, the rows would be there twice.
type keyError struct{ error }

func (e *keyError) Unwrap() error { return e.error }

// aboutKey reports whether a response is about the request's Idempotency-Key: one of its texts names it.
// The name of a field does not count: an API may repeat the key in each response.
func aboutKey(body []byte) bool {
	var value any
	if json.Unmarshal(body, &value) != nil {
		value = string(body)
	}
	return names(value, "idempoten")
}

// names reports whether a text of a JSON value has a word in it.
func names(value any, word string) bool {
	in := func(v any) bool { return names(v, word) }
	switch v := value.(type) {
	case string:
		return strings.Contains(strings.ToLower(v), word)
	case []any:
		return slices.ContainsFunc(v, in)
	case map[string]any:
		return slices.ContainsFunc(slices.Collect(maps.Values(v)), in)
	default:
		return false
	}
}

// check finds the rows that a successful response refuses.
func (s *sink[T]) check(b dataflow.SinkBatch[T], p part, resp *httpcall.Response) error {
	var err error
	if s.opts.Check != nil {
		err = s.opts.Check(&SinkResponse{Status: resp.Status, Header: resp.Header, Body: resp.Body, Rows: len(p.rows)})
	} else {
		err = unchecked(resp, p.json)
	}
	var refused RefusedError
	if !errors.As(err, &refused) {
		return err
	}
	for _, row := range refused {
		if row.Row < 0 || row.Row >= len(p.rows) {
			return dataflow.Permanent(fmt.Errorf("the sink's Check names row %d of a request of %d rows", row.Row, len(p.rows)))
		}
		if err := refuse(b, p.rows[row.Row], row.Err); err != nil {
			return err
		}
	}
	return nil
}

// body returns the body of a request.
func (s *sink[T]) body(p part) ([]byte, error) {
	switch {
	case s.opts.Body != nil:
		body, err := s.opts.Body(slices.Clone(p.json)) // which names the rows if it is refused
		if err != nil {
			return nil, fmt.Errorf("the sink's Body: %w", err)
		}
		return body, nil
	case s.opts.Field != "":
		return json.Marshal(map[string]any{s.opts.Field: p.json})
	default:
		return json.Marshal(p.json)
	}
}

// post makes one request.
func (s *sink[T]) post(ctx context.Context, key string, p part) (*httpcall.Response, error) {
	body, err := s.body(p)
	if err != nil {
		return nil, dataflow.Permanent(err)
	}
	call, tries, answered, keyed := *s.call, 0, 0, false
	var lost atomic.Int64 // requests without a response: the client itself repeats one whose connection breaks
	trace := &httptrace.ClientTrace{WroteHeaders: func() { lost.Add(1) }, GotFirstResponseByte: func() { lost.Add(-1) }}
	call.Classify = func(resp *httpcall.Response) httpcall.Verdict {
		keyed = aboutKey(resp.Body)
		if resp.Status == http.StatusConflict && (tries-1 > answered || lost.Load() > 0 || keyed) {
			return httpcall.Verdict{Action: httpcall.Retry}
		}
		if resp.Status < statusCancelled { // otherwise a gateway may have passed the request on
			answered++
		}
		return httpcall.Verdict{}
	}
	resp, err := call.Do(ctx, func(ctx context.Context) (*http.Request, error) {
		tries, keyed = tries+1, false
		req, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, trace), s.opts.Method, s.address, bytes.NewReader(body))
		if err != nil {
			return nil, dataflow.Permanent(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Accept", "application/json")
		req.Header.Set(s.opts.KeyHeader, key)
		return req, nil
	})
	if err != nil && keyed {
		err = &keyError{err}
	}
	return resp, err
}
