package dataflow

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"time"

	"github.com/activedataflow/dataflow/internal/stored"
)

// Source reads records. T is the record. C is the cursor: the place from which a later
// read goes on. The engine stores it as JSON with each checkpoint. A source that cannot
// resume uses [NoCursor], and every run reads it from its beginning. Of a struct, JSON keeps the
// exported fields alone.
//
// Read yields the records in such an order that no record can later appear before one
// that it has yielded. Read returns when ctx is done. It yields two kinds of errors:
//
//   - A *[RecordError] reports one bad record, and Read goes on. The Item's Cursor
//     still counts if it is a resume point.
//   - Any other error ends the read. The engine commits what was read up to the last
//     resume point, and then fails the attempt. It puts "read" before the error's
//     message.
//
// The next record may be asked for much later. So a source should hold neither a
// transaction nor an open result set while it yields. One that does must have the power
// [PoolUser].
//
// One run at a time uses a Source value, unless its flow has OverlapAllow or
// MaxBackfills. A preview ([Client.DryRun]) may use it at the same time.
//
// The engine finds these optional powers by type assertion: [Counter], [Lagger], [LogLagger],
// [Acker], [RecordParser], [RequestChecker], [Splitter], [EndSeeker], [TimeSeeker],
// [ColumnOrdered], [Rereader], [Noter], [Examiner], [CursorExaminer], [PoolUser], [Validator],
// [Describer].
type Source[T, C any] interface {
	Read(ctx context.Context, r Request[C]) iter.Seq2[Item[T, C], error]
}

// Request says where a read begins.
type Request[C any] struct {
	// From is the cursor of the last checkpoint.
	From C
	// Resumed is false when there is no checkpoint yet. From is then the zero value,
	// and the read starts at the beginning.
	Resumed bool
	// Continued is true if the run itself has read records up to From, and has committed that: in
	// an earlier attempt or slice. It is also true for a preview that begins at a cursor which its
	// caller gave.
	// A source with a lookback then goes on, and does not look back once more.
	Continued bool
	// Until is where the read ends, if Bounded is true: after the record that has this
	// cursor, or would have it. Only backfills set it, and only for a source that has
	// the power [RequestChecker].
	Until   C
	Bounded bool
	// Params are the run's parameters as JSON, nil if it has none. Only a source that
	// has the power [RequestChecker] gets any.
	Params json.RawMessage
	// Preview is true for [Client.DryRun]: nothing is committed. Read must then change nothing
	// anywhere, such as acknowledge a message, and should end when it has read all there is.
	Preview bool
	// Whole is true for a range of a first load, which has an Until. See FlowOptions.FirstLoad.
	// The flow's own runs go on after the last range. So Read leaves out no record up to Until,
	// such as one that may be committed late, or it ends with an error.
	Whole bool
	// Backfill is true for a run of [Client.Backfill], or a range of a first load. Its cursors are
	// not the flow's, and an [Acker] does not hear of them.
	Backfill bool
}

// RequestChecker is the power of a source to obey Until and Params of a [Request]. The
// engine refuses runs that have either if the source lacks this power, because it would
// read the wrong records.
type RequestChecker[C any] interface {
	// CheckRequest returns nil if Read does what the request says. Otherwise the error
	// says what would be right. It must not touch the network.
	CheckRequest(r Request[C]) error
}

// RecordParser is the power of a source to read a record again from what a dead letter
// kept of it, by the rules by which it reads any other. [Client.Replay] asks it for the
// dead letters of [StageRead]. Without it, the record must be the JSON of a T.
type RecordParser[T any] interface {
	// ParseRecord returns the record, or an error that says what is wrong with it. It
	// returns [errors.ErrUnsupported] if it cannot know. It may read the header of the
	// file that the record is of.
	ParseRecord(ctx context.Context, r RawRecord) (T, error)
}

// RawRecord is a record as a dead letter keeps it.
type RawRecord struct {
	// Key is the Key of the *[RecordError] that the source has yielded.
	Key string
	// Raw is its Raw as JSON: a Raw that was not JSON is a JSON text. If Edited is true,
	// somebody has changed it since.
	Raw    json.RawMessage
	Edited bool
	// Params are those of the run that read the record.
	Params json.RawMessage
}

// Splitter is the power of a source to cut what a request would read into parts of
// about the same size, for [Client.BackfillRanges].
type Splitter[C any] interface {
	// Split returns up to n-1 different cursors, in the order in which Read yields
	// them. Each is a place between the request's From and Until, where one part ends
	// and the next begins. No record need have that cursor. For fewer than n records,
	// Split returns fewer cursors, and none for no records. n is 2 or more.
	Split(ctx context.Context, r Request[C], n int) ([]C, error)
}

