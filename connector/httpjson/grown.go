package httpjson

import (
	"bytes"
	"cmp"
	"encoding/json"
	"log/slog"
	"slices"
)

// A list with NewestFirst may grow while its pages are read. Its records then move to later
// pages, and the next page begins with the last records of the one before.

// maxRepeats is how many pages in a row may have only records of the page before, because as many
// records have come as a page has. An API that sends its last page for each later one sends more.
const maxRepeats = 3

// shifts reports whether records may move to the next page while a list is read. Without a key, two
// records with the same content may be two.
func (s *source[T]) shifts() bool { return s.opts.Order == NewestFirst && s.opts.Key != "" }

// unread returns where the records of a page begin that were not read, and which records the
// trail is to compare with those of other pages.
func (r *reading[T]) unread(skip int, records []json.RawMessage) (int, []json.RawMessage) {
	if skip > 0 || r.seeking {
		return skip, records
	}
	skip = r.s.overlap(r.before, records)
	if !r.s.shifts() || skip == 0 || skip < len(records) || r.repeats == maxRepeats {
		r.repeats = 0
		return skip, records
	}
	r.repeats++
	return skip, nil
}

// warnTwice warns once of the first n records of a page that were on the page before: without a key, they may be
// others with the same content, and are read again.
func (r *reading[T]) warnTwice(at Cursor, n int) {
	if n == 0 || r.warnedTwice || r.seeking || r.s.opts.Order != NewestFirst || r.s.opts.Key != "" {
		return
	}
	r.warnedTwice = true
	r.s.opts.Logger.Warn("dataflow: httpjson: a page begins with records of the page before, because others have come or two are equal; they are read again: set Options.Key, by which they are told", slog.Int("records", n), slog.String("page", at.pageName()), slog.String("url", bare(r.s.address)))
}

// shift tells the records of a stream that have moved to this page from the one before.
type shift struct {
	prior, page []int64           // hashes of the last records of the page before and of this one
	held        []json.RawMessage // the first records of this page, see hold
	heldSums    []int64           // their hashes
	moved       int               // records at the beginning of this page that were on the page before
}

// maxShift is the number of records of a page that a shift knows at least.
const maxShift = 10_000

// add notes record i of a page. It reports whether that has moved there, with all before it.
func (s *shift) add(i int, record json.RawMessage) bool {
	sum := s.note(record)
	if s.moved != i || !slices.Contains(s.prior, sum) {
		return false
	}
	s.moved++
	return true
}

// note notes a record of a page, and returns its hash.
func (s *shift) note(record json.RawMessage) int64 {
	sum := hash(record, "")
	if len(s.page) == 2*maxShift {
		s.page = append(s.page[:0], s.page[maxShift:]...)
	}
	s.page = append(s.page, sum)
	return sum
}

// hold keeps record i of a stream if all of its page so far was on the page before, in this order: it may
// begin with the records of the name by which it was asked for, and they were read. The last ones tell.
func (s *shift) hold(i int, record json.RawMessage) bool {
	sum := s.note(record)
	if i != len(s.held) {
		return false
	}
	sums := append(s.heldSums, sum)
	for from := range len(s.prior) - i {
		if slices.Equal(s.prior[from:from+i+1], sums) {
			s.held, s.heldSums = append(s.held, bytes.Clone(record)), sums
			return true
		}
	}
	return false
}

// release yields the records that were held, but for those with which the page before ended.
func (r *reading[T]) release(p *page, at *Cursor) error {
	s := &r.shift
	held, n := s.held, len(s.held)
	for n > 0 && !slices.Equal(s.prior[len(s.prior)-n:], s.heldSums[:n]) {
		n--
	}
	s.held, s.heldSums = nil, nil
	if r.s.opts.resumes() {
		at.Read += int64(n)
	}
	for i := n; i < len(held); i++ {
		if more, err := r.record(p, at, i, held[i]); err != nil || !more {
			return cmp.Or(err, errEnough)
		}
	}
	return nil
}

// shiftEnd ends a page of a stream with n records. It reports whether all of them had moved there.
func (r *reading[T]) shiftEnd(n int) bool {
	all := n > 0 && r.s.shifts() && r.shift.moved == n && r.repeats < maxRepeats
	r.shift = shift{prior: r.shift.page}
	if r.repeats++; !all {
		r.repeats = 0
	}
	return all
}
