package pgchange_test

import (
	"context"
	"regexp"
	"testing"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgchange"
)

// Client.Why says how much of the log is still to be applied.
func TestStream_Notes(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	pool := s.create("source", itemTable, `create publication p for table item`)
	source := pgchange.Stream[item1](pool, pgchange.Options{Publication: "p", Slot: "s", OnlyChanges: true})
	notes := func() []string {
		said, err := source.(dataflow.Noter[pgchange.Position]).Notes(t.Context(), dataflow.Request[pgchange.Position]{})
		require.NoError(t, err)
		return said
	}
	require.Empty(t, notes(), "there is no slot yet")
	f := follow(t, source, nil)
	at := f.mark(one)
	require.NoError(t, source.(dataflow.Acker[pgchange.Position]).Committed(t.Context(), at))
	require.Empty(t, notes())
	exec(t, pool, `alter publication p drop table item`)
	require.Equal(t, []string{`publication "p" has no tables: alter publication "p" add table …`}, notes())
	exec(t, pool, `alter publication p add table item`)
	f.stop()
	exec(t, pool, `insert into item select n, repeat('x', 100) from generate_series(1, 20000) n`)
	idle(t, pool)
	said := notes()
	require.Len(t, said, 1)
	require.Regexp(t, `^slot "s" has [0-9.]+ MiB of the log still to apply, and keeps [0-9.]+ MiB of it on the server's disk; nobody reads it: while no run works`, said[0])
}

// Client.Why says for what a stream waits: for changes, for the slot, or for nothing that will come.
func TestStream_NotesOfWaits(t *testing.T) {
	t.Parallel()
	s := startServer(t, "max_prepared_transactions = 2")
	pool := s.create("source", itemTable, `create publication p for table item`)
	source := pgchange.Stream[item1](pool, pgchange.Options{Publication: "p", Slot: "s", OnlyChanges: true})
	var r dataflow.Request[pgchange.Position]
	says := func(want string) {
		t.Helper()
		require.Eventually(t, func() bool {
			said, err := source.(dataflow.Noter[pgchange.Position]).Notes(t.Context(), r)
			require.NoError(t, err)
			return len(said) == 1 && regexp.MustCompile(want).MatchString(said[0])
		}, patience, poll, want)
	}
	exec(t, pool, `begin; insert into item values (9, 'a'); prepare transaction 'forgotten'`)
	f := follow(t, source, nil)
	says(`^slot "s" is being created since .*Z: .* that write: now for the prepared transaction 'forgotten' of role "\w+", since 20\d\d-.*Z, which "commit prepared" or "rollback prepared" ends$`)
	writer, err := pool.Begin(t.Context())
	require.NoError(t, err)
	_, err = writer.Exec(t.Context(), `insert into item values (1, 'a')`)
	require.NoError(t, err)
	exec(t, pool, `rollback prepared 'forgotten'`)
	says(`^slot "s" is being created since 20\d\d-.*Z: Postgres waits until all transactions have ended that write: now for that of process \d+ of the server \(application ""\), since 20\d\d-.*Z$`)
	require.NoError(t, writer.Rollback(t.Context()))
	at := f.mark(one)
	r = dataflow.Request[pgchange.Position]{From: at, Resumed: true}
	require.Zero(t, at.Last)
	exec(t, pool, `insert into item values (1, 'a')`)
	r.From = f.next(1)[0].Cursor
	require.Equal(t, r.From.At, r.From.Last)
	f.stop()
	idle(t, pool)
	other, err := pgconn.Connect(t.Context(), s.url("source")+"&replication=database&application_name=other")
	require.NoError(t, err)
	defer other.Close(context.WithoutCancel(t.Context())) //nolint:errcheck // the test is over
	require.NoError(t, pglogrepl.StartReplication(t.Context(), other, "s", 0, pglogrepl.StartReplicationOptions{PluginArgs: []string{"proto_version '1'", "publication_names 'p'"}}))
	says(`^slot "s" is in use by process \d+ of the server \(application "other", from this machine\) since 20.*Z: a slot is for one flow, whose read waits for it$`)
	require.NoError(t, other.Close(t.Context()))
	idle(t, pool)
	exec(t, pool, `select pg_drop_replication_slot('s')`)
	says(`^slot "s" is gone, and with it changes`)
}

// The lag is that of the cursor: 0 at the end of the log, and then how much was written since, and
// how old the last commit is that was read.
func TestStream_Lag(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	pool := s.create("source", itemTable, `create publication p for table item`)
	source := pgchange.Stream[item1](pool, pgchange.Options{Publication: "p", Slot: "s", OnlyChanges: true})
	f := follow(t, source, nil)
	f.mark(one)
	exec(t, pool, `insert into item values (1, 'a')`)
	at := f.next(1)[0]
	f.stop()
	committed := at.Cursor.At
	require.WithinDuration(t, at.Value.CommittedAt, committed, 0)
	exec(t, pool, `insert into item select n, n from generate_series(2, 1000) n`)
	request := dataflow.Request[pgchange.Position]{From: at.Cursor, Resumed: true}
	bytes, ok, err := source.(dataflow.LogLagger[pgchange.Position]).LagBytes(t.Context(), request)
	require.NoError(t, err)
	require.True(t, ok)
	require.Greater(t, bytes, int64(10_000))
	age, ok, err := source.(dataflow.Lagger[pgchange.Position]).Lag(t.Context(), request)
	require.NoError(t, err)
	require.True(t, ok)
	require.Positive(t, age)
	require.NoError(t, request.From.LSN.UnmarshalText([]byte("F/0")))
	age, ok, err = source.(dataflow.Lagger[pgchange.Position]).Lag(t.Context(), request)
	require.NoError(t, err)
	require.True(t, ok)
	require.Zero(t, age, "all was read")
	request.From.Table = "public.item"
	_, ok, err = source.(dataflow.Lagger[pgchange.Position]).Lag(t.Context(), request)
	require.NoError(t, err)
	require.False(t, ok, "rows of a table that is loaded are of any age")
}
