package pgchange_test

import (
	"context"
	"os"
	"runtime"
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgchange"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/dataflowpgx"
)

func version(t *testing.T, pool *pgxpool.Pool) int {
	t.Helper()
	n, err := strconv.Atoi(rows(t, pool, `show server_version_num`)[0])
	require.NoError(t, err)
	return n
}

type named struct {
	ID   int64
	Name string
}

func lines2(items []item[named]) []string {
	all := make([]string, len(items))
	for i, it := range items {
		c := it.Value
		all[i] = string(c.Op) + " " + strconv.FormatInt(c.New.ID, 10) + " " + c.New.Name
		if c.Old != nil {
			all[i] += " old " + strconv.FormatInt(c.Old.ID, 10)
		}
	}
	return all
}

// What a publication leaves out is left out by the load too: rows by a filter, columns by a list,
// and tables by their schema. Postgres 15 has these.
func TestStream_Publications(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	pool := s.create("source", itemTable, `insert into item values (1, 'a', 'x'), (2, 'b', 'x')`)
	if version(t, pool) < 150000 {
		t.Skip("publications have no filters before Postgres 15")
	}
	t.Run("a filter of rows", func(t *testing.T) {
		t.Parallel()
		exec(t, pool, `create publication even for table item (id, name) where (id % 2 = 0)`)
		f := follow(t, pgchange.Stream[named](pool, pgchange.Options{Publication: "even", Slot: "even"}), nil)
		require.Equal(t, []string{"insert 2 b"}, lines2(f.next(1)))
		f.mark(func(p pgchange.Position) bool { return len(p.Loaded) == 1 })
		exec(t, pool, `update item set id = 4 where id = 1`, `update item set name = 'c' where id = 2`, `update item set id = 5 where id = 2`, `insert into item values (7, 'odd')`, `delete from item where id = 4`)
		require.Equal(t, []string{"insert 4 a", "update 2 c", "delete 0  old 2", "delete 0  old 4"}, lines2(f.next(4)))
	})
	t.Run("a filter that is changed", func(t *testing.T) {
		t.Parallel()
		exec(t, pool, `create table filtered (id bigint primary key, name text not null)`, `insert into filtered values (1, 'a'), (2, 'b')`, `create publication filtered for table filtered where (id = 1)`)
		options := pgchange.Options{Publication: "filtered", Slot: "filtered"}
		f := follow(t, pgchange.Stream[named](pool, options), nil)
		f.next(1)
		at := f.mark(func(p pgchange.Position) bool { return len(p.Loaded) == 1 })
		f.stop()
		exec(t, pool, `alter publication filtered set table filtered where (id = 2)`)
		require.Equal(t, []string{"truncate 0 ", "insert 2 b"}, lines2(follow(t, pgchange.Stream[named](pool, options), &at).next(2)))
	})
	t.Run("all tables of a schema", func(t *testing.T) {
		t.Parallel()
		exec(t, pool, `create schema shop`, `create table shop.one (id bigint primary key, name text not null)`, `insert into shop.one values (1, 'one')`, `create publication shop for tables in schema shop`)
		options := pgchange.Options{Publication: "shop", Slot: "shop"}
		f := follow(t, pgchange.Stream[named](pool, options), nil)
		require.Equal(t, []string{"insert 1 one"}, lines2(f.next(1)))
		at := f.mark(func(p pgchange.Position) bool { return len(p.Loaded) == 1 })
		exec(t, pool, `create table shop.two (id bigint primary key, name text not null)`, `insert into shop.two values (2, 'two')`)
		err := f.fails()
		require.ErrorContains(t, err, `table shop.two was made, or added to publication "shop", after the read began`)
		require.False(t, dataflow.IsPermanent(err))
		again := follow(t, pgchange.Stream[named](pool, options), &at)
		require.Equal(t, "shop.two", again.next(1)[0].Value.Table)
	})
	t.Run("a generated column", func(t *testing.T) {
		t.Parallel()
		if version(t, pool) < 180000 {
			t.Skip("generated columns are not sent before Postgres 18")
		}
		exec(t, pool, `create table made (id bigint primary key, name text generated always as ('n' || id) stored)`, `insert into made values (1)`, `create publication made for table made with (publish_generated_columns = stored)`)
		f := follow(t, pgchange.Stream[named](pool, pgchange.Options{Publication: "made", Slot: "made"}), nil)
		require.Equal(t, []string{"insert 1 n1"}, lines2(f.next(1)))
		f.mark(func(p pgchange.Position) bool { return len(p.Loaded) == 1 })
		exec(t, pool, `insert into made values (2)`, `update made set id = 3 where id = 2`)
		require.Equal(t, []string{"insert 2 n2", "update 3 n3 old 2"}, lines2(f.next(2)))
	})
	t.Run("a slot that a standby keeps too", func(t *testing.T) {
		t.Parallel()
		if version(t, pool) < 170000 {
			t.Skip("slots have no failover before Postgres 17")
		}
		exec(t, pool, `create publication failover for table item (id, name)`)
		follow(t, pgchange.Stream[named](pool, pgchange.Options{Publication: "failover", Slot: "failover", Failover: true, OnlyChanges: true}), nil).mark(one)
		require.Equal(t, []string{"true"}, rows(t, pool, `select failover from pg_replication_slots where slot_name = 'failover'`))
	})
}

