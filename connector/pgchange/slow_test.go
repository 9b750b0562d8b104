package pgchange_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgchange"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/dataflowpgx"
)

// While the target is slow for longer than wal_sender_timeout, with more waiting than the buffer
// holds, the connection stays.
func TestStream_SlowTarget(t *testing.T) {
	t.Parallel()
	s := startServer(t, "wal_sender_timeout = '4s'")
	pool := s.create("source", itemTable, `create publication p for table item`)
	f := follow(t, pgchange.Stream[item1](pool, pgchange.Options{Publication: "p", Slot: "s", OnlyChanges: true}), nil)
	f.mark(one)
	exec(t, pool, `insert into item select n, n, repeat('x', 5000) from generate_series(1, 10000) n`)
	f.next(1)
	before := rows(t, pool, `select active_pid from pg_replication_slots`)
	<-time.After(12 * time.Second) // three times the server's patience
	f.next(9999)
	require.Equal(t, before, rows(t, pool, `select active_pid from pg_replication_slots`))
	require.NotContains(t, s.Log(t), "terminating walsender process due to replication timeout")
}

// A database in which nothing happens does not hold the log of a server in which others write.
// The slot moves only by what was committed.
func TestStream_QuietDatabase(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	pool := s.create("source", itemTable, `create publication p for table item`)
	busy := s.create("busy", `create table t (n bigint)`)
	source := pgchange.Stream[item1](pool, pgchange.Options{Publication: "p", Slot: "s", OnlyChanges: true})
	f := follow(t, source, nil)
	f.mark(one)
	confirmed := func() string { return rows(t, pool, `select confirmed_flush_lsn::text from pg_replication_slots`)[0] }
	before := confirmed()
	exec(t, busy, `insert into t select generate_series(1, 10000)`)
	at := rows(t, busy, `select pg_current_wal_lsn()::text`)[0]
	var want pgchange.LSN
	require.NoError(t, want.UnmarshalText([]byte(at)))
	reached := f.mark(func(p pgchange.Position) bool { return p.LSN >= want })
	require.Equal(t, before, confirmed(), "nothing was committed yet")
	require.NoError(t, source.(dataflow.Acker[pgchange.Position]).Committed(t.Context(), reached))
	require.Eventually(t, func() bool { return confirmed() == reached.LSN.String() }, patience, 20*time.Millisecond)
}

// A flow runs in slices, keeps up, and hands its run back when the client stops.
func TestStream_Slices(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := startServer(t)
	from := s.create("source", itemTable, `insert into item select n, n from generate_series(1, 1000) n`, `create publication p for table item`)
	to := s.create("target", itemTable)
	flow := dataflow.NewFlow("copy", pgchange.Stream[item1](from, pgchange.Options{Publication: "p", Slot: "s", ChunkSize: 100}), dataflow.Identity[change[item1]](), pgtable.Apply[item1]("item", "id"),
		&dataflow.FlowOptions{Runtime: dataflow.JobQueue{}})
	var log lines
	client, err := dataflow.NewClient(dataflowpgx.New(to), &dataflow.Config{Flows: []*dataflow.Flow{flow}, Slice: time.Second, Logger: log.logger()})
	require.NoError(t, err)
	require.NoError(t, client.Migrate(ctx))
	require.NoError(t, client.Start(ctx))
	run, err := client.Trigger(ctx, "copy", nil)
	require.NoError(t, err)
	for n := range 30 {
		exec(t, from, `update item set name = name || '!' where id % 3 = 0`, `delete from item where id = 1`, `insert into item values (1, 'again')`)
		require.Eventually(t, func() bool {
			return strings.HasSuffix(rows(t, to, `select coalesce(max(name), '') from item where id = 3`)[0], strings.Repeat("!", n+1))
		}, patience, 10*time.Millisecond)
	}
	require.Eventually(t, func() bool { return rows(t, to, `select count(*)::text from item`)[0] == "1000" }, patience, 20*time.Millisecond, "the first load ends too")
	require.Eventually(t, func() bool { return log.count("run handed back unfinished") >= 2 }, patience, 20*time.Millisecond, "slices end even if nothing comes")
	require.NoError(t, client.Stop(context.WithoutCancel(ctx)))
	requireEqual(t, from, to, `select id, name from item`)
	run, err = client.Run(ctx, run.ID)
	require.NoError(t, err)
	require.Equal(t, dataflow.RunPending, run.State)
	require.Zero(t, run.Attempt, "a slice spends no attempt")
}

// Time limits of a role end neither the wait for the slot nor a connection that has nothing to do.
func TestStream_TimeLimits(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	limits := []string{"statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"}
	pool := s.create("source", itemTable, `create publication p for table item`)
	if rows(t, pool, `select count(*) from pg_settings where name = 'idle_session_timeout'`)[0] == "1" {
		limits = append(limits, "idle_session_timeout")
	}
	for _, limit := range limits {
		exec(t, pool, `alter database source set `+limit+` = '500ms'`)
	}
	writer, err := pool.Begin(t.Context())
	require.NoError(t, err)
	_, err = writer.Exec(t.Context(), `insert into item values (1, 'a')`)
	require.NoError(t, err)
	limited := s.open("source")
	f := follow(t, pgchange.Stream[item1](limited, pgchange.Options{Publication: "p", Slot: "s", OnlyChanges: true}), nil)
	began := rows(t, pool, `select clock_timestamp()::text`)[0]
	require.Eventually(t, func() bool {
		return rows(t, pool, `select clock_timestamp() > timestamptz '`+began+`' + interval '1.5 s'`)[0] == "true"
	}, patience, poll)
	require.NoError(t, writer.Commit(t.Context()))
	f.mark(one)
	exec(t, pool, `insert into item values (2, 'b')`)
	require.Equal(t, int64(2), f.next(1)[0].Value.New.ID)
	require.Equal(t, "1", rows(t, pool, `select count(*) from pg_stat_activity where application_name = 'dataflow load s'`)[0], "the server has ended an idle connection")
}
