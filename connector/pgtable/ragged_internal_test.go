package pgtable

import (
	"context"
	"reflect"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// Slices of different lengths are no array. pgx notices that for the first value only, and then
// writes {{1},{2}} for {{1},{2,3}}.
func TestSink_RaggedSlices(t *testing.T) {
	t.Parallel()
	type row struct {
		ID int64
		V  [][]int32
	}
	pool := dbtest.Postgres(t)
	_, err := pool.Exec(t.Context(), `create table t (id int primary key, v int[]); create table j (id int primary key, v jsonb)`)
	require.NoError(t, err)
	write := func(table string, rows []row) error {
		return pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
			return newTableSink(reflect.TypeFor[row](), table, false, nil).write(context.WithoutCancel(t.Context()), tx, reflect.ValueOf(rows), nil, false)
		})
	}
	for n, bad := range [][][]int32{{{1}, {2, 3}}, {{1, 2}, {3}}, {{1}, nil}} {
		err := write("t", []row{{int64(n), [][]int32{{1, 2}, {3, 4}}}, {100, bad}})
		var at *dataflow.RowError
		require.ErrorAs(t, err, &at)
		require.Equal(t, 1, at.Row)
		require.ErrorContains(t, err, `column "v" (field V): slices of `)
		require.ErrorContains(t, err, `elements in one value are no array: use slices of one length, or a column of JSON`)
	}
	require.NoError(t, write("t", []row{{1, [][]int32{{1, 2}, {3, 4}}}, {2, nil}, {3, [][]int32{}}, {4, [][]int32{{1}}}}))
	require.NoError(t, write("j", []row{{1, [][]int32{{1}, {2, 3}}}}))
	var text string
	require.NoError(t, pool.QueryRow(t.Context(), `select v::text from j`).Scan(&text))
	require.Equal(t, "[[1], [2, 3]]", text)
}
