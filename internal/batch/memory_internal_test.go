package batch

import (
	"reflect"
	"strings"
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
	Release(numbers)
	Release(plains)
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
	Release(s)
	require.Zero(t, s[0])
}

func TestWeigh(t *testing.T) {
	t.Parallel()
	type list struct {
		Name string
		Next *list
	}
	loop := &list{Name: "loop"}
	loop.Next = loop
	long := strings.Repeat("x", 1000)
	for name, tc := range map[string]struct {
		v           any
		least, most int
	}{
		"plain":     {struct{ A, B int }{}, 0, 0},
		"string":    {long, 1000, 1000},
		"bytes":     {make([]byte, 5000), 5000, 5000},
		"pointer":   {&long, 1000, 1100},
		"nil":       {(*string)(nil), 0, 0},
		"strings":   {[]string{long, long}, 2000, 2100},
		"array":     {[2]string{long, long}, 2000, 2000},
		"map":       {map[string]any{"k": long}, 1001, 1100},
		"struct":    {struct{ A any }{[]string{long}}, 1000, 1100},
		"unexp":     {struct{ a string }{long}, 1000, 1000},
		"itself":    {loop, 4, 1000},
		"interface": {[]any{nil, 1, long}, 1000, 1200},
	} {
		got := weigh(reflect.ValueOf(tc.v), weightDepth)
		require.GreaterOrEqual(t, got, tc.least, name)
		require.LessOrEqual(t, got, tc.most, name)
	}
}
