package pgchange_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgchange"
)

const largeTable = itemTable + `; alter table item alter big set storage external; insert into item select n, n, repeat('x', 9000) from generate_series(1, 10) n`

// big are the lengths of the large values of changes, 0 for NULL.
func big(items []item[item1]) (all []int) {
	for _, it := range items {
		n := 0
		if it.Value.New.Big != nil {
			n = len(*it.Value.New.Big)
		}
		all = append(all, n)
	}
	return all
}

// An update gives a row that is not loaded yet a key that the load has passed. Postgres does not send
// its large value, and no later part of the load has the row.
func TestStream_LoadPassedKey(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	pool := s.create("source", largeTable, `create publication p for table item`)
	options := pgchange.Options{Publication: "p", Slot: "s", ChunkSize: 2}
	f := follow(t, pgchange.Stream[item1](pool, options), nil)
	at := f.mark(func(p pgchange.Position) bool { return p.After != nil })
	f.stop()
	idle(t, pool)
	exec(t, pool, `update item set id = -1 where id = 10`, `update item set id = -2 where id = 9`, `update item set id = -3 where id = -2`)
	items := follow(t, pgchange.Stream[item1](pool, options), &at).next(9)
	require.Equal(t, []string{"update old 10  new -1 10 .", "update old 9  new -2 9 .", "update old -2  new -3 9 .", "insert new 3 3"}, texts(items[:4]))
	require.Equal(t, []int{9000, 0, 9000}, big(items[:3]), "-2 is gone when it is read")
}

// An update after which a row passes the filter is sent as an insert, without the large value that it
// left alone.
func TestStream_FilterPassedByUpdate(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	pool := s.create("source", largeTable)
	if version(t, pool) < 150000 {
		return // publications have no filters before Postgres 15
	}
	exec(t, pool, `create publication p for table item where (id % 2 = 0)`)
	options := pgchange.Options{Publication: "p", Slot: "s", OnlyChanges: true}
	f := follow(t, pgchange.Stream[item1](pool, options), nil)
	at := f.mark(one)
	f.stop()
	idle(t, pool)
	exec(t, pool, `update item set id = 12 where id = 1`, `update item set id = 14 where id = 3`, `update item set id = 16 where id = 14`, `update item set id = 18, big = 'y' where id = 5`)
	items := follow(t, pgchange.Stream[item1](pool, options), &at).next(4)
	require.Equal(t, []string{"insert new 12 1 .", "insert new 14 3 .", "update old 14  new 16 3 .", "insert new 18 5 ."}, texts(items))
	require.Equal(t, []int{9000, 0, 9000, 1}, big(items), "14 is gone when it is read")
}

// A load, and a large value that is read from the table, wait for an alter table that writes the table
// anew. To their snapshot the table is empty then, and they read again.
func TestStream_WrittenAnew(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	pool := s.create("source", largeTable, `create publication p for table item`)
	source := pgchange.Stream[item1](pool, pgchange.Options{Publication: "p", Slot: "s", ChunkSize: 2})
	f := follow(t, source, nil)
	at := f.mark(func(p pgchange.Position) bool { return p.After != nil })
	f.stop()
	idle(t, pool)
	for _, moved := range []string{`select 1`, `update item set id = id - 20 where id > 5`} { // in one transaction, in which the publication is not looked up
		exec(t, pool, moved)
		f := follow(t, source, &at)
		got := f.next(1)
		tx, err := pool.Begin(t.Context())
		require.NoError(t, err)
		_, err = tx.Exec(t.Context(), `alter table item drop if exists made, add made double precision default random()`)
		require.NoError(t, err)
		require.Eventually(t, func() bool { // a query of the stream waits
			select {
			case it := <-f.items:
				if !it.Mark {
					got = append(got, it)
				}
			default:
			}
			return len(rows(t, pool, `select 1 from pg_stat_activity where wait_event_type = 'Lock' and query like 'select%from only %'`)) == 1
		}, patience, poll)
		require.NoError(t, tx.Commit(t.Context()))
		got = append(got, f.next(8-len(got))...)
		require.Equal(t, slices.Repeat([]int{9000}, 8), big(got))
		f.stop()
		idle(t, pool)
	}
}

// A stream without a load needs no right to read the table, unless a large value must be read.
func TestStream_FilterNeedsSelect(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	pool := s.create("source", largeTable, `create role follower login replication`)
	if version(t, pool) < 150000 {
		return // publications have no filters before Postgres 15
	}
	exec(t, pool, `create publication p for table item where (id % 2 = 0)`)
	config := pool.Config().Copy()
	config.ConnConfig.User = "follower"
	follower, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	defer follower.Close()
	source := pgchange.Stream[item1](follower, pgchange.Options{Publication: "p", Slot: "s", OnlyChanges: true})
	f := follow(t, source, nil)
	f.mark(one)
	exec(t, pool, `update item set name = 'n' where id = 2`)
	at := f.next(1)[0].Cursor
	exec(t, pool, `update item set id = 12 where id = 1`)
	err = f.fails()
	require.ErrorContains(t, err, "table public.item: Postgres does not send a large value that an update left alone, so that it is read from the table: grant select on it to the role")
	require.True(t, dataflow.IsPermanent(err))
	f.stop()
	exec(t, pool, `grant select on item to follower`)
	require.Equal(t, strings.Repeat("x", 9000), *follow(t, source, &at).next(1)[0].Value.New.Big)
}
