package memory

import (
	"context"
	"errors"

	"github.com/activedataflow/dataflow"
)

// ToFunc returns a target that calls f for each row, in order: at least once. If f
// returns an error, the later rows are not written. The retry writes the batch
// again from its first row. f must return when ctx is done. To write a whole batch
// in one call, use [dataflow.SinkFunc].
func ToFunc[T any](f func(ctx context.Context, row T) error) dataflow.Target[T] {
	return dataflow.To[T](funcSink[T]{f: f})
}

type funcSink[T any] struct {
	f func(ctx context.Context, row T) error
}

func (s funcSink[T]) Validate() error {
	if s.f == nil {
		return &dataflow.ConfigError{Field: "Func", Reason: "the function is nil"}
	}
	return nil
}

func (s funcSink[T]) Describe() dataflow.Description {
	return dataflow.Description{Type: "memory.to_func"}
}

func (s funcSink[T]) Write(ctx context.Context, b dataflow.SinkBatch[T]) error {
	if err := s.Validate(); err != nil {
		return dataflow.Permanent(err)
	}
	for i, row := range b.Rows {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := s.f(ctx, row)
		var bad *dataflow.RecordError
		if errors.As(err, &bad) && bad.Key == "" && i < len(b.Keys) {
			named := *bad // the caller's error may be one for all rows
			named.Key, err = b.Keys[i], &named
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// ToChan returns a target that sends each row on ch, and waits while there is no
// receiver: at least once. It does not close ch.
func ToChan[T any](ch chan<- T) dataflow.Target[T] { return dataflow.To[T](chanSink[T]{ch: ch}) }

type chanSink[T any] struct{ ch chan<- T }

func (s chanSink[T]) Validate() error {
	if s.ch == nil {
		return &dataflow.ConfigError{Field: "Chan", Reason: "the channel is nil, and would block for ever: pass a channel that was made"}
	}
	return nil
}

func (s chanSink[T]) Describe() dataflow.Description {
	return dataflow.Description{Type: "memory.to_chan"}
}

func (s chanSink[T]) Write(ctx context.Context, b dataflow.SinkBatch[T]) error {
	if err := s.Validate(); err != nil {
		return dataflow.Permanent(err)
	}
	for _, row := range b.Rows {
		if err := ctx.Err(); err != nil { // checked first: select picks at random when a receiver is ready too
			return err
		}
		select {
		case s.ch <- row:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
