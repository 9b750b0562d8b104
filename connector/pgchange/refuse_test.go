package pgchange_test

import (
	osexec "os/exec" // these tests have their own function exec
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgchange"
)

type key1 struct{ ID int64 }

func one(pgchange.Position) bool { return true }

// What cannot be followed is refused by name, before a slot is made.
func TestStream_Refuses(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	pool := s.create("source", itemTable,
		`create table nokey (id bigint)`, `create table full_key (id bigint)`, `alter table full_key replica identity full`, `create table nothing (id bigint primary key)`, `alter table nothing replica identity nothing`,
		`create table made (id bigint primary key, name text generated always as ('x') stored, big text)`,
		`create table parted (id bigint primary key, name text not null, big text) partition by range (id)`, `create table parted1 partition of parted for values from (0) to (10)`,
		`create publication p for table item, nokey, full_key, nothing, made`, `create publication leaves for table parted`, `create publication empty`)
	for _, tt := range []struct {
		options pgchange.Options
		want    string
	}{
		{pgchange.Options{Publication: "q", Tables: []string{"item"}}, `there is no publication "q" in this database: create publication "q" for table`},
		{pgchange.Options{Publication: "empty"}, `publication "empty" has no tables: alter publication "empty" add table`},
		{pgchange.Options{Publication: "p", Tables: []string{"absent"}}, `there is no table absent`},
		{pgchange.Options{Publication: "leaves", Tables: []string{"item"}}, `table public.item is not part of publication "leaves": alter publication "leaves" add table public.item`},
		{pgchange.Options{Publication: "leaves", Tables: []string{"parted"}}, `alter publication "leaves" set (publish_via_partition_root = true)`},
		{pgchange.Options{Publication: "p", Tables: []string{"made"}}, `table public.made has no column ["name"] that publication "p" sends`},
	} {
		tt.options.Slot = "s"
		err := follow(t, pgchange.Stream[item1](pool, tt.options), nil).fails()
		require.ErrorContains(t, err, tt.want)
		require.True(t, dataflow.IsPermanent(err), tt.want)
	}
	for table, want := range map[string]string{
		"nokey": "table public.nokey has no replica identity", "nothing": "alter table public.nothing replica identity full", "full_key": "table public.full_key has no primary key, in whose order the first load reads: add one, or set Options.OnlyChanges",
	} {
		err := follow(t, pgchange.Stream[key1](pool, pgchange.Options{Publication: "p", Slot: "s", Tables: []string{table}}), nil).fails()
		require.ErrorContains(t, err, want)
		require.True(t, dataflow.IsPermanent(err), want)
	}
	require.Empty(t, rows(t, pool, `select 1 from pg_replication_slots`))
}

// A backfill would take the slot from the flow's own run.
func TestStream_Backfill(t *testing.T) {
	t.Parallel()
	pool, err := pgxpool.New(t.Context(), "host=/nowhere") // it is not asked
	require.NoError(t, err)
	defer pool.Close()
	n := 0
	for _, err := range pgchange.Stream[key1](pool, pgchange.Options{Publication: "p", Slot: "s"}).Read(t.Context(), dataflow.Request[pgchange.Position]{Backfill: true}) {
		require.ErrorContains(t, err, "a stream of changes cannot be backfilled")
		require.True(t, dataflow.IsPermanent(err))
		n++
	}
	require.Equal(t, 1, n)
}

func TestStream_Validate(t *testing.T) {
	t.Parallel()
	err := pgchange.Stream[int](nil, pgchange.Options{Slot: "A-b", Tables: []string{"a", "a"}, ChunkSize: -1}).(dataflow.Validator).Validate()
	for _, want := range []string{"pool", "Options.Publication", `"A-b" is not the name of a slot`, "Options.Tables", "Options.ChunkSize", "int is not a struct"} {
		require.ErrorContains(t, err, want)
	}
}

