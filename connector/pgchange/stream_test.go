package pgchange_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/connector/pgchange"
)

type item1 struct {
	ID   int64
	Name string
	Big  *string
}

// text shows a change.
func text(c change[item1]) string {
	s := string(c.Op)
	if c.Old != nil {
		s += fmt.Sprintf(" old %d %s", c.Old.ID, c.Old.Name)
	}
	s += fmt.Sprintf(" new %d %s", c.New.ID, c.New.Name)
	if len(c.Absent) > 0 {
		s += " absent " + strings.Join(c.Absent, ",")
	}
	return s
}

func texts(items []item[item1]) []string {
	all := make([]string, len(items))
	for i, it := range items {
		all[i] = text(it.Value)
		if it.Resume {
			all[i] += " ."
		}
	}
	return all
}

const itemTable = `create table item (id bigint primary key, name text not null, big text)`

// Changes come in the order of the commits, and each transaction ends with a resume point.
// From each of these the rest comes again, and nothing else.
func TestStream_Changes(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	pool := s.create("source", itemTable, `alter table item alter big set storage external`, `create publication p for table item`)
	options := pgchange.Options{Publication: "p", Slot: "s", Tables: []string{"item"}, OnlyChanges: true}
	f := follow(t, pgchange.Stream[item1](pool, options), nil)
	f.mark(func(pgchange.Position) bool { return true })
	exec(t, pool, `insert into item values (1, 'a', repeat('x', 9000)), (2, 'b', null)`,
		`begin; update item set name = 'c' where id = 1; update item set id = 3 where id = 2; commit`,
		`delete from item where id = 3`, `truncate item`, `begin; insert into item values (4, 'd'); rollback`, `insert into item values (5, 'e')`)
	items := f.next(7)
	want := []string{
		"insert new 1 a", "insert new 2 b .",
		"update new 1 c absent big", "update old 2  new 3 b .",
		"delete old 3  new 0  .", "truncate new 0  .", "insert new 5 e .",
	}
	require.Equal(t, want, texts(items))
	require.Len(t, *items[0].Value.New.Big, 9000)
	require.Nil(t, items[1].Value.New.Big)
	require.Equal(t, "public.item", items[0].Value.Table)
	require.Equal(t, []string{"id"}, items[0].Value.Identity)
	require.NotZero(t, items[0].Value.LSN)
	require.False(t, items[0].Value.CommittedAt.IsZero())
	f.stop()

	for i := range items {
		if !items[i].Resume {
			continue
		}
		again := follow(t, pgchange.Stream[item1](pool, options), &items[i].Cursor)
		require.Equal(t, want[i+1:], texts(again.next(len(items)-i-1)))
		again.stop()
	}
}

// A large transaction has resume points inside it, from which exactly the rest comes.
func TestStream_LargeTransaction(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	pool := s.create("source", itemTable, `create table other (id bigint primary key)`, `create publication p for table item, other`)
	options := pgchange.Options{Publication: "p", Slot: "s", Tables: []string{"item"}, OnlyChanges: true}
	f := follow(t, pgchange.Stream[item1](pool, options), nil)
	f.mark(func(pgchange.Position) bool { return true })
	exec(t, pool, `begin; insert into other select generate_series(1, 10); insert into item select n, n from generate_series(1, 25000) n; insert into other select generate_series(11, 20); commit`, `insert into item values (0, 'end')`)
	items := f.next(25001)
	f.stop()
	var inside []pgchange.Position
	for i := range 25000 {
		require.EqualValues(t, i+1, items[i].Value.New.ID)
		if items[i].Resume && items[i].Cursor.Commit != 0 {
			inside = append(inside, items[i].Cursor)
			require.EqualValues(t, i+1+10, items[i].Cursor.Changes, "changes of other tables count too")
		}
	}
	require.Len(t, inside, 2)
	require.Zero(t, items[24999].Cursor.Commit)
	for _, from := range inside {
		again := follow(t, pgchange.Stream[item1](pool, options), &from)
		rest := again.next(25001 - int(from.Changes) + 10)
		require.Equal(t, from.Changes-10+1, rest[0].Value.New.ID)
		require.Equal(t, "end", rest[len(rest)-1].Value.New.Name)
		again.stop()
	}
	bad := inside[0]
	bad.Change++
	require.ErrorContains(t, follow(t, pgchange.Stream[item1](pool, options), &bad).fails(), "the publication was changed meanwhile")
}

// A key so large that Postgres stores it apart from its row (TOAST) comes with each update.
func TestStream_LargeKey(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	pool := s.create("source", `create table item (id bigint, name text, big text, primary key (id, name))`, `alter table item alter name set storage external`, `create publication p for table item`)
	f := follow(t, pgchange.Stream[item1](pool, pgchange.Options{Publication: "p", Slot: "s", OnlyChanges: true}), nil)
	f.mark(one)
	exec(t, pool, `insert into item values (1, repeat('k', 2500))`, `update item set big = 'x'`)
	update := f.next(2)[1].Value
	require.Equal(t, strings.Repeat("k", 2500), update.New.Name)
	require.Empty(t, update.Absent)
}

// A table that is added while another is loaded is loaded as a whole.
func TestStream_TableAddedInLoad(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	pool := s.create("source", itemTable, `insert into item select n, n from generate_series(1, 6) n`, `create publication p for table item`)
	options := pgchange.Options{Publication: "p", Slot: "s", ChunkSize: 2}
	f := follow(t, pgchange.Stream[item1](pool, options), nil)
	at := f.mark(func(p pgchange.Position) bool { return p.After != nil })
	f.stop()
	exec(t, pool, `create table added (like item including all)`, `insert into added values (1, 'first')`, `alter publication p add table added`)
	loaded := texts(follow(t, pgchange.Stream[item1](pool, options), &at).next(5))
	require.Equal(t, []string{"insert new 3 3", "insert new 4 4", "insert new 5 5", "insert new 6 6", "insert new 1 first"}, loaded)
}
