package httpjson

import "encoding/json"

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
