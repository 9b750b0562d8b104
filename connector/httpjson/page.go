package httpjson

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/activedataflow/dataflow/internal/httpcall"
)

// maxRawBytes is how much is kept of a bad record.
const maxRawBytes = 64 << 10

// page is a page that was fetched.
type page struct {
	records            []json.RawMessage
	next               string // empty: it is the last
	sum                string
	etag, lastModified string
}

// parse finds the records in an answer.
func (s *source[T]) parse(resp *httpcall.Response) (*page, error) {
	p := &page{}
	if conditional(s.opts.Paging) {
		p.etag, p.lastModified = resp.Header.Get("ETag"), resp.Header.Get("Last-Modified")
	}
	sum := sha256.Sum256(resp.Body)
	p.sum = hex.EncodeToString(sum[:8])
	list, err := httpcall.Find(resp.Body, s.opts.Records)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(list, &p.records); err != nil {
		return nil, fmt.Errorf("the records, at %q: %w", s.opts.Records, err)
	}
	return p, nil
}

// cursor is the place behind the first n records.
func (p *page) cursor(name string, n int, snapshot bool) Cursor {
	c := Cursor{Page: name, Skip: n}
	if snapshot {
		c.Sum = p.sum
	}
	if n < len(p.records) || p.next != "" {
		return c
	}
	c.Done = snapshot
	// The condition of a snapshot is for its one page.
	if !snapshot || name == "" {
		c.ETag, c.LastModified = p.etag, p.lastModified
	}
	return c
}

// changed reports whether the page is another than the one that was read up to a
// cursor of a snapshot.
func (p *page) changed(at Cursor) bool {
	return at.Sum != "" && (at.Sum != p.sum || at.Done && p.next != "")
}

// key names a record by its own key, if there is one.
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

// clip leaves out a record that is too long to be kept with its error.
func clip(record json.RawMessage) json.RawMessage {
	if len(record) > maxRawBytes {
		return nil
	}
	return record
}
