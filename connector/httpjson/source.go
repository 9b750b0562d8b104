package httpjson

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/httpcall"
)

// checkEvery is the number of records read between two checks of the context.
const checkEvery = 128

// Source returns a source that reads the records of the API at address with GET
// requests. See the package documentation for what a later run reads. opts may be
// nil: the response is then one array.
//
// An invalid address or opts is reported by [dataflow.NewClient], or by the first
// read. The source is also a [dataflow.Validator] and a [dataflow.Describer]. It is
// safe for concurrent use if opts.Auth is.
func Source[T any](address string, opts *Options) dataflow.Source[T, Cursor] {
	if opts == nil {
		opts = &Options{}
	}
	s := &source[T]{address: address, opts: *opts, call: opts.caller()}
	if s.opts.Paging == nil {
		s.opts.Paging = onePage{}
	}
	return s
}

type source[T any] struct {
	address string
	opts    Options
	call    *httpcall.Caller
}

func (s *source[T]) Validate() error {
	errs := []error{s.call.Validate(s.address)}
	if v, ok := s.opts.Paging.(dataflow.Validator); ok {
		errs = append(errs, v.Validate())
	}
	return errors.Join(errs...)
}

// Describe leaves out the address's query, which may hold a secret.
func (s *source[T]) Describe() dataflow.Description {
	return dataflow.Description{Type: "httpjson", Detail: map[string]any{"url": bare(s.address)}}
}

func (s *source[T]) Read(ctx context.Context, r dataflow.Request[Cursor]) iter.Seq2[dataflow.Item[T, Cursor], error] {
	return func(yield func(dataflow.Item[T, Cursor], error) bool) {
		if err := s.pages(ctx, r.From, yield); err != nil {
			yield(dataflow.Item[T, Cursor]{}, err)
		}
	}
}

// pages yields the records after a cursor. It returns the error that ended the
// read; the caller must yield it.
func (s *source[T]) pages(ctx context.Context, from Cursor, yield func(dataflow.Item[T, Cursor], error) bool) error {
	if err := s.Validate(); err != nil {
		return dataflow.Permanent(fmt.Errorf("HTTP source: %w", err))
	}
	at := from
	if s.opts.Snapshot && from.Done {
		at = Cursor{Done: true, Skip: from.Skip, ETag: from.ETag, LastModified: from.LastModified, Sum: from.Sum}
	}
	var before []json.RawMessage // the records of the previous page
	trail := &httpcall.Trail{EqualPages: s.opts.AllowEqualPages}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		p, err := s.fetch(ctx, at)
		if err != nil || p == nil { // a nil page means that nothing has changed
			return err
		}
		if s.opts.Snapshot && p.changed(at) {
			at.Skip, at.Done = 0, false
			if at.Page != "" { // records may have moved to a page that was already read
				at, before, trail = Cursor{}, nil, &httpcall.Trail{EqualPages: s.opts.AllowEqualPages}
				continue
			}
		}
		if at.Skip > len(p.records) {
			return dataflow.Permanent(fmt.Errorf("page %s has %d records, but %d were read: records were removed: set Options.Snapshot for a list that does not only grow", at.pageName(), len(p.records), at.Skip))
		}
		if err := trail.Visit(at.Page, p.next, p.records); err != nil {
			return dataflow.Permanent(fmt.Errorf("page %s of %s: %w", at.pageName(), bare(s.address), err))
		}
		if at.Skip == 0 {
			at.Skip = s.overlap(before, p.records)
		}
		more, err := s.yieldPage(ctx, p, at, yield)
		if err != nil || !more || p.next == "" {
			return err
		}
		if err := trail.Pace(ctx); err != nil {
			return err
		}
		at, before = Cursor{Page: p.next}, p.records
	}
}

