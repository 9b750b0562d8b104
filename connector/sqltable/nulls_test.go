package sqltable_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/sqltable"
)

// Rows without a key are skipped, or come first in a read from the beginning; the notes count them.
func TestKeyset_Nulls(t *testing.T) {
	t.Parallel()
	type row struct{ ID int64 }
	db := setup(t, `create table t (id integer primary key, a int, b int)`,
		`insert into t values (1, 1, 1), (2, 1, 2), (3, null, 3), (4, 2, null), (5, null, null), (6, 3, 1)`)
	source := func(nulls sqltable.Nulls) dataflow.Source[row, sqltable.Cursor] {
		return sqltable.Keyset[row](db, sqltable.Query{SQL: `select id, a, b from t where id <> ?`, Args: []any{2}, Key: []string{"a", "b"}, PageSize: 2, Nulls: nulls})
	}
	_, err := read(t, source(sqltable.NullsRefuse), nil, -1)
	require.ErrorContains(t, err, "set Query.Nulls")
	all, err := read(t, source(sqltable.NullsSkip), nil, -1)
	require.NoError(t, err)
	require.Len(t, all, 2)
	var first []item[row]
	for it, err := range source(sqltable.NullsFirst).Read(t.Context(), dataflow.Request[sqltable.Cursor]{}) {
		require.NoError(t, err)
		first = append(first, it)
	}
	require.Len(t, first, 5)
	require.ElementsMatch(t, []row{{3}, {4}, {5}}, []row{first[0].Value, first[1].Value, first[2].Value})
	require.False(t, first[0].Resume)
	require.Equal(t, all, first[3:])
	rest, err := read(t, source(sqltable.NullsFirst), all[0].Cursor, -1)
	require.NoError(t, err)
	require.Equal(t, all[1:], rest)
	for nulls, want := range map[sqltable.Nulls][]int64{sqltable.NullsSkip: {2, 1}, sqltable.NullsFirst: {5, 1}} {
		for i, resumed := range []bool{false, true} {
			n, err := source(nulls).(dataflow.Counter[sqltable.Cursor]).Count(t.Context(), dataflow.Request[sqltable.Cursor]{Resumed: resumed, From: all[0].Cursor})
			require.NoError(t, err)
			require.Equal(t, want[i], n)
		}
		notes, err := source(nulls).(dataflow.Noter[sqltable.Cursor]).Notes(t.Context(), dataflow.Request[sqltable.Cursor]{})
		require.NoError(t, err)
		require.Contains(t, fmt.Sprint(notes), "3 rows have NULL in their key (a, b)")
	}
}

// SQLite takes a column "Number" for the number by which rows are counted, unless that has another name.
func TestKeyset_ColumnNamedNumber(t *testing.T) {
	t.Parallel()
	type row struct {
		ID int64
		N  *int64 `db:"Number"`
	}
	db := setup(t, `create table t (id integer primary key, "Number" int, k int)`,
		`insert into t values (1, 30, 1), (2, 10, 2), (3, 20, 3), (4, 7, null), (5, 7, null), (6, null, null)`)
	var ids []int64
	source := sqltable.Keyset[row](db, sqltable.Query{SQL: `select id, "Number", k from t`, Key: []string{"k"}, Nulls: sqltable.NullsFirst})
	for it, err := range source.Read(t.Context(), dataflow.Request[sqltable.Cursor]{}) {
		require.NoError(t, err)
		ids = append(ids, it.Value.ID)
	}
	require.Equal(t, []int64{4, 5, 6, 1, 2, 3}, ids)
	source = sqltable.Keyset[row](db, sqltable.Query{SQL: `select id, "Number" from t where k > 0`, Key: []string{"Number"}})
	cuts, err := source.(dataflow.Splitter[sqltable.Cursor]).Split(t.Context(), dataflow.Request[sqltable.Cursor]{}, 3)
	require.NoError(t, err)
	require.Equal(t, []sqltable.Cursor{{"10"}, {"20"}}, cuts)
}
