package httpjson

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/activedataflow/dataflow/internal/httpcall"
	"github.com/activedataflow/dataflow/internal/jsonrow"
)

// maxRawBytes is the size above which a bad record is not kept.
const maxRawBytes = 64 << 10

// page is a fetched page.
type page struct {
	records            []json.RawMessage
	total              int             // of the list, as an Offset with Total tells it; 0: not known
	count              int             // of the records; a stream keeps none
	envelope           json.RawMessage // the response; of a stream, with the last record only
	rest               json.RawMessage // the response with the last record only
	next               string          // empty for the last page
	sum                string
	etag, lastModified string
	time               time.Time // by the server's clock
	later              string    // where a later run continues; empty: on this page
}

// pageOf returns a response as the functions of the options see it.
func pageOf(resp *httpcall.Response) *Page {
	return &Page{URL: resp.URL, Status: resp.Status, Header: resp.Header, Body: resp.Body}
}

// parse finds the records in a response.
func (s *source[T]) parse(resp *httpcall.Response) (*page, error) {
	p := &page{envelope: resp.Body, rest: resp.Body, time: resp.Time()}
	if s.conditional() {
		p.etag, p.lastModified = resp.Header.Get("ETag"), lastModified(resp.Header)
	}
	if s.opts.Snapshot {
		p.sum = sumOf(resp.Body)
	}
	if resp.Status == http.StatusNoContent && len(resp.Body) == 0 {
		return p, nil
	}
	if s.opts.Check != nil {
		if err := s.opts.Check(pageOf(resp)); err != nil {
			return nil, &checkError{err}
		}
	}
	var err error
	p.records, p.rest, err = s.opts.recordsOf(resp.Body)
	switch bad := (*httpcall.ReportedError)(nil); {
	case s.omitted(err):
		p.rest, err = resp.Body, nil
	case s.opts.Records == "." && errors.As(err, &bad):
		err = fmt.Errorf("%w: if it is the record, let Options.Check return nil for it", err)
	}
	p.count = len(p.records)
	if sendsChanges(s.opts.Paging) { // the rest of such a page is another one each time
		p.sum = sumOf(p.records...)
	}
	return p, err
}

// sumOf returns a hash of texts.
func sumOf(texts ...json.RawMessage) string {
	sum := sha256.New()
	for i, text := range texts {
		if i > 0 {
			_, _ = sum.Write([]byte{','}) // never fails
		}
		_, _ = sum.Write(text)
	}
	return hex.EncodeToString(sum.Sum(nil)[:8])
}

// lastModified returns the Last-Modified of a response, or "" if the response is of the same second, or has no time. A
// later change within the second has the same Last-Modified (RFC 9110, section 8.8.2.2).
func lastModified(h http.Header) string {
	text := h.Get("Last-Modified")
	changed, err := http.ParseTime(text)
	sent, noDate := http.ParseTime(h.Get("Date"))
	if err != nil || noDate != nil || sent.Sub(changed) < time.Second {
		return ""
	}
	return text
}

// omitted reports whether an error is that of a response that stands for an empty list: it leaves
// the list out, or it says that it failed, and Check has let that pass.
func (s *source[T]) omitted(err error) bool {
	var missing *httpcall.MissingError
	var reported *httpcall.ReportedError
	return s.opts.OmitsEmpty && errors.As(err, &missing) || s.opts.Check != nil && errors.As(err, &reported) && reported.Beside
}

// checkError is an error of Options.Check, which decides what it means.
type checkError struct{ err error }

func (e *checkError) Error() string { return e.err.Error() }
func (e *checkError) Unwrap() error { return e.err }

// conditional reports whether an unchanged response also means that no new page follows it,
// so that it can be asked for by ETag and Last-Modified.
func (s *source[T]) conditional() bool {
	return s.body == nil && s.opts.Open == nil && s.opts.Since == nil && s.opts.Order == OldestFirst && !s.opts.streams() && conditional(s.opts.Paging)
}

// cursor returns the place after the first n records.
func (p *page) cursor(at Cursor, n int, snapshot bool) Cursor {
	c := at.on(at.Page)
	c.Skip = n
	c.Sum = p.sum
	if n < p.count || p.next != "" {
		return c
	}
	c.Done = snapshot
	// A conditional request for a snapshot is possible only if it has one page.
	if !snapshot || at.Page == "" {
		c.ETag, c.LastModified = p.etag, p.lastModified
	}
	return c
}

// changed reports whether the page differs from the one read up to a snapshot's
// cursor.
func (p *page) changed(at Cursor) bool {
	return at.Sum != "" && (at.Sum != p.sum || at.Done && p.next != "")
}

// key returns a record's own key, or "" if it has none that is UTF-8.
func (s *source[T]) key(record json.RawMessage) string {
	if s.opts.Key == "" {
		return ""
	}
	value, err := httpcall.FindValid(record, s.opts.Key)
	if err != nil || !utf8.Valid(value) {
		return ""
	}
	return httpcall.Text(value)
}

// clip returns a copy of a record to keep with its error, or nil if it is too long.
func clip(record json.RawMessage) json.RawMessage {
	if len(record) > maxRawBytes {
		return nil
	}
	if !utf8.Valid(record) {
		return jsonrow.Raw(record)
	}
	return bytes.Clone(record)
}
