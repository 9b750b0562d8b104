package memory_test

import (
	"context"
	"errors"
	"iter"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
)

// read reads a source to its end.
func read[T, C any](ctx context.Context, src dataflow.Source[T, C], r dataflow.Request[C]) (items []dataflow.Item[T, C], errs []error) {
	for item, err := range src.Read(ctx, r) {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		items = append(items, item)
	}
	return items, errs
}

func TestSlice_Resume(t *testing.T) {
	t.Parallel()
	src := memory.Slice([]string{"a", "b", "c"})
	all, errs := read(t.Context(), src, dataflow.Request[memory.Cursor]{})
	require.Empty(t, errs)
	require.Len(t, all, 3)
	counter, ok := src.(dataflow.Counter[memory.Cursor])
	require.True(t, ok)

	for i, item := range all {
		require.Equal(t, memory.Cursor(i+1), item.Cursor)
		require.True(t, item.Resume)
		require.Empty(t, item.Key)
		resume := dataflow.Request[memory.Cursor]{From: item.Cursor, Resumed: true}
		rest, errs := read(t.Context(), src, resume)
		require.Empty(t, errs)
		require.Equal(t, append([]dataflow.Item[string, memory.Cursor](nil), all[i+1:]...), rest)
		n, err := counter.Count(t.Context(), resume)
		require.NoError(t, err)
		require.EqualValues(t, len(rest), n)
	}
	require.Equal(t, "row 1", all[0].Cursor.String())
}

func TestSlice_Bounds(t *testing.T) {
	t.Parallel()
	for name, src := range map[string]dataflow.Source[int, memory.Cursor]{"Nil": memory.Slice[int](nil), "Empty": memory.Slice([]int{})} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			items, errs := read(t.Context(), src, dataflow.Request[memory.Cursor]{})
			require.Empty(t, items)
			require.Empty(t, errs)
		})
	}
	for name, from := range map[string]memory.Cursor{"Shrunk": 3, "Negative": -1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			items, errs := read(t.Context(), memory.Slice([]int{1, 2}), dataflow.Request[memory.Cursor]{From: from, Resumed: true})
			require.Empty(t, items)
			require.Len(t, errs, 1)
			require.ErrorContains(t, errs[0], "the slice has 2 rows, but the cursor is at row ")
		})
	}
}

func TestSlice_StopsWithContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := 0
	for _, err := range memory.Slice(make([]int, 10_000)).Read(ctx, dataflow.Request[memory.Cursor]{}) {
		if err != nil {
			require.ErrorIs(t, err, context.Canceled)
			require.Less(t, n, 1000)
			return
		}
		n++
		cancel()
	}
	require.Fail(t, "the read went on to the end")
}

func TestFunc(t *testing.T) {
	t.Parallel()
	broken := errors.New("connection lost")
	shared := &dataflow.RecordError{Err: errors.New("not a number")}
	src := memory.Func(func(context.Context) iter.Seq2[int, error] {
		return func(yield func(int, error) bool) {
			_ = yield(10, nil) && yield(0, shared) && yield(30, nil) && yield(0, broken) && yield(50, nil)
		}
	})
	for range 2 { // every read begins again
		items, errs := read(t.Context(), src, dataflow.Request[dataflow.NoCursor]{})
		require.Equal(t, []dataflow.Item[int, dataflow.NoCursor]{{Value: 10, Key: "row 1"}, {Value: 30, Key: "row 3"}}, items)
		require.Len(t, errs, 2)
		var bad *dataflow.RecordError
		require.ErrorAs(t, errs[0], &bad)
		require.Equal(t, "row 2", bad.Key)
		require.Same(t, broken, errs[1])
	}
	require.Empty(t, shared.Key, "an error of the caller is changed")

	for item, err := range src.Read(t.Context(), dataflow.Request[dataflow.NoCursor]{}) {
		require.NoError(t, err)
		require.Equal(t, 10, item.Value)
		break
	}
}

func TestFunc_Nil(t *testing.T) {
	t.Parallel()
	src := memory.Func[int](nil)
	validator, ok := src.(dataflow.Validator)
	require.True(t, ok)
	var wrong *dataflow.ConfigError
	require.ErrorAs(t, validator.Validate(), &wrong)
	_, errs := read(t.Context(), src, dataflow.Request[dataflow.NoCursor]{})
	require.Len(t, errs, 1)
	require.ErrorAs(t, errs[0], &wrong)
	require.Equal(t, "Func", wrong.Field)
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	for want, part := range map[string]any{
		"memory.slice": memory.Slice([]int{1}),
		"memory.func":  memory.Func(func(context.Context) iter.Seq2[int, error] { return nil }),
		"memory.sink":  memory.NewSink[int](),
	} {
		d, ok := part.(dataflow.Describer)
		require.True(t, ok)
		require.Equal(t, dataflow.Description{Type: want}, d.Describe())
	}
}
