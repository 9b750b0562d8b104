package pgchange_test

import (
	"testing"
	"time"

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
	f.stop()
	exec(t, pool, `insert into item select n, repeat('x', 100) from generate_series(1, 20000) n`)
	require.Eventually(t, func() bool { return len(rows(t, pool, `select 1 from pg_replication_slots where active`)) == 0 }, patience, 10*time.Millisecond)
	said := notes()
	require.Len(t, said, 1)
	require.Regexp(t, `^slot "s" has [0-9.]+ MiB of the log still to apply, and keeps [0-9.]+ MiB of it on the server's disk; nobody reads it: while no run works`, said[0])
}
