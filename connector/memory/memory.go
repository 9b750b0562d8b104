// Package memory provides sources and sinks that live in memory: slices, channels,
// sequences and functions. Use them for a first look, for tests, and for records
// that a program already holds.
package memory

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"

	"github.com/activedataflow/dataflow"
)

// checkEvery is the number of rows read between two checks of the context.
const checkEvery = 128

// Cursor counts the rows of a [Slice] that were read. It is the index of the next
// row.
type Cursor int

// String names the last row that was read: "row 1" is the first row of the slice.
func (c Cursor) String() string { return rowName(int(c)) }

func rowName(n int) string { return "row " + strconv.Itoa(n) }

// Slice returns a source that reads rows in order. Every row is a resume point, and
// its key is "row 1", "row 2" and so on. The source is also a [dataflow.Counter],
// and it is safe for concurrent use.
//
// rows is not copied: the caller must not change it while a run reads it. A later
// run starts after the last row read. It reads nothing until the flow is declared
// again with a longer slice that begins with the same rows.
func Slice[T any](rows []T) dataflow.Source[T, Cursor] { return slice[T]{rows: rows} }

// slice is a struct, so that a flow may have a source over a nil slice.
type slice[T any] struct{ rows []T }

func (s slice[T]) Describe() dataflow.Description {
	return dataflow.Description{Type: "memory.slice"}
}

func (s slice[T]) Count(_ context.Context, r dataflow.Request[Cursor]) (int64, error) {
	rest, err := s.rest(r)
	return int64(len(rest)), err
}

func (s slice[T]) Read(ctx context.Context, r dataflow.Request[Cursor]) iter.Seq2[dataflow.Item[T, Cursor], error] {
	return func(yield func(dataflow.Item[T, Cursor], error) bool) {
		rest, err := s.rest(r)
		if err != nil {
			yield(dataflow.Item[T, Cursor]{}, err)
			return
		}
		at := Cursor(len(s.rows) - len(rest))
		for i, row := range rest {
			if i%checkEvery == 0 && ctx.Err() != nil {
				yield(dataflow.Item[T, Cursor]{}, ctx.Err())
				return
			}
			at++
			if !yield(dataflow.Item[T, Cursor]{Value: row, Cursor: at, Resume: true}, nil) {
				return
			}
		}
	}
}

// rest returns the rows after the cursor.
func (s slice[T]) rest(r dataflow.Request[Cursor]) ([]T, error) {
	if !r.Resumed {
		return s.rows, nil
	}
	if r.From < 0 || int(r.From) > len(s.rows) {
		return nil, dataflow.Permanent(fmt.Errorf("the slice has %d rows, but the cursor is at row %d: give the flow a new name to read the slice from its beginning", len(s.rows), int(r.From)))
	}
	return s.rows[r.From:], nil
}

// Func returns a source that reads what f yields. It cannot resume: every run, and
// every retry, calls f again and reads from the beginning.
//
// A record's key is its position, "row 1" and so on, so f should yield the same
// records in the same order each time. f reports one bad record with a
// *[dataflow.RecordError] and goes on; any other error ends the read. f must return
// when ctx is done.
func Func[T any](f func(ctx context.Context) iter.Seq2[T, error]) dataflow.Source[T, dataflow.NoCursor] {
	return funcSource[T]{f: f}
}

type funcSource[T any] struct {
	f func(ctx context.Context) iter.Seq2[T, error]
}

func (f funcSource[T]) Validate() error {
	if f.f == nil {
		return &dataflow.ConfigError{Field: "Func", Reason: "the function is nil"}
	}
	return nil
}

func (f funcSource[T]) Describe() dataflow.Description {
	return dataflow.Description{Type: "memory.func"}
}

func (f funcSource[T]) Read(ctx context.Context, _ dataflow.Request[dataflow.NoCursor]) iter.Seq2[dataflow.Item[T, dataflow.NoCursor], error] {
	return func(yield func(dataflow.Item[T, dataflow.NoCursor], error) bool) {
		if err := f.Validate(); err != nil {
			yield(dataflow.Item[T, dataflow.NoCursor]{}, dataflow.Permanent(err))
			return
		}
		n := 0
		for row, err := range f.f(ctx) {
			n++
			item := dataflow.Item[T, dataflow.NoCursor]{Value: row, Key: rowName(n)}
			var bad *dataflow.RecordError
			isBad := errors.As(err, &bad)
			if isBad && bad.Key == "" {
				named := *bad // the caller's error may be one for all records
				named.Key, err = item.Key, &named
			}
			if !yield(item, err) || err != nil && !isBad {
				return
			}
		}
	}
}
