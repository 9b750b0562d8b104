package memory

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"

	"github.com/activedataflow/dataflow"
)

// Sink keeps the rows of a flow. A row that is written again under the same key
// takes the place of the one before, so that a batch that is retried, or a
// source that is read again, leaves each record once. Give each flow a Sink of
// its own: keys of different sources may be the same.
//
// The zero value is an empty Sink. It is safe for concurrent use and must not be
// copied.
type Sink[T any] struct {
	mu    sync.RWMutex // guards what follows
	rows  []T
	keys  []string
	index map[string]int // of keys
}

// NewSink returns an empty sink.
func NewSink[T any]() *Sink[T] { return &Sink[T]{} }

// Target returns the sink as the target of a flow.
func (s *Sink[T]) Target() dataflow.Target[T] { return dataflow.To(s) }

// Write keeps all rows of a batch, or none. Rows without keys are named by the
// batch and their place in it.
func (s *Sink[T]) Write(ctx context.Context, b dataflow.SinkBatch[T]) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if b.Keys != nil && len(b.Keys) != len(b.Rows) {
		return dataflow.Permanent(fmt.Errorf("batch %s has %d rows and %d keys", b.ID, len(b.Rows), len(b.Keys)))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.index == nil {
		s.index = make(map[string]int)
	}
	for i, row := range b.Rows {
		key := b.ID + "/" + strconv.Itoa(i+1)
		if b.Keys != nil {
			key = b.Keys[i]
		}
		s.put(key, row)
	}
	return nil
}

// put keeps one row. The caller holds mu.
func (s *Sink[T]) put(key string, row T) {
	if at, ok := s.index[key]; ok {
		s.rows[at] = row
		return
	}
	s.index[key] = len(s.rows)
	s.rows, s.keys = append(s.rows, row), append(s.keys, key)
}

// Rows returns a copy of all rows, in the order in which their keys came first.
func (s *Sink[T]) Rows() []T {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Clone(s.rows)
}

// Keys returns a copy of the keys of Rows, in the same order.
func (s *Sink[T]) Keys() []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Clone(s.keys)
}

// Describe says what the sink is.
func (s *Sink[T]) Describe() dataflow.Description {
	return dataflow.Description{Type: "memory.sink"}
}
