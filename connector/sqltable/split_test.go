package sqltable_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/sqltable"
)

type request = dataflow.Request[sqltable.Cursor]

// requireParts splits a request and requires that the parts together are the whole,
// in order. Their sizes must be about equal, and there must be as many as possible.
func requireParts[T any](t *testing.T, source dataflow.Source[T, sqltable.Cursor], r request, n int) {
	t.Helper()
	whole, err := collect(source.Read(t.Context(), r))
	require.NoError(t, err)
	cursors, err := source.(dataflow.Splitter[sqltable.Cursor]).Split(t.Context(), r, n)
	require.NoError(t, err)
	require.Len(t, cursors, max(min(n, len(whole)), 1)-1)
	var joined []T
	for i := range len(cursors) + 1 {
		part := r
		if i > 0 {
			part.Resumed, part.From = true, cursors[i-1]
		}
		if i < len(cursors) {
			part.Bounded, part.Until = true, cursors[i]
		}
		rows, err := collect(source.Read(t.Context(), part))
		require.NoError(t, err)
		require.InDelta(t, float64(len(whole))/float64(len(cursors)+1), len(rows), 1)
		joined = append(joined, rows...)
	}
	require.Equal(t, whole, joined)
}

// The parts together are the whole for keys of each SQLite type, even mixed in one
// column. Most keys are equal in their first columns, and the bounds need not be
// keys of rows.
func TestKeyset_Split(t *testing.T) {
	t.Parallel()
	db := setup(t, `create table t (a, number numeric not null, id integer not null, primary key (a, number, id))`)
	rng := rand.New(rand.NewPCG(7, 7))
	firsts := []string{"1", "0.5", "'a'", "'it''s'", "x'00ff'", "'2024-01-01'", "9007199254740993"}
	first := func() string { return firsts[rng.IntN(len(firsts))] }
	type row struct{ ID int64 }
	source := sqltable.Keyset[row](db, sqltable.Query{SQL: `select a, number, id from t where id <> ?;`, Args: []any{3}, Key: []string{"a", "number", "id"}, PageSize: 5})
	for range 20 {
		_, err := db.ExecContext(t.Context(), `delete from t`)
		require.NoError(t, err)
		_, err = db.ExecContext(t.Context(), `insert into t values (1, 0, 100), ('a', 0, 101), (x'00ff', 0, 102)`) // each kind that a bound may have
		require.NoError(t, err)
		for id := range rng.IntN(60) {
			_, err := db.ExecContext(t.Context(), fmt.Sprintf(`insert into t values (%s, %d, %d)`, first(), rng.IntN(3), id))
			require.NoError(t, err)
		}
		for range 4 {
			var r request
			if r.Resumed = rng.IntN(2) == 0; r.Resumed {
				r.From = sqltable.Cursor{first(), fmt.Sprint(rng.IntN(4)), fmt.Sprint(rng.IntN(60))}
			}
			if r.Bounded = rng.IntN(2) == 0; r.Bounded {
				r.Until = sqltable.Cursor{first(), fmt.Sprint(rng.IntN(4)), fmt.Sprint(rng.IntN(60))}
			}
			requireParts(t, source, r, 2+rng.IntN(9))
		}
	}
}

func TestKeyset_Split_Errors(t *testing.T) {
	t.Parallel()
	db := setup(t, `create table t (id int, other int)`, `insert into t values (1, 1), (2, null), (2, 2), (2, 3)`)
	for _, c := range []struct {
		query sqltable.Query
		r     request
		want  string
	}{
		{sqltable.Query{SQL: `select id from nowhere`, Key: []string{"id"}}, request{}, `query "select id from nowhere": SQL logic error: no such table: nowhere`},
		{sqltable.Query{SQL: `select id from t`, Key: []string{"other"}}, request{}, `key column "other" is not among the query's columns ([id]): select it`},
		{sqltable.Query{SQL: `select id, other from t`, Key: []string{"other"}}, request{}, `key column "other" is NULL in the row (NULL)`},
		{sqltable.Query{SQL: `select id from t`, Key: []string{"id"}}, request{}, `the key (id) is not unique: several rows have 2`},
		{sqltable.Query{SQL: `select id from t`, Key: []string{"id"}}, request{Bounded: true, Until: sqltable.Cursor{"x"}}, `"x" is not a number`},
		{sqltable.Query{SQL: `select id from t`, Key: []string{"id"}}, request{Resumed: true, From: sqltable.Cursor{"1", "2"}}, `the stored cursor (1, 2) has 2 values, but the key has 1 column (id)`},
	} {
		_, err := sqltable.Keyset[struct{ ID int }](db, c.query).(dataflow.Splitter[sqltable.Cursor]).Split(t.Context(), c.r, 5)
		require.ErrorContains(t, err, c.want)
	}
}
