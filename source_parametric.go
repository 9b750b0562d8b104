package dataflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/activedataflow/dataflow/internal/stored"
)

// Parametric makes a source anew for each run, from the run's Params. They are read
// strictly as a P: an unknown field is an error. P is its zero value if the run has
// none. So any source can take parameters, such as the arguments of a query or a file's
// path.
//
//	dataflow.Parametric(func(p Day) (dataflow.Source[Order, pgtable.Cursor], error) {
//		return pgtable.Keyset[Order](pool, pgtable.Query{SQL: ordersOf, Args: []any{p.Day}, Key: key}), nil
//	})
//
// An error of the function says what is wrong with the parameters, and refuses the run.
// The library calls the function often, also without a run. It must not touch the
// network, and must not return a nil source. The optional powers (Count, Lag, Committed,
// Until, Split, SeekTime, OrderedBy, Rereads, Notes, PoolUse, ParseRecord) are those of the source that it returns.
func Parametric[P, T, C any](source func(params P) (Source[T, C], error)) Source[T, C] {
	return &parametric[P, T, C]{make: source}
}

type parametric[P, T, C any] struct {
	make func(params P) (Source[T, C], error)

	mu      sync.Mutex
	reading Source[T, C] // what is being read, or was last
}

// of makes the source of a run.
func (s *parametric[P, T, C]) of(params json.RawMessage) (Source[T, C], error) {
	var p P
	if params != nil {
		if err := stored.DecodeStrict(params, &p); err != nil {
			return nil, &ConfigError{Field: "Params", Reason: fmt.Sprintf("%s is not a %T: %v", stored.Clip(string(params)), p, err)}
		}
	}
	source, err := s.make(p)
	if err == nil && isNil(source) {
		err = errors.New("the function of Parametric returned no source")
	}
	var ce *ConfigError
	if err != nil && !errors.As(err, &ce) {
		err = &ConfigError{Field: "Params", Reason: err.Error()}
	}
	return source, err
}

func (s *parametric[P, T, C]) Validate() error {
	if s.make == nil {
		return &ConfigError{Field: "Parametric", Reason: "the function is nil"}
	}
	return nil
}

// Describe describes the source without parameters, if the function can make it.
func (s *parametric[P, T, C]) Describe() Description {
	d := Description{Type: "parametric"}
	_ = guard(func() error {
		source, err := s.of(nil)
		if err == nil {
			inner := describe(source)
			d.Detail = map[string]any{"source": inner}
		}
		return err
	})
	return d
}

// PoolUse is what the source without parameters needs, if the function can make it.
func (s *parametric[P, T, C]) PoolUse() (uses []PoolUse) {
	_ = guard(func() error {
		source, err := s.of(nil)
		if err == nil {
			uses = usesOf(source)
		}
		return err
	})
	return uses
}

// OrderedBy is that of the source without parameters, if the function can make it.
func (s *parametric[P, T, C]) OrderedBy() (column string) {
	_ = guard(func() error {
		source, err := s.of(nil)
		if o, ok := source.(ColumnOrdered); ok && err == nil {
			column = o.OrderedBy()
		}
		return err
	})
	return column
}

// Rereads is that of the source without parameters, if the function can make it. With others, the
// run finds out.
func (s *parametric[P, T, C]) Rereads() (again bool) {
	_ = guard(func() error {
		source, err := s.of(nil)
		if r, ok := source.(Rereader); ok && err == nil {
			again = r.Rereads()
		}
		return err
	})
	return again
}

func (s *parametric[P, T, C]) CheckRequest(r Request[C]) error {
	source, err := s.of(r.Params)
	if err != nil {
		return err
	}
	if err := validate("Params", source); err != nil {
		return err
	}
	r.Params = nil // they are in the source
	if checker, ok := source.(RequestChecker[C]); ok {
		return checker.CheckRequest(r)
	}
	if r.Bounded {
		return &ConfigError{Field: "Until", Reason: fmt.Sprintf("the source (%s) cannot end a read there: it lacks the power RequestChecker", describe(source).Type)}
	}
	return nil
}

func (s *parametric[P, T, C]) Count(ctx context.Context, r Request[C]) (int64, error) {
	source, err := s.of(r.Params)
	if err != nil {
		return 0, err
	}
	counter, ok := source.(Counter[C])
	if !ok {
		return 0, errors.New("the source does not count its records")
	}
	r.Params = nil
	return counter.Count(ctx, r)
}

