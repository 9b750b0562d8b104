package jsonrpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/httpcall"
	"github.com/activedataflow/dataflow/internal/jsonrow"
	"github.com/activedataflow/dataflow/internal/notes"
)

const (
	// checkEvery is the number of records read between two checks of the context.
	checkEvery = 128
	// maxRawBytes is the size above which a bad record is not kept.
	maxRawBytes = 64 << 10
)

// Options are the optional settings of [Source]. The zero value is ready to use.
type Options struct {
	// Params are sent with each call, in addition to the cursor. Nil means none.
	Params map[string]any

	// Positional are sent with each call as a list, for a server that takes no names. The
	// cursor, if there is one, follows them. It must not be set beside Params.
	Positional []any

	// MakeParams returns the params of a call where neither Params nor Positional will do:
	// a list, or a map. cursor is nil for the first call. An error ends the read.
	MakeParams func(cursor json.RawMessage) (any, error)

	// Version is the version of the protocol that the server speaks: "2.0", "1.1" or
	// "1.0". Empty means "2.0".
	Version string

	// CursorParam is the parameter for the cursor. The first call does not have it.
	// Empty means "cursor".
	CursorParam string

	// Records is the path of the array of records in a result: fields separated by
	// dots. Empty means that the result is the array, and the only one.
	Records string

	// Next is the path of the next call's cursor in a result. The cursor may have
	// any type. A result whose cursor is missing, null, false, empty, 0 or -1 is the last, unless it
	// is that of a record. If the first result has nothing at the path, the run's log says so. Empty
	// means that there is one result.
	Next string

	// Key is the path of a record's own key, such as "id". The key names the record
	// in errors and in sinks outside the database. Empty names the record by its
	// place.
	Key string

	// AllowEqualPages allows two results of a read to have the same records. False
	// ends the read at such a result with an error, because the server probably sends one
	// result again and again.
	AllowEqualPages bool

	// Auth changes each request before it is sent, for example to add a token. It
	// is called again for each try. An error ends the read. Nil sends the request
	// unchanged.
	Auth func(*http.Request) error

	// Header is sent with each request. Nil sends only the headers for JSON.
	Header http.Header

	// Client makes the requests. Nil means a client that follows no redirect to
	// another host.
	Client *http.Client

	// Timeout limits one request, including its response. 0 means 30 seconds.
	Timeout time.Duration

	// MaxBodyBytes limits the length of a response. 0 means 32 MiB.
	MaxBodyBytes int64

	// Tries is the number of times a request is made if it gets no response, or a
	// status that passes by itself, such as 429 or 5xx. 0 means 4.
	Tries int

	// MaxWait is the longest wait between two tries. If a server asks for more by
	// Retry-After, the run is put back for that time. 0 means 30 seconds.
	MaxWait time.Duration
}

// Cursor is the place directly after a record. Its zero value is the beginning.
type Cursor struct {
	// Call is the cursor of the call, as JSON. It is empty for the first call.
	Call string `json:"call,omitempty"`
	// Skip is the number of records of the call's result before the cursor.
	Skip int `json:"skip"`
}

// String names the last record before the cursor: "first call record 17".
func (c Cursor) String() string {
	if c.Call == "" {
		return fmt.Sprintf("first call record %d", c.Skip)
	}
	return fmt.Sprintf("call %s record %d", c.Call, c.Skip)
}

// Source returns a source that calls a method of the server at address and reads
// the records in its results. opts may be nil: the result is then one array.
//
// An invalid address or opts is reported by [dataflow.NewClient], or by the first
// read. The source is also a [dataflow.Validator] and a [dataflow.Describer]. It is
// safe for concurrent use if opts.Auth is.
func Source[T any](address, method string, opts *Options) dataflow.Source[T, Cursor] {
	if opts == nil {
		opts = &Options{}
	}
	s := &source[T]{method: method, opts: *opts, server: newServer(address, opts.Version, httpcall.Caller{
		Client: opts.Client, Header: opts.Header, Auth: opts.Auth,
		Timeout: opts.Timeout, MaxBodyBytes: opts.MaxBodyBytes, Tries: opts.Tries, MaxWait: opts.MaxWait,
	})}
	s.opts.Params = maps.Clone(opts.Params)
	if s.opts.CursorParam == "" {
		s.opts.CursorParam = "cursor"
	}
	return s
}

type source[T any] struct {
	server
	method string
	opts   Options
}

