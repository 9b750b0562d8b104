package dataflowtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowsqlite"
)

// Source yields the rows that it was given, in order. Each row is a resume point. It is safe for
// concurrent use, and must not be copied.
type Source[T any] struct {
	mu   sync.Mutex // guards rows
	rows []T
}

// NewSource returns a source of rows.
func NewSource[T any](rows ...T) *Source[T] { return &Source[T]{rows: slices.Clone(rows)} }

// Add adds rows, which the next run reads.
func (s *Source[T]) Add(rows ...T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rows = append(s.rows, rows...)
}

// Rows returns a copy of all rows.
func (s *Source[T]) Rows() []T {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.rows)
}

// Read yields the rows after the cursor, which is how many rows were read before.
func (s *Source[T]) Read(ctx context.Context, r dataflow.Request[int]) iter.Seq2[dataflow.Item[T, int], error] {
	return func(yield func(dataflow.Item[T, int], error) bool) {
		rows := s.Rows()
		for at := min(r.From, len(rows)); at < len(rows); at++ {
			if err := ctx.Err(); err != nil {
				yield(dataflow.Item[T, int]{}, err)
				return
			}
			item := dataflow.Item[T, int]{Value: rows[at], Cursor: at + 1, Resume: true, Key: fmt.Sprintf("row %d", at+1)}
			if !yield(item, nil) {
				return
			}
		}
	}
}

// Describe returns the source's type, "dataflowtest.source".
func (*Source[T]) Describe() dataflow.Description {
	return dataflow.Description{Type: "dataflowtest.source"}
}

const createRows = `create table dataflowtest_row (id integer primary key, sink integer not null, value text not null)`

var sinks atomic.Int64

// Sink keeps rows as JSON in the database of a Kit of [New], in the transaction of the checkpoint:
// each row exactly once. A row that is written twice is there twice. Make one with [NewSink].
type Sink[T any] struct{ id int64 }

// NewSink returns an empty sink.
func NewSink[T any]() *Sink[T] { return &Sink[T]{id: sinks.Add(1)} }

// Target returns the sink as the target of a flow.
func (s *Sink[T]) Target() dataflow.Target[T] { return dataflow.ToTx(s) }

// WriteTx keeps rows in the transaction of the checkpoint.
func (s *Sink[T]) WriteTx(ctx context.Context, rows []T) error {
	tx, ok := dataflowsqlite.TxFrom(ctx)
	if !ok {
		return dataflow.Permanent(errors.New("a dataflowtest.Sink keeps its rows in SQLite: use a Kit of dataflowtest.New"))
	}
	for _, row := range rows {
		value, err := json.Marshal(row)
		if err != nil {
			return fmt.Errorf("write row %v as JSON: %w", row, err)
		}
		if _, err := tx.ExecContext(ctx, "insert into dataflowtest_row (sink, value) values (?, ?)", s.id, string(value)); err != nil {
			return err
		}
	}
	return nil
}

// Rows returns the rows that were written, in the order of writing.
func (s *Sink[T]) Rows(k *Kit) []T {
	k.t.Helper()
	if k.db == nil {
		k.fail("a Sink needs a Kit of New")
	}
	found, err := k.db.QueryContext(context.Background(), "select value from dataflowtest_row where sink = ? order by id", s.id)
	k.require(err)
	defer func() { _ = found.Close() }()
	all := []T{}
	for found.Next() {
		var value string
		var row T
		k.require(found.Scan(&value))
		k.require(json.Unmarshal([]byte(value), &row))
		all = append(all, row)
	}
	k.require(found.Err())
	return all
}

// Describe returns the sink's type, "dataflowtest.sink".
func (*Sink[T]) Describe() dataflow.Description {
	return dataflow.Description{Type: "dataflowtest.sink"}
}
