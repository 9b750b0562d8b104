package memory

import (
	"context"
	"errors"
	"io"
	"iter"
	"sync"

	"github.com/activedataflow/dataflow"
)

// Seq returns a source that reads what seq yields, anew from its beginning for
// every run and every retry. It is [Func] for a sequence that has no use for a
// context: it is asked for its next record only while the run goes on.
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

// Next returns a source that calls next for each record, until it returns
// [io.EOF]. Where it begins is up to next: if that goes on where it was, in the next
// run or attempt, the records of a batch that failed are lost. next must return when
// ctx is done. A *[dataflow.RecordError] is of one bad record.
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

// Chan returns a source that reads what is sent on ch, until it is closed: one run
// reads for as long as that takes. At most once: a record that was received is
// gone, and so lost if its batch fails. What must not be lost should go through a
// table.
//
// A record's key is its number among all that were received of ch, "row 1" and so
// on, also over several runs.
func Chan[T any](ch <-chan T) dataflow.Source[T, dataflow.NoCursor] {
	return &chanSource[T]{ch: ch}
}

type chanSource[T any] struct {
	ch <-chan T

	mu       sync.Mutex // guards what follows
	received int
}

func (c *chanSource[T]) Validate() error {
	if c.ch == nil {
		return &dataflow.ConfigError{Field: "Chan", Reason: "the channel is nil: nothing would ever come"}
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
			if err := ctx.Err(); err != nil { // before a record that is there as well
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

// name names the next record.
func (c *chanSource[T]) name() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.received++
	return rowName(c.received)
}