func (s *source[T]) Validate() error {
	errs := []error{s.call.Validate(s.address)}
	if s.method == "" {
		errs = append(errs, &dataflow.ConfigError{Field: "Method", Reason: "it is empty: name the method to call"})
	}
	if strings.HasSuffix(s.opts.Records, ".") { // with httpjson it is one record, which a later run would not read again here
		errs = append(errs, &dataflow.ConfigError{Field: "Records", Reason: fmt.Sprintf("%q ends in a dot: give the path of the array of records in the result", s.opts.Records)})
	}
	if s.opts.Next != "" && s.opts.Records == "" {
		errs = append(errs, &dataflow.ConfigError{Field: "Records", Reason: "it is empty, but Next is set: give the path of the array of records in the result"})
	}
	if s.opts.Params != nil && s.opts.Positional != nil {
		errs = append(errs, &dataflow.ConfigError{Field: "Positional", Reason: "Params is set too: use one of them"})
	}
	if s.opts.Version == version10 && s.opts.Positional == nil && s.opts.MakeParams == nil && s.opts.Params != nil {
		errs = append(errs, &dataflow.ConfigError{Field: "Params", Reason: "version 1.0 has no named params: use Positional"})
	}
	errs = append(errs, checkVersion(s.opts.Version))
	return errors.Join(errs...)
}

func (s *source[T]) Describe() dataflow.Description {
	return dataflow.Description{Type: "jsonrpc", Detail: map[string]any{"url": s.bare(), "method": s.method}}
}

// ParseRecord implements [dataflow.RecordParser].
func (s *source[T]) ParseRecord(_ context.Context, r dataflow.RawRecord) (T, error) {
	return jsonrow.Parse[T](r.Raw, r.Edited, false)
}

func (s *source[T]) Read(ctx context.Context, r dataflow.Request[Cursor]) iter.Seq2[dataflow.Item[T, Cursor], error] {
	return func(yield func(dataflow.Item[T, Cursor], error) bool) {
		if err := s.calls(ctx, r.From, yield); err != nil {
			yield(dataflow.Item[T, Cursor]{}, err)
		}
	}
}

// calls yields the records after a cursor. It returns the error that ended the
// read; the caller must yield it.
func (s *source[T]) calls(ctx context.Context, at Cursor, yield func(dataflow.Item[T, Cursor], error) bool) error {
	if err := s.Validate(); err != nil {
		return dataflow.Permanent(fmt.Errorf("JSON-RPC source: %w", err))
	}
	trail := &httpcall.Trail{EqualPages: s.opts.AllowEqualPages}
	var before []json.RawMessage // the records of the previous result
	for moved := false; ; moved = true {
		if err := ctx.Err(); err != nil {
			return err
		}
		records, next, named, err := s.ask(ctx, at)
		if err != nil {
			return err
		}
		if at == (Cursor{}) && !named && len(records) > 0 {
			notes.Info(ctx, "jsonrpc: the result has nothing at the path of Options.Next, which should name the next call; it counts as the only one", slog.String("path", s.opts.Next), slog.String("method", s.method), slog.Int("records", len(records)))
		}
		if err := trail.Visit(at.Call, next, records); err != nil {
			return dataflow.Permanent(fmt.Errorf("%s of %s at %s: %w", s.method, s.bare(), at, err))
		}
		if len(before) > 0 { // the cursor is at the beginning of this result
			at.Skip = s.overlap(before, records)
		}
		before = records
		// A result that names a next call is complete, so its end is a resume point.
		if moved && !yield(dataflow.Item[T, Cursor]{Mark: true, Cursor: at}, nil) {
			return nil
		}
		if at.Skip > len(records) {
			return dataflow.Permanent(fmt.Errorf("%s at %s returns %d records, but %d were read: the list lost records, but may only grow: give the flow a new name or reset its cursor", s.method, at, len(records), at.Skip))
		}
		more, err := s.yieldRecords(ctx, records[at.Skip:], at, yield)
		if err != nil || !more || next == "" {
			return err
		}
		if err := trail.Pace(ctx); err != nil {
			return err
		}
		at = Cursor{Call: next}
	}
}

