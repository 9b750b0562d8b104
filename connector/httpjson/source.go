package httpjson

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/httpcall"
	"github.com/activedataflow/dataflow/internal/jsonrow"
)

// checkEvery is the number of records read between two checks of the context.
const checkEvery = 128

// Source returns a source that reads the records of the API at address. See the package
// documentation for what a later run reads. opts may be nil: the response is then one array.
//
// An invalid address or opts is reported by [dataflow.NewClient], or by the first
// read. The source is also a [dataflow.Validator] and a [dataflow.Describer]. It is
// safe for concurrent use if the functions in opts are.
func Source[T any](address string, opts *Options) dataflow.Source[T, Cursor] {
	if opts == nil {
		opts = &Options{}
	}
	s := &source[T]{address: address, opts: *opts, call: opts.caller(address)}
	if s.opts.Paging == nil {
		s.opts.Paging = onePage{}
	}
	if s.opts.Logger == nil {
		s.opts.Logger = slog.Default()
	}
	if opts.Body != nil {
		s.body, _ = json.Marshal(opts.Body) // Validate reports an error
	}
	return s
}

type source[T any] struct {
	address string
	opts    Options
	call    *httpcall.Caller
	body    []byte // of each request, before the parameters; nil: none
}

func (s *source[T]) Validate() error {
	return errors.Join(s.call.Validate(s.address), s.opts.validate())
}

// Describe leaves out the address's query, which may hold a secret.
func (s *source[T]) Describe() dataflow.Description {
	return dataflow.Description{Type: "httpjson", Detail: map[string]any{"url": bare(s.address)}}
}

// Rereads reports whether a later run reads records that were read before.
func (s *source[T]) Rereads() bool { return s.opts.rereads() }

// ParseRecord implements [dataflow.RecordParser].
func (s *source[T]) ParseRecord(_ context.Context, r dataflow.RawRecord) (T, error) {
	return jsonrow.Parse[T](r.Raw, r.Edited, false)
}

func (s *source[T]) Read(ctx context.Context, r dataflow.Request[Cursor]) iter.Seq2[dataflow.Item[T, Cursor], error] {
	return func(yield func(dataflow.Item[T, Cursor], error) bool) {
		reading := &reading[T]{s: s, from: r.From, trail: s.trail(), dec: jsonrow.NewDecoder[T](false)}
		reading.yield = func(item dataflow.Item[T, Cursor], err error) bool {
			reading.stopped = !yield(item, err)
			return !reading.stopped
		}
		if err := reading.run(ctx); err != nil {
			yield(dataflow.Item[T, Cursor]{}, err)
		}
	}
}

func (s *source[T]) trail() *httpcall.Trail {
	return &httpcall.Trail{EqualPages: s.opts.AllowEqualPages}
}

// wrap names the page of an error.
func (s *source[T]) wrap(at Cursor, err error) error {
	return fmt.Errorf("page %s of %s: %w", at.pageName(), bare(s.address), err)
}

// fetch gets the page of a cursor, or nil if the page has not changed.
func (r *reading[T]) fetch(ctx context.Context, at Cursor) (*page, error) {
	p, err := r.ask(ctx, at)
	if err != nil && r.handle != nil && !r.fresh && refused(err) { // the search has expired
		r.handle = nil
		p, err = r.ask(ctx, at)
	}
	return p, err
}

// ask makes the request for a page.
func (r *reading[T]) ask(ctx context.Context, at Cursor) (*page, error) {
	if err := r.open(ctx); err != nil {
		return nil, err
	}
	s := r.s
	var p *page
	var unread error
	resp, err := s.call.DoRead(ctx, func(ctx context.Context) (*http.Request, error) { return r.build(ctx, at) }, func(resp *httpcall.Response) error {
		if unread = nil; resp.Status != http.StatusNotModified {
			p, unread = s.parse(resp)
		}
		return unread
	})
	switch {
	case err != nil && err == unread: //nolint:errorlint // it is this error itself, not one that wraps it
		return nil, s.unreadable(at, err)
	case err != nil:
		if err = s.end(at, err); err == nil {
			return &page{}, nil
		}
		return nil, err
	case resp.Status == http.StatusNotModified:
		return nil, nil //nolint:nilnil // nil means unchanged
	}
	r.renew(p.envelope)
	return p, r.findNext(at, p, resp)
}

