package pgtable_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
)

// A read ends after the row with the given cursor, or at its place if the row is
// gone, whatever the page size and the guard.
func TestKeyset_Until(t *testing.T) {
	t.Parallel()
	pool := setup(t,
		`create table event (id bigint primary key, at timestamptz not null)`,
		`insert into event select n, '2024-01-01 00:00Z'::timestamptz + (n / 4) * interval '1 hour' from generate_series(1, 23) n`)
	type event struct {
		At time.Time
		ID int64
	}
	for _, size := range []int{0, 1, 3, 7} {
		source := pgtable.Keyset[event](pool, pgtable.Query{SQL: `select id, at from event where id > $1`, Args: []any{0}, Key: []string{"at", "id"}, PageSize: size})
		all := readAll(t, source)
		require.Len(t, all, 23)
		within := func(r dataflow.Request[pgtable.Cursor]) (ids []int64) {
			ids = []int64{}
			require.NoError(t, source.(dataflow.RequestChecker[pgtable.Cursor]).CheckRequest(r))
			rows, err := collect(source.Read(t.Context(), r))
			require.NoError(t, err)
			for _, row := range rows {
				ids = append(ids, row.ID)
			}
			n, err := source.(dataflow.Counter[pgtable.Cursor]).Count(t.Context(), r)
			require.NoError(t, err)
			require.Len(t, ids, int(n), "as counted")
			return ids
		}
		bounded := dataflow.Request[pgtable.Cursor]{Bounded: true, Until: all[6].Cursor}
		require.Equal(t, []int64{1, 2, 3, 4, 5, 6, 7}, within(bounded))
		bounded.Resumed, bounded.From = true, all[3].Cursor
		require.Equal(t, []int64{5, 6, 7}, within(bounded))
		bounded.From = all[6].Cursor
		require.Empty(t, within(bounded))
		bounded.From = all[9].Cursor
		require.Empty(t, within(bounded))
		bounded.From, bounded.Until = pgtable.Cursor{"2024-01-01T01:00:00Z", "0"}, pgtable.Cursor{"2024-01-01T03:00:00Z", "0"}
		require.Equal(t, []int64{4, 5, 6, 7, 8, 9, 10, 11}, within(bounded), "from one hour to another")
		require.Len(t, readAll(t, source), 23, "the source is as it was")
	}
}

func TestKeyset_CheckRequest(t *testing.T) {
	t.Parallel()
	source := pgtable.Keyset[struct{ N int }](nil, pgtable.Query{SQL: `select 1`, Key: []string{"a", "b"}})
	err := source.(dataflow.RequestChecker[pgtable.Cursor]).CheckRequest(dataflow.Request[pgtable.Cursor]{
		Resumed: true, From: pgtable.Cursor{"1"}, Bounded: true, Params: []byte("1"),
	})
	for _, text := range []string{
		"From: 1 has 1 value, but the key has 2 columns (a, b)", "Until: () has 0 values", "Params: a Keyset takes none",
	} {
		require.ErrorContains(t, err, text)
	}
}
