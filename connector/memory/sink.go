package memory

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"

	"github.com/activedataflow/dataflow"
)

// Sink keeps the rows of a flow. A row written again under the same key replaces
// the earlier one, so each record is kept once even if a batch is retried or a
// source is read again. Give each flow its own Sink: keys of different sources may
// be equal.
//
// The zero value is an empty Sink. A Sink is safe for concurrent use and must not
// be copied.
type Sink[T any] struct {
	mu    sync.RWMutex // guards the fields below
	rows  []T
	keys  []string
	index map[string]int // from a key to its place in rows
}

// NewSink returns an empty sink.
func NewSink[T any]() *Sink[T] { return &Sink[T]{} }

// Target returns the sink as the target of a flow.
func (s *Sink[T]) Target() dataflow.Target[T] { return dataflow.To(s) }

// Write keeps all rows of a batch, or none. A row without a key is named by the
// batch's ID and its place in the batch. Write fails if ctx is done or if the
// number of keys differs from the number of rows.
func (s *Sink[T]) Write(ctx context.Context, b dataflow.SinkBatch[T]) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if b.Keys != nil && len(b.Keys) != len(b.Rows) {
		return dataflow.Permanent(fmt.Errorf("batch %s has %d rows but %d keys: give each row a key, or none", b.ID, len(b.Rows), len(b.Keys)))
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

// put keeps one row. The caller must hold mu.
func (s *Sink[T]) put(key string, row T) {
	if at, ok := s.index[key]; ok {
		s.rows[at] = row
		return
	}
	s.index[key] = len(s.rows)
	s.rows, s.keys = append(s.rows, row), append(s.keys, key)
}

// Rows returns a copy of all rows, ordered by the first write of their keys.
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

// Describe returns the sink's type, "memory.sink".
func (s *Sink[T]) Describe() dataflow.Description {
	return dataflow.Description{Type: "memory.sink"}
}
