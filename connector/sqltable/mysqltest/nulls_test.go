//go:build unix

package mysqltest

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
	db := setup(t, "create table t (id bigint primary key, a varchar(9), b datetime)",
		"insert into t values (1, 'a', '2024-01-01'), (2, 'a', '2024-01-02'), (3, null, '2024-01-01'), (4, 'b', null), (5, null, null), (6, 'c', '2024-01-01')")
	source := func(nulls sqltable.Nulls) dataflow.Source[row, sqltable.Cursor] {
		return sqltable.Keyset[row](db, sqltable.Query{SQL: "select id, a, b from t where id <> ?", Args: []any{2}, Key: []string{"a", "b"}, PageSize: 2, Nulls: nulls})
	}
	_, err := read(t, source(sqltable.NullsRefuse), nil)
	require.ErrorContains(t, err, "set Query.Nulls")
	all := readAll(t, source(sqltable.NullsSkip))
	require.Equal(t, []row{{1}, {6}}, values(all))
	first := readAll(t, source(sqltable.NullsFirst))
	require.Len(t, first, 5)
	require.ElementsMatch(t, []row{{3}, {4}, {5}}, values(first[:3]))
	require.False(t, first[0].Resume)
	require.Equal(t, all, first[3:])
	rest, err := read(t, source(sqltable.NullsFirst), all[0].Cursor)
	require.NoError(t, err)
	require.Equal(t, all[1:], rest)
	n, err := source(sqltable.NullsFirst).(dataflow.Counter[sqltable.Cursor]).Count(t.Context(), dataflow.Request[sqltable.Cursor]{})
	require.NoError(t, err)
	require.EqualValues(t, 5, n)
	notes, err := source(sqltable.NullsSkip).(dataflow.Noter[sqltable.Cursor]).Notes(t.Context(), dataflow.Request[sqltable.Cursor]{})
	require.NoError(t, err)
	require.Contains(t, fmt.Sprint(notes), "3 rows have NULL in their key (a, b)")
}
