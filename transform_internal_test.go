package dataflow

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

// A second stage gives the same results whether or not something was emitted before.
func TestResults_Through(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	origin := []int{0, 0, 2, 5} // the first input has two outputs
	var failed Results[string]
	require.Equal(t, boom, through(&failed, origin, false, func(*Results[string]) error { return boom }))
	apply := func(out *Results[string]) {
		out.Emit(0, "a")
		out.Emit(1, "b")
		out.Fail(2, boom)
		out.Emit(3, "c")
		out.Emit(3, "d")
	}
	for name, before := range map[string]int{"Empty": 0, "Filled": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out Results[string]
			for range before {
				out.Emit(7, "before")
			}
			require.NoError(t, through(&out, origin, false, func(out *Results[string]) error { apply(out); return nil }))
			require.Equal(t, []string{"a", "b", "c", "d"}, out.rows[before:])
			require.Equal(t, []int{0, 0, 5, 5}, out.origin[before:])
			require.Equal(t, map[int]error{2: boom}, out.failed)
			n, err := out.inputs(8)
			require.NoError(t, err)
			require.EqualValues(t, 2+before, n)
		})
	}
}

// Counting outputs as they come gives the same as counting them afterwards.
func TestResults_Inputs(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		origin []int
		want   int64
		bad    bool
	}{
		"none":       {nil, 0, false},
		"ordered":    {[]int{0, 0, 1, 4}, 3, false},
		"unordered":  {[]int{4, 1, 1, 0}, 3, false},
		"apart":      {[]int{1, 0, 1}, 0, true},
		"negative":   {[]int{-1}, 0, true},
		"too great":  {[]int{0, 5}, 0, true},
		"from first": {[]int{4, 4}, 1, false},
	} {
		var r Results[int]
		for _, i := range tc.origin {
			r.Emit(i, i)
		}
		got, err := r.inputs(5)
		require.Equal(t, tc.bad, err != nil, name)
		require.Equal(t, tc.want, got, name)
		r.unordered = true
		again, err := r.inputs(5)
		require.Equal(t, tc.bad, err != nil, name)
		require.Equal(t, got, again, name)
	}
}
