package connectortest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// SinkConfig tells [TestSink], [TestFencedSink] and [TestTxSink] how to create the
// sinks to test. S is the kind of sink: [dataflow.Sink], [dataflow.FencedSink] or
// [dataflow.TxSink].
type SinkConfig[S, T any] struct {
	// Make returns an empty sink, and a function that reads its rows in the order
	// of writing. Required.
	Make func(t *testing.T) (sink S, read func() []T)

	// Rows returns n records that all differ. Required.
	Rows func(n int) []T

	// Huge returns a record of a megabyte or more. Nil skips its test.
	Huge func() T

	// Waiting returns a sink whose write waits for ever, such as for a server that
	// does not answer. Nil skips its test.
	Waiting func(t *testing.T) S

	// Failing returns a sink whose store refuses each write, such as a server that answers
	// with 500 or a directory that is gone. Nil skips its test.
	Failing func(t *testing.T) S

	// Open returns how many files, connections or the like the sink holds open. Nil
	// skips the check that they are closed after each write.
	Open func(sink S) int

	// Reopen returns another sink for the same place, as after a restart of the
	// process. [TestSink] and [TestFencedSink] use it. Nil skips its test.
	Reopen func(t *testing.T, sink S) S

	// InTx runs f in a transaction of the store, and puts the transaction into f's
	// context as a driver does. It commits, or rolls back if f returns an error.
	// [TestTxSink] requires it; the others ignore it.
	InTx func(ctx context.Context, sink S, f func(ctx context.Context) error) error

	// Unordered is for a store that does not keep the order of its records.
	Unordered bool

	// Patience is the longest time that a step may take. 0 means a minute.
	Patience time.Duration
}

// large is the number of rows of the largest batch here. It is the engine's own batch size for a Sink.
const large = 1000

// TestSink runs the contract of a [dataflow.Sink] as subtests of t.
func TestSink[T any](t *testing.T, config SinkConfig[dataflow.Sink[T], T]) {
	t.Helper()
	s := newSinkSuite(t, config)
	s.write = func(ctx context.Context, sink dataflow.Sink[T], batch int, rows []T) error {
		b := dataflow.SinkBatch[T]{ID: fmt.Sprintf("%032x", batch), Rows: rows}
		for i := range rows {
			b.Keys = append(b.Keys, fmt.Sprintf("row %d/%d", batch, i+1))
		}
		return sink.Write(ctx, b)
	}
	s.run(t)
	t.Run("Again", func(t *testing.T) {
		t.Parallel()
		s.again(t, func(_ *testing.T, sink dataflow.Sink[T]) dataflow.Sink[T] { return sink })
	})
	t.Run("AgainReopened", func(t *testing.T) {
		t.Parallel()
		if s.Reopen == nil {
			t.Skip("SinkConfig.Reopen is nil")
		}
		s.again(t, s.Reopen)
	})
}

// TestTxSink runs the contract of a [dataflow.TxSink] as subtests of t.
func TestTxSink[T any](t *testing.T, config SinkConfig[dataflow.TxSink[T], T]) {
	t.Helper()
	require.NotNil(t, config.InTx, "SinkConfig.InTx is required")
	s := newSinkSuite(t, config)
	s.write = func(ctx context.Context, sink dataflow.TxSink[T], _ int, rows []T) error {
		return s.InTx(ctx, sink, func(ctx context.Context) error { return sink.WriteTx(ctx, rows) })
	}
	s.run(t)
	t.Run("RolledBack", func(t *testing.T) {
		t.Parallel()
		s.rolledBack(t, func(ctx context.Context, sink dataflow.TxSink[T], rows []T) error { return sink.WriteTx(ctx, rows) })
	})
}

type sinkSuite[S, T any] struct {
	SinkConfig[S, T]
	write func(ctx context.Context, sink S, batch int, rows []T) error
}