// unreadable returns the error of a response that cannot be read.
func (s *source[T]) unreadable(at Cursor, err error) error {
	err = s.wrap(at, err)
	if isWebPage(err) {
		return err
	}
	if reported, checked := (*httpcall.ReportedError)(nil), (*checkError)(nil); errors.As(err, &reported) || errors.As(err, &checked) {
		if reported != nil && reported.Beside {
			err = fmt.Errorf("%w: if it only means that there is nothing, let Options.Check return nil for it", err)
		}
		return err
	}
	return dataflow.Permanent(err)
}

// isWebPage reports whether an error is that of a web page in place of JSON, which may pass.
func isWebPage(err error) bool {
	var page *httpcall.WebPageError
	return errors.As(err, &page)
}

// findNext finds the page after a fetched one.
func (r *reading[T]) findNext(at Cursor, p *page, resp *httpcall.Response) (err error) {
	got := pageOf(resp)
	got.Body, got.Records, got.hasBody = p.envelope, p.count, r.s.body != nil
	got.rest, got.records = p.rest, r.s.opts.Records
	if p.next, err = r.s.opts.Paging.Next(at.Page, got); err != nil {
		return dataflow.Permanent(r.s.wrap(at, fmt.Errorf("the next page: %w", err)))
	}
	p.next = r.hide(p.next, resp.URL)
	if o, ok := r.s.opts.Paging.(Offset); ok {
		p.total, _, _ = count(got, o.Total) // Next has found it to be a number
	}
	if p.next == at.Page { // it is the last, and names the place where the list will go on
		if more := saysMore(r.s.opts.Paging, got); more != "" && p.next != "" {
			return dataflow.Permanent(r.s.wrap(at, fmt.Errorf("it names itself as the next page, though %q says that another one follows: check the paths in Options.Paging", more)))
		}
		p.next = ""
	}
	if p.next == "" {
		if p.later, err = later(r.s.opts.Paging, got); err != nil {
			return dataflow.Permanent(r.s.wrap(at, fmt.Errorf("the page of a later run: %w", err)))
		}
		p.later = r.hide(p.later, resp.URL)
	}
	r.warnOfErrors(p)
	r.warnOfChanges(p, got)
	return r.checkNamed(at, p, got)
}

// warnOfErrors warns once if a page has errors beside its records, as GraphQL puts null in place of what it could
// not find.
func (r *reading[T]) warnOfErrors(p *page) {
	if r.warnedErrors || p.count == 0 || r.s.opts.Check != nil || r.s.opts.Records == "" || r.s.opts.Records == "." || strings.HasPrefix(r.s.opts.Records, "errors") {
		return
	}
	if text := httpcall.ErrorsBeside(p.rest); text != "" {
		r.warnedErrors = true
		r.s.opts.Logger.Warn("dataflow: httpjson: the response reports errors beside its records, of which parts may be missing; Options.Check decides about such a response", slog.String("errors", text), slog.String("url", bare(r.s.address)))
	}
}

// build makes the HTTP request for a page.
func (r *reading[T]) build(ctx context.Context, at Cursor) (*http.Request, error) {
	s := r.s
	q, err := r.request(at)
	if err != nil {
		return nil, dataflow.Permanent(s.wrap(at, err))
	}
	u, err := s.opts.Links.follow(s.address, q.URL)
	if err != nil {
		return nil, err
	}
	body, err := q.body()
	if err != nil {
		return nil, dataflow.Permanent(s.wrap(at, err))
	}
	if r.asked, err = url.Parse(u.String()); err != nil {
		return nil, dataflow.Permanent(err)
	}
	r.askedBody = q.Body
	if s.conditional() { // a cursor of other options, or of an earlier version, may have what it takes
		at.condition(q.Header)
	}
	return newRequest(ctx, s.opts.Method, u, q.Header, body)
}

// bare returns an address without its user, query and fragment, which may hold
// secrets.
func bare(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "?"
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}
