package dataflow

import (
	"context"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"time"

	"github.com/activedataflow/dataflow/internal/batch"
	"github.com/activedataflow/dataflow/internal/stored"
)

// cursorCode is the part of a flow's code that knows the type of its source's cursors, C.
type cursorCode interface {
	resumable() bool
	// request returns what to read, a *Request[C].
	request(a *attempt) (any, error)
	count(ctx context.Context, a *attempt, req any)
	notes(ctx context.Context, from json.RawMessage) []string
	// examineFrom returns how to examine the source for a read from a cursor, nil if it looks at none.
	examineFrom(from json.RawMessage) func(ctx context.Context) ([]Finding, error)
	// tellsLag reports whether the source can tell its lag.
	tellsLag() bool
	// lag returns what the source says of the next run, which begins at from.
	lag(ctx context.Context, from json.RawMessage) (Lag, error)
	// ask returns what the source notes about a request.
	ask(ctx context.Context, req any) ([]string, error)
	checkCursor(cursor json.RawMessage) error
	checkRequest(from, until, params json.RawMessage) error
	split(ctx context.Context, from, until, params json.RawMessage, n int) ([]json.RawMessage, error)
	// seekTime returns the cursor of the last record before a time, nil if there is none.
	seekTime(ctx context.Context, params json.RawMessage, before time.Time) (json.RawMessage, error)
	// seekEnd returns the cursor of the last record that a read would yield that begins now, nil
	// if there is none.
	seekEnd(ctx context.Context, params json.RawMessage) (json.RawMessage, error)
	// checkType returns what is wrong with the type of the cursors.
	checkType() error
	// checkPowers returns which power the source lacks for a first load in ranges.
	checkPowers() error
}

// sourceCursors is the cursorCode of a source with cursors of type C.
type sourceCursors[C any] struct{ source any }

func (p sourceCursors[C]) resumable() bool { return hasCursor[C]() }

// request goes from the stored cursor to the run's UntilCursor.
func (p sourceCursors[C]) request(a *attempt) (any, error) {
	req := &Request[C]{Params: a.run.Params, Preview: a.preview, Backfill: a.run.IsBackfill(), Whole: a.run.Trigger == TriggerFirstLoad}
	if err := p.limitRequest(req, a.run.UntilCursor); err != nil {
		return req, Permanent(err)
	}
	if a.place.cursor == nil || !p.resumable() {
		return req, nil
	}
	if err := stored.DecodeStrict(a.place.cursor, &req.From); err != nil {
		return req, Permanent(fmt.Errorf("the stored cursor %s is not one of this source (%s): %w: restore the source that wrote it, or give the changed flow a new name", stored.Clip(string(a.place.cursor)), describe(p.source).Type, err))
	}
	req.Resumed = true
	// Unless somebody has set it since. The end of a first load moves it, too, before the run has read anything.
	req.Continued = a.begins || a.run.Counters.Read > 0 && a.run.ToCursor != nil && stored.Same(a.run.ToCursor, a.place.cursor)
	return req, nil
}

// count asks the source for its number of records, once in a run. A source that does not
// know, or takes too long, does not stop the run.
func (p sourceCursors[C]) count(ctx context.Context, a *attempt, req any) {
	a.sizes.total = a.run.Total
	counter, ok := p.source.(Counter[C])
	r, typed := req.(*Request[C])
	if !ok || !typed || a.sizes.total != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, countTimeout)
	defer cancel()
	n, err := counter.Count(ctx, *r)
	if err != nil {
		a.log.DebugContext(ctx, "dataflow: the source could not count its records", slog.String(logError, err.Error()))
		return
	}
	n += a.run.Counters.Read
	a.sizes.total = &n
}

// examineFrom returns how to examine the source for a read from a cursor, nil if it looks at none.
func (p sourceCursors[C]) examineFrom(from json.RawMessage) func(ctx context.Context) ([]Finding, error) {
	examiner, ok := p.source.(CursorExaminer[C])
	if !ok {
		return nil
	}
	r := Request[C]{}
	if from != nil && p.resumable() {
		if stored.DecodeStrict(from, &r.From) != nil {
			return nil // the run says it
		}
		r.Resumed = true
	}
	return func(ctx context.Context) ([]Finding, error) { return examiner.ExamineFrom(ctx, r) }
}

// lagTimeout is how long a source may take to tell its lag.
const lagTimeout = 5 * time.Second

func (p sourceCursors[C]) tellsLag() bool {
	switch p.source.(type) {
	case Lagger[C], LogLagger[C]:
		return true
	default:
		return false
	}
}

