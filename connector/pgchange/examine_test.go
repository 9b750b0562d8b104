package pgchange_test

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgchange"
)

// findings returns what a stream finds, a line each.
func findings(t *testing.T, pool *pgxpool.Pool, options pgchange.Options) []string {
	t.Helper()
	flow := dataflow.NewFlow("copy", pgchange.Stream[item1](pool, options), dataflow.Identity[change[item1]](), dataflow.To[change[item1]](nil), nil)
	found, err := flow.Examine(t.Context())
	require.NoError(t, err)
	lines := make([]string, len(found))
	for i, f := range found {
		lines[i] = string(f.Level) + ": " + f.Text
	}
	return lines
}

// Each fault of a server is found with what mends it, and what mends it does.
func TestStream_Examine(t *testing.T) {
	t.Parallel()
	s := startServer(t, "wal_level = replica", "max_replication_slots = 1", "max_slot_wal_keep_size = '1GB'")
	pool := s.create("source", itemTable, `create table nokey (id bigint, name text, big text)`, `create role follower login`)
	config := pool.Config().Copy()
	config.ConnConfig.User = "follower"
	follower, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	defer follower.Close()
	options := pgchange.Options{Publication: "p", Slot: "s", Tables: []string{"item"}}
	has := func(options pgchange.Options, wants ...string) {
		t.Helper()
		found := findings(t, follower, options)
		for i, want := range wants {
			require.Greater(t, len(found), i, "nothing says %q", want)
			require.Contains(t, found[i], want)
		}
		require.Len(t, found, len(wants), strings.Join(found, "\n"))
	}
	has(options, `problem: wal_level is "replica": alter system set wal_level = logical, and restart the server`,
		`problem: role follower may not read the log: alter role "follower" replication`,
		`problem: there is no publication "p" in this database: create publication "p" for table`)

	exec(t, s.open(""), `alter system set wal_level = logical`)
	s.StopImmediately(t)
	s.Start(t)
	pool.Reset()
	follower.Reset()
	exec(t, pool, `alter role follower replication`, `create publication p for table item, nokey`, `select pg_create_physical_replication_slot('other')`)
	has(options, `problem: all 1 slots of the server are in use, and slot "s" is not there yet: alter system set max_replication_slots`,
		`problem: the role may not read table public.item, which the first load does: grant usage on schema public to follower, and grant select on public.item to follower`)
	exec(t, pool, `select pg_drop_replication_slot('other')`, `grant select on item to follower`, `alter system set max_slot_wal_keep_size = -1`, `select pg_reload_conf()`)
	keyless := options
	keyless.Tables = []string{"nokey"}
	require.Eventually(t, func() bool { return len(findings(t, follower, options)) == 1 }, patience, poll)
	has(options, `warning: max_slot_wal_keep_size is -1: while no run reads slot "s", the server keeps its log until the disk is full: alter system set max_slot_wal_keep_size = '20GB'`)
	has(keyless, `max_slot_wal_keep_size is -1`, `problem: table public.nokey has no replica identity`)

	exec(t, pool, `alter system set max_slot_wal_keep_size = '100MB'`, `select pg_reload_conf()`)
	const fine = `ok: the server, publication "p" and slot "s" are as they must be`
	require.Eventually(t, func() bool {
		return findings(t, follower, options)[0] == `ok: the server and publication "p" are as they must be, and slot "s" is not there: the first run creates it`
	}, patience, poll)
	exec(t, pool, `select pg_create_logical_replication_slot('s', 'pgoutput')`)
	has(options, fine)
	exec(t, pool, `create table big (t text)`, `alter table big alter t set storage external`)
	fill := func(until string) {
		t.Helper()
		for range 40 {
			if found := findings(t, follower, options); strings.Contains(found[0], until) {
				return
			}
			exec(t, pool, `insert into big select repeat('x', 1000000) from generate_series(1, 8)`, `select pg_switch_wal()`, `checkpoint`)
		}
		require.Fail(t, "it never said", until)
	}
	fill(`warning: slot "s" keeps`)
	fill(`problem: slot "s": Postgres has invalidated it`)
}

// What a publication lacks of the record is found before the first run.
func TestStream_ExamineColumns(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	pool := s.create("source", `create table item (id bigint primary key, name text)`, `create publication p for table item`)
	found := findings(t, pool, pgchange.Options{Publication: "p", Slot: "s", Failover: true})
	require.Len(t, found, 2)
	require.Contains(t, found[1], `problem: table public.item has no column ["big"] that publication "p" sends: alter the publication, or correct the record`)
}

// A slot from which a flow cannot go on is found before its next run.
func TestStream_ExamineFrom(t *testing.T) {
	t.Parallel()
	s := startServer(t, "max_slot_wal_keep_size = '1GB'")
	pool := s.create("source", itemTable, `create publication p for table item`)
	source := pgchange.Stream[item1](pool, pgchange.Options{Publication: "p", Slot: "s"})
	var r dataflow.Request[pgchange.Position]
	says := func(want string) {
		t.Helper()
		found, err := source.(dataflow.CursorExaminer[pgchange.Position]).ExamineFrom(t.Context(), r)
		require.NoError(t, err)
		require.Len(t, found, 1)
		require.Contains(t, string(found[0].Level)+": "+found[0].Text, want)
	}
	says(`ok: the server and publication "p" are as they must be`)
	exec(t, pool, `select pg_create_logical_replication_slot('s', 'pgoutput')`)
	says(`problem: slot "s" exists already, and the flow has no cursor`)
	r.Resumed, r.From.Creating = true, true
	says(`ok: the server, publication "p" and slot "s" are as they must be`)
	r.From = pgchange.Position{LSN: 1}
	says(`problem: slot "s": it has confirmed`)
	r.From.LSN = 1 << 60
	says(`ok: the server, publication "p" and slot "s"`)
	exec(t, pool, `select pg_drop_replication_slot('s')`)
	says(`problem: slot "s": it is gone: somebody has dropped it`)
	found, err := source.(dataflow.CursorExaminer[pgchange.Position]).ExamineFrom(t.Context(), r)
	require.NoError(t, err)
	require.Contains(t, found[0].Text, "dataflow cursor set FLOW --beginning")
}