// EndSeeker is the power of a source to say where a read would end that begins now, for
// FlowOptions.FirstLoad.
type EndSeeker[C any] interface {
	// SeekEnd returns the cursor of the last record that Read would yield. A read that begins
	// there later yields every record that was added or changed since. ok is false if Read
	// would yield none. r has the run's Params, and neither From nor Until.
	SeekEnd(ctx context.Context, r Request[C]) (cursor C, ok bool, err error)
}

// ColumnOrdered is the power of a source to say by which column its records are ordered: a record
// that was changed later has a greater value there. Backfills and replays of its flow leave
// rows alone that are newer by this column. See [Target.OnlyIfNewer].
type ColumnOrdered interface {
	OrderedBy() string
}

// Rereader is the power of a source to say that its runs also read records that earlier runs
// have read, as with a lookback. Those have Again in their [Item]. [NewClient] refuses a flow
// with such a source and a sink that is [AppendOnly] or [PerBatch], which would have them twice.
type Rereader interface {
	Rereads() bool
}

// TimeSeeker is the power of a source to find the place of a time, for FromTime and
// UntilTime of [BackfillParams].
type TimeSeeker[C any] interface {
	// SeekTime returns the cursor of the last record whose time is before the given one. ok
	// is false if there is none. A source whose times have no zone compares them with the
	// wall clock of before, in its Location. r has the run's Params, and neither From nor
	// Until. If the records have no time that the cursor is ordered by, the error is a
	// *[ConfigError].
	SeekTime(ctx context.Context, r Request[C], before time.Time) (cursor C, ok bool, err error)
}

