package memory

import (
	"context"
	"errors"
	"io"
	"iter"
	"sync"

	"github.com/activedataflow/dataflow"
)

// Seq returns a source that reads seq from its beginning for every run and every
// retry. It is [Func] for a sequence that needs no context: the source stops asking
// for records once the run's context is done.
func Seq[T any](seq iter.Seq2[T, error]) dataflow.Source[T, dataflow.NoCursor] {
	if seq == nil {
		return Func[T](nil)
	}
	return Func(func(ctx context.Context) iter.Seq2[T, error] {
		return func(yield func(T, error) bool) {
			var none T
			if err := ctx.Err(); err != nil {
				yield(none, err)
				return
			}
			for row, err := range seq {
				if !yield(row, err) {
					return
				}
				if err := ctx.Err(); err != nil {
					yield(none, err)
					return
				}
			}
		}
	})
}

// Next returns a source that calls next for each record until next returns
// [io.EOF].
//
// next decides where a read begins. If it continues where the last run or attempt
// stopped, the records of a failed batch are lost. next reports one bad record with
// a *[dataflow.RecordError]. It must return when ctx is done.
func Next[T any](next func(ctx context.Context) (T, error)) dataflow.Source[T, dataflow.NoCursor] {
	if next == nil {
		return Func[T](nil)
	}
	return Func(func(ctx context.Context) iter.Seq2[T, error] {
		return func(yield func(T, error) bool) {
			for {
				row, err := next(ctx)
				switch {
				case ctx.Err() != nil:
					err = ctx.Err()
				case errors.Is(err, io.EOF):
					return
				}
				var bad *dataflow.RecordError
				if !yield(row, err) || err != nil && !errors.As(err, &bad) {
					return
				}
			}
		}
	})
}

// Chan returns a source that receives from ch. One run reads until ch is closed.
// Delivery is at most once: a received record is gone from the channel, and lost if
// its batch fails. Use a table for records that must not be lost.
//
// A record's key is its number among all records received from ch, "row 1" and so
// on. The count continues over several runs.
func Chan[T any](ch <-chan T) dataflow.Source[T, dataflow.NoCursor] {
	return &chanSource[T]{ch: ch}
}

type chanSource[T any] struct {
	ch <-chan T

	mu       sync.Mutex // guards received
	received int
}

func (c *chanSource[T]) Validate() error {
	if c.ch == nil {
		return &dataflow.ConfigError{Field: "Chan", Reason: "the channel is nil, and would never deliver a record: pass a channel that was made"}
	}
	return nil
}

func (c *chanSource[T]) Describe() dataflow.Description {
	return dataflow.Description{Type: "memory.chan"}
}

func (c *chanSource[T]) Read(ctx context.Context, _ dataflow.Request[dataflow.NoCursor]) iter.Seq2[dataflow.Item[T, dataflow.NoCursor], error] {
	return func(yield func(dataflow.Item[T, dataflow.NoCursor], error) bool) {
		fail := func(err error) { yield(dataflow.Item[T, dataflow.NoCursor]{}, err) }
		if err := c.Validate(); err != nil {
			fail(dataflow.Permanent(err))
			return
		}
		for {
			if err := ctx.Err(); err != nil { // checked first: select picks at random when a record is ready too
				fail(err)
				return
			}
			select {
			case row, ok := <-c.ch:
				if !ok || !yield(dataflow.Item[T, dataflow.NoCursor]{Value: row, Key: c.name()}, nil) {
					return
				}
			case <-ctx.Done():
				fail(ctx.Err())
				return
			}
		}
	}
}

// name counts the next record and returns its key.
func (c *chanSource[T]) name() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.received++
	return rowName(c.received)
}