func newSinkSuite[S, T any](t *testing.T, config SinkConfig[S, T]) *sinkSuite[S, T] {
	t.Helper()
	require.NotNil(t, config.Make, "SinkConfig.Make is required")
	require.NotNil(t, config.Rows, "SinkConfig.Rows is required")
	if config.Patience == 0 {
		config.Patience = time.Minute
	}
	return &sinkSuite[S, T]{SinkConfig: config}
}

// run runs the tests that all kinds of sinks share.
func (s *sinkSuite[S, T]) run(t *testing.T) {
	t.Helper()
	for _, c := range []struct {
		name string
		skip string
		test func(t *testing.T)
	}{
		{name: "Batches", test: s.batches},
		{name: "LargeBatch", test: s.largeBatch},
		{name: "EmptyBatch", test: s.emptyBatch},
		{name: "RowsAreNotKept", test: s.rowsAreNotKept},
		{name: "Failing", test: s.failing, skip: when(s.Failing == nil, "SinkConfig.Failing is nil")},
		{name: "Goroutines", test: s.goroutines},
		{name: "CancelledBefore", test: s.cancelledBefore},
		{name: "CancelledWaiting", test: s.cancelledWaiting, skip: when(s.Waiting == nil, "SinkConfig.Waiting is nil")},
		{name: "HugeRecord", test: s.huge, skip: when(s.Huge == nil, "SinkConfig.Huge is nil")},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.skip != "" {
				t.Skip(c.skip)
			}
			c.test(t)
		})
	}
}

func (s *sinkSuite[S, T]) batches(t *testing.T) {
	t.Helper()
	sink, read := s.Make(t)
	validate(t, sink)
	s.requireRows(t, nil, read())
	rows := s.Rows(few)
	for i, at := range []int{0, 1, 3, 10} {
		to := append([]int{1, 3, 10}, few)[i]
		require.NoError(t, s.write(t.Context(), sink, i+1, slices.Clone(rows[at:to])))
		s.requireClosed(t, sink)
		s.requireRows(t, rows[:to], read())
	}
}

// largeBatch writes more rows than many a store takes at a time.
func (s *sinkSuite[S, T]) largeBatch(t *testing.T) {
	t.Helper()
	sink, read := s.Make(t)
	rows := s.Rows(large)
	require.NoError(t, s.write(t.Context(), sink, 1, slices.Clone(rows)))
	s.requireClosed(t, sink)
	s.requireRows(t, rows, read())
}

// failing requires that a write which fails says so.
func (s *sinkSuite[S, T]) failing(t *testing.T) {
	t.Helper()
	sink := s.Failing(t)
	require.Error(t, s.write(t.Context(), sink, 1, s.Rows(3)), "a write that fails returns an error; without one, its rows are lost")
	s.requireClosed(t, sink)
}

// goroutines requires that nothing goes on after a write.
func (s *sinkSuite[S, T]) goroutines(t *testing.T) {
	t.Helper()
	sink, read := s.Make(t)
	rows := s.Rows(leaks)
	requireEnded(t, s.Patience, "writes", func(ctx context.Context, i int) {
		require.NoError(t, s.write(ctx, sink, i+1, slices.Clone(rows[i:i+1])))
	})
	s.requireRows(t, rows, read())
}

func (s *sinkSuite[S, T]) emptyBatch(t *testing.T) {
	t.Helper()
	sink, read := s.Make(t)
	require.NoError(t, s.write(t.Context(), sink, 1, nil), "a batch of no rows")
	s.requireRows(t, nil, read())
	rows := s.Rows(2)
	require.NoError(t, s.write(t.Context(), sink, 2, slices.Clone(rows)))
	require.NoError(t, s.write(t.Context(), sink, 3, []T{}))
	s.requireRows(t, rows, read())
}

// rowsAreNotKept reuses the rows' memory for the next batch, as the engine does.
func (s *sinkSuite[S, T]) rowsAreNotKept(t *testing.T) {
	t.Helper()
	sink, read := s.Make(t)
	rows, memory := s.Rows(6), make([]T, 3)
	for i := range 2 {
		copy(memory, rows[3*i:])
		require.NoError(t, s.write(t.Context(), sink, i+1, memory))
		clear(memory)
	}
	s.requireRows(t, rows, read())
}

