package pgtable_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// TestXID8_FilterIsNotEnough shows why the transaction must be the first column of
// the key: a younger transaction may take the smaller ID.
func TestXID8_FilterIsNotEnough(t *testing.T) {
	t.Parallel()
	pool := setup(t, ticketTable)
	filtered := &follower{t: t, source: pgtable.Keyset[ticket](pool, pgtable.Query{
		SQL: `select id, version from ticket where txid < pg_snapshot_xmin(pg_current_snapshot())`, Key: []string{"id"},
	})}
	guarded := &follower{t: t, source: tickets(pool, pgtable.XID8{Column: "txid"}, "txid", "id")}

	older, younger := begin(t, pool), begin(t, pool)
	exec(t, older, `select pg_current_xact_id()`)
	exec(t, younger, `insert into ticket default values`)
	exec(t, older, `insert into ticket default values`)
	commit(t, older)
	require.Equal(t, []ticket{{2, 1}}, filtered.runUntil(1))
	require.Equal(t, []ticket{{2, 1}}, guarded.runUntil(1))
	commit(t, younger)
	require.Equal(t, []ticket{{1, 1}}, guarded.runUntil(1))
	require.Empty(t, filtered.run(), "row 1 is missed for ever")
	require.Empty(t, guarded.run())
}

// TestXID8_ReadersHoldNothing has an open transaction that has written nothing.
func TestXID8_ReadersHoldNothing(t *testing.T) {
	t.Parallel()
	pool := setup(t, ticketTable)
	old := begin(t, pool)
	exec(t, old, `select count(*) from ticket`)
	exec(t, pool, `insert into ticket default values`)
	f := &follower{t: t, source: tickets(pool, pgtable.XID8{Column: "txid"}, "txid", "id")}
	require.Len(t, f.runUntil(1), 1)
}

func TestXID8_Prepared(t *testing.T) {
	t.Parallel()
	pool := setup(t, ticketTable)
	f := &follower{t: t, source: tickets(pool, pgtable.XID8{Column: "txid"}, "txid", "id")}
	end := prepare(t, pool, `insert into ticket default values`)
	exec(t, pool, `insert into ticket default values`)
	require.Empty(t, f.run())
	end()
	require.Equal(t, []ticket{{1, 1}, {2, 1}}, f.runUntil(2))
}

// TestXID8_Patience requires that a read fails if a transaction holds rows back for too long, also
// one in another database of the server, and that a flow's notes say whose it is.
func TestXID8_Patience(t *testing.T) {
	t.Parallel()
	connString := dbtest.PostgresURL(t)
	pool, other := open(t, connString, pgx.QueryExecModeCacheStatement, nil, ticketTable), setup(t, ticketTable)
	guard := func(patience time.Duration) dataflow.Source[ticket, pgtable.Cursor] {
		return tickets(pool, pgtable.XID8{Column: "txid", Patience: patience}, "txid", "id")
	}
	impatient, patient := &follower{t: t, source: guard(time.Nanosecond)}, &follower{t: t, source: guard(0)}
	notes := func() string {
		all, err := patient.source.(dataflow.Noter[pgtable.Cursor]).Notes(t.Context(), dataflow.Request[pgtable.Cursor]{Resumed: true, From: patient.cursor})
		require.NoError(t, err)
		return strings.Join(all, "; ")
	}
	exec(t, pool, `insert into ticket default values`)
	require.Len(t, patient.runUntil(1), 1)
	impatient.cursor = patient.cursor

	late := begin(t, other)
	exec(t, late, `set local application_name = 'nightly report'`)
	exec(t, late, `insert into ticket default values`)
	var pid int
	require.NoError(t, late.QueryRow(t.Context(), `select pg_backend_pid()`).Scan(&pid))
	exec(t, pool, `insert into ticket default values`)
	want := fmt.Sprintf(`rows are held back by the transaction of process %d, role "%s", application "nightly report", in the database "%s", which is idle in transaction, since 2`,
		pid, other.Config().ConnConfig.User, other.Config().ConnConfig.Database)
	until(t, func() bool { return strings.Contains(notes(), want) }) // those of other tests, which are older, end first
	require.Empty(t, patient.run())
	rows, err := impatient.tryRun()
	require.Empty(t, rows)
	require.ErrorContains(t, err, want)
	require.ErrorContains(t, err, `: end it, choose another guard in Query.LateCommits, or set a longer Patience`)

	_, roleURL := role(t, pool, connString)
	all, err := tickets(open(t, roleURL, pgx.QueryExecModeCacheStatement, nil), pgtable.XID8{Column: "txid"}, "txid", "id").(dataflow.Noter[pgtable.Cursor]).
		Notes(t.Context(), dataflow.Request[pgtable.Cursor]{Resumed: true, From: patient.cursor})
	require.NoError(t, err)
	require.Contains(t, all, strings.TrimSuffix(want, ", which is idle in transaction, since 2"), "it may not see the rest")
	commit(t, late)
	require.Len(t, patient.runUntil(1), 1)
	require.NotContains(t, notes(), "nightly report")
}

// TestXID8_CursorAhead uses a cursor from another server, or from before the flow
// had its guard.
func TestXID8_CursorAhead(t *testing.T) {
	t.Parallel()
	pool := setup(t, ticketTable)
	source := tickets(pool, pgtable.XID8{Column: "txid"}, "txid", "id")
	_, err := read(t, source, pgtable.Cursor{"9223372036854775807", "5"}, -1)
	require.ErrorContains(t, err, `the stored cursor (9223372036854775807, 5) is not before transaction `)
	require.ErrorContains(t, err, `if the database was restored from a dump or has lost transactions, give the flow a new name; if the flow ran without the guard, wait for that transaction to end`)
	_, err = read(t, source, pgtable.Cursor{"x", "5"}, -1)
	require.ErrorContains(t, err, `the stored cursor (x, 5) does not begin with a transaction ID: restore the old key, or give the changed flow a new name`)
	_, err = source.(dataflow.Counter[pgtable.Cursor]).Count(t.Context(), dataflow.Request[pgtable.Cursor]{Resumed: true, From: pgtable.Cursor{"9223372036854775807", "5"}})
	require.ErrorContains(t, err, `the stored cursor`)

	replica := standby(t, `null`)
	none, err := read(t, tickets(replica, pgtable.XID8{Column: "txid"}, "txid", "id"), pgtable.Cursor{"9223372036854775807", "5"}, -1)
	require.NoError(t, err, "a standby may be behind")
	require.Empty(t, none)
}
