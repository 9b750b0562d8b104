package pgchange_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgchange"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// primaryOf returns a pool that leads to the primary of two servers, whichever it is.
func primaryOf(t *testing.T, database string, servers ...*dbtest.Server) *pgxpool.Pool {
	t.Helper()
	u, err := url.Parse(servers[0].URL())
	require.NoError(t, err)
	other, err := url.Parse(servers[1].URL())
	require.NoError(t, err)
	q := u.Query()
	q.Set("host", q.Get("host")+","+other.Query().Get("host"))
	q.Set("target_session_attrs", "primary")
	u.RawQuery, u.Path = q.Encode(), "/"+database
	pool, err := pgxpool.New(t.Context(), u.String())
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}

// standbyOf starts a standby with a slot on the primary, which returns when it follows.
func (s *server) standbyOf(settings ...string) *server {
	s.t.Helper()
	exec(s.t, s.open(""), `select pg_create_physical_replication_slot('standby', true)`)
	return &server{Server: s.Standby(s.t, append(settings, "primary_slot_name = 'standby'", "hot_standby_feedback = on")...), t: s.t}
}

// A standby of Postgres 17 keeps a slot with failover. When the standby is promoted, the stream goes
// on there, and nothing is missing or comes twice. Before 17, Options.Failover is refused.
func TestStream_Failover(t *testing.T) {
	t.Parallel()
	primary := startServer(t)
	before := primary.create("source", itemTable, `insert into item select n, n from generate_series(1, 10) n`, `create publication p for table item`)
	options := pgchange.Options{Publication: "p", Slot: "s", Failover: true}
	if version(t, before) < 170000 {
		err := follow(t, pgchange.Stream[item1](before, options), nil).fails()
		require.ErrorContains(t, err, `create slot "s": Options.Failover needs Postgres 17 or later`)
		require.True(t, dataflow.IsPermanent(err))
		require.Empty(t, rows(t, before, `select slot_name from pg_replication_slots`))
		return
	}
	source := pgchange.Stream[item1](before, options)
	var ids []int64
	var at pgchange.Position
	take := func(f *follower[item1], n int) { // and commit them
		for _, it := range f.next(n) {
			ids = append(ids, it.Value.New.ID)
			if it.Resume {
				at = it.Cursor
			}
		}
		require.NoError(t, source.(dataflow.Acker[pgchange.Position]).Committed(t.Context(), at))
	}
	f := follow(t, source, nil)
	take(f, 10)
	at = f.mark(func(p pgchange.Position) bool { return len(p.Loaded) == 1 })
	f.stop()
	standby := primary.standbyOf("sync_replication_slots = on") // which looks seldom if it finds no slot at first
	exec(t, before, `alter system set synchronized_standby_slots = 'standby'`, `select pg_reload_conf()`)
	pool, there := primaryOf(t, "source", primary.Server, standby.Server), standby.open("")
	source = pgchange.Stream[item1](pool, options)
	f = follow(t, source, &at)
	next := 11
	require.Eventually(t, func() bool { // the slot must move until the standby can keep it
		exec(t, pool, fmt.Sprintf(`insert into item values (%d, 'before')`, next))
		next++
		take(f, 1)
		return len(rows(t, there, `select 1 from pg_replication_slots where slot_name = 's' and synced and not temporary`)) == 1
	}, patience, poll)
	err := follow(t, pgchange.Stream[item1](standby.open("source"), options), &at).fails()
	require.ErrorContains(t, err, "the server is a standby, and the server keeps the slot for its primary")
	require.False(t, dataflow.IsPermanent(err))
	exec(t, pool, fmt.Sprintf(`insert into item select n, 'unread' from generate_series(%d, %d) n`, next, next+4))
	take(f, 2) // the others come again
	ids = ids[:len(ids)-2]
	primary.StopImmediately(t)
	require.Error(t, f.fails())
	f = follow(t, source, &at)
	require.False(t, dataflow.IsPermanent(f.fails()), "there is no primary for a while")
	standby.Promote(t)
	pool.Reset() // its connections were to the old primary
	exec(t, pool, fmt.Sprintf(`insert into item values (%d, 'after')`, next+5), `delete from item where id = 1`)
	f = follow(t, source, &at)
	for _, it := range f.next(7) {
		ids = append(ids, it.Value.New.ID)
		at = it.Cursor
	}
	var want []int64
	for id := range int64(next + 5) {
		want = append(want, id+1)
	}
	require.Equal(t, append(want, 0), ids)
	require.NotEqual(t, int32(1), at.Timeline)
	require.False(t, slices.Contains(rows(t, pool, `select slot_name from pg_replication_slots`), "standby"))
}

