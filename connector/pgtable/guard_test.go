package pgtable_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
)

// guards are the guards, each with a key that it can guard.
var guards = map[string]struct {
	guard pgtable.Guard
	key   []string
}{
	"default":             {nil, []string{"at", "id"}},
	"OpenTransactions":    {pgtable.OpenTransactions{Grace: time.Microsecond}, []string{"at", "id"}},
	"OpenTransactionsUTC": {pgtable.OpenTransactions{UTC: true}, []string{"utc", "id"}},
	"XID8":                {pgtable.XID8{Column: "txid"}, []string{"txid", "id"}},
}

// TestGuard_LateCommit has a transaction that takes its time, its ID and its number
// first, and commits last.
func TestGuard_LateCommit(t *testing.T) {
	t.Parallel()
	for name, g := range guards {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := setup(t, ticketTable, `insert into ticket default values`)
			f := &follower{t: t, source: tickets(pool, g.guard, g.key...)}
			require.Equal(t, []int64{1}, ids(f.runUntil(1)))
			require.Empty(t, f.run())

			late := begin(t, pool)
			exec(t, late, `insert into ticket default values`)
			exec(t, pool, `insert into ticket default values`)
			exec(t, pool, `insert into ticket default values`)
			require.Empty(t, f.run(), "rows behind the open transaction")
			commit(t, late)
			require.Equal(t, []ticket{{2, 1}, {3, 1}, {4, 1}}, f.runUntil(3))
			require.Empty(t, f.run())
		})
	}
}

// TestGuard_Unguarded shows which rows a read without a guard misses.
func TestGuard_Unguarded(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		guard pgtable.Guard
		key   []string
	}{
		"Time":           {pgtable.Unguarded{}, []string{"at", "id"}},
		"ID":             {pgtable.Unguarded{}, []string{"id"}},
		"IDWithoutGuard": {nil, []string{"id"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := setup(t, ticketTable)
			f := &follower{t: t, source: tickets(pool, tc.guard, tc.key...)}
			late := begin(t, pool)
			exec(t, late, `insert into ticket default values`)
			exec(t, pool, `insert into ticket default values`)
			require.Equal(t, []int64{2}, ids(f.run()))
			commit(t, late)
			require.Empty(t, f.run(), "row 1 is missed for ever")
		})
	}
}

// TestGuard_SetBack has two transactions that change one row. The second to commit
// began first, and sets the row's key back.
func TestGuard_SetBack(t *testing.T) {
	t.Parallel()
	run := func(t *testing.T, guard pgtable.Guard, key ...string) (*follower, []ticket) {
		t.Helper()
		pool := setup(t, ticketTable, `insert into ticket default values`)
		f := &follower{t: t, source: tickets(pool, guard, key...)}
		require.Len(t, f.runUntil(1), 1)
		first := begin(t, pool)
		exec(t, first, `select pg_current_xact_id()`)
		exec(t, pool, touch, 1)
		between := f.run()
		exec(t, first, touch, 1)
		commit(t, first)
		return f, between
	}
	for name, g := range guards {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, between := run(t, g.guard, g.key...)
			require.Empty(t, between)
			require.Equal(t, []ticket{{1, 3}}, f.runUntil(1))
			require.Empty(t, f.run())
		})
	}
	t.Run("Unguarded", func(t *testing.T) {
		t.Parallel()
		f, between := run(t, pgtable.Unguarded{}, "at", "id")
		require.Equal(t, []ticket{{1, 2}}, between)
		require.Empty(t, f.run(), "version 3 is missed for ever")
	})
}

