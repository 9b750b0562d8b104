package pgtable_test

import (
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
)

// Rows without a key are skipped, or come first in a read from the beginning; the notes count them.
func TestKeyset_Nulls(t *testing.T) {
	t.Parallel()
	type row struct {
		ID   int64
		Name *string
	}
	pool := setup(t, `create table t (id bigint primary key, name text, a int, b int)`,
		`insert into t values (1, 'one', 1, 1), (2, 'two', 1, 2), (3, 'no a', null, 3), (4, 'no b', 2, null), (5, 'neither', null, null), (6, 'six', 3, 1)`)
	source := func(nulls pgtable.Nulls) dataflow.Source[row, pgtable.Cursor] {
		return pgtable.Keyset[row](pool, pgtable.Query{SQL: `select id, name, a, b from t where id <> $1`, Args: []any{2}, Key: []string{"a", "b"}, PageSize: 2, Nulls: nulls})
	}
	ids := func(items []item[row]) (ids []int64) {
		for _, it := range items {
			ids = append(ids, it.Value.ID)
		}
		return ids
	}
	_, err := read(t, source(pgtable.NullsRefuse), nil, -1)
	require.ErrorContains(t, err, "set Query.Nulls to skip such rows or to read them first")

	all, err := read(t, source(pgtable.NullsSkip), nil, -1)
	require.NoError(t, err)
	require.Equal(t, []int64{1, 6}, ids(all))
	rest, err := read(t, source(pgtable.NullsSkip), all[0].Cursor, -1)
	require.NoError(t, err)
	require.Equal(t, []int64{6}, ids(rest))

	var first []item[row]
	for it, err := range source(pgtable.NullsFirst).Read(t.Context(), dataflow.Request[pgtable.Cursor]{}) {
		require.NoError(t, err)
		first = append(first, it)
	}
	require.Len(t, first, 5)
	require.ElementsMatch(t, []int64{3, 4, 5}, ids(first[:3]))
	for i, it := range first[:3] {
		require.False(t, it.Resume)
		require.Equal(t, fmt.Sprintf("NULL#%d", i+1), it.Key)
	}
	require.Equal(t, all, first[3:])
	rest, err = read(t, source(pgtable.NullsFirst), all[0].Cursor, -1)
	require.NoError(t, err)
	require.Equal(t, []int64{6}, ids(rest), "they are read once")
	for nulls, want := range map[pgtable.Nulls][]int64{pgtable.NullsSkip: {2, 1}, pgtable.NullsFirst: {5, 1}} {
		for i, resumed := range []bool{false, true} {
			n, err := source(nulls).(dataflow.Counter[pgtable.Cursor]).Count(t.Context(), dataflow.Request[pgtable.Cursor]{Resumed: resumed, From: all[0].Cursor})
			require.NoError(t, err)
			require.Equal(t, want[i], n)
		}
		notes, err := source(nulls).(dataflow.Noter[pgtable.Cursor]).Notes(t.Context(), dataflow.Request[pgtable.Cursor]{})
		require.NoError(t, err)
		require.Contains(t, fmt.Sprint(notes), "3 rows have NULL in their key (a, b)")
	}
}

// The rows without a key are committed with the first row that has one, and are not read again.
func TestKeyset_NullsFirstFlow(t *testing.T) {
	t.Parallel()
	pool := setup(t, customerTables, `insert into customers select n, 'name ' || n, null from generate_series(1, 300) n`)
	source := pgtable.Keyset[struct {
		ID   int64
		Name string
	}](pool, pgtable.Query{SQL: "select id, name, updated_at from customers", Key: []string{"updated_at", "id"}, Nulls: pgtable.NullsFirst})
	type copied = struct {
		ID   int64
		Name string
	}
	flow := dataflow.NewFlow("customers", source, dataflow.Identity[copied](), pgtable.Insert[copied]("customer_copy"), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 7}})
	client := clientOf(t, pool, flow)
	read := func() int64 {
		run, err := client.Trigger(t.Context(), "customers", nil)
		require.NoError(t, err)
		return run.Counters.Read
	}
	require.Zero(t, read(), "there is no place yet at which they could be committed")
	_, err := pool.Exec(t.Context(), `insert into customers select n, 'name ' || n, '2024-01-01Z'::timestamptz + n * interval '1 hour' from generate_series(301, 320) n`)
	require.NoError(t, err)
	require.EqualValues(t, 320, read())
	_, err = pool.Exec(t.Context(), `insert into customers values (321, 'later', null), (322, 'new', '2025-01-01Z')`)
	require.NoError(t, err)
	require.EqualValues(t, 1, read())
	require.Equal(t, []string{"321"}, texts(t, pool, `select count(*)::text from customer_copy`))
}

