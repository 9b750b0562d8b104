package sqltable_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/sqltable"
)

// A read ends after the row with the given cursor, or at its place if the row is
// gone, whatever the page size.
func TestKeyset_Until(t *testing.T) {
	t.Parallel()
	db := setup(t,
		`create table event (id integer primary key, day text not null)`,
		`with recursive s (n) as (select 1 union all select n + 1 from s where n < 23) insert into event select n, '2024-01-' || (10 + n / 4) from s`)
	type event struct {
		Day string
		ID  int64
	}
	for _, size := range []int{0, 1, 3, 7} {
		source := sqltable.Keyset[event](db, sqltable.Query{SQL: `select id, day from event where id > ?`, Args: []any{0}, Key: []string{"day", "id"}, PageSize: size})
		all := readAll(t, source)
		require.Len(t, all, 23)
		within := func(r dataflow.Request[sqltable.Cursor]) (ids []int64) {
			ids = []int64{}
			require.NoError(t, source.(dataflow.RequestChecker[sqltable.Cursor]).CheckRequest(r))
			rows, err := collect(source.Read(t.Context(), r))
			require.NoError(t, err)
			for _, row := range rows {
				ids = append(ids, row.ID)
			}
			n, err := source.(dataflow.Counter[sqltable.Cursor]).Count(t.Context(), r)
			require.NoError(t, err)
			require.Len(t, ids, int(n), "as counted")
			return ids
		}
		bounded := dataflow.Request[sqltable.Cursor]{Bounded: true, Until: all[6].Cursor}
		require.Equal(t, []int64{1, 2, 3, 4, 5, 6, 7}, within(bounded))
		bounded.Resumed, bounded.From = true, all[3].Cursor
		require.Equal(t, []int64{5, 6, 7}, within(bounded))
		bounded.From = all[9].Cursor
		require.Empty(t, within(bounded))
		bounded.From, bounded.Until = sqltable.Cursor{"'2024-01-11'", "0"}, sqltable.Cursor{"'2024-01-13'", "0"}
		require.Equal(t, []int64{4, 5, 6, 7, 8, 9, 10, 11}, within(bounded), "from one day to another")
		require.Len(t, readAll(t, source), 23, "the source is as it was")
	}
}

func TestKeyset_CheckRequest(t *testing.T) {
	t.Parallel()
	source := sqltable.Keyset[struct{ N int }](nil, sqltable.Query{SQL: `select 1`, Key: []string{"a", "b"}})
	err := source.(dataflow.RequestChecker[sqltable.Cursor]).CheckRequest(dataflow.Request[sqltable.Cursor]{
		Resumed: true, From: sqltable.Cursor{"1"}, Bounded: true, Until: sqltable.Cursor{"1", "monday"}, Params: []byte("1"),
	})
	for _, text := range []string{
		"From: 1 has 1 value, but the key has 2 columns (a, b)", `Until: value 2 of the stored cursor: "monday" is not a number, text in single quotes`, "Params: a Keyset takes none",
	} {
		require.ErrorContains(t, err, text)
	}
}
