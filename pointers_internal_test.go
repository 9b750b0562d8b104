package dataflow

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRelease(t *testing.T) {
	t.Parallel()
	type plain struct {
		A [2]int
		B struct{ C float64 }
		D bool
	}
	type inner struct {
		A int
		B [1]struct{ S string }
	}
	numbers, plains := []int{1}, []plain{{D: true}}
	release(numbers)
	release(plains)
	require.Equal(t, []int{1}, numbers)
	require.Equal(t, []plain{{D: true}}, plains)
	requireReleased(t, []string{"a"})
	requireReleased(t, []*int{new(int)})
	requireReleased(t, []any{1})
	requireReleased(t, [][]int{{1}})
	requireReleased(t, []map[int]int{{1: 1}})
	requireReleased(t, []time.Time{time.Unix(1, 0).UTC()}) // its zone
	requireReleased(t, []inner{{A: 1}})
}

func requireReleased[T any](t *testing.T, s []T) {
	t.Helper()
	release(s)
	require.Zero(t, s[0])
}
