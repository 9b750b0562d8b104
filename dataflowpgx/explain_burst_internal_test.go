package dataflowpgx

import (
	"cmp"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// sqlFirst adds the first flow and its first run.
const sqlFirst = `
insert into dataflow_flow (name, source, sink, runtime, guarantee) values ('first', '{}', '{}', '{"type":"heartbeat"}', 'exactly_once');

insert into dataflow_run (flow_id, trigger, scheduled_for, run_after, created_at, max_attempts, unique_key) values (1, 'manual', now(), now(), now(), 5, 'now');
`

// sqlBegun adds 500 runs, with which a burst begins.
const sqlBegun = `
insert into dataflow_flow (name, source, sink, runtime, guarantee) select 'begun ' || i, '{}', '{}', '{"type":"job_queue"}', 'exactly_once' from generate_series(1, 500) i;

insert into dataflow_run (flow_id, trigger, scheduled_for, run_after, created_at, max_attempts, queue, unique_key)
select id, 'schedule', now(), now(), now(), 5, case when id % 2 = 0 then '' else 'etl' end, name from dataflow_flow where name like 'begun %';
`

// sqlBurst makes 5,000 flows due, with a run each that waits for the loop of a client, and 2,500
// more that wait for River jobs. Autovacuum is off, so that nothing makes Postgres plan anew.
const sqlBurst = `
insert into dataflow_flow (name, source, sink, runtime, guarantee, next_run_at, changed)
select 'flow ' || i, '{}', '{}', '{"type":"heartbeat"}', 'exactly_once', now() + (i % 2) * interval '1 hour', i from generate_series(1, 5000) i;

insert into dataflow_run (flow_id, trigger, scheduled_for, run_after, created_at, max_attempts, queue, unique_key)
select 1 + i % 5000, 'schedule', now() - i * interval '1 second', now() - interval '1 minute', now(), 5, case when i <= 5000 then '' else 'etl' end, i::text
from generate_series(1, 7500) i;
`

// A process looks for work while there is none, and the plans for its statements are kept. They
// must be good when thousands of flows become due within a moment, before anything tells Postgres
// that its tables have grown: each reads what it returns, and no more than a few pages beside that.
func TestExplain_Burst(t *testing.T) {
	t.Parallel()
	for name, at := range map[string]struct{ analyzed, begun bool }{
		"new":      {},
		"analyzed": {analyzed: true}, // a table that is analyzed while it is empty counts as one of no pages
		"begun":    {begun: true},    // the plans are made when there are some runs, of which no statistics tell
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := dbtest.Postgres(t)
			st, err := New(pool).Store(dataflow.StoreOptions{})
			require.NoError(t, err)
			require.NoError(t, st.Migrate(t.Context()))
			conn, err := pool.Acquire(t.Context())
			require.NoError(t, err)
			defer conn.Release()
			exec := func(sql string) {
				_, err := conn.Exec(t.Context(), sql)
				require.NoError(t, err)
			}
			exec(`alter table dataflow_flow set (autovacuum_enabled = off); alter table dataflow_run set (autovacuum_enabled = off);
				alter table dataflow_checkpoint set (autovacuum_enabled = off); alter table river_job set (autovacuum_enabled = off)`)
			if at.analyzed {
				exec("analyze")
			}
			const few = "array[7, 8, 9]"
			const held = "update dataflow_run set state = 'in_progress', slot = 0 where id in (3001, 3002)"
			const ended = "update dataflow_run set state = 'success', ended_at = now() - interval '1 hour'"
			asked := map[string]struct {
				sql, types, args string
				poll             bool // it is asked while there is nothing; the others come with the first runs
				most             int  // blocks
				before           string
			}{
				"FlowsDue":    {sqlFlowsDue, "timestamptz, bigint, integer", "'-infinity', 0, 100", true, 300, ""},
				"FlowNext":    {sqlFlowNext, "timestamptz", "now()", true, 20, ""},
				"FlowDue":     {sqlFlowDue, "bigint[]", few, false, 60, ""},
				"RunDue":      {sqlRunDue, "jsonb, timestamptz, bigint, integer", "'{}', '-infinity', 0, 100", true, 1200, ""},
				"RunDueOf":    {sqlRunDueOf, "jsonb, timestamptz, bigint, integer, bigint[]", "'{}', '-infinity', 0, 100, " + few, true, 100, ""},
				"Activity":    {sqlRunActivity, "bigint[]", few, true, 60, ""},
				"FlowsByName": {sqlFlowsByName, "text[]", "array['flow 7', 'flow 8']", false, 40, ""},
				"FlowStats":   {sqlFlowStats, "bigint[], integer", few + ", 100", true, 80, ""},
				"Live":        {sqlRunLive, "bigint", "7", true, 60, ""},
				"WaitLike":    {sqlRunWaitingLike, "bigint, text", "7, '6'", true, 60, ""},
				"Next":        {sqlRunNext, "bigint, bigint, text, integer", "1, 8, '', 0", false, 60, ""},
				"ClaimMany":   {claimMany.claim, claimTypes, few + ", array[1, 1, 1], array[0, 0, 0], array[false, false, false], array[0, 0, 0], 'w', 1, 'v', 2", false, 200, ""},
				"EndMany":     {sqlEndMany, endTypes, "array[3001, 3002], array[0, 0], array['success', 'success'], array[0, 0], array[false, false], array['', ''], array[null, null], array[false, false], array[0, 0]", false, 160, held},
				"Prune":       {sqlRunPrune, "text, bigint, bigint, bigint, bigint[], bigint[]", "'success', 1000000, 1000000, -1, array[3001, 3002], array[8, 9]", false, 80, ended},
				"ClaimOne":    {claimOne.claim, claimTypes, "array[7], array[1], array[0], array[false], array[0], 'w', 1, 'v', 2", false, 100, ""},
				"EndOne":      {sqlRunEnd, "bigint, bigint, text, bigint, boolean, text, text, boolean", "3001, 0, 'success', 0, false, '', null, false", false, 60, held},
				"InsertMany": {
					sqlRunInsertMany, "bigint[], text[], text[], timestamptz[], integer[], text[], bigint[], text[], text[], text[], text[], text[], text[], boolean[], jsonb[], text[], boolean",
					"array[7, 8], array['schedule', 'schedule'], array['key', 'key'], array[now(), now()], array[5, 5], array['', ''], array[null, null]::bigint[], array['', ''], array['', ''], array['', ''], array[null, null], array[null, null], array[null, null], array[true, true], array[null, null]::jsonb[], array['', ''], false",
					false, 300, "",
				},
				"WaitMany": {sqlRunWaitingMany, "bigint[], text[], jsonb[]", "array[8, 9], array['7', '8'], array[null, null]::jsonb[]", false, 60, ""},
				"Tick":     {sqlRunByTick, "bigint, timestamptz", "7, now()", false, 40, ""},
				"Wait":     {sqlRunWaiting, "bigint, text, jsonb", "8, '7', null", false, 40, ""},
				// These two read past the due flows of other processes, until Postgres plans anew.
				"FlowsDueOf": {sqlFlowsDueOf, "timestamptz, bigint, integer, bigint[]", "'-infinity', 0, 100, " + few, true, 300, ""},
				"FlowNextOf": {sqlFlowNextOf, "timestamptz, bigint[]", "now(), " + few, true, 300, ""},
			}
			plan := func(name string) string {
				a := asked[name]
				tx, err := conn.Begin(t.Context())
				require.NoError(t, err)
				defer tx.Rollback(t.Context()) //nolint:errcheck // nothing is kept
				_, err = tx.Exec(t.Context(), sqlByIndexes+"; select set_config('dataflow.claim', '7,8,9,10', true)")
				require.NoError(t, err)
				_, err = tx.Exec(t.Context(), cmp.Or(a.before, "select"))
				require.NoError(t, err)
				rows, err := tx.Query(t.Context(), fmt.Sprintf("explain (analyze, buffers, costs off, timing off) execute %s (%s)", strings.ToLower(name), a.args))
				require.NoError(t, err)
				lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
				require.NoError(t, err, name)
				return strings.Join(lines, "\n")
			}
			if at.begun {
				exec(sqlFirst + sqlBegun)
			}
			for _, poll := range []bool{true, false} {
				for name, a := range asked {
					if a.poll == poll {
						exec(fmt.Sprintf("prepare %s (%s) as %s", strings.ToLower(name), a.types, st.(*store).text(a.sql))) //nolint:forcetypeassert // it is our own
						plan(name)                                                                                          // it is kept from now on
					}
				}
				if poll && !at.begun {
					exec(sqlFirst)
				}
			}
			exec(sqlBurst)
			var anew string // Postgres 13 does not count plans
			require.NoError(t, conn.QueryRow(t.Context(), "select coalesce(string_agg(name, ', '), '') from pg_prepared_statements p where from_sql and (to_jsonb(p) ->> 'custom_plans')::int > 0").Scan(&anew))
			require.Empty(t, anew, "their plans are not kept")
			for name, a := range asked {
				t.Run(name, func(t *testing.T) {
					text, blocks := "", 0
					for range 3 { // what writes may have to make room in an index, which the next has then
						text, blocks = plan(name), 0
						read := regexp.MustCompile(`Buffers: shared (?:hit=(\d+))?(?: ?read=(\d+))?`).FindStringSubmatch(text)
						require.NotNil(t, read, text)
						for _, n := range read[1:] {
							if n != "" {
								k, err := strconv.Atoi(n)
								require.NoError(t, err)
								blocks += k
							}
						}
						if blocks <= a.most {
							break
						}
					}
					require.LessOrEqual(t, blocks, a.most, text)
				})
			}
		})
	}
}