// While the standby of synchronized_standby_slots is away, the server sends nothing, and Client.Why says so.
func TestStream_NotesOfStandby(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	pool := s.create("source", itemTable, `create publication p for table item`)
	if version(t, pool) < 170000 {
		return // there is no such setting
	}
	source := pgchange.Stream[item1](pool, pgchange.Options{Publication: "p", Slot: "s", Failover: true, OnlyChanges: true})
	exec(t, pool, `select pg_create_physical_replication_slot('standby', true)`, `alter system set synchronized_standby_slots = 'standby'`, `select pg_reload_conf()`)
	r := dataflow.Request[pgchange.Position]{Resumed: true}
	r.From = follow(t, source, nil).mark(one)
	exec(t, pool, `insert into item values (1, 'a')`)
	require.Eventually(t, func() bool {
		said, err := source.(dataflow.Noter[pgchange.Position]).Notes(t.Context(), r)
		require.NoError(t, err)
		return len(said) > 0 && strings.HasPrefix(said[0], `slot "s": the server sends no changes before its standbys have confirmed them (synchronized_standby_slots = 'standby'): see pg_replication_slots`)
	}, patience, poll)
}

// A slot that was made on a standby before the primary's is read when the standby is promoted. It has confirmed less
// than where the other began. No transaction is there that the server could send again.
func TestStream_EarlierSlot(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	pool := s.create("source", itemTable, `create table other (text text)`, `create publication p for table item`,
		`select pg_create_logical_replication_slot('early', 'pgoutput')`, `insert into other values ('not published')`)
	f := follow(t, pgchange.Stream[item1](pool, pgchange.Options{Publication: "p", Slot: "s"}), nil)
	at := f.mark(func(p pgchange.Position) bool { return len(p.Loaded) == 1 })
	f.stop()
	exec(t, pool, `insert into item values (1, 'new')`)
	source := pgchange.Stream[item1](pool, pgchange.Options{Publication: "p", Slot: "early"})
	require.EqualValues(t, 1, follow(t, source, &at).next(1)[0].Value.New.ID)
}

// A slot on a standby is lost if the primary removes rows of the catalog that it needs. The error says so.
func TestStream_StandbyConflicts(t *testing.T) {
	t.Parallel()
	primary := startServer(t)
	pool := primary.create("source", itemTable, `create publication p for table item`)
	if version(t, pool) < 160000 {
		return // a standby has no slots of this kind
	}
	exec(t, pool, `select pg_create_physical_replication_slot('standby', true)`)
	standby := &server{Server: primary.Standby(t, "primary_slot_name = 'standby'", "max_standby_streaming_delay = 0"), t: t}
	there := standby.open("source")
	source := pgchange.Stream[item1](there, pgchange.Options{Publication: "p", Slot: "s", OnlyChanges: true})
	f := follow(t, source, nil)
	require.Eventually(t, func() bool { // the slot needs it
		exec(t, pool, `select pg_log_standby_snapshot()`)
		return len(rows(t, there, `select 1 from pg_replication_slots where confirmed_flush_lsn is not null`)) == 1
	}, patience, 10*poll)
	at := f.mark(one)
	exec(t, pool, `create table gone (id bigint)`, `drop table gone`, `vacuum full pg_class`, `vacuum pg_class`)
	require.Error(t, f.fails())
	var err error
	require.Eventually(t, func() bool { err = follow(t, source, &at).fails(); return dataflow.IsPermanent(err) }, patience, 10*poll)
	require.Regexp(t, `Postgres has invalidated it \((rows_removed|it conflicts with the primary, .*)\)`, err.Error())
}

