package pgtable_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
)

type request = dataflow.Request[pgtable.Cursor]

// parts splits a request, and returns the rows that each part reads.
func parts[T any](t *testing.T, source dataflow.Source[T, pgtable.Cursor], r request, n int) [][]T {
	t.Helper()
	cursors, err := source.(dataflow.Splitter[pgtable.Cursor]).Split(t.Context(), r, n)
	require.NoError(t, err)
	require.Less(t, len(cursors), n)
	var all [][]T
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
		all = append(all, rows)
	}
	return all
}

// requireParts requires that the parts together are the whole, in order. Their
// sizes must be about equal, and there must be as many as possible.
func requireParts[T any](t *testing.T, source dataflow.Source[T, pgtable.Cursor], r request, n int) {
	t.Helper()
	whole, err := collect(source.Read(t.Context(), r))
	require.NoError(t, err)
	all := parts(t, source, r, n)
	require.Len(t, all, max(min(n, len(whole)), 1))
	var joined []T
	for _, part := range all {
		require.InDelta(t, float64(len(whole))/float64(len(all)), len(part), 1)
		joined = append(joined, part...)
	}
	require.Equal(t, whole, joined)
}

// Whatever the key and the bounds are, the parts together are the whole.
func TestKeyset_Split(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	for _, kt := range createKeyTypes(t, pool) {
		t.Run(kt.name, func(t *testing.T) {
			t.Parallel()
			source := pgtable.Keyset[numbered](pool, pgtable.Query{SQL: `select k, n from ` + tableOf(kt.name), Key: []string{"k"}, PageSize: 2, LateCommits: pgtable.Unguarded{}})
			for _, n := range []int{2, 3, len(kt.values), len(kt.values) + 1, 100} {
				if n > 1 {
					requireParts(t, source, request{}, n)
				}
			}
		})
	}
}

// As TestKeyset_Split, for random keys that are mostly equal in their first
// columns, and for bounds that need not be keys of rows.
func TestKeyset_Split_Random(t *testing.T) {
	t.Parallel()
	pool := setup(t, `create table t (a text not null, number numeric not null, at timestamptz not null, id bigint not null, primary key (a, number, at, id))`)
	rng := rand.New(rand.NewPCG(7, 7))
	fill := func(rows int) {
		_, err := pool.Exec(t.Context(), `delete from t`)
		require.NoError(t, err)
		for id := range rows {
			_, err := pool.Exec(t.Context(), `insert into t values ($1, $2, $3, $4)`, string(rune('a'+rng.IntN(3))), rng.IntN(3), time.Unix(int64(rng.IntN(4)), 0), id)
			require.NoError(t, err)
		}
	}
	cursor := func() pgtable.Cursor {
		return pgtable.Cursor{string(rune('a' + rng.IntN(4))), fmt.Sprint(rng.IntN(4)), time.Unix(int64(rng.IntN(5)), 0).UTC().Format(time.RFC3339), fmt.Sprint(rng.IntN(60))}
	}
	type row struct{ ID int64 }
	source := pgtable.Keyset[row](pool, pgtable.Query{
		SQL: `select a, number, at, id from t where id <> $1;`, Args: []any{3}, Key: []string{"a", "number", "at", "id"}, PageSize: 5,
	})
	for range 30 {
		fill(rng.IntN(60))
		for range 4 {
			var r request
			if r.Resumed = rng.IntN(2) == 0; r.Resumed {
				r.From = cursor()
			}
			if r.Bounded = rng.IntN(2) == 0; r.Bounded {
				r.Until = cursor()
			}
			requireParts(t, source, r, 2+rng.IntN(9))
		}
	}
}

// Rows that the guard holds back do not count.
func TestKeyset_Split_Guarded(t *testing.T) {
	t.Parallel()
	pool := setup(t, `create table t (at timestamptz primary key)`,
		`insert into t select now() - n * interval '1 hour' from generate_series(1, 10) n`,
		`insert into t select now() + n * interval '1 hour' from generate_series(1, 90) n`)
	requireParts(t, pgtable.Keyset[struct{ At time.Time }](pool, pgtable.Query{SQL: `select at from t`, Key: []string{"at"}}), request{}, 5)
}

func TestKeyset_Split_Errors(t *testing.T) {
	t.Parallel()
	pool := setup(t, `create table t (id int, other int)`, `insert into t values (1, 1), (2, null), (2, 2), (2, 3), (3, null)`)
	type row struct{ ID int }
	for _, c := range []struct {
		query pgtable.Query
		r     request
		want  string
	}{
		{pgtable.Query{SQL: `select id from nowhere`, Key: []string{"id"}}, request{}, `query "select id from nowhere": ERROR: relation "nowhere" does not exist`},
		{pgtable.Query{SQL: `select id from t`, Key: []string{"other"}}, request{}, `key column "other" is not among the query's columns ([id]): select it`},
		{pgtable.Query{SQL: `select id, other from t`, Key: []string{"other"}}, request{}, `key column "other" is NULL in the row (NULL)`},
		{pgtable.Query{SQL: `select id from t`, Key: []string{"id"}}, request{}, `the key (id) is not unique: several rows have 2`},
		{pgtable.Query{SQL: `select id from t`, Key: []string{"id"}}, request{Resumed: true, From: pgtable.Cursor{"1", "2"}}, `the stored cursor (1, 2) has 2 values, but the key has 1 column (id)`},
	} {
		_, err := pgtable.Keyset[row](pool, c.query).(dataflow.Splitter[pgtable.Cursor]).Split(t.Context(), c.r, 5)
		require.ErrorContains(t, err, c.want)
	}
}