func (s *source[T]) yieldRecords(ctx context.Context, records []json.RawMessage, at Cursor, yield func(dataflow.Item[T, Cursor], error) bool) (bool, error) {
	dec := jsonrow.NewDecoder[T](false)
	for i, record := range records {
		if i%checkEvery == checkEvery-1 && ctx.Err() != nil {
			return false, ctx.Err()
		}
		at.Skip++
		item := dataflow.Item[T, Cursor]{Cursor: at, Resume: true, Key: s.key(record)}
		var bad error
		if err := dec.Decode(record); err != nil {
			if item.Key == "" {
				item.Key = at.String()
			}
			bad = &dataflow.RecordError{Key: item.Key, Raw: clip(record), Err: err}
			item = dataflow.Item[T, Cursor]{Cursor: at, Resume: true}
		} else {
			item.Value = dec.Value()
		}
		if !yield(item, bad) {
			return false, nil
		}
	}
	return true, nil
}

// ask makes the call at a cursor. named is false if the result has nothing at the path of Next.
func (s *source[T]) ask(ctx context.Context, at Cursor) (records []json.RawMessage, next string, named bool, err error) {
	params, err := s.params(at)
	if err != nil {
		return nil, "", false, fmt.Errorf("%s of %s at %s: the params: %w", s.method, s.bare(), at, err)
	}
	result, err := s.one(ctx, "", s.request("1", s.method, params))
	if answered := (*Error)(nil); errors.As(err, &answered) {
		err = answered.signal()
	}
	if err != nil {
		return nil, "", false, fmt.Errorf("%s of %s at %s: %w", s.method, s.bare(), at, err)
	}
	if records, next, named, err = s.parse(result); next == at.Call { // it is the last, and names where the list will go on
		next = ""
	}
	if err != nil {
		err = fmt.Errorf("%s of %s at %s: %w", s.method, s.bare(), at, err)
		if reported := (*httpcall.ReportedError)(nil); !errors.As(err, &reported) {
			err = dataflow.Permanent(err)
		}
		return nil, "", false, err
	}
	return records, next, named, nil
}

// params returns the params of the call at a cursor.
func (s *source[T]) params(at Cursor) (any, error) {
	var cursor json.RawMessage
	if at.Call != "" {
		cursor = json.RawMessage(at.Call)
	}
	switch {
	case s.opts.MakeParams != nil:
		return s.opts.MakeParams(cursor)
	case s.opts.Positional != nil:
		params := slices.Clone(s.opts.Positional)
		if cursor != nil {
			params = append(params, cursor)
		}
		return params, nil
	}
	params := map[string]any{}
	maps.Copy(params, s.opts.Params)
	if cursor != nil {
		params[s.opts.CursorParam] = cursor
	}
	return params, nil
}

func (s *source[T]) parse(result json.RawMessage) (records []json.RawMessage, next string, named bool, err error) {
	if records, _, err = httpcall.Records(result, s.opts.Records); err != nil {
		return nil, "", false, err
	}
	if s.opts.Next == "" {
		return records, "", true, nil
	}
	value, err := httpcall.Find(result, s.opts.Next)
	if named = err == nil; !named || httpcall.Text(value) == "" || string(value) == "false" || s.endMark(value) {
		return records, "", named, nil // it is the last
	}
	return records, string(value), true, nil
}

// endMark reports whether a cursor is empty, 0 or -1, which names no call. That of a record may be
// such a number.
func (s *source[T]) endMark(value json.RawMessage) bool {
	return !s.namedByRecord() && (httpcall.IsEmpty(value) || string(value) == "-1")
}

// namedByRecord reports whether a record of a result names the next call.
func (s *source[T]) namedByRecord() bool {
	return s.opts.Records == "" || strings.HasPrefix(s.opts.Next, s.opts.Records+".")
}

// overlap returns how many records at the beginning of a result were already read at the end of the previous
// one: a server may begin with the record that names the call, and with others of that name.
func (s *source[T]) overlap(before, records []json.RawMessage) int {
	if !s.namedByRecord() {
		return 0
	}
	return httpcall.Overlap(before, records, len(before))
}

// key returns a record's own key, or "" if it has none that is UTF-8.
func (s *source[T]) key(record json.RawMessage) string {
	if s.opts.Key == "" {
		return ""
	}
	value, err := httpcall.Find(record, s.opts.Key)
	if err != nil || !utf8.Valid(value) {
		return ""
	}
	return httpcall.Text(value)
}

// clip returns a record to keep with its error, or nil if it is too long.
func clip(record json.RawMessage) json.RawMessage {
	if len(record) > maxRawBytes {
		return nil
	}
	return jsonrow.Raw(record)
}
