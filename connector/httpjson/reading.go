package httpjson

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"time"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/httpcall"
	"github.com/activedataflow/dataflow/internal/jsonrow"
)

// reading is one read of a source.
type reading[T any] struct {
	s     *source[T]
	from  Cursor
	yield func(dataflow.Item[T, Cursor], error) bool
	trail *httpcall.Trail
	dec   *jsonrow.Decoder[T]

	ahead     *ahead            // the next page, which is requested meanwhile; nil: none is
	before    []json.RawMessage // the records of the previous page, except of a stream
	handle    json.RawMessage   // of Options.Open; nil: it is not open
	fresh     bool              // no page was requested with it
	asked     *url.URL          // of the last request
	askedBody any               // of the last request
	warned    bool
	// warnedErrors is true after a warning of errors beside records.
	warnedErrors bool
	// warnedChanges is true after a warning of a list whose changes are not read.
	warnedChanges bool
	// warnedTwice is true after a warning of records that are read again.
	warnedTwice bool
	// warnedCut is true after a warning of a response that may have been cut.
	warnedCut bool

	seeking   bool    // the last record that was read is not found yet
	passing   int64   // records that were passed while seeking
	previous  int64   // the hash of the previous record of a stream, while seeking
	restarted bool    // this read began again
	again     []int64 // records that are skipped where the read continues
	twice     int     // at most so many first records of the page twiceOn are read again
	twiceOn   string
	known     map[int64]bool // records at which a list with NewestFirst ends
	until     time.Time      // before which records are known; zero: not by time
	high      time.Time
	prior     time.Time      // up to which records are read again
	records   int            // of the pages of this read
	moved     bool           // it has yielded a record
	stopped   bool           // the caller wants no more
	checked   bool           // it has looked at the first page, see [reading.head]
	start     Cursor         // where the search for the last record began
	sought    int            // which of the last records that were read a stream looks for
	shift     shift          // of a stream
	repeats   int            // how many pages in a row had only records of the page before
	total     int            // of the records, as the page before says; 0: it does not
	back      map[int64]bool // hashes of the records of the page before, after the read has gone back; nil: it has not
	lost      int            // by how many records it has gone back since the page before
	highest   int            // the total before the read went back; math.MaxInt: the total is of no use
	backs     int            // how often the read has gone back since the last record
	met       bool           // the record before that one is on this page of a stream
}

// errKnown ends a read at a record that is known.
var errKnown = errors.New("the record is known")

// begin returns where the read begins.
func (r *reading[T]) begin() (Cursor, error) {
	o, from := &r.s.opts, r.from
	at := from
	at.Page = r.hide(at.Page, nil) // an earlier version kept all of a link
	switch {
	case o.Snapshot && from.Done:
		at = Cursor{Done: true, Skip: from.Skip, ETag: from.ETag, LastModified: from.LastModified, Sum: from.Sum}
	case sendsChanges(o.Paging) && from.Skip > 0 && from.Sum == "": // what has changed meanwhile may not be named on its page
		o.Logger.Warn("dataflow: httpjson: the flow's cursor was made without Later; all of the list is read again", slog.String("url", bare(r.s.address)))
		return Cursor{}, nil
	case from.Done && from.Skip == 0 && o.resumes():
		return at, dataflow.Permanent(errors.New("the flow's cursor was made with Order or Since, which are no longer set: set them again, or set the flow's cursor"))
	case from.Done:
		at = Cursor{High: from.High, Known: from.Known}
		if o.Since != nil {
			since, err := o.Since.from(from.High)
			if err != nil {
				return at, dataflow.Permanent(err)
			}
			at.Since, at.Prior = since, from.High
		}
	}
	if o.Since != nil && at == (Cursor{}) && !o.Since.First.IsZero() {
		at.Since = o.Since.First.UTC().Format(time.RFC3339Nano)
	}
	if o.Order == OldestFirst { // otherwise the read ends at a record that is known
		r.prior, _ = time.Parse(time.RFC3339Nano, at.Prior)
	}
	if at.High != "" {
		r.high, _ = time.Parse(time.RFC3339Nano, at.High)
	}
	if o.Order == NewestFirst {
		r.known = knownSet(at.Known)
		if at.Since != "" {
			r.until, _ = time.Parse(time.RFC3339Nano, at.Since)
		}
	}
	return at, nil
}