// A table with replica identity full can be followed, and large values are never absent.
func TestStream_IdentityFull(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	pool := s.create("source", `create table item (id bigint, name text not null, big text)`, `alter table item alter big set storage external, replica identity full`, `create publication p for table item`)
	f := follow(t, pgchange.Stream[item1](pool, pgchange.Options{Publication: "p", Slot: "s", OnlyChanges: true}), nil)
	f.mark(one)
	exec(t, pool, `insert into item values (1, 'a', repeat('x', 9000))`, `update item set name = 'b'`, `delete from item`)
	items := f.next(3)
	require.Equal(t, []string{"insert new 1 a .", "update old 1 a new 1 b .", "delete old 1 b new 0  ."}, texts(items))
	require.Len(t, *items[1].Value.New.Big, 9000)
	require.Len(t, *items[2].Value.Old.Big, 9000)
	require.Nil(t, items[0].Value.Identity)
}

// A slot that somebody else has moved, dropped, invalidated or made anew has lost changes. The
// error says what to do.
func TestStream_SlotLost(t *testing.T) {
	t.Parallel()
	s := startServer(t, "max_slot_wal_keep_size = '1MB'")
	pool := s.create("source", itemTable, `create publication p for table item`)
	options := pgchange.Options{Publication: "p", Slot: "s", Tables: []string{"item"}, OnlyChanges: true}
	source := pgchange.Stream[item1](pool, options)
	f := follow(t, source, nil)
	at := f.mark(one)
	f.stop()
	fails := func(from *pgchange.Position, want string) {
		t.Helper()
		err := follow(t, pgchange.Stream[item1](pool, options), from).fails()
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, "Begin anew: drop the slot if it exists (select pg_drop_replication_slot('s'))")
		require.True(t, dataflow.IsPermanent(err))
	}
	other := at
	other.System = "17"
	fails(&other, "the cursor is of another server (system 17, not ")
	other = at
	other.LSN += 1 << 40
	fails(&other, "is after the end of the server's log")
	other = at
	other.Timeline = 7
	fails(&other, "the cursor is of timeline 7")

	idle(t, pool)
	exec(t, pool, `insert into item values (1, 'lost')`, `select pg_replication_slot_advance('s', pg_current_wal_lsn())`)
	fails(&at, "it has confirmed")
	idle(t, pool)
	exec(t, pool, `select pg_drop_replication_slot('s')`)
	fails(&at, "it is gone")
	exec(t, pool, `insert into item values (2, 'lost')`, `select pg_create_logical_replication_slot('s', 'pgoutput')`)
	fails(&at, "it has confirmed")

	idle(t, pool)
	exec(t, pool, `create table big (t text)`, `alter table big alter t set storage external`)
	for range 5 {
		exec(t, pool, `insert into big select repeat('x', 1000000) from generate_series(1, 20)`, `select pg_switch_wal()`, `checkpoint`)
	}
	require.Equal(t, []string{"lost"}, rows(t, pool, `select wal_status from pg_replication_slots`))
	fails(nil, "Postgres has invalidated it")
}

// A server whose disk went back to a snapshot writes past the cursor. What it wrote before the cursor is
// not skipped in silence, whether the cursor had moved by changes or by what is not published.
func TestStream_Restored(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	pool := s.create("source", itemTable, `create table other (text text)`, `create publication p for table item`)
	stopped := func(script string) {
		t.Helper()
		idle(t, pool)
		pool.Reset()
		s.StopImmediately(t)
		said, err := osexec.CommandContext(t.Context(), "/bin/sh", "-c", script, "sh", filepath.Dir(s.Socket())).CombinedOutput()
		require.NoError(t, err, string(said))
		s.Start(t)
	}
	end := func() (lsn pgchange.LSN) {
		t.Helper()
		require.NoError(t, lsn.UnmarshalText([]byte(rows(t, pool, `select pg_current_wal_flush_lsn()::text`)[0])))
		return lsn
	}
	source := pgchange.Stream[item1](pool, pgchange.Options{Publication: "p", Slot: "s"})
	f := follow(t, source, nil)
	at := f.mark(func(p pgchange.Position) bool { return len(p.Loaded) == 1 })
	f.stop()
	stopped(`cp -a "$1/data" "$1/snapshot"`)
	const unpublished = `insert into other select repeat('x', 1000) from generate_series(1, 1000)`
	for _, tt := range []struct{ before, want string }{
		{unpublished + `; insert into item values (1, 'before')`, "is not sent"},
		{`insert into item values (2, 'same')`, "is another one"},
		{unpublished, "sent"}, // Postgres before 15 also sends transactions that are empty
	} {
		f := follow(t, source, &at)
		exec(t, pool, tt.before)
		written := end()
		moved := f.mark(func(p pgchange.Position) bool { return p.LSN >= written })
		f.stop()
		stopped(`rm -rf "$1/data" && cp -a "$1/snapshot" "$1/data"`)
		exec(t, pool, `insert into item values (2, 'lost')`)
		for end() < moved.LSN {
			exec(t, pool, unpublished)
		}
		err := follow(t, source, &moved).fails()
		require.ErrorContains(t, err, "): the server was restored from a snapshot of its disk")
		require.ErrorContains(t, err, tt.want)
		require.True(t, dataflow.IsPermanent(err))
		stopped(`rm -rf "$1/data" && cp -a "$1/snapshot" "$1/data"`)
	}
}