func (s *sinkSuite[S, T]) cancelledBefore(t *testing.T) {
	t.Helper()
	sink, read := s.Make(t)
	rows := s.Rows(4)
	require.NoError(t, s.write(t.Context(), sink, 1, slices.Clone(rows[:2])))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, s.write(ctx, sink, 2, slices.Clone(rows[2:])), context.Canceled, "a write with a cancelled context returns its error")
	s.requireClosed(t, sink)
	s.requireRows(t, rows[:2], read())
	require.NoError(t, s.write(t.Context(), sink, 2, slices.Clone(rows[2:])), "the write is tried again")
	s.requireRows(t, rows, read())
}

func (s *sinkSuite[S, T]) cancelledWaiting(t *testing.T) {
	t.Helper()
	sink := s.Waiting(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.write(ctx, sink, 1, s.Rows(2)) }()
	tired := time.NewTimer(s.Patience)
	defer tired.Stop()
	select {
	case err := <-done:
		require.ErrorIs(t, err, context.DeadlineExceeded, "a write that waits ends with the context's error")
	case <-tired.C:
		require.FailNow(t, "the write does not end", "it has taken %s", s.Patience)
	}
	s.requireClosed(t, sink)
}

func (s *sinkSuite[S, T]) huge(t *testing.T) {
	t.Helper()
	sink, read := s.Make(t)
	rows := s.Rows(3)
	rows[1] = s.Huge()
	require.NoError(t, s.write(t.Context(), sink, 1, slices.Clone(rows)))
	require.True(t, reflect.DeepEqual(rows, read()), "a huge record, or one next to it, has changed")
}

// again writes a batch a second time, as after a crash between the write and the
// checkpoint. next returns the sink of the second time.
func (s *sinkSuite[S, T]) again(t *testing.T, next func(t *testing.T, sink S) S) {
	t.Helper()
	sink, read := s.Make(t)
	rows := s.Rows(5)
	for batch, part := range [][]T{rows[:2], rows[2:]} {
		require.NoError(t, s.write(t.Context(), sink, batch+1, slices.Clone(part)))
		sink = next(t, sink)
		require.NoError(t, s.write(t.Context(), sink, batch+1, slices.Clone(part)))
	}
	if a, ok := any(sink).(dataflow.AppendOnly); ok && a.AppendOnly() {
		for _, row := range rows {
			require.Contains(t, read(), row)
		}
		return
	}
	s.requireRows(t, rows, read())
}

func (s *sinkSuite[S, T]) rolledBack(t *testing.T, write func(ctx context.Context, sink S, rows []T) error) {
	t.Helper()
	sink, read := s.Make(t)
	rows, broken := s.Rows(4), errors.New("the checkpoint failed")
	require.NoError(t, s.write(t.Context(), sink, 1, slices.Clone(rows[:2])))
	err := s.InTx(t.Context(), sink, func(ctx context.Context) error {
		require.NoError(t, write(ctx, sink, slices.Clone(rows[2:])))
		return broken
	})
	require.ErrorIs(t, err, broken)
	s.requireRows(t, rows[:2], read())
	require.NoError(t, s.write(t.Context(), sink, 2, slices.Clone(rows[2:])))
	s.requireRows(t, rows, read())
}

func (s *sinkSuite[S, T]) requireRows(t *testing.T, want, got []T) {
	t.Helper()
	switch {
	case len(want) == 0:
		require.Empty(t, got)
	case s.Unordered:
		require.ElementsMatch(t, want, got)
	default:
		requireSame(t, want, got, "the rows of the sink")
	}
}

func (s *sinkSuite[S, T]) requireClosed(t *testing.T, sink S) {
	t.Helper()
	if s.Open != nil {
		require.Zero(t, s.Open(sink), "the write has left something open")
	}
}