func TestKeyset_NullsTooMany(t *testing.T) {
	t.Parallel()
	pool := setup(t, `create table t (id bigint)`, `insert into t select null from generate_series(1, 10001)`, `insert into t values (1)`)
	source := pgtable.Keyset[struct{ ID *int64 }](pool, pgtable.Query{SQL: `select id from t`, Key: []string{"id"}, Nulls: pgtable.NullsFirst})
	for _, err := range source.Read(t.Context(), dataflow.Request[pgtable.Cursor]{}) {
		if err != nil {
			require.ErrorContains(t, err, "more than 10000 rows have NULL in their key (id), which are too many to read first")
			require.True(t, dataflow.IsPermanent(err))
			return
		}
	}
	require.Fail(t, "they were read")
}

// A value of a composite type that has NULL in a part is no NULL: such a row has its place in the
// order, and is read whatever becomes of the rows without a key.
func TestKeyset_NullsInComposite(t *testing.T) {
	t.Parallel()
	type row struct{ ID int64 }
	pool := setup(t, `create type pair as (a int, b int)`, `create table t (id bigint primary key, k pair)`,
		`insert into t values (1, '(1,2)'), (2, '(1,)'), (3, '(,)'), (4, null)`)
	for nulls, want := range map[pgtable.Nulls][]row{pgtable.NullsSkip: {{1}, {2}, {3}}, pgtable.NullsFirst: {{4}, {1}, {2}, {3}}} {
		source := pgtable.Keyset[row](pool, pgtable.Query{SQL: `select id, k from t`, Key: []string{"k", "id"}, PageSize: 1, Nulls: nulls})
		var got []row
		for it, err := range source.Read(t.Context(), dataflow.Request[pgtable.Cursor]{}) {
			require.NoError(t, err)
			got = append(got, it.Value)
		}
		require.Equal(t, want, got)
		n, err := source.(dataflow.Counter[pgtable.Cursor]).Count(t.Context(), dataflow.Request[pgtable.Cursor]{})
		require.NoError(t, err)
		require.EqualValues(t, len(want), n)
		notes, err := source.(dataflow.Noter[pgtable.Cursor]).Notes(t.Context(), dataflow.Request[pgtable.Cursor]{})
		require.NoError(t, err)
		require.Contains(t, fmt.Sprint(notes), "1 rows have NULL in their key (k, id)")
	}
}

// The rows without a key have no order. If the server has no time for all of them, they are not read
// in pages: a row that is changed between two would be lost.
func TestKeyset_NullsFirstInOnePage(t *testing.T) {
	t.Parallel()
	pool := setup(t, `create table t (id bigint primary key, k int, n int default 0)`, `insert into t values (0, 1)`, `insert into t select n, null from generate_series(1, 3000) n`,
		`create sequence reads`, `create function slow_once(id bigint) returns bigint language plpgsql as $$ begin if id = 1 and nextval('reads') = 1 then perform pg_sleep(60); end if; return id; end $$`)
	config := pool.Config()
	config.ConnConfig.RuntimeParams["statement_timeout"] = "2s"
	limited, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(limited.Close)
	type row struct{ ID int64 }
	source := pgtable.Keyset[row](limited, pgtable.Query{SQL: `select slow_once(id) as id, k from t`, Key: []string{"k"}, Nulls: pgtable.NullsFirst})
	read := func() (map[int64]bool, error) {
		ids := map[int64]bool{}
		for it, err := range source.Read(t.Context(), dataflow.Request[pgtable.Cursor]{}) {
			if err != nil {
				return ids, err
			}
			if ids[it.Value.ID] = true; len(ids) == 1 {
				_, err := pool.Exec(t.Context(), `update t set n = 1 where id between 1 and 10`) // they are at the end of the table now
				require.NoError(t, err)
			}
		}
		return ids, nil
	}
	_, err = read()
	require.ErrorContains(t, err, "statement timeout")
	ids, err := read()
	require.NoError(t, err)
	require.Len(t, ids, 3001)
}
