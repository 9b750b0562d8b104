package memory

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/connectortest"
)

func numbered(n int) []string {
	rows := make([]string, n)
	for i := range rows {
		rows[i] = fmt.Sprintf("bird %d", i)
	}
	return rows
}

// appending is a sink that declares that it only appends.
type appending struct{ dataflow.Sink[string] }

func (appending) AppendOnly() bool { return true }

func TestToFunc_Contract(t *testing.T) {
	t.Parallel()
	connectortest.TestSink(t, connectortest.SinkConfig[dataflow.Sink[string], string]{
		Make: func(*testing.T) (dataflow.Sink[string], func() []string) {
			var rows []string
			sink := funcSink[string]{f: func(_ context.Context, row string) error { rows = append(rows, row); return nil }}
			return appending{sink}, func() []string { return rows }
		},
		Waiting: func(*testing.T) dataflow.Sink[string] {
			return funcSink[string]{f: func(ctx context.Context, _ string) error { <-ctx.Done(); return ctx.Err() }}
		},
		Rows: numbered,
	})
}

func TestToChan_Contract(t *testing.T) {
	t.Parallel()
	connectortest.TestSink(t, connectortest.SinkConfig[dataflow.Sink[string], string]{
		Make: func(t *testing.T) (dataflow.Sink[string], func() []string) {
			t.Helper()
			ch := make(chan string)
			var rows []string
			asked := make(chan chan []string)
			go func() {
				for {
					select {
					case row := <-ch:
						rows = append(rows, row)
					case answer := <-asked: // after everything that was sent
						answer <- slices.Clone(rows)
					case <-t.Context().Done():
						return
					}
				}
			}()
			return appending{chanSink[string]{ch: ch}}, func() []string {
				answer := make(chan []string)
				asked <- answer
				return <-answer
			}
		},
		Waiting: func(*testing.T) dataflow.Sink[string] { return chanSink[string]{ch: make(chan string)} },
		Rows:    numbered,
	})
}

func TestToFunc_BadRow(t *testing.T) {
	t.Parallel()
	shared := &dataflow.RecordError{Err: errors.New("no bird")}
	var got []string
	sink := funcSink[string]{f: func(_ context.Context, row string) error {
		if row == "cat" {
			return shared
		}
		got = append(got, row)
		return nil
	}}
	err := sink.Write(t.Context(), dataflow.SinkBatch[string]{ID: "1", Rows: []string{"swan", "cat", "gull"}, Keys: []string{"a", "b", "c"}})
	var bad *dataflow.RecordError
	require.ErrorAs(t, err, &bad)
	require.Equal(t, "b", bad.Key)
	require.Empty(t, shared.Key, "an error of the caller is changed")
	require.Equal(t, []string{"swan"}, got)
}

func TestTargets_Nil(t *testing.T) {
	t.Parallel()
	for field, sink := range map[string]dataflow.Sink[string]{"Func": funcSink[string]{}, "Chan": chanSink[string]{}} {
		err := sink.Write(t.Context(), dataflow.SinkBatch[string]{ID: "1", Rows: []string{"a"}})
		var wrong *dataflow.ConfigError
		require.ErrorAs(t, err, &wrong)
		require.Equal(t, field, wrong.Field)
		require.True(t, dataflow.IsPermanent(err))
	}
}

func TestTargets_Describe(t *testing.T) {
	t.Parallel()
	require.Equal(t, "memory.to_func", ToFunc(func(context.Context, int) error { return nil }).Describe().Type)
	require.Equal(t, "memory.to_chan", ToChan(make(chan int)).Describe().Type)
}
