package httpjson

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
)

// A list whose pages are named by a cursor may be sorted newest first, and the options may not
// say so. The last page then names the oldest records, and nothing ever comes after them: each
// later run would end with success and without the records that have come. The first page
// tells: a list that grows at its end still begins as it did.

// heads reports whether the cursors of a read hold the first records of the list.
func (s *source[T]) heads() bool {
	if !s.opts.resumes() || continues(s.opts.Paging) {
		return false
	}
	switch s.opts.Paging.(type) {
	case onePage, PageNumber, Offset: // a page that has a number gets other records
		return false
	default:
		return true
	}
}

// checksHead reports whether the first page is to be looked at: after a read that has
// continued on a later page, and found nothing there.
func (r *reading[T]) checksHead() bool {
	return r.s.heads() && r.from.Page != "" && r.from.First != "" && !r.moved && !r.stopped && !r.checked && !r.restarted
}

// head looks at the first page. It returns where to go on if the list does not begin as it did,
// so that the last record that was read must be looked for, or nil.
func (r *reading[T]) head(ctx context.Context) (*Cursor, error) {
	r.checked = true
	first := knownList(r.from.First)
	was, is := -1, 0 // the place of a known record then and now
	err := r.firstPage(ctx, func(record json.RawMessage) error {
		sum := r.hash(record)
		if is < len(first) && first[is] == sum {
			was = is
		} else {
			was = slices.Index(first, sum)
		}
		if was >= 0 {
			return errEnough
		}
		is++
		return nil
	})
	if err != nil || was >= is || was < 0 && is == 0 { // others were removed, or the list is empty
		return nil, err
	}
	return r.seek(r.from), nil
}

// firstPage calls look for the records of the first page, until it returns errEnough.
func (r *reading[T]) firstPage(ctx context.Context, look func(json.RawMessage) error) error {
	var at Cursor
	if !r.s.opts.streams() {
		p, err := r.fetch(ctx, at)
		if err != nil {
			return err
		}
		for _, record := range p.records {
			if look(record) != nil {
				return nil
			}
		}
		return nil
	}
	resp, err := r.openPage(ctx, at)
	if err != nil || resp.Status == http.StatusNotModified {
		return err
	}
	defer func() { _ = resp.Stream.Close() }() // it was only read
	stream := r.s.stream()
	if _, err := stream.Read(resp.Stream, look); err != nil && !errors.Is(err, errEnough) && !r.s.omitted(err) {
		return r.s.unreadableStream(at, err)
	}
	return nil
}
