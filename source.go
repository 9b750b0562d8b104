package dataflow

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"

	"github.com/activedataflow/dataflow/internal/stored"
)

// Source reads records. T is the record, C the cursor: the place from which a
// later read goes on, which the engine stores as JSON with each checkpoint.
//
// Read yields the records in an order in which no record can later appear
// before one that was yielded. With a *[RecordError] it reports one bad record
// and goes on (the Item's Cursor still counts, if it is a resume point); any
// other error ends the read and the attempt, after what was read up to the last
// resume point is committed. The engine puts "read" before the error's message.
// Read returns when ctx is done. A
// source must not hold a database transaction or an open result set while it
// yields, because the next record may be asked for much later.
//
// A source that has no place to resume from uses [NoCursor]. Every run then
// reads it from its beginning.
//
// One Source value is used by one run at a time, unless its flow has OverlapAllow or
// MaxBackfills. Optional powers, found by assertion: [Counter], [Acker],
// [RequestChecker], [Splitter], [Validator], [Describer].
type Source[T, C any] interface {
	Read(ctx context.Context, r Request[C]) iter.Seq2[Item[T, C], error]
}

// Request says where a read begins.
type Request[C any] struct {
	// From is the cursor of the last checkpoint.
	From C
	// Resumed is false when there is no checkpoint yet. From is then the zero
	// value, and the read starts at the beginning.
	Resumed bool
	// Until is where the read ends, if Bounded is true: behind the record whose cursor
	// it is, or would be. It is set for backfills alone, and only for a source that has
	// the power [RequestChecker].
	Until   C
	Bounded bool
	// Params are what the run was given, as JSON, nil if nothing: only for a source
	// that has the power [RequestChecker].
	Params json.RawMessage
}

// RequestChecker is the power of a source to heed Until and Params of a [Request]. Of a
// source without it, runs that have either are refused, because it would read what it
// should not.
type RequestChecker[C any] interface {
	// CheckRequest returns an error unless Read does what a request says: one that
	// tells what would be right. It must not touch the network.
	CheckRequest(r Request[C]) error
}

// Splitter is the power of a source to cut what a request would read into parts of
// about the same size, for [Client.BackfillRanges].
type Splitter[C any] interface {
	// Split returns up to n-1 cursors, in the order in which Read yields them, each once.
	// They are places between the request's From and Until, at which one part ends and
	// the next begins. They need not be those of records that are there. Of fewer records
	// than n, it returns fewer cursors; of none, none. n is 2 or more.
	Split(ctx context.Context, r Request[C], n int) ([]C, error)
}

// Item is one record of a source, or a mark.
type Item[T, C any] struct {
	// Value is the record.
	Value T
	// Key names the record in errors and for sinks outside the database. It is
	// the same whenever the record is read. Empty means the text of Cursor at a
	// resume point, so that a source whose cursor is the record's key need not
	// format both, and elsewhere the record's number in the attempt: such a
	// source had better set one.
	Key string
	// Cursor is where to go on after this record. It counts only where Resume
	// is true.
	Cursor C
	// Resume is true when a later read can go on right after this record.
	Resume bool
	// Mark is true for a resume point without a record: a place in the source
	// up to which there is nothing more. Value and Key are ignored.
	Mark bool
}

// NoCursor is the cursor of a source that cannot resume.
type NoCursor struct{}

// hasCursor reports whether a source with cursors of type C can resume.
func hasCursor[C any]() bool {
	var zero C
	_, none := any(zero).(NoCursor)
	return !none
}

// Counter is the power of a source to tell how many records a read will yield.
// It is asked once at the start of a run, for [Progress], and has five seconds.
type Counter[C any] interface {
	Count(ctx context.Context, r Request[C]) (int64, error)
}

// Acker is the power of a source to be told that a checkpoint is committed. It
// is called after the commit only, while Read may be running in another
// goroutine; an error is logged and changes nothing.
type Acker[C any] interface {
	Committed(ctx context.Context, cursor C) error
}

// Validator is the power of a source, a transform or a sink to check its own
// settings. [NewClient] calls it and puts the flow's name and the part's, such as
// Flows["orders"].Source, before the Field of a *[ConfigError]. It must not touch
// the network.
type Validator interface {
	Validate() error
}

// Describer is the power of a source or a sink to say what it is. The
// description is stored with the flow.
type Describer interface {
	Describe() Description
}

// Description says what a source or a sink is, for people. It must hold no
// secrets.
type Description struct {
	// Type is a stable name such as "csvfile" or "pgtable.upsert".
	Type string `json:"type"`
	// Detail holds what tells it from others of its type: a path, a table.
	Detail map[string]any `json:"detail,omitempty"`
}

// describe asks v what it is.
func describe(v any) Description {
	if d, ok := v.(Describer); ok {
		return d.Describe()
	}
	return Description{Type: "custom"}
}

// Page is what the function of [Paged] returns.
type Page[T, C any] struct {
	// Rows are the page's records.
	Rows []T
	// Keys name the rows, in the same order. It may be nil: rows are then named
	// by their position in the page.
	Keys []string
	// Next is where the following page begins, and the place from which a later
	// run goes on.
	Next C
	// More is false on the last page.
	More bool
}

// Paged is a source that reads page by page, such as an API or a query with a
// limit. fetch returns the page that begins at the given cursor, which is the
// zero value for the first. The end of each page is a resume point.
func Paged[T, C any](fetch func(ctx context.Context, from C) (Page[T, C], error)) Source[T, C] {
	return paged[T, C]{fetch: fetch}
}

type paged[T, C any] struct {
	fetch func(ctx context.Context, from C) (Page[T, C], error)
}

func (p paged[T, C]) Validate() error {
	if p.fetch == nil {
		return &ConfigError{Field: "Paged", Reason: "the function is nil"}
	}
	return nil
}

func (p paged[T, C]) Describe() Description { return Description{Type: "paged"} }

func (p paged[T, C]) Read(ctx context.Context, r Request[C]) iter.Seq2[Item[T, C], error] {
	return func(yield func(Item[T, C], error) bool) {
		for from, more := r.From, true; more; {
			page, err := p.fetch(ctx, from)
			if err == nil && page.Keys != nil && len(page.Keys) != len(page.Rows) {
				err = fmt.Errorf("the page has %d rows and %d keys", len(page.Rows), len(page.Keys))
			}
			if err != nil {
				yield(Item[T, C]{}, fmt.Errorf("fetch page at %s: %w", stored.CursorText(from), err))
				return
			}
			if !yieldPage(&page, from, yield) {
				return
			}
			from, more = page.Next, page.More
		}
	}
}

// yieldPage yields a page's rows, the last as a resume point. It reports
// whether more is wanted.
func yieldPage[T, C any](page *Page[T, C], from C, yield func(Item[T, C], error) bool) bool {
	if len(page.Rows) == 0 {
		return yield(Item[T, C]{Mark: true, Cursor: page.Next}, nil)
	}
	for i, row := range page.Rows {
		item := Item[T, C]{Value: row}
		if page.Keys != nil {
			item.Key = page.Keys[i]
		} else {
			item.Key = fmt.Sprintf("%s#%d", stored.CursorText(from), i+1)
		}
		if i == len(page.Rows)-1 {
			item.Cursor, item.Resume = page.Next, true
		}
		if !yield(item, nil) {
			return false
		}
	}
	return true
}
