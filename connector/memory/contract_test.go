package memory_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

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

type streamed = dataflow.Source[string, dataflow.NoCursor]

func TestSeq_Contract(t *testing.T) {
	t.Parallel()
	of := func(rows []string, bad int) streamed {
		return memory.Seq(func(yield func(string, error) bool) {
			for i := 0; i <= len(rows); i++ {
				if i == bad && !yield("", &dataflow.RecordError{Err: errors.New("no bird")}) {
					return
				}
				if i < len(rows) && !yield(rows[i], nil) {
					return
				}
			}
		})
	}
	connectortest.TestSource(t, connectortest.SourceConfig[string, dataflow.NoCursor]{
		Make:    func(_ *testing.T, rows []string) streamed { return of(rows, -1) },
		MakeBad: func(_ *testing.T, rows []string, at int) streamed { return of(rows, at) },
		Rows:    birds,
	})
}

func TestNext_Contract(t *testing.T) {
	t.Parallel()
	of := func(rows []string, bad int) streamed {
		at, failed := 0, false
		return memory.Next(func(context.Context) (string, error) {
			switch {
			case at == bad && !failed:
				failed = true
				return "", &dataflow.RecordError{Err: errors.New("no bird")}
			case at == len(rows):
				return "", io.EOF
			}
			at++
			return rows[at-1], nil
		})
	}
	connectortest.TestSource(t, connectortest.SourceConfig[string, dataflow.NoCursor]{
		Make:    func(_ *testing.T, rows []string) streamed { return of(rows, -1) },
		MakeBad: func(_ *testing.T, rows []string, at int) streamed { return of(rows, at) },
		Waiting: func(*testing.T) streamed {
			return memory.Next(func(ctx context.Context) (string, error) {
				<-ctx.Done()
				return "", io.EOF // as a function does that closes its connection at the end
			})
		},
		Rows:     birds,
		ReadOnce: true,
	})
}

func TestChan_Contract(t *testing.T) {
	t.Parallel()
	connectortest.TestSource(t, connectortest.SourceConfig[string, dataflow.NoCursor]{
		Make: func(_ *testing.T, rows []string) streamed {
			ch := make(chan string, len(rows))
			for _, row := range rows {
				ch <- row
			}
			close(ch)
			return memory.Chan(ch)
		},
		Waiting:  func(*testing.T) streamed { return memory.Chan(make(chan string)) },
		Rows:     birds,
		ReadOnce: true,
	})
}

// The next run continues with the channel's records, under new keys.
func TestChan_GoesOn(t *testing.T) {
	t.Parallel()
	ch := make(chan string, 2)
	src := memory.Chan(ch)
	ch <- "a"
	for item, err := range src.Read(t.Context(), dataflow.Request[dataflow.NoCursor]{}) {
		require.NoError(t, err)
		require.Equal(t, "row 1", item.Key)
		break
	}
	ch <- "b"
	close(ch)
	items, errs := read(t.Context(), src, dataflow.Request[dataflow.NoCursor]{})
	require.Empty(t, errs)
	require.Equal(t, []dataflow.Item[string, dataflow.NoCursor]{{Value: "b", Key: "row 2"}}, items)
}

func TestStreams_Nil(t *testing.T) {
	t.Parallel()
	for field, sources := range map[string][]streamed{"Func": {memory.Seq[string](nil), memory.Next[string](nil)}, "Chan": {memory.Chan[string](nil)}} {
		for _, src := range sources {
			var wrong *dataflow.ConfigError
			require.ErrorAs(t, src.(dataflow.Validator).Validate(), &wrong)
			require.Equal(t, field, wrong.Field)
			_, errs := read(t.Context(), src, dataflow.Request[dataflow.NoCursor]{})
			require.Len(t, errs, 1)
			require.True(t, dataflow.IsPermanent(errs[0]))
		}
	}
}
