package memory_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/connectortest"
	"github.com/activedataflow/dataflow/connector/memory"
)

func birds(n int) []string {
	rows := make([]string, n)
	for i := range rows {
		rows[i] = fmt.Sprintf("bird %d", i)
	}
	return rows
}

func hugeBird() string { return strings.Repeat("ostrich ", 1<<18) }

func TestSlice_Contract(t *testing.T) {
	t.Parallel()
	connectortest.TestSource(t, connectortest.SourceConfig[string, memory.Cursor]{
		Make: func(_ *testing.T, rows []string) dataflow.Source[string, memory.Cursor] { return memory.Slice(rows) },
		Rows: birds,
		Huge: hugeBird,
	})
}

func TestFunc_Contract(t *testing.T) {
	t.Parallel()
	of := func(rows []string, bad int) dataflow.Source[string, dataflow.NoCursor] {
		return memory.Func(func(ctx context.Context) iter.Seq2[string, error] {
			return func(yield func(string, error) bool) {
				for i := 0; i <= len(rows); i++ {
					if err := ctx.Err(); err != nil {
						yield("", err)
						return
					}
					if i == bad && !yield("", &dataflow.RecordError{Err: errors.New("no bird")}) {
						return
					}
					if i < len(rows) && !yield(rows[i], nil) {
						return
					}
				}
			}
		})
	}
	connectortest.TestSource(t, connectortest.SourceConfig[string, dataflow.NoCursor]{
		Make: func(_ *testing.T, rows []string) dataflow.Source[string, dataflow.NoCursor] { return of(rows, -1) },
		MakeBad: func(_ *testing.T, rows []string, at int) dataflow.Source[string, dataflow.NoCursor] {
			return of(rows, at)
		},
		Rows: birds,
		Huge: hugeBird,
	})
}

func TestSink_Contract(t *testing.T) {
	t.Parallel()
	connectortest.TestSink(t, connectortest.SinkConfig[dataflow.Sink[string], string]{
		Make: func(*testing.T) (dataflow.Sink[string], func() []string) {
			sink := memory.NewSink[string]()
			return sink, sink.Rows
		},
		Rows: birds,
		Huge: hugeBird,
	})
}