// yieldPage yields the records of a page after the cursor. It reports whether the
// caller wants more.
func (s *source[T]) yieldPage(ctx context.Context, p *page, at Cursor, yield func(dataflow.Item[T, Cursor], error) bool) (bool, error) {
	for i := at.Skip; i < len(p.records); i++ {
		if i%checkEvery == checkEvery-1 && ctx.Err() != nil {
			return false, ctx.Err()
		}
		item := dataflow.Item[T, Cursor]{Cursor: p.cursor(at.Page, i+1, s.opts.Snapshot), Resume: true}
		item.Key = s.key(p.records[i])
		var bad error
		if err := httpcall.Decode(p.records[i], &item.Value); err != nil {
			if item.Key == "" {
				item.Key = item.Cursor.String()
			}
			bad = &dataflow.RecordError{Key: item.Key, Raw: clip(p.records[i]), Err: err}
			item = dataflow.Item[T, Cursor]{Cursor: item.Cursor, Resume: true}
		}
		if !yield(item, bad) {
			return false, nil
		}
	}
	// The end of the page may be a new cursor without a record: if the page is empty
	// and another follows, or if the ETag or Last-Modified has changed.
	end := p.cursor(at.Page, len(p.records), s.opts.Snapshot)
	switch {
	case at.Skip < len(p.records):
		return true, nil
	case p.next != "" && len(p.records) > 0:
		return true, nil // this may be the last page with records, and may still grow
	case p.next != "":
		end = Cursor{Page: p.next}
	// Do not move to an empty last page: the next read begins at the page before it,
	// which may still grow.
	case end == at, len(p.records) == 0 && at.Page != "" && !s.opts.Snapshot, at.Skip == 0 && !s.opts.Snapshot && end.ETag == "" && end.LastModified == "":
		return true, nil
	}
	return yield(dataflow.Item[T, Cursor]{Mark: true, Cursor: end}, nil), nil
}

// fetch gets the page of a cursor, or nil if the page has not changed.
func (s *source[T]) fetch(ctx context.Context, at Cursor) (*page, error) {
	var p *page
	var unread error
	resp, err := s.call.DoRead(ctx, func(ctx context.Context) (*http.Request, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.address, nil)
		if err != nil {
			return nil, dataflow.Permanent(err)
		}
		req.Header.Set("Accept", "application/json")
		if err := s.opts.Paging.Prepare(req, at.Page); err != nil {
			return nil, dataflow.Permanent(fmt.Errorf("page %s: %w", at.pageName(), err))
		}
		at.condition(req)
		return req, s.allowed(req.URL)
	}, func(resp *httpcall.Response) error {
		if unread = nil; resp.Status != http.StatusNotModified {
			p, unread = s.parse(resp)
		}
		return unread
	})
	switch reported := (*httpcall.ReportedError)(nil); {
	case err != nil && err == unread: //nolint:errorlint // it is this error itself, not one that wraps it
		err = fmt.Errorf("page %s of %s: %w", at.pageName(), bare(s.address), err)
		if errors.As(err, &reported) {
			return nil, err
		}
		return nil, dataflow.Permanent(err)
	case err != nil:
		if err = s.end(at, err); err == nil {
			return &page{}, nil
		}
		return nil, err
	case resp.Status == http.StatusNotModified:
		return nil, nil //nolint:nilnil // nil means unchanged
	}
	got := &Page{URL: resp.URL, Header: resp.Header, Body: resp.Body, Records: len(p.records)}
	if p.next, err = s.opts.Paging.Next(at.Page, got); err != nil {
		return nil, dataflow.Permanent(fmt.Errorf("page %s of %s: the next page: %w", at.pageName(), bare(s.address), err))
	}
	if p.next == at.Page { // it is the last, and names the place where the list will go on
		p.next = ""
	}
	return p, nil
}

// allowed returns an error for a page at another host, which must not receive what
// Auth adds.
func (s *source[T]) allowed(u *url.URL) error {
	home, err := url.Parse(s.address)
	if err == nil && u.Host == home.Host && u.Scheme == home.Scheme {
		return nil
	}
	return dataflow.Permanent(fmt.Errorf("the next page is at %s://%s, not at the host of %s: it was not requested, because it would receive what Auth adds", u.Scheme, u.Host, bare(s.address)))
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
