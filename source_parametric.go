package dataflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"sync"

	"github.com/activedataflow/dataflow/internal/stored"
)

// Parametric is a source that is made anew for each run, of the run's Params: of P, as
// which they are read, strictly; its zero value if the run has none. So any source takes
// parameters: the arguments of a query, or the path of a file.
//
//	dataflow.Parametric(func(p Day) (dataflow.Source[Order, pgtable.Cursor], error) {
//		return pgtable.Keyset[Order](pool, pgtable.Query{SQL: ordersOf, Args: []any{p.Day}, Key: key}), nil
//	})
//
// An error says what is wrong with the parameters, and refuses the run. The function is
// called often, also without a run; it must not touch the network, nor return nil. What
// the source can do (Count, Committed, Until, Split) is done by the one that was made.
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

// Describe tells what it is like without parameters, if it is anything then.
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
		return &ConfigError{Field: "Until", Reason: fmt.Sprintf("the source (%s) does not say that it ends a read there, by the power RequestChecker", describe(source).Type)}
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
		return 0, errors.New("it does not count")
	}
	r.Params = nil
	return counter.Count(ctx, r)
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