// lag asks the source how far a cursor is after it.
func (p sourceCursors[C]) lag(ctx context.Context, from json.RawMessage) (lag Lag, err error) {
	lagger, tellsAge := p.source.(Lagger[C])
	logger, tellsBytes := p.source.(LogLagger[C])
	if !tellsAge && !tellsBytes {
		return lag, nil
	}
	r := Request[C]{}
	if from != nil && p.resumable() {
		if err := stored.DecodeStrict(from, &r.From); err != nil {
			return lag, err
		}
		r.Resumed = true
	}
	ctx, cancel := context.WithTimeout(ctx, lagTimeout)
	defer cancel()
	err = guard(func() error {
		if tellsAge {
			age, ok, err := lagger.Lag(ctx, r)
			if err != nil {
				return err
			}
			if ok {
				age = max(age, 0)
				lag.Age = &age
			}
		}
		if tellsBytes {
			n, ok, err := logger.LagBytes(ctx, r)
			if err != nil {
				return err
			}
			if ok {
				n = max(n, 0)
				lag.Bytes = &n
			}
		}
		return nil
	})
	return lag, err
}

// limitRequest sets where a read ends. It returns an error if the source does not support the
// request.
func (p sourceCursors[C]) limitRequest(r *Request[C], until json.RawMessage) error {
	if until != nil {
		var err error
		if r.Until, err = p.decodeCursor(until); err != nil {
			return &ConfigError{Field: "Until", Reason: err.Error()}
		}
		r.Bounded = true
	}
	if checker, ok := p.source.(RequestChecker[C]); ok {
		return guard(func() error { return checker.CheckRequest(*r) })
	}
	const power = "it lacks the power RequestChecker: leave it out, or use a source that has it"
	switch {
	case r.Bounded:
		return &ConfigError{Field: "Until", Reason: fmt.Sprintf("the source (%s) cannot end a read there: %s, such as pgtable.Keyset", describe(p.source).Type, power)}
	case r.Params != nil:
		return &ConfigError{Field: "Params", Reason: fmt.Sprintf("the source (%s) takes no parameters: %s", describe(p.source).Type, power)}
	default:
		return nil
	}
}

// checkRequest returns a *ConfigError if the source does not support the request.
func (p sourceCursors[C]) checkRequest(from, until, params json.RawMessage) error {
	r := Request[C]{Params: params}
	if from != nil {
		r.Resumed = true
		if err := stored.DecodeStrict(from, &r.From); err != nil {
			return err
		}
	}
	return p.limitRequest(&r, until)
}

// checkCursor returns an error if a cursor is not one of the flow's source.
func (p sourceCursors[C]) checkCursor(cursor json.RawMessage) error {
	c, err := p.decodeCursor(cursor)
	if err != nil {
		return err
	}
	if checker, ok := p.source.(RequestChecker[C]); ok {
		return guard(func() error { return checker.CheckRequest(Request[C]{From: c, Resumed: true}) })
	}
	return nil
}

// decodeCursor reads a cursor that a caller gave.
func (p sourceCursors[C]) decodeCursor(cursor json.RawMessage) (C, error) {
	var c C
	if !p.resumable() {
		return c, fmt.Errorf("the source (%s) has no cursor: each run begins at its beginning", describe(p.source).Type)
	}
	if err := stored.DecodeStrict(cursor, &c); err != nil {
		form := ""
		if t := reflect.TypeFor[C](); t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.String {
			form = `: use a list of texts, such as ["17"]`
		}
		return c, fmt.Errorf("%s is not a cursor of the source (%s): %w%s", stored.Clip(string(cursor)), describe(p.source).Type, err, form)
	}
	return c, nil
}

// split asks the source where to cut, and returns the cursors as JSON. It leaves out cursors
// that equal the one before, because nothing lies between them.
func (p sourceCursors[C]) split(ctx context.Context, from, until, params json.RawMessage, n int) ([]json.RawMessage, error) {
	splitter, ok := p.source.(Splitter[C])
	if !ok {
		return nil, noSplitter(p.source)
	}
	if _, ok := p.source.(RequestChecker[C]); !ok {
		return nil, &ConfigError{Field: "n", Reason: fmt.Sprintf("the source (%s) cannot end a read at Until, which ranges need: it lacks the power RequestChecker: use 1, or a source that has it, such as pgtable.Keyset", describe(p.source).Type)}
	}
	r := Request[C]{Params: params}
	if from != nil {
		r.Resumed = true
		if err := stored.DecodeStrict(from, &r.From); err != nil {
			return nil, err
		}
	}
	if err := p.limitRequest(&r, until); err != nil {
		return nil, err
	}
	var cursors []C
	err := guard(func() (err error) {
		cursors, err = splitter.Split(ctx, r, n)
		return err
	})
	switch {
	case err != nil && errors.As(err, new(*ConfigError)):
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("split the source: %w", err)
	case len(cursors) > n-1:
		return nil, fmt.Errorf("split the source: Split (of %s) returned %d cursors for %d parts: return %d at most", describe(p.source).Type, len(cursors), n, n-1)
	}
	ends, last := []json.RawMessage{}, from
	for _, c := range cursors {
		end, err := json.Marshal(&c)
		if err != nil {
			return nil, fmt.Errorf("split the source: write cursor %s: %w", stored.CursorText(c), err)
		}
		if last != nil && stored.Same(end, last) || until != nil && stored.Same(end, until) {
			continue
		}
		ends, last = append(ends, end), end
	}
	return ends, nil
}

