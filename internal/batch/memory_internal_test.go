package batch

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestHasPointers(t *testing.T) {
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
	for _, v := range []any{1, plain{}, [0]string{}} {
		require.False(t, HasPointers(reflect.TypeOf(v)), "%T", v)
	}
	for _, v := range []any{"a", new(int), []int{}, map[int]int{}, time.Time{}, inner{}, struct{ A any }{}} {
		require.True(t, HasPointers(reflect.TypeOf(v)), "%T", v)
	}
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
