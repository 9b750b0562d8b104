package httpjson

import "encoding/json"

// A list with NewestFirst may grow while its pages are read. Its records then move to later
// pages, and the next page begins with records of the one before. What stands before a record
// that was read was read too, or is newer than the read and for the next run.

// maxRecent is the number of records that a read remembers at least.
const maxRecent = 1 << 14

// recent are hashes of the last records that a read has seen, except on the current page.
type recent struct {
	young, old map[int64]bool
	page       []int64 // those of the current page
	repeats    int     // how many pages in a row had only records that were seen
}

// has reports whether an earlier page had a record.
func (r *recent) has(sum int64) bool { return r.young[sum] || r.old[sum] }

// add notes a record of the current page.
func (r *recent) add(sum int64) {
	if r.page = append(r.page, sum); len(r.page) >= 2*maxRecent {
		r.page = append(r.page[:0], r.page[len(r.page)-maxRecent:]...)
	}
}

// maxRepeats is how many pages in a row may have only records that were seen, because as many
// records have come as a page has. An API that sends its last page for each later one sends more.
const maxRepeats = 3

// turn ends a page. seen is true if it has only records that earlier pages had. It returns
// true if that is all right.
func (r *recent) turn(seen bool) bool {
	for _, sum := range r.page {
		if len(r.young) >= maxRecent {
			r.young, r.old = nil, r.young
		}
		if r.young == nil {
			r.young = make(map[int64]bool, len(r.page))
		}
		r.young[sum] = true
	}
	r.page = r.page[:0]
	if r.repeats++; !seen {
		r.repeats = 0
	}
	return seen && r.repeats <= maxRepeats
}

// shifts reports whether records may move to the next page while a list is read.
func (s *source[T]) shifts() bool {
	return s.opts.Order == NewestFirst && (s.opts.Key != "" || !s.opts.AllowEqualPages)
}

// unread returns where the records of a page begin that were not read, and which records the
// trail is to compare with those of other pages.
func (r *reading[T]) unread(skip int, records []json.RawMessage) (int, []json.RawMessage) {
	if !r.s.shifts() {
		return skip, records
	}
	before := skip
	for i, record := range records {
		sum := r.hash(record)
		if r.recent.has(sum) {
			skip = max(skip, i+1)
		}
		r.recent.add(sum)
	}
	if r.recent.turn(before == 0 && len(records) > 0 && skip == len(records)) {
		return skip, nil
	}
	return skip, records
}

// movedHere notes a record of a stream, and reports whether an earlier page had it.
func (r *reading[T]) movedHere(record json.RawMessage) bool {
	sum := r.hash(record)
	r.recent.add(sum)
	if !r.recent.has(sum) {
		return false
	}
	r.moves++
	return true
}