// Before version 18, Postgres cannot send what was changed while the publication was not there. From 18 on,
// it leaves that out, and the tables are loaded again.
func TestStream_PublicationAnew(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	pool := s.create("source", `create table item (id bigint primary key, name text not null)`, `insert into item values (1, 'a')`, `create publication p for table item`)
	options := pgchange.Options{Publication: "p", Slot: "s"}
	f := follow(t, pgchange.Stream[named](pool, options), nil)
	at := f.mark(func(p pgchange.Position) bool { return len(p.Loaded) == 1 })
	f.stop()
	idle(t, pool)
	exec(t, pool, `drop publication p`, `delete from item`, `insert into item values (2, 'b')`, `create publication p for table item`)
	f = follow(t, pgchange.Stream[named](pool, options), &at)
	if version(t, pool) >= 180000 {
		require.Equal(t, []string{"truncate 0 ", "insert 2 b"}, lines2(f.next(2)))
		return
	}
	err := f.fails()
	require.ErrorContains(t, err, `slot "s": the log after the cursor has changes from when there was no publication "p": it was dropped and made anew`)
	require.ErrorContains(t, err, "Begin anew: drop the slot")
	require.True(t, dataflow.IsPermanent(err))
}

// A table without a primary key is loaded, and followed, by the index of its replica identity.
func TestStream_IdentityIndex(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	pool := s.create("source", `create table item (id bigint not null, name text not null)`, `create unique index item_name on item (name)`, `alter table item replica identity using index item_name`,
		`insert into item values (1, 'b'), (1, 'a')`, `create publication p for table item`)
	f := follow(t, pgchange.Stream[named](pool, pgchange.Options{Publication: "p", Slot: "s", ChunkSize: 1}), nil)
	require.Equal(t, []string{"insert 1 a", "insert 1 b"}, lines2(f.next(2)))
	f.mark(func(p pgchange.Position) bool { return len(p.Loaded) == 1 })
	exec(t, pool, `update item set id = 2 where name = 'a'`, `delete from item where name = 'b'`)
	items := f.next(2)
	require.Equal(t, []string{"name"}, items[1].Value.Identity)
	require.Equal(t, "b", items[1].Value.Old.Name)
}

// A transaction of 500,000 rows, 200 MB of the log, needs little memory. Nothing else may run in
// this process, so that this is a test of the long form alone.
func TestStream_Memory(t *testing.T) { //nolint:paralleltest // as its comment says
	if os.Getenv(longEnv) == "" {
		t.Skip("only with " + longEnv)
	}
	ctx := t.Context()
	s := startServer(t)
	from := s.create("source", itemTable, `create publication p for table item`)
	to := s.create("target", itemTable)
	flow := dataflow.NewFlow("copy", pgchange.Stream[item1](from, pgchange.Options{Publication: "p", Slot: "s", OnlyChanges: true}), dataflow.Identity[change[item1]](), pgtable.Apply[item1]("item", "id"),
		&dataflow.FlowOptions{Runtime: dataflow.JobQueue{}})
	client, err := dataflow.NewClient(dataflowpgx.New(to), &dataflow.Config{Flows: []*dataflow.Flow{flow}, Logger: quiet})
	require.NoError(t, err)
	require.NoError(t, client.Migrate(ctx))
	require.NoError(t, client.Start(ctx))
	defer func() { require.NoError(t, client.Stop(context.WithoutCancel(ctx))) }()
	_, err = client.Trigger(ctx, "copy", nil)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return len(rows(t, from, `select 1 from pg_replication_slots where active`)) == 1 }, patience, poll)
	exec(t, from, `insert into item select n, 'name', repeat('x', 350) from generate_series(1, 500000) n`)
	var most runtime.MemStats
	require.Eventually(t, func() bool {
		var now runtime.MemStats
		runtime.ReadMemStats(&now)
		if now.HeapInuse > most.HeapInuse {
			most = now
		}
		return rows(t, to, `select count(*) from item`)[0] == "500000"
	}, 3*patience, poll)
	t.Logf("at most %d MiB of heap", most.HeapInuse>>20)
	require.Less(t, most.HeapInuse>>20, uint64(160))
	requireEqual(t, from, to, `select count(*), min(id), max(id), sum(length(big)) from item`)
}
