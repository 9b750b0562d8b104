package httpjson

import (
	"encoding/json"
	"log/slog"
	"math"
	"strconv"
)

// A list that is read by its offsets may lose records that were read. All later ones then move up, and as many
// would be on no page. The total tells.

// maxBacks is how often a read goes back without a new record.
const maxBacks = 10

// fallen returns where to go on if the list has lost records since the page before, or nil.
func (r *reading[T]) fallen(at Cursor, p *page) *Cursor {
	lost := r.total - p.total
	known := r.total > 0 && p.total > 0
	if r.back != nil && p.total >= r.highest { // it depends on the page, and so is another number
		r.highest = math.MaxInt
	}
	r.total = p.total
	offset, err := strconv.Atoi(at.Page)
	if !known || lost <= 0 || r.seeking || err != nil || r.highest == math.MaxInt {
		return nil
	}
	if r.backs++; r.s.opts.streams() || r.backs > maxBacks { // a stream has used the records of this page
		r.s.opts.Logger.Warn("dataflow: httpjson: the list has lost records while it was read, so that as many others may be missing from this run", slog.Int("lost", lost), slog.String("page", at.pageName()), slog.String("url", bare(r.s.address)))
		return nil
	}
	r.highest, r.back, r.lost = r.total+lost, nil, r.lost+lost
	r.s.opts.Logger.Info("dataflow: httpjson: the list has lost records while it was read; the read goes back by as many", slog.Int("lost", lost), slog.String("page", at.pageName()), slog.String("url", bare(r.s.address)))
	switch {
	case lost <= len(r.before): // most lose fewer than a page has
	case r.s.opts.Snapshot:
		r.lost = 0
		return r.anew(Cursor{})
	default:
		r.lost = 0
		return r.seek(at)
	}
	next := at.on("")
	if from := max(0, offset-lost); from > 0 {
		next.Page = strconv.Itoa(from)
	}
	r.back = map[int64]bool{}
	for _, record := range r.before {
		r.back[r.hash(record)] = true
	}
	next.Read = max(1, at.Read-int64(lost))
	return &next
}

// readBefore returns how many records at the beginning of a page were read before the read went back to it: as many
// as the list has lost at most. More records that are equal to some of them are others.
func (r *reading[T]) readBefore(records []json.RawMessage) (n int) {
	defer func() { r.back, r.lost = nil, 0 }()
	for n < min(len(records), r.lost) && r.back[r.hash(records[n])] {
		n++
	}
	return n
}
