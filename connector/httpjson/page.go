package httpjson

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"

	"github.com/activedataflow/dataflow/internal/httpcall"
)

// maxRawBytes is the size above which a bad record is not kept.
const maxRawBytes = 64 << 10

// page is a fetched page.
type page struct {
	records            []json.RawMessage
	next               string // empty for the last page
	sum                string
	etag, lastModified string
}

// parse finds the records in a response.
func (s *source[T]) parse(resp *httpcall.Response) (*page, error) {
	p := &page{}
	if conditional(s.opts.Paging) {
		p.etag, p.lastModified = resp.Header.Get("ETag"), resp.Header.Get("Last-Modified")
	}
	sum := sha256.Sum256(resp.Body)
	p.sum = hex.EncodeToString(sum[:8])
	if resp.Status == http.StatusNoContent && len(resp.Body) == 0 {
		return p, nil
	}
	var err error
	p.records, err = httpcall.Records(resp.Body, s.opts.Records)
	return p, err
}

// cursor returns the place after the first n records.
func (p *page) cursor(name string, n int, snapshot bool) Cursor {
	c := Cursor{Page: name, Skip: n}
	if snapshot {
		c.Sum = p.sum
	}
	if n < len(p.records) || p.next != "" {
		return c
	}
	c.Done = snapshot
	// A conditional request for a snapshot is possible only if it has one page.
	if !snapshot || name == "" {
		c.ETag, c.LastModified = p.etag, p.lastModified
	}
	return c
}

// changed reports whether the page differs from the one read up to a snapshot's
// cursor.
func (p *page) changed(at Cursor) bool {
	return at.Sum != "" && (at.Sum != p.sum || at.Done && p.next != "")
}

// key returns a record's own key, or "" if it has none.
func (s *source[T]) key(record json.RawMessage) string {
	if s.opts.Key == "" {
		return ""
	}
	value, err := httpcall.Find(record, s.opts.Key)
	if err != nil {
		return ""
	}
	return httpcall.Text(value)
}

// clip returns a record to keep with its error, or nil if it is too long.
func clip(record json.RawMessage) json.RawMessage {
	if len(record) > maxRawBytes {
		return nil
	}
	return record
}
