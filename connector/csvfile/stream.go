package csvfile

import (
	"cmp"
	"context"
	"io"
	"iter"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/files"
)

// From returns a source that reads r. It does not close r. It can be read once: a
// second run or attempt fails with a permanent error.
func From[T any](r io.Reader, opts *Options) dataflow.Source[T, dataflow.NoCursor] {
	return newStream[T](files.Reader(r), opts)
}

// FromFunc returns a source that reads and closes what open returns, such as an
// object of a store. It cannot resume: every run, and every retry, calls open again
// and reads from the beginning.
func FromFunc[T any](open func(ctx context.Context) (io.ReadCloser, error), opts *Options) dataflow.Source[T, dataflow.NoCursor] {
	return newStream[T](files.Func(open), opts)
}

// stream reads a place without resume points.
type stream[T any] struct{ *source[T] }

func newStream[T any](place files.Place, opts *Options) stream[T] {
	s := newSource[T](place, opts)
	s.streamed = true
	return stream[T]{s}
}

func (s stream[T]) Describe() dataflow.Description {
	return dataflow.Description{Type: "csvfile.stream"}
}

func (s stream[T]) Read(ctx context.Context, _ dataflow.Request[dataflow.NoCursor]) iter.Seq2[dataflow.Item[T, dataflow.NoCursor], error] {
	return func(yield func(dataflow.Item[T, dataflow.NoCursor], error) bool) {
		for item, err := range s.source.Read(ctx, dataflow.Request[Cursor]{}) {
			streamed := dataflow.Item[T, dataflow.NoCursor]{Value: item.Value}
			if item.Resume { // true for every record, good or bad
				streamed.Key = cmp.Or(item.Key, item.Cursor.String())
			}
			if !yield(streamed, err) {
				return
			}
		}
	}
}