// Item is one record of a source, or a mark.
type Item[T, C any] struct {
	// Value is the record.
	Value T
	// Key names the record in errors and for sinks outside the database. It is the same
	// whenever the record is read. A record that is written resolves the open dead letter
	// with its key, so another record must have another key. Only a run with the same Params
	// does so. A key that ends in #5 or in record 5 is but a place, as in a page, and resolves
	// none; nor does row 5 or line 5 of a source without a cursor.
	//
	// Empty at a resume point: the text of Cursor, so that a source whose cursor is the
	// record's key need not format both. Empty elsewhere: the record's number in the
	// attempt, which differs between attempts, so that such a source should set a Key.
	Key string
	// Cursor is where a later read goes on after this record. It counts only if Resume
	// is true.
	Cursor C
	// Resume is true if a later read can go on right after this record.
	Resume bool
	// Again is true for a record that an earlier run has read. It counts in
	// [Counters].ReadAgain too. A sink that is [AppendOnly] or [PerBatch] would have it twice, and
	// so the run fails.
	Again bool
	// Mark is true for a resume point without a record: the source holds no more
	// records up to Cursor. Value and Key are ignored.
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

// Counter is the power of a source to tell how many records a read will yield. The
// engine asks once at the start of a run, for [Progress], and waits five seconds at
// most.
type Counter[C any] interface {
	Count(ctx context.Context, r Request[C]) (int64, error)
}

// Noter is the power of a source to say what its user should know before it does harm:
// what holds records back, and which records a later read may miss. [Client.Why] says
// it too. The engine asks after the first attempt in a process, and after each that
// read nothing, and logs what is new.
type Noter[C any] interface {
	// Notes returns a sentence for each, without a full stop. r is where the next read
	// begins.
	Notes(ctx context.Context, r Request[C]) ([]string, error)
}

// Lagger is the power of a source to tell how far its readers are behind, for
// [Client.FlowStats] and the metrics that are made of it.
type Lagger[C any] interface {
	// Lag returns the age of the oldest record that a read would yield, 0 if there is none. ok
	// is false if the source cannot tell. It must be quick, whatever there is to read: it is
	// asked again and again, and has five seconds at most.
	Lag(ctx context.Context, r Request[C]) (age time.Duration, ok bool, err error)
}

// LogLagger is the power of a source that reads a log to tell how much of it its readers have
// not read yet, besides the age that a [Lagger] tells.
type LogLagger[C any] interface {
	// LagBytes returns how many bytes of the log are after the request's From. ok is false if
	// the source cannot tell. It must be as quick as Lag.
	LagBytes(ctx context.Context, r Request[C]) (bytes int64, ok bool, err error)
}

// Acker is the power of a source to hear that a checkpoint is committed. The engine
// calls it only after the commit, while Read may be running in another goroutine, and may have
// yielded records after the cursor. A process that dies after the commit does not call it, so
// that the next Read should acknowledge what is up to From. An error is logged and changes nothing.
type Acker[C any] interface {
	Committed(ctx context.Context, cursor C) error
}

// Validator is the power of a source, a transform or a sink to check its own settings.
// [NewClient] calls it. It puts the part's name, such as Flows["orders"].Source, before
// the Field of each *[ConfigError]. Validate must not touch the network.
type Validator interface {
	Validate() error
}

// Examiner is the power of a source, a transform or a sink to look for faults in what it needs
// elsewhere, such as the settings of a server. [Flow.Examine] asks it, and with it the command
// doctor.
type Examiner interface {
	// Examine returns what it has found. It must change nothing. An error says that it could
	// not look.
	Examine(ctx context.Context) ([]Finding, error)
}

// CursorExaminer is an [Examiner] that also looks whether the next read of a flow can go on where
// the last one ended.
type CursorExaminer[C any] interface {
	// ExamineFrom is Examine for a flow whose next read begins as r says.
	ExamineFrom(ctx context.Context, r Request[C]) ([]Finding, error)
}

// Finding is what an [Examiner] has found.
type Finding struct {
	Level FindingLevel
	// Text is a sentence without a full stop: what is so and, unless that is well, what mends
	// it.
	Text string
}

// FindingLevel says how bad a [Finding] is.
type FindingLevel string

// The levels of findings.
const (
	FindingOK      FindingLevel = "ok"
	FindingWarning FindingLevel = "warning" // it costs something, or will do harm
	FindingProblem FindingLevel = "problem" // it keeps the flow from working
)

// Describer is the power of a source or a sink to say what it is. The flow stores the
// description.
type Describer interface {
	Describe() Description
}

// Description says what a source or a sink is, for people. It must hold no secrets.
type Description struct {
	// Type is a stable name such as "csvfile" or "pgtable.upsert".
	Type string `json:"type"`
	// Detail tells it from others of its type: a path, a table.
	Detail map[string]any `json:"detail,omitempty"`
}

// describe asks v what it is.
func describe(v any) Description {
	if d, ok := v.(Describer); ok {
		return d.Describe()
	}
	return Description{Type: "custom"}
}

// Page is one page of a [Paged] source.
type Page[T, C any] struct {
	// Rows are the page's records.
	Rows []T
	// Keys name the rows, in the same order. Nil: a row's key is the page's cursor and
	// the row's number in the page.
	Keys []string
	// Next is where the following page begins. A later run goes on from there.
	Next C
	// More is false on the last page.
	More bool
}

// Paged is a source that reads page by page, such as an API or a query with a limit.
// fetch returns the page that begins at a cursor: the zero value for the first page.
// The end of each page is a resume point.
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

// yieldPage yields a page's rows, the last one as a resume point. It reports whether
// the caller wants more.
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

// noSplitter is the error of a source that cannot be cut.
func noSplitter(source any) error {
	return &ConfigError{Field: "n", Reason: fmt.Sprintf("the source (%s) cannot be cut: it lacks the power Splitter: use 1, or a source that has it, such as pgtable.Keyset", describe(source).Type)}
}

// noEndSeeker is the error of a source that cannot say where a read would end.
func noEndSeeker(source any) error {
	return &ConfigError{Field: "FirstLoad", Reason: fmt.Sprintf("the source (%s) cannot say where a read that begins now would end: it lacks the power EndSeeker: leave FirstLoad out, or use a source that has it, such as pgtable.Keyset", describe(source).Type)}
}

// noTimeSeeker is the error of a source that cannot find the place of a time.
func noTimeSeeker(source any) error {
	return &ConfigError{Reason: fmt.Sprintf("the source (%s) cannot find the place of a time: it lacks the power TimeSeeker: give a cursor", describe(source).Type)}
}

// PoolUse says what a source, a transform or a sink needs of one pool of connections.
type PoolUse struct {
	// Pool is the pool itself, such as a *pgxpool.Pool. Uses with an equal Pool count
	// together. It must be comparable, as a pointer is.
	Pool any
	// Size is how many connections the pool has at most. 0: no limit.
	Size int
	// Held is how many connections a run holds from its first record to its last, while
	// others of its parts work. A source with an open result set holds one.
	Held int
	// Borrowed is how many more it takes at a time for a moment, such as for a page or a
	// batch, and gives back without waiting for another.
	Borrowed int
}

// PoolUser is the power of a source, a transform or a sink to say which connections it
// needs. The engine finds it by type assertion. A run begins only when its pools have room
// for the connections that it holds, and otherwise stays pending. Without that, runs that
// each hold one connection and wait for another could stop each other for ever.
//
// A source that holds a connection while it yields must have this power. PoolUse must not
// touch the network.
type PoolUser interface {
	PoolUse() []PoolUse
}

// usesOf returns what a part of a flow needs.
func usesOf(part any) []PoolUse {
	if u, ok := part.(PoolUser); ok && !isNil(part) {
		return u.PoolUse()
	}
	return nil
}