// Lag is that of the source without parameters, if the function can make it.
func (s *parametric[P, T, C]) Lag(ctx context.Context, r Request[C]) (time.Duration, bool, error) {
	source, err := s.of(r.Params)
	if err != nil {
		return 0, false, nil //nolint:nilerr // it cannot be made without parameters
	}
	lagger, ok := source.(Lagger[C])
	if !ok {
		return 0, false, nil
	}
	r.Params = nil
	return lagger.Lag(ctx, r)
}

// LagBytes is that of the source without parameters, if the function can make it.
func (s *parametric[P, T, C]) LagBytes(ctx context.Context, r Request[C]) (int64, bool, error) {
	source, err := s.of(r.Params)
	if err != nil {
		return 0, false, nil //nolint:nilerr // it cannot be made without parameters
	}
	lagger, ok := source.(LogLagger[C])
	if !ok {
		return 0, false, nil
	}
	r.Params = nil
	return lagger.LagBytes(ctx, r)
}

// Examine examines the source without parameters, if the function can make it.
func (s *parametric[P, T, C]) Examine(ctx context.Context) ([]Finding, error) {
	source, err := s.of(nil)
	if err != nil {
		return nil, nil //nolint:nilerr // it cannot be made without parameters
	}
	examiner, ok := source.(Examiner)
	if !ok {
		return nil, nil
	}
	return examiner.Examine(ctx)
}

// ExamineFrom examines the source without parameters, if the function can make it.
func (s *parametric[P, T, C]) ExamineFrom(ctx context.Context, r Request[C]) ([]Finding, error) {
	source, err := s.of(nil)
	if err != nil {
		return nil, nil //nolint:nilerr // it cannot be made without parameters
	}
	examiner, ok := source.(CursorExaminer[C])
	if !ok {
		return s.Examine(ctx)
	}
	r.Params = nil
	return examiner.ExamineFrom(ctx, r)
}

// Notes are those of the source without parameters, unless the request has some.
func (s *parametric[P, T, C]) Notes(ctx context.Context, r Request[C]) ([]string, error) {
	source, err := s.of(r.Params)
	if err != nil {
		return nil, err
	}
	noter, ok := source.(Noter[C])
	if !ok {
		return nil, nil
	}
	r.Params = nil
	return noter.Notes(ctx, r)
}

func (s *parametric[P, T, C]) ParseRecord(ctx context.Context, r RawRecord) (row T, err error) {
	source, err := s.of(r.Params)
	if err != nil {
		return row, err
	}
	parser, ok := source.(RecordParser[T])
	if !ok {
		return row, errors.ErrUnsupported
	}
	r.Params = nil
	return parser.ParseRecord(ctx, r)
}

func (s *parametric[P, T, C]) Split(ctx context.Context, r Request[C], n int) ([]C, error) {
	source, err := s.of(r.Params)
	if err != nil {
		return nil, err
	}
	splitter, ok := source.(Splitter[C])
	if !ok {
		return nil, noSplitter(source)
	}
	r.Params = nil
	return splitter.Split(ctx, r, n)
}

func (s *parametric[P, T, C]) SeekEnd(ctx context.Context, r Request[C]) (cursor C, ok bool, err error) {
	source, err := s.of(r.Params)
	if err != nil {
		return cursor, false, err
	}
	seeker, ok := source.(EndSeeker[C])
	if !ok {
		return cursor, false, noEndSeeker(source)
	}
	r.Params = nil
	return seeker.SeekEnd(ctx, r)
}

func (s *parametric[P, T, C]) SeekTime(ctx context.Context, r Request[C], before time.Time) (cursor C, ok bool, err error) {
	source, err := s.of(r.Params)
	if err != nil {
		return cursor, false, err
	}
	seeker, ok := source.(TimeSeeker[C])
	if !ok {
		return cursor, false, noTimeSeeker(source)
	}
	r.Params = nil
	return seeker.SeekTime(ctx, r, before)
}

func (s *parametric[P, T, C]) Committed(ctx context.Context, cursor C) error {
	s.mu.Lock()
	acker, ok := s.reading.(Acker[C])
	s.mu.Unlock()
	if !ok {
		return nil
	}
	return acker.Committed(ctx, cursor)
}

func (s *parametric[P, T, C]) Read(ctx context.Context, r Request[C]) iter.Seq2[Item[T, C], error] {
	source, err := s.of(r.Params)
	if err != nil {
		return func(yield func(Item[T, C], error) bool) { yield(Item[T, C]{}, Permanent(err)) }
	}
	s.mu.Lock()
	s.reading = source
	s.mu.Unlock()
	r.Params = nil
	return source.Read(ctx, r)
}