// run yields the records after the cursor. It returns the error that ended the read; the
// caller must yield it.
func (r *reading[T]) run(ctx context.Context) error {
	if err := r.s.Validate(); err != nil {
		return dataflow.Permanent(fmt.Errorf("HTTP source: %w", err))
	}
	at, err := r.begin()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		if cancel(); r.ahead != nil {
			<-r.ahead.done
		}
	}()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		next, err := r.page(ctx, at)
		if err == nil && next == nil && r.checksHead() {
			next, err = r.head(ctx)
		}
		if err != nil || next == nil {
			return err
		}
		if err := r.trail.Pace(ctx); err != nil {
			return err
		}
		at = *next
	}
}

// page reads a page. It returns where to go on, or nil at the end of the read.
func (r *reading[T]) page(ctx context.Context, at Cursor) (*Cursor, error) {
	if r.s.opts.streams() {
		return r.streamPage(ctx, at)
	}
	p, err := r.fetched(ctx, at)
	if r.s.expired(at, err) {
		return r.restart(at, err)
	}
	if err != nil || p == nil { // a nil page means that nothing has changed
		return nil, err
	}
	r.s.begun(&at, p.time)
	r.note(&at, p.records)
	if r.s.opts.Snapshot && p.changed(at) {
		at.Skip, at.Done = 0, false
		if at.Page != "" { // records may have moved to a page that was already read
			return r.anew(Cursor{}), nil
		}
	}
	found, err := r.place(p, &at)
	if errors.Is(err, errInserted) {
		return r.inserted(at)
	}
	moved := !found
	if moved && !r.seeking {
		return r.astray(at), nil
	}
	if !moved && at.Skip > len(p.records) {
		return nil, dataflow.Permanent(fmt.Errorf("page %s has %d records, but %d were read: records were removed: set Options.Snapshot for a list that does not only grow", at.pageName(), len(p.records), at.Skip))
	}
	if back := r.fallen(at, p); back != nil {
		return back, nil
	}
	skip, content := r.unread(at.Skip, p.records)
	if skip == 0 {
		r.warnTwice(at, httpcall.Overlap(r.before, p.records, len(r.before)))
	}
	if r.back != nil {
		skip = r.readBefore(p.records)
		content = p.records[skip:]
	}
	if err := r.trail.Visit(at.Page, p.next, content); err != nil {
		return nil, dataflow.Permanent(r.s.wrap(at, err))
	}
	if r.seeking {
		return r.passed(at, p)
	}
	if r.s.opts.resumes() {
		at.Read += int64(skip - at.Skip)
	}
	at.Skip = skip
	if p.next != "" && len(p.records) > 0 && r.s.opts.Order == OldestFirst {
		r.fetchAhead(ctx, p.next, at)
	}
	more, end, err := r.yieldPage(ctx, p, at)
	switch {
	case errors.Is(err, errKnown):
		return nil, r.end(end, "")
	case err != nil || !more:
		return nil, err
	case p.next == "":
		return nil, r.end(end, p.later)
	}
	r.before = p.records
	next := end.on(p.next)
	return &next, nil
}

// end yields the cursor for the next run, if that begins at the first page, or at a later one
// than the last.
func (r *reading[T]) end(at Cursor, later string) error {
	o := &r.s.opts
	if later != "" && later != at.Page {
		r.yield(dataflow.Item[T, Cursor]{Mark: true, Cursor: at.on(later)}, nil)
	}
	if r.checked && !r.moved && at.First != r.from.First {
		r.yield(dataflow.Item[T, Cursor]{Mark: true, Cursor: at}, nil)
	}
	if o.Snapshot || o.resumes() {
		return nil
	}
	if o.Since != nil && r.records > 0 && r.moved && at.High == "" {
		return dataflow.Permanent(fmt.Errorf("no record of %s has a time at %q: check Since.Path", bare(r.s.address), o.Since.Path))
	}
	end := Cursor{Done: true, High: at.High, Known: joinKnown(at.Newest, at.Known)}
	if end != r.from || r.moved {
		r.yield(dataflow.Item[T, Cursor]{Mark: true, Cursor: end}, nil)
	}
	return nil
}

// anew begins again at a cursor, usually the beginning.
func (r *reading[T]) anew(at Cursor) *Cursor {
	r.before, r.shift, r.trail = nil, shift{}, r.s.trail()
	return &at
}

