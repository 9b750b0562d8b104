package memory_test

import (
	"context"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
)

func TestSink_Write(t *testing.T) {
	t.Parallel()
	batch := func(id string, rows, keys []string) dataflow.SinkBatch[string] {
		return dataflow.SinkBatch[string]{ID: id, Rows: rows, Keys: keys}
	}
	for _, tt := range []struct {
		name    string
		batches []dataflow.SinkBatch[string]
		rows    []string
		keys    []string
	}{
		{name: "Empty", batches: []dataflow.SinkBatch[string]{batch("1", nil, nil)}},
		{
			name:    "Retry",
			batches: []dataflow.SinkBatch[string]{batch("1", []string{"a", "b"}, []string{"k1", "k2"}), batch("1", []string{"a", "b"}, []string{"k1", "k2"})},
			rows:    []string{"a", "b"}, keys: []string{"k1", "k2"},
		},
		{
			name:    "LastWins",
			batches: []dataflow.SinkBatch[string]{batch("1", []string{"a", "b"}, []string{"k1", "k2"}), batch("2", []string{"c", "A"}, []string{"k3", "k1"})},
			rows:    []string{"A", "b", "c"}, keys: []string{"k1", "k2", "k3"},
		},
		{
			name:    "NoKeys",
			batches: []dataflow.SinkBatch[string]{batch("1", []string{"a", "a"}, nil), batch("1", []string{"a", "a"}, nil), batch("2", []string{"a"}, nil)},
			rows:    []string{"a", "a", "a"}, keys: []string{"1/1", "1/2", "2/1"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var sink memory.Sink[string]
			for _, b := range tt.batches {
				require.NoError(t, sink.Write(t.Context(), b))
			}
			require.Equal(t, tt.rows, sink.Rows())
			require.Equal(t, tt.keys, sink.Keys())
		})
	}
}

func TestSink_WriteRefused(t *testing.T) {
	t.Parallel()
	sink := memory.NewSink[int]()
	require.EqualError(t, sink.Write(t.Context(), dataflow.SinkBatch[int]{ID: "7", Rows: []int{1, 2}, Keys: []string{"a"}}), "batch 7 has 2 rows but 1 keys: give each row a key, or none")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, sink.Write(ctx, dataflow.SinkBatch[int]{ID: "8", Rows: []int{1}}), context.Canceled)
	require.Empty(t, sink.Rows())
}

func TestSink_RowsIsCopy(t *testing.T) {
	t.Parallel()
	sink := memory.NewSink[int]()
	require.NoError(t, sink.Write(t.Context(), dataflow.SinkBatch[int]{ID: "1", Rows: []int{1}, Keys: []string{"a"}}))
	sink.Rows()[0], sink.Keys()[0] = 2, "b"
	require.Equal(t, []int{1}, sink.Rows())
	require.Equal(t, []string{"a"}, sink.Keys())
}

func TestSink_Concurrent(t *testing.T) {
	t.Parallel()
	sink := memory.NewSink[int]()
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for w := range errs {
		wg.Go(func() {
			for i := range 500 {
				b := dataflow.SinkBatch[int]{ID: strconv.Itoa(w), Rows: []int{i}, Keys: []string{strconv.Itoa(i)}}
				if err := sink.Write(context.WithoutCancel(t.Context()), b); err != nil {
					errs[w] = err
				}
				_, _ = sink.Rows(), sink.Keys()
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	require.Len(t, sink.Rows(), 500)
	for i, key := range sink.Keys() {
		require.Equal(t, key, strconv.Itoa(sink.Rows()[i]))
	}
}

func TestSink_Target(t *testing.T) {
	t.Parallel()
	target := memory.NewSink[int]().Target()
	require.Equal(t, dataflow.AtLeastOnce, target.Guarantee())
	require.Equal(t, "memory.sink", target.Describe().Type)
}
