package pgchange_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgchange"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/dataflowpgx"
)

// A slot that is there before the flow's first checkpoint is another reader's. It is refused, and
// stays where it is, unless the cursor says that this flow was about to make it.
func TestStream_ForeignSlot(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	pool := s.create("source", itemTable, `create publication p for table item`, `select pg_create_logical_replication_slot('s', 'pgoutput')`, `insert into item values (1, 'a')`)
	options := pgchange.Options{Publication: "p", Slot: "s"}
	const state = `select confirmed_flush_lsn, active from pg_replication_slots`
	before := rows(t, pool, state)
	err := follow(t, pgchange.Stream[item1](pool, options), nil).fails()
	require.ErrorContains(t, err, `slot "s" exists already, and the flow has no cursor: it may be another reader's`)
	require.ErrorContains(t, err, `select pg_drop_replication_slot('s')`)
	require.ErrorContains(t, err, `dataflow cursor set FLOW '{"lsn":"0/`)
	require.True(t, dataflow.IsPermanent(err))
	require.Equal(t, before, rows(t, pool, state))

	adopted := follow(t, pgchange.Stream[item1](pool, options), &pgchange.Position{Creating: true})
	require.False(t, adopted.mark(one).Creating)
	require.Equal(t, []string{"insert new 1 a ."}, texts(adopted.next(1)))
	adopted.stop()
	idle(t, pool)
	// By hand, a slot becomes the flow's by a cursor.
	var at pgchange.Position
	require.NoError(t, at.LSN.UnmarshalText([]byte(rows(t, pool, `select confirmed_flush_lsn::text from pg_replication_slots`)[0])))
	// Until the load begins, changes are left out, because it has them.
	require.Equal(t, []string{"insert new 1 a"}, texts(follow(t, pgchange.Stream[item1](pool, options), &at).next(1)))
}

// A slot is made only after a checkpoint says so.
func TestStream_SlotAnnounced(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	pool := s.create("source", itemTable, `create publication p for table item`)
	source := pgchange.Stream[item1](pool, pgchange.Options{Publication: "p", Slot: "s"})
	ctx, cancel := context.WithCancel(t.Context())
	marks := 0
	for item, err := range source.Read(ctx, dataflow.Request[pgchange.Position]{}) {
		if err != nil {
			require.ErrorIs(t, err, context.Canceled)
			break
		}
		require.True(t, item.Mark && item.Cursor.Creating)
		if marks++; marks == 10 { // they end the engine's batch
			cancel()
		}
	}
	cancel()
	require.Equal(t, 10, marks)
	require.Empty(t, rows(t, pool, `select 1 from pg_replication_slots`))
}

// Of two new flows with one slot, the first makes it, and the second is refused. Even a flow that was
// the slot's does not end the connection of the one that reads it.
func TestStream_OneSlotForTwo(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	pool := s.create("source", itemTable, `insert into item values (1, 'a')`, `create publication p for table item`)
	options := pgchange.Options{Publication: "p", Slot: "s"}
	source := pgchange.Stream[item1](pool, options)
	ctx, cancel := context.WithCancel(t.Context())
	for item, err := range source.Read(ctx, dataflow.Request[pgchange.Position]{}) {
		require.NoError(t, err)
		require.True(t, item.Cursor.Creating)
		err = follow(t, pgchange.Stream[item1](pool, options), nil).fails()
		require.ErrorContains(t, err, `slot "s" is about to be created by another process or flow: a slot is for one flow`)
		require.False(t, dataflow.IsPermanent(err))
		break
	}
	cancel()
	f := follow(t, source, &pgchange.Position{Creating: true})
	f.next(1)
	at := f.mark(func(p pgchange.Position) bool { return len(p.Loaded) == 1 })
	err := follow(t, pgchange.Stream[item1](pool, options), nil).fails()
	require.ErrorContains(t, err, `slot "s" exists already, and the flow has no cursor`)
	exec(t, pool, `insert into item values (2, 'b')`)
	require.NoError(t, source.(dataflow.Acker[pgchange.Position]).Committed(t.Context(), f.next(1)[0].Cursor))
	f.mark(func(pgchange.Position) bool {
		return len(rows(t, pool, `select 1 from pg_replication_slots where confirmed_flush_lsn > '`+at.LSN.String()+`'`)) == 1
	})
	err = follow(t, pgchange.Stream[item1](pool, options), &at).fails()
	require.ErrorContains(t, err, "somebody else has read it, or it was made anew")
	exec(t, pool, `insert into item values (3, 'c')`)
	require.Equal(t, []string{"insert new 3 c ."}, texts(f.next(1)))
}

// A table that is dropped and made anew, or that leaves the publication for a while, is loaded
// again, after a truncate. It is so whether the stream works meanwhile or not.
func TestStream_TableAnew(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := startServer(t)
	from := s.create("source", itemTable, `insert into item select n, n from generate_series(1, 20) n`, `create publication p for table item`)
	to := s.create("target", itemTable)
	options := pgchange.Options{Publication: "p", Slot: "s", Tables: []string{"item"}, ChunkSize: 5}
	flow := dataflow.NewFlow("copy", pgchange.Stream[item1](from, options), dataflow.Identity[change[item1]](), pgtable.Apply[item1]("item", "id"),
		&dataflow.FlowOptions{Runtime: dataflow.JobQueue{}, MaxAttempts: 100})
	var log lines
	start := func() (stop func()) {
		client, err := dataflow.NewClient(dataflowpgx.New(to), &dataflow.Config{Flows: []*dataflow.Flow{flow}, Logger: log.logger()})
		require.NoError(t, err)
		require.NoError(t, client.Migrate(ctx))
		require.NoError(t, client.Start(ctx))
		_, err = client.Trigger(ctx, "copy", nil)
		require.NoError(t, err)
		return func() { require.NoError(t, client.Stop(context.WithoutCancel(ctx))) }
	}
	same := func() {
		t.Helper()
		const all = `select id, name from item order by 1`
		require.Eventually(t, func() bool {
			return strings.Join(rows(t, from, all), ",") == strings.Join(rows(t, to, all), ",")
		}, 2*patience, poll, "source and target differ")
	}
	anew := func(n int) []string {
		return []string{`drop table item`, itemTable, fmt.Sprintf(`insert into item values (%d, 'before')`, n), `alter publication p add table item`, fmt.Sprintf(`insert into item values (%d, 'after')`, n+1)}
	}
	stop := start()
	same()
	stop()
	exec(t, from, anew(100)...)
	stop = start()
	same()
	require.Equal(t, 1, log.count("table public.item was made anew"))

	exec(t, from, anew(200)...)
	same()
	stop()
	exec(t, from, `alter publication p drop table item`, `insert into item values (301, 'not published')`, `delete from item where id = 200`, `alter publication p add table item`)
	stop = start()
	same()
	stop()
}