// yieldPage yields the records of a page after the cursor. It reports whether the
// caller wants more, and the cursor at the end of the page.
func (r *reading[T]) yieldPage(ctx context.Context, p *page, at Cursor) (more bool, end Cursor, err error) {
	first := at.Skip
	r.records += len(p.records)
	cursor := at
	for i := first; i < len(p.records); i++ {
		if i%checkEvery == checkEvery-1 && ctx.Err() != nil {
			return false, at, ctx.Err()
		}
		more, err := r.record(p, &at, i, p.records[i])
		if err != nil || !more {
			return false, at, err
		}
	}
	// The end of the page may be a new cursor without a record: if the page is empty
	// and another follows, or if the ETag or Last-Modified has changed.
	end = p.cursor(at, len(p.records), r.s.opts.Snapshot)
	switch {
	case first < len(p.records):
		return true, end, nil
	case p.next != "" && len(p.records) > 0:
		return true, end, nil // this may be the last page with records, and may still grow
	case p.next != "":
		end = end.on(p.next)
	case !r.s.opts.Snapshot && !r.s.opts.resumes():
		return true, end, nil
	// Do not move to an empty last page: the next read begins at the page before it,
	// which may still grow.
	case end == cursor, len(p.records) == 0 && at.Page != "" && !r.s.opts.Snapshot, first == 0 && !r.s.opts.Snapshot && end.ETag == "" && end.LastModified == "":
		return true, end, nil
	}
	return r.yield(dataflow.Item[T, Cursor]{Mark: true, Cursor: end}, nil), end, nil
}

// record yields a record, and moves the cursor after it. It returns errKnown if the read ends
// before it.
func (r *reading[T]) record(p *page, at *Cursor, i int, record json.RawMessage) (more bool, err error) {
	key := r.s.key(record)
	sum := r.s.hash(record, key)
	if len(r.known) > 0 && r.isKnown(record) {
		return false, errKnown
	}
	if len(r.again) > 0 {
		if i := slices.Index(r.again, sum); i >= 0 {
			r.again = slices.Delete(r.again, i, i+1)
			return true, nil
		}
		r.again = nil
	}
	known, again := r.time(at, record)
	if known {
		return false, errKnown
	}
	again = again || at.Page == r.twiceOn && i < r.twice
	if !r.s.opts.Snapshot {
		at.Last = after(at.Last, sum)
	}
	if r.s.opts.resumes() {
		at.Read++
	}
	r.backs = 0
	r.moved, r.restarted = true, r.restarted && r.s.opts.readsAnew()
	item := dataflow.Item[T, Cursor]{Key: key, Cursor: p.cursor(*at, i+1, r.s.opts.Snapshot), Resume: true, Again: again}
	if err := r.dec.Decode(record); err != nil {
		if !r.s.opts.Lines && !json.Valid(record) {
			return false, dataflow.Permanent(r.s.wrap(*at, fmt.Errorf("the response is not JSON: %w", err)))
		}
		if key == "" {
			key = item.Cursor.String()
		}
		bad := &dataflow.RecordError{Key: key, Raw: clip(record), Err: err}
		return r.yield(dataflow.Item[T, Cursor]{Cursor: item.Cursor, Resume: true, Again: again}, bad), nil
	}
	item.Value = r.dec.Value()
	return r.yield(item, nil), nil
}

// time notes the time of a record. It reports whether the read ends before the record, and whether it is
// of the time that an earlier read has read.
func (r *reading[T]) time(at *Cursor, record json.RawMessage) (known, again bool) {
	if r.s.opts.Since == nil {
		return false, false
	}
	t, err := r.s.opts.Since.of(record)
	if err != nil { // such a record is read, and moves no time
		return false, false
	}
	again = !r.prior.IsZero() && !t.After(r.prior)
	if began, err := time.Parse(time.RFC3339Nano, at.Began); err == nil && t.After(began) {
		t = began
	}
	if t.After(r.high) {
		r.high, at.High = t, t.Format(time.RFC3339Nano)
	}
	return !r.until.IsZero() && t.Before(r.until), again
}

// begun notes when a read began: at its first response.
func (s *source[T]) begun(at *Cursor, first time.Time) {
	if s.opts.Since != nil && at.Began == "" && !first.IsZero() {
		at.Began = first.UTC().Format(time.RFC3339)
	}
}

// note notes the first records of the list, on its first page.
func (r *reading[T]) note(at *Cursor, records []json.RawMessage) {
	to := r.noted(at)
	if to == nil || *to != "" || r.seeking && r.s.opts.Order == NewestFirst {
		return
	}
	var hashes []int64
	for _, record := range records[:min(len(records), maxKnown)] {
		hashes = append(hashes, r.mark(record))
	}
	*to = known(hashes)
}

// noted returns where a cursor has the first records of the page it is on, or nil.
func (r *reading[T]) noted(at *Cursor) *string {
	switch {
	case at.Page != "":
		return nil
	case r.s.opts.Order == NewestFirst:
		return &at.Newest
	case r.s.heads():
		return &at.First
	default:
		return nil
	}
}