// A slot in use by somebody else is an error that says by whom, and that may go away. A slot in
// use by a worker of the same flow, which has stalled, is taken over.
func TestStream_SlotTaken(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	pool := s.create("source", itemTable, `create publication p for table item`)
	options := pgchange.Options{Publication: "p", Slot: "s", Tables: []string{"item"}, OnlyChanges: true}
	stalled := follow(t, pgchange.Stream[item1](pool, options), nil)
	at := stalled.mark(one)
	next := follow(t, pgchange.Stream[item1](pool, options), &at)
	exec(t, pool, `insert into item values (1, 'a')`)
	require.Equal(t, []string{"insert new 1 a ."}, texts(next.next(1)))
	require.Regexp(t, "57P01|broken pipe", stalled.fails().Error()) // the latter if it was just telling how far it has come
	next.stop()
	require.Eventually(t, func() bool { // the server's process notices a moment later
		var active bool
		err := pool.QueryRow(t.Context(), `select active from pg_replication_slots where slot_name = 's'`).Scan(&active)
		return err == nil && !active
	}, time.Minute, 10*time.Millisecond)

	config, err := pgx.ParseConfig(s.url("source"))
	require.NoError(t, err)
	config.RuntimeParams["replication"], config.RuntimeParams["application_name"] = "database", "somebody"
	other, err := pgconn.ConnectConfig(t.Context(), &config.Config)
	require.NoError(t, err)
	defer other.Close(t.Context()) //nolint:errcheck // the server ends anyway
	require.NoError(t, pglogrepl.StartReplication(t.Context(), other, "s", 0, pglogrepl.StartReplicationOptions{PluginArgs: []string{"proto_version '1'", "publication_names 'p'"}}))
	err = follow(t, pgchange.Stream[item1](pool, options), &at).fails()
	require.ErrorContains(t, err, `slot "s" is in use by process`)
	require.ErrorContains(t, err, `(application "somebody", from this machine): a slot is for one flow`)
	require.False(t, dataflow.IsPermanent(err))
}

func TestStream_WalLevel(t *testing.T) {
	t.Parallel()
	s := startServer(t, "wal_level = replica")
	pool := s.create("source", itemTable, `create publication p for table item`)
	err := follow(t, pgchange.Stream[item1](pool, pgchange.Options{Publication: "p", Slot: "s"}), nil).fails()
	require.ErrorContains(t, err, `wal_level is "replica": alter system set wal_level = logical, and restart the server`)
}

// The log has the changes of rows that row security hides from the role. So a load without them is an error.
func TestStream_RowSecurity(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	pool := s.create("source", itemTable, `insert into item select n, n from generate_series(1, 4) n`, `create publication p for table item`,
		`alter table item enable row level security`, `create policy even on item using (id % 2 = 0)`, `create role follower login replication`, `grant select on item to follower`)
	config := pool.Config().Copy()
	config.ConnConfig.User = "follower"
	follower, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	defer follower.Close()
	options := pgchange.Options{Publication: "p", Slot: "s"}
	hides := func() bool {
		return slices.Contains(findings(t, follower, options), `problem: row security may hide rows of table public.item from the role, which the first load must read: alter role follower bypassrls, or read as the owner of the table if row security is not forced on it`)
	}
	require.True(t, hides())
	stream := pgchange.Stream[item1](follower, options)
	f := follow(t, stream, nil)
	at := f.mark(one)
	require.ErrorContains(t, f.fails(), `load table public.item: the role must be able to read all rows`)
	exec(t, pool, `alter role follower bypassrls`)
	require.False(t, hides())
	require.Len(t, follow(t, stream, &at).next(4), 4)
}