func (p sourceCursors[C]) seekTime(ctx context.Context, params json.RawMessage, before time.Time) (json.RawMessage, error) {
	seeker, ok := p.source.(TimeSeeker[C])
	if !ok {
		return nil, noTimeSeeker(p.source)
	}
	var cursor C
	var found bool
	err := guard(func() (err error) {
		cursor, found, err = seeker.SeekTime(ctx, Request[C]{Params: params}, before)
		return err
	})
	if err != nil || !found {
		return nil, err
	}
	return json.Marshal(&cursor)
}

func (p sourceCursors[C]) seekEnd(ctx context.Context, params json.RawMessage) (json.RawMessage, error) {
	seeker, ok := p.source.(EndSeeker[C])
	if !ok {
		return nil, noEndSeeker(p.source)
	}
	var cursor C
	var found bool
	err := guard(func() (err error) {
		cursor, found, err = seeker.SeekEnd(ctx, Request[C]{Params: params})
		return err
	})
	if err != nil || !found {
		return nil, err
	}
	return json.Marshal(&cursor)
}

// checkType refuses a struct of which JSON keeps nothing: each checkpoint would be {}, and each run would
// read everything again.
func (p sourceCursors[C]) checkType() error {
	of := reflect.TypeFor[C]()
	if of.Kind() == reflect.Pointer {
		of = of.Elem()
	}
	if !p.resumable() || of.Kind() != reflect.Struct {
		return nil
	}
	switch own := reflect.New(of).Interface().(type) {
	case json.Marshaler, encoding.TextMarshaler:
		return nil
	default:
		for field := range of.Fields() {
			if (field.IsExported() || field.Anonymous) && field.Tag.Get("json") != "-" {
				return nil
			}
		}
		return &ConfigError{Field: "Source", Reason: fmt.Sprintf("its cursor is a %s, which is {} as JSON, so that each run would begin anew: export its fields, or use NoCursor", reflect.TypeOf(own).Elem())}
	}
}

func (p sourceCursors[C]) checkPowers() error {
	_, ends := p.source.(EndSeeker[C])
	_, splits := p.source.(Splitter[C])
	_, checks := p.source.(RequestChecker[C])
	for _, power := range []struct {
		name string
		has  bool
	}{{"EndSeeker", ends}, {"Splitter", splits}, {"RequestChecker", checks}} {
		if !p.resumable() || !power.has {
			return &ConfigError{Field: "FirstLoad", Reason: fmt.Sprintf("the source (%s) cannot be read in ranges after which the flow goes on: it lacks a cursor, or the power %s: leave FirstLoad out, or use a source that has both, such as pgtable.Keyset", describe(p.source).Type, power.name)}
		}
	}
	return nil
}

// cursorList holds the cursors of a batch's rows, and its last resume point.
type cursorList interface {
	// text returns the cursor of row i as text.
	text(i int) string
	// lastJSON returns the last resume point as JSON.
	lastJSON() (json.RawMessage, error)
	// json returns the cursor of row i as JSON.
	json(i int) (json.RawMessage, error)
	// committed returns what tells a source that the last resume point is committed, nil if
	// it does not want to know.
	committed(source any) func(ctx context.Context) error
	truncate(n int)
	// add adds the cursors of another list of the same type, from one on.
	add(of cursorList, from int)
	reset()
}

// cursors is a list of cursors of type C.
type cursors[C any] struct {
	all  []C
	last C
}

func (c *cursors[C]) text(i int) string { return stored.CursorText(c.all[i]) }

// A method of the cursor that makes JSON may be one of its pointer: of a value, JSON would not find it.
func (c *cursors[C]) lastJSON() (json.RawMessage, error) { return json.Marshal(&c.last) }

func (c *cursors[C]) json(i int) (json.RawMessage, error) { return json.Marshal(&c.all[i]) }

func (c *cursors[C]) committed(source any) func(ctx context.Context) error {
	acker, ok := source.(Acker[C])
	if !ok {
		return nil
	}
	last := c.last
	return func(ctx context.Context) error { return acker.Committed(ctx, last) }
}

func (c *cursors[C]) truncate(n int) {
	clear(c.all[n:])
	c.all = c.all[:n]
}

func (c *cursors[C]) add(of cursorList, from int) {
	if other, ok := of.(*cursors[C]); ok {
		c.all = append(c.all, other.all[from:]...)
	}
}

func (c *cursors[C]) reset() {
	if batch.HasPointers(reflect.TypeFor[C]()) {
		clear(c.all)
	}
	*c = cursors[C]{all: c.all[:0]}
}