// TestGuard_ChangedWhileRead changes rows before and after the current place of a
// read. Each version is read at most once, and the last one is read.
func TestGuard_ChangedWhileRead(t *testing.T) {
	t.Parallel()
	for name, g := range guards {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := setup(t, ticketTable, `insert into ticket default values`, `insert into ticket default values`,
				`insert into ticket default values`, `insert into ticket default values`, `insert into ticket default values`)
			f := &follower{t: t, source: tickets(pool, g.guard, g.key...)}
			counter := f.source.(dataflow.Counter[pgtable.Cursor])
			until(t, func() bool { // all rows are ready
				n, err := counter.Count(t.Context(), dataflow.Request[pgtable.Cursor]{})
				require.NoError(t, err)
				return n == 5
			})

			var seen []ticket
			for it, err := range f.source.Read(t.Context(), dataflow.Request[pgtable.Cursor]{}) {
				require.NoError(t, err)
				seen = append(seen, it.Value)
				f.cursor = it.Cursor
				if it.Value.ID == 1 {
					exec(t, pool, touch, 1)
					exec(t, pool, touch, 2) // already in memory
					exec(t, pool, touch, 4) // on a later page
					exec(t, pool, `insert into ticket default values`)
				}
			}
			require.Equal(t, []ticket{{1, 1}, {2, 1}, {3, 1}, {5, 1}}, seen, "the read ends where the table ended")
			require.Equal(t, []ticket{{1, 2}, {2, 2}, {4, 2}, {6, 1}}, f.runUntil(4))
			require.Empty(t, f.run())
		})
	}
}

// TestGuard_Ties has rows with equal first key columns on both sides of the ends of
// pages and runs.
func TestGuard_Ties(t *testing.T) {
	t.Parallel()
	for name, g := range guards {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := setup(t, ticketTable, `insert into ticket overriding system value select n from generate_series(1, 7) n`)
			f := &follower{t: t, source: tickets(pool, g.guard, g.key...)}
			require.Len(t, f.runUntil(7), 7)

			late := begin(t, pool)
			exec(t, late, `insert into ticket overriding system value select n from generate_series(8, 10) n`)
			exec(t, pool, `insert into ticket (id, at, utc, txid) overriding system value select 11, now(), now() at time zone 'UTC', pg_current_xact_id()`)
			require.Empty(t, f.run())
			commit(t, late)
			require.Equal(t, []int64{8, 9, 10, 11}, ids(f.runUntil(4)))
			require.Empty(t, f.run())
		})
	}
}

// TestGuard_Count counts the rows that a read may take.
func TestGuard_Count(t *testing.T) {
	t.Parallel()
	for name, g := range guards {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := setup(t, ticketTable, `insert into ticket default values`, `insert into ticket default values`)
			f := &follower{t: t, source: tickets(pool, g.guard, g.key...)}
			f.runUntil(2)
			late := begin(t, pool)
			exec(t, late, `insert into ticket default values`)
			exec(t, pool, `insert into ticket default values`)
			counter := f.source.(dataflow.Counter[pgtable.Cursor])
			all, err := counter.Count(t.Context(), dataflow.Request[pgtable.Cursor]{})
			require.NoError(t, err)
			require.EqualValues(t, 2, all)
			rest, err := counter.Count(t.Context(), dataflow.Request[pgtable.Cursor]{Resumed: true, From: f.cursor})
			require.NoError(t, err)
			require.Zero(t, rest)
		})
	}
}

// TestGuard_AllQueryModes uses each mode of executing queries, in sessions with
// their own formats of times.
func TestGuard_AllQueryModes(t *testing.T) {
	t.Parallel()
	for _, mode := range []pgx.QueryExecMode{
		pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol,
	} {
		for name, g := range guards {
			t.Run(mode.String()+" "+name, func(t *testing.T) {
				t.Parallel()
				pool := setupMode(t, mode, map[string]string{"timezone": "Asia/Kolkata", "datestyle": "German"}, ticketTable)
				f := &follower{t: t, source: tickets(pool, g.guard, g.key...)}
				exec(t, pool, `insert into ticket default values`)
				require.Len(t, f.runUntil(1), 1)
				late := begin(t, pool)
				exec(t, late, `insert into ticket default values`)
				exec(t, pool, `insert into ticket default values`)
				require.Empty(t, f.run())
				commit(t, late)
				require.Equal(t, []int64{2, 3}, ids(f.runUntil(2)))
			})
		}
	}
}
