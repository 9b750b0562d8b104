package pgchange_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/connector/pgchange"
	"github.com/activedataflow/dataflow/internal/notes"
)

// A table is altered while it is read: what is known goes on, and the rest is said once.
func TestStream_Altered(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	pool := s.create("source", itemTable, `alter table item alter id type integer`, `create publication p for table item`)
	var log lines
	ctx := notes.With(t.Context(), log.logger())
	source := pgchange.Stream[item1](pool, pgchange.Options{Publication: "p", Slot: "s", OnlyChanges: true})
	f := followIn(ctx, t, source, nil)
	f.mark(one)
	exec(t, pool, `insert into item values (1, 'a', 'b')`,
		`alter table item add extra integer default 7`, `insert into item values (2, 'c', 'd', 8)`,
		`alter table item alter id type bigint`, fmt.Sprintf(`insert into item values (%d, 'e', 'f', 8)`, int64(1)<<40),
		`alter table item drop big`, `insert into item values (3, 'g', 8)`, `update item set name = 'h' where id = 3`)
	require.Equal(t, []string{"insert new 1 a .", "insert new 2 c .", fmt.Sprintf("insert new %d e .", int64(1)<<40), "insert new 3 g absent big .", "update new 3 h absent big ."}, texts(f.next(5)))
	for _, want := range []string{`has a new column \"extra\", for which the record has no field`, `column \"id\" has another type now`, "has no column big in the log any more"} {
		require.Equal(t, 1, log.count(want), want)
	}
}

// A column is dropped while the table is loaded: that passes, because the next read goes on without it.
func TestStream_AlteredInLoad(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	pool := s.create("source", itemTable, `insert into item select n, n from generate_series(1, 10) n`, `create publication p for table item`)
	source := pgchange.Stream[item1](pool, pgchange.Options{Publication: "p", Slot: "s", ChunkSize: 2})
	f := follow(t, source, nil)
	at := f.mark(func(p pgchange.Position) bool { return p.After != nil })
	exec(t, pool, `alter table item add extra text`)
	f.stop()
	idle(t, pool)
	f = follow(t, source, &at)
	f.next(1)
	exec(t, pool, `alter table item drop extra`)
	require.ErrorContains(t, f.fails(), "the table was altered while it was read: the read begins again")
	f.stop()
	idle(t, pool)
	require.Len(t, follow(t, source, &at).next(8), 8)
}

type odd struct {
	ID    int64
	Mood  string
	Moods []string
	Cents *int64
	Part  string
}

// Types that are made after the start are read: enums, domains and arrays of them. So are
// partitioned tables by their root, and rows of a partition that is added.
func TestStream_OddTables(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	pool := s.create("source", `create table odd (id bigint not null, mood text not null, moods text[] not null, cents bigint, part text not null, primary key (part, id)) partition by list (part)`,
		`create table odd_a partition of odd for values in ('a')`, `insert into odd values (1, 'x', '{}', null, 'a')`,
		`create publication p for table odd with (publish_via_partition_root = true)`)
	source := pgchange.Stream[odd](pool, pgchange.Options{Publication: "p", Slot: "s", Tables: []string{"odd"}})
	var log lines
	f := followIn(notes.With(t.Context(), log.logger()), t, source, nil)
	require.Equal(t, odd{ID: 1, Mood: "x", Moods: []string{}, Part: "a"}, f.next(1)[0].Value.New)
	f.mark(func(p pgchange.Position) bool { return len(p.Loaded) == 1 })
	exec(t, pool, `create type mood as enum ('sad', 'glad')`, `create domain cents as bigint check (value > 0)`, `create domain moods as mood[]`,
		`alter table odd alter mood type mood using 'sad', alter cents type cents`, `create table odd_b partition of odd for values in ('b')`,
		`alter type mood add value 'new'`, `insert into odd values (2, 'new', '{p,q}', 5, 'b')`, `update odd set part = 'a' where id = 2`, `truncate odd`)
	items := f.next(4)
	five := int64(5)
	require.Equal(t, odd{ID: 2, Mood: "new", Moods: []string{"p", "q"}, Cents: &five, Part: "b"}, items[0].Value.New)
	require.Equal(t, "public.odd", items[0].Value.Table)
	var ops []string
	for _, it := range items {
		ops = append(ops, string(it.Value.Op))
	}
	require.Equal(t, []string{"insert", "delete", "insert", "truncate"}, ops, "an update that moves a row to another partition is a delete and an insert")
	at := items[3].Cursor
	f.stop()
	idle(t, pool)
	exec(t, pool, `create table odd_c (like odd)`, `insert into odd_c values (3, 'sad', '{}', 1, 'c')`, `alter table odd attach partition odd_c for values in ('c')`,
		`create table odd_d partition of odd for values in ('d')`, `alter table odd detach partition odd_a`, `insert into odd values (4, 'sad', '{}', 1, 'd')`)
	f = follow(t, source, &at) // as in a preview, which has no log
	require.Equal(t, int64(4), f.next(1)[0].Value.New.ID)
	f.stop()
	idle(t, pool)
	f = followIn(notes.With(t.Context(), log.logger()), t, source, &at)
	require.Equal(t, int64(4), f.next(1)[0].Value.New.ID)
	require.Equal(t, 1, log.count("partition odd_c was attached to table public.odd: rows that it had by then are not in the log"))
	require.Equal(t, 1, log.count("partition odd_a was detached from table public.odd, or dropped: Postgres sends no deletes of its rows"))
	require.Zero(t, log.count("partition odd_b was attached")+log.count("partition odd_d "), "one that is made as a partition has no rows")
}

// Postgres does not send that one partition is truncated. The log of the run says so, and not of a
// truncate of the whole table, which is sent.
func TestStream_PartitionTruncated(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	pool := s.create("source", `create table parted (id bigint primary key, name text not null) partition by range (id)`, `create table low partition of parted for values from (0) to (10)`,
		`create table high partition of parted for values from (10) to (20)`, `insert into parted values (1, 'a'), (11, 'b')`, `create publication p for table parted with (publish_via_partition_root = true)`)
	source := pgchange.Stream[named](pool, pgchange.Options{Publication: "p", Slot: "s"})
	var log lines
	f := followIn(notes.With(t.Context(), log.logger()), t, source, nil)
	f.next(2)
	at := f.mark(func(p pgchange.Position) bool { return len(p.Loaded) == 1 })
	read := func(statement string) string {
		t.Helper()
		f.stop()
		idle(t, pool)
		exec(t, pool, statement, `insert into parted values (12, 'c')`)
		f = followIn(notes.With(t.Context(), log.logger()), t, source, &at)
		it := f.next(1)[0]
		at = it.Cursor
		return string(it.Value.Op)
	}
	require.Equal(t, "insert", read(`truncate low`))
	require.Equal(t, 1, log.count("partition low of table public.parted has another file now"))
	require.Equal(t, "truncate", read(`truncate parted`))
	require.Equal(t, 1, log.count("partition "))
}
