package connectortest

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// flowName is the flow whose checkpoint the fenced sinks keep.
const flowName = "orders \"é\""

// TestFencedSink runs the contract of a [dataflow.FencedSink] as subtests of t.
func TestFencedSink[T any](t *testing.T, config SinkConfig[dataflow.FencedSink[T], T]) {
	t.Helper()
	s := &fencedSuite[T]{newSinkSuite(t, config)}
	s.write = func(ctx context.Context, sink dataflow.FencedSink[T], batch int, rows []T) error {
		if batch == 1 {
			if _, err := sink.Claim(ctx, flowName, 1); err != nil {
				return err
			}
		}
		return sink.WriteFenced(ctx, fencedBatch(1, batch, rows))
	}
	s.run(t)
	for name, test := range map[string]func(t *testing.T){"State": s.state, "Fence": s.fence, "Reopened": s.reopened} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t)
		})
	}
}

type fencedSuite[T any] struct {
	*sinkSuite[dataflow.FencedSink[T], T]
}

func fencedBatch[T any](fence int64, batch int, rows []T) dataflow.FencedBatch[T] {
	return dataflow.FencedBatch[T]{Flow: flowName, Fence: fence, State: stateOf(batch), Rows: rows}
}

func stateOf(batch int) json.RawMessage {
	return json.RawMessage(fmt.Sprintf(`{"cursor":{"at":%d,"key":"<é>"},"delta":{"read":3}}`, batch))
}

// state requires that a claim returns the state of the last batch, even of one
// without rows.
func (s *fencedSuite[T]) state(t *testing.T) {
	t.Helper()
	sink, read := s.Make(t)
	got, err := sink.Claim(t.Context(), flowName, 1)
	require.NoError(t, err)
	require.Nil(t, got, "nothing was written yet")
	rows := s.Rows(2)
	for batch, part := range [][]T{rows[:1], nil, rows[1:]} {
		require.NoError(t, sink.WriteFenced(t.Context(), fencedBatch(1, batch, slices.Clone(part))))
		for range 2 { // the same fence may be claimed again
			got, err = sink.Claim(t.Context(), flowName, 1)
			require.NoError(t, err)
			require.JSONEq(t, string(stateOf(batch)), string(got))
		}
	}
	s.requireRows(t, rows, read())
	s.requireClosed(t, sink)
}

// fence requires that a sink refuses an older fence.
func (s *fencedSuite[T]) fence(t *testing.T) {
	t.Helper()
	sink, read := s.Make(t)
	rows := s.Rows(3)
	claim := func(fence int64) error {
		_, err := sink.Claim(t.Context(), flowName, fence)
		return err
	}
	require.NoError(t, claim(5))
	require.NoError(t, sink.WriteFenced(t.Context(), fencedBatch(5, 1, slices.Clone(rows[:1]))))
	require.NoError(t, claim(7))
	require.ErrorIs(t, sink.WriteFenced(t.Context(), fencedBatch(5, 2, slices.Clone(rows[1:]))), dataflow.ErrFenced, "a write under an older claim")
	require.ErrorIs(t, claim(6), dataflow.ErrFenced, "an older claim")
	s.requireRows(t, rows[:1], read())
	got, err := sink.Claim(t.Context(), flowName, 7)
	require.NoError(t, err)
	require.JSONEq(t, string(stateOf(1)), string(got), "the refused write has changed the state")
	require.NoError(t, sink.WriteFenced(t.Context(), fencedBatch(7, 3, slices.Clone(rows[1:]))))
	s.requireRows(t, rows, read())
	s.requireClosed(t, sink)
}

// reopened continues in another process, whose claim locks out the first one.
func (s *fencedSuite[T]) reopened(t *testing.T) {
	t.Helper()
	if s.Reopen == nil {
		t.Skip("SinkConfig.Reopen is nil")
	}
	first, read := s.Make(t)
	rows := s.Rows(4)
	require.NoError(t, s.write(t.Context(), first, 1, slices.Clone(rows[:2])))
	second := s.Reopen(t, first)
	got, err := second.Claim(t.Context(), flowName, 2)
	require.NoError(t, err)
	require.JSONEq(t, string(stateOf(1)), string(got))
	require.ErrorIs(t, first.WriteFenced(t.Context(), fencedBatch(1, 2, slices.Clone(rows[2:]))), dataflow.ErrFenced)
	require.NoError(t, second.WriteFenced(t.Context(), fencedBatch(2, 2, slices.Clone(rows[2:]))))
	s.requireRows(t, rows, read())
}
