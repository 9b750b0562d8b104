package batch_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/batch"
)

type weighed struct {
	ID     int64
	At     time.Time
	Text   string
	Maybe  *string
	Data   json.RawMessage
	Any    any
	Nested struct{ Text string }
	Deep   map[string]string
}

// What stands in the record itself is weighed in each record, what lies deeper in one of 16.
func TestWeigher(t *testing.T) {
	t.Parallel()
	heavy := strings.Repeat("x", 1000)
	size := int(reflect.TypeFor[weighed]().Size())
	w := batch.NewWeigher(reflect.TypeFor[weighed]())
	for name, tc := range map[string]struct {
		row  weighed
		each int // beyond the record's size
		deep int // the same for the first of 16
	}{
		"plain":   {weighed{ID: 1, At: time.Now()}, 0, 0},
		"string":  {weighed{Text: heavy}, 1000, 1000},
		"pointer": {weighed{Maybe: &heavy}, 1016, 1016},
		"bytes":   {weighed{Data: []byte(heavy)}, 1000, 1000},
		"any":     {weighed{Any: heavy}, 1000, 1000},
		"nested":  {weighed{Nested: struct{ Text string }{heavy}}, 1000, 1000},
		"deep":    {weighed{Deep: map[string]string{"k": heavy}}, 0, 16 * 1033},
		"json":    {weighed{Any: []any{map[string]any{"k": heavy}, nil}}, 1065, 1065},
		"any map": {weighed{Any: map[string]string{"k": heavy}}, 0, 16 * 1041},
	} {
		require.Equal(t, size+tc.each, w.Weigh(&tc.row, 2), name)
		require.Equal(t, size+tc.each, w.Weigh(&tc.row, 16), name)
		require.Equal(t, size+tc.deep, w.Weigh(&tc.row, 1), name)
		require.Equal(t, size+tc.deep, w.Weigh(&tc.row, 17), name)
	}
}

func TestWeigher_Types(t *testing.T) {
	t.Parallel()
	heavy := strings.Repeat("x", 1000)
	require.Equal(t, 1016, batch.NewWeigher(reflect.TypeFor[string]()).Weigh(&heavy, 2))
	number := 1
	require.Equal(t, 8, batch.NewWeigher(reflect.TypeFor[int]()).Weigh(&number, 1))
	row := &weighed{Text: heavy}
	require.Equal(t, 8+int(reflect.TypeFor[weighed]().Size())+1000, batch.NewWeigher(reflect.TypeFor[*weighed]()).Weigh(&row, 2))
	row = nil
	require.Equal(t, 8+int(reflect.TypeFor[weighed]().Size()), batch.NewWeigher(reflect.TypeFor[*weighed]()).Weigh(&row, 2))
	table := map[string]any{"k": heavy}
	require.Equal(t, 8+33+1000, batch.NewWeigher(reflect.TypeFor[map[string]any]()).Weigh(&table, 2))
	list := map[string][]string{"k": {heavy}}
	require.Equal(t, 8, batch.NewWeigher(reflect.TypeFor[map[string][]string]()).Weigh(&list, 2))
	require.Greater(t, batch.NewWeigher(reflect.TypeFor[map[string][]string]()).Weigh(&list, 1), 16_000)
}

func TestWeigher_Allocations(t *testing.T) { //nolint:paralleltest // it counts allocations
	row := weighed{Text: "x", Any: "y"}
	w := batch.NewWeigher(reflect.TypeFor[weighed]())
	require.Zero(t, testing.AllocsPerRun(100, func() { w.Weigh(&row, 2) }))
}

func BenchmarkWeigher(b *testing.B) {
	type row struct {
		ID     int64
		Name   string
		Amount float64
		At     time.Time
	}
	w, r := batch.NewWeigher(reflect.TypeFor[row]()), row{Name: "name"}
	b.ReportAllocs()
	for i := range b.N {
		w.Weigh(&r, i)
	}
}