// Without a slot on the promoted standby, or if the standby lacks what was read, changes are
// missing: that is an error, on all versions.
func TestStream_FailoverLoses(t *testing.T) {
	t.Parallel()
	primary := startServer(t)
	before := primary.create("source", itemTable, `create publication p for table item`)
	standby := primary.standbyOf()
	pool := primaryOf(t, "source", primary.Server, standby.Server)
	source := pgchange.Stream[item1](pool, pgchange.Options{Publication: "p", Slot: "s", OnlyChanges: true})
	f := follow(t, source, nil)
	f.mark(one)
	exec(t, before, `insert into item values (1, 'both have it')`)
	both := f.next(1)[0].Cursor
	require.Eventually(t, func() bool {
		return rows(t, standby.open("source"), `select count(*) from item`)[0] == "1"
	}, patience, poll)
	standby.StopImmediately(t)
	exec(t, before, `insert into item values (2, 'the standby lacks it')`)
	ahead := f.next(1)[0].Cursor
	primary.StopImmediately(t)
	standby.Start(t)
	err := follow(t, pgchange.Stream[item1](standby.open("source"), pgchange.Options{Publication: "p", Slot: "s", OnlyChanges: true}), &ahead).fails()
	require.ErrorContains(t, err, "the server is a standby, and it has the log only up to")
	require.False(t, dataflow.IsPermanent(err))
	standby.Promote(t)
	pool.Reset()
	exec(t, pool, `insert into item select n, 'after' from generate_series(3, 10000) n`)
	err = follow(t, source, &ahead).fails()
	require.ErrorContains(t, err, "before the cursor "+ahead.LSN.String()+": it was a standby that had lagged. Changes are lost")
	require.True(t, dataflow.IsPermanent(err))
	err = follow(t, source, &both).fails()
	require.ErrorContains(t, err, "such as a promoted standby without the slot (on Postgres 17 and later, a standby keeps the slot with Options.Failover and sync_replication_slots). Changes are lost")
	require.ErrorContains(t, err, "Begin anew")
	require.True(t, dataflow.IsPermanent(err))
	exec(t, pool, `select pg_create_logical_replication_slot('s', 'pgoutput')`)
	err = follow(t, source, &both).fails()
	require.ErrorContains(t, err, "somebody else has read it, or it was made anew")
	require.True(t, dataflow.IsPermanent(err))
}

// A standby of Postgres 16 and later that is the source is promoted while it is read. The read goes on,
// and so does the next one, although the cursor is after the place where the timeline began.
func TestStream_SourcePromoted(t *testing.T) {
	t.Parallel()
	primary := startServer(t)
	before := primary.create("source", itemTable, `create publication p for table item`)
	if version(t, before) < 160000 {
		return // a standby has no slots of its own
	}
	standby := primary.standbyOf()
	pool := standby.open("source")
	source := pgchange.Stream[item1](pool, pgchange.Options{Publication: "p", Slot: "s", OnlyChanges: true})
	f := follow(t, source, nil)
	require.Eventually(t, func() bool { // the slot is made once the primary tells which transactions are open
		exec(t, before, `select pg_log_standby_snapshot()`)
		return len(rows(t, pool, `select 1 from pg_replication_slots where slot_name = 's' and confirmed_flush_lsn is not null`)) == 1
	}, patience, poll)
	exec(t, before, `insert into item values (1, 'on the standby')`)
	require.Equal(t, []string{"insert new 1 on the standby ."}, texts(f.next(1)))
	primary.StopImmediately(t)
	standby.Promote(t)
	exec(t, pool, `insert into item values (2, 'promoted')`)
	items := f.next(1)
	require.Equal(t, []string{"insert new 2 promoted ."}, texts(items))
	f.stop()
	exec(t, pool, `insert into item values (3, 'after')`)
	again := follow(t, source, &items[0].Cursor).next(1)
	require.Equal(t, []string{"insert new 3 after ."}, texts(again))
	require.Equal(t, int32(2), again[0].Cursor.Timeline)
}
