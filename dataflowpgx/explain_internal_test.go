package dataflowpgx

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

const sqlManyRuns = `
insert into dataflow_flow (name, source, sink, runtime, guarantee)
select 'flow ' || i, '{}', '{}', '{}', 'exactly_once' from generate_series(1, 20) i;

insert into dataflow_run (flow_id, trigger, state, scheduled_for, run_after, created_at, started_at, ended_at, max_attempts, attempt, river_job_id)
select 1 + i % 20, 'schedule', (array['success', 'failed', 'cancelled'])[1 + i % 3], t, t, t, t, t, 5, 1, i
from (select i, now() - i * interval '1 minute' as t from generate_series(1, 20000) i) finished;

insert into dataflow_run (flow_id, trigger, state, scheduled_for, run_after, created_at, max_attempts, slot, lease_until)
select i, 'schedule', 'in_progress', now(), now(), now(), 5, 0, now() + i * interval '1 second' from generate_series(1, 5) i;

insert into dataflow_run (flow_id, trigger, scheduled_for, run_after, created_at, max_attempts)
select 1 + i % 20, 'manual', now(), now() + (i - 30) * interval '1 minute', now(), 5 from generate_series(1, 60) i;

insert into dataflow_tick (flow_id, first_at, last_at, reason)
select 1 + i % 20, t, t, 'overlap' from (select i, now() - i * interval '1 hour' as t from generate_series(1, 2000) i) skipped;

analyze;
`

// A list of runs with any filter must not read the runs that it leaves out, also by the plan
// that does not know the arguments.
func TestExplain_RunList(t *testing.T) {
	t.Parallel()
	pool := dbtest.Postgres(t)
	st, err := New(pool).Store(dataflow.StoreOptions{})
	require.NoError(t, err)
	require.NoError(t, st.Migrate(t.Context()))
	_, err = pool.Exec(t.Context(), sqlManyRuns)
	require.NoError(t, err)
	for _, flow := range []string{"", "flow 7"} {
		for _, states := range [][]dataflow.RunState{nil, {dataflow.RunFailed}, {dataflow.RunPending, dataflow.RunInProgress}} {
			for _, trigger := range []dataflow.Trigger{"", dataflow.TriggerManual} {
				t.Run(fmt.Sprint(flow, states, trigger), func(t *testing.T) {
					t.Parallel()
					query, args := runListQuery(&dataflow.RunListParams{Flow: flow, States: states, Trigger: trigger, Before: 1 << 40, Limit: 10})
					for _, mode := range []string{"force_custom_plan", "force_generic_plan"} {
						plan := explainAnalyze(t, pool, mode, st.(*store).text(query), args) //nolint:forcetypeassert // it is our own
						require.NotContains(t, plan, "Seq Scan on dataflow_run", plan)
						for _, removed := range regexp.MustCompile(`Rows Removed by Filter: (\d+)`).FindAllStringSubmatch(plan, -1) {
							n, err := strconv.Atoi(removed[1])
							require.NoError(t, err)
							require.LessOrEqual(t, n, 65, "more than the live runs: %s", plan)
						}
						for _, rows := range regexp.MustCompile(`actual time=\S+ rows=(\d+)`).FindAllStringSubmatch(plan, -1) {
							n, err := strconv.Atoi(rows[1])
							require.NoError(t, err)
							require.LessOrEqual(t, n, 300, "more than a page of each state and trigger: %s", plan)
						}
					}
				})
			}
		}
	}
}

func explainAnalyze(t *testing.T, pool *pgxpool.Pool, mode, sql string, args []any) string {
	t.Helper()
	tx, err := pool.Begin(t.Context())
	require.NoError(t, err)
	defer tx.Rollback(t.Context()) //nolint:errcheck // nothing is kept
	_, err = tx.Exec(t.Context(), "set local plan_cache_mode = "+mode)
	require.NoError(t, err)
	rows, err := tx.Query(t.Context(), "explain (analyze, costs off) "+sql, args...)
	require.NoError(t, err)
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	return strings.Join(lines, "\n")
}

// pendingOf matches the indexes that begin with the flow, and have its pending runs.
const pendingOf = "dataflow_run_(waiting|next)"

// The types of the arguments of claims and of ends.
const (
	claimTypes = "bigint[], integer[], integer[], boolean[], bigint[], text, bigint, text, integer"
	endTypes   = "bigint[], bigint[], text[], bigint[], boolean[], text[], text[], boolean[], integer[]"
)

// The cost of the frequent statements must not grow with the number of finished runs.
func TestExplain(t *testing.T) {
	t.Parallel()
	pool := dbtest.Postgres(t)
	st, err := New(pool).Store(dataflow.StoreOptions{})
	require.NoError(t, err)
	require.NoError(t, st.Migrate(t.Context()))
	_, err = pool.Exec(t.Context(), sqlManyRuns)
	require.NoError(t, err)
	text := st.(*store).text //nolint:forcetypeassert // it is our own

	claimIndexes := []string{"dataflow_run_pkey", "dataflow_run_slot", pendingOf, "dataflow_checkpoint_pkey"}
	for name, c := range map[string]struct {
		sql, types, args string
		indexes          []string
	}{
		"Due":       {text(sqlRunDue), "jsonb, timestamptz, bigint, integer", `'{"7": [1, 0], "8": [1, 2]}', '-infinity', 0, 100`, []string{"dataflow_run_slot"}},
		"DueOf":     {text(sqlRunDueOf), "jsonb, timestamptz, bigint, integer, bigint[]", `'{"7": [1, 0], "8": [1, 2]}', '-infinity', 0, 100, array[7, 8, 9]`, []string{"dataflow_run_slot"}},
		"Live":      {text(sqlRunLive), "bigint", "7", []string{"dataflow_run_slot", pendingOf}},
		"Lease":     {"select id from dataflow_run where state = 'in_progress' and lease_until < $1", "timestamptz", "now()", []string{"dataflow_run_slot"}},
		"Job":       {text(sqlRunByJob), "bigint", "77", []string{"dataflow_run_job"}},
		"ClaimOne":  {text(claimOne.claim), claimTypes, "array[20066], array[1], array[2], array[false], array[0], 'w', 1, 'v', 2", claimIndexes},
		"ClaimMany": {text(claimMany.claim), claimTypes, "array[20006, 20007, 20008], array[1, 1, 1], array[0, 0, 2], array[false, false, true], array[0, 0, 0], 'w', 1, 'v', 2", claimIndexes},
		"EndMany":   {text(sqlEndMany), endTypes, "array[20001, 20002], array[0, 0], array['success', 'failed'], array[0, 0], array[false, false], array['', 'x'], array[null, null], array[false, false], array[0, 0]", []string{"dataflow_run_pkey", "dataflow_run_next"}},
		"Next":      {text(sqlRunNext), "bigint, bigint, text, integer", "20001, 7, '', 0", []string{"dataflow_run_next"}},
		"Wait":      {text(sqlRunWaiting), "bigint, text, jsonb", "7, 'now', null", []string{"dataflow_run_waiting"}},
		"WaitLike":  {text(sqlRunWaitingLike), "bigint, text", "7, 'now'", []string{pendingOf}},
		"Tick":      {text(sqlRunByTick), "bigint, timestamptz", "7, now()", []string{"dataflow_run_tick"}},
		"Activity":  {text(sqlRunActivity), "bigint[]", "array[7, 8, 9]", []string{"dataflow_run_slot", pendingOf}},
		"FlowDue":   {text(sqlFlowDue), "bigint[]", "array[7, 8, 9]", []string{"dataflow_flow"}},
		"Skip":      {text(sqlTickSkip), "bigint[], timestamptz[], timestamptz[], bigint[], text[]", "array[7], array[now() - interval '1 minute'], array[now()], array[3], array['overlap']", []string{"dataflow_tick_flow", "dataflow_run_tick"}},
		"Insert":    {text(sqlRunInsert), "bigint, text, text, timestamptz, integer, text, bigint, text, text, text, text, text, text, boolean, jsonb, boolean, text", "7, 'schedule', 'key', now(), 5, '', null, '', '', '', null, null, null, true, null, false, ''", []string{"dataflow_run_tick"}},
		"InsertMany": {
			text(sqlRunInsertMany), "bigint[], text[], text[], timestamptz[], integer[], text[], bigint[], text[], text[], text[], text[], text[], text[], boolean[], jsonb[], text[], boolean",
			"array[7], array['schedule'], array['key'], array[now()], array[5], array[''], array[null]::bigint[], array[''], array[''], array[''], array[null], array[null], array[null], array[true], array[null]::jsonb[], array[''], false",
			[]string{"dataflow_run_tick"},
		},
		"CallbackTake": {text(sqlCallbackTake), "bigint[], integer, bigint", "array[7, 8, 9], 10, 1000", []string{"dataflow_run_callback"}},
		"CallbackList": {text(sqlCallbackList), "bigint, boolean, integer", "7, true, 10", []string{"dataflow_run_callback"}},
		"WaitMany": {
			text(sqlRunWaitingMany), "bigint[], text[], jsonb[]", "array[7], array['key'], array[null]::jsonb[]",
			[]string{"dataflow_run_waiting"},
		},
	} {
		for _, mode := range []string{"force_custom_plan", "force_generic_plan"} {
			t.Run(name+"/"+mode, func(t *testing.T) {
				t.Parallel()
				plan := explain(t, pool, mode, c.sql, c.types, c.args)
				require.NotContains(t, plan, "Seq Scan on dataflow_run", plan)
				for _, index := range c.indexes {
					require.Regexp(t, index, plan)
				}
			})
		}
	}
}

// A plan that is made while the tables are empty is kept when they have grown.
func TestExplain_EmptyTables(t *testing.T) {
	t.Parallel()
	pool := dbtest.Postgres(t)
	st, err := New(pool).Store(dataflow.StoreOptions{})
	require.NoError(t, err)
	require.NoError(t, st.Migrate(t.Context()))
	_, err = pool.Exec(t.Context(), "analyze")
	require.NoError(t, err)
	text := st.(*store).text //nolint:forcetypeassert // it is our own
	for name, c := range map[string]struct{ first, sql, types, args string }{
		"Claim": {sqlByIndexes, text(claimMany.claim), claimTypes, "array[1, 2], array[1, 1], array[0, 0], array[false, false], array[0, 0], 'w', 1, 'v', 2"},
		"Lock":  {sqlByIndexes, text(claimMany.lock), "bigint[], bigint[]", "array[1, 2], array[1, 0]"},
		"End":   {sqlByIndexes, text(sqlEndMany), endTypes, "array[1, 2], array[0, 0], array['success', 'failed'], array[0, 0], array[false, false], array['', 'x'], array[null, null], array[false, false], array[0, 0]"},
	} {
		plan := explain(t, pool, "force_generic_plan; "+c.first, c.sql, c.types, c.args)
		require.NotContains(t, plan, "Seq Scan", name+plan)
	}
}

// A claim of 100 runs, and their end, read a few blocks for each run, by plans that were made while
// the tables were empty, or there were no checkpoints: also when each flow has ended runs, and many ticks
// wait, and many flows have checkpoints.
func TestExplain_GrownTables(t *testing.T) {
	t.Parallel()
	for _, empty := range []bool{true, false} {
		t.Run(fmt.Sprintf("empty=%v", empty), func(t *testing.T) {
			t.Parallel()
			explainGrown(t, empty)
		})
	}
}

func explainGrown(t *testing.T, empty bool) {
	t.Helper()
	const runs, most = 100, 70
	pool := dbtest.Postgres(t)
	st, err := New(pool).Store(dataflow.StoreOptions{})
	require.NoError(t, err)
	require.NoError(t, st.Migrate(t.Context()))
	tx, err := pool.Begin(t.Context())
	require.NoError(t, err)
	defer tx.Rollback(t.Context()) //nolint:errcheck // nothing is kept
	exec := func(sql string) {
		t.Helper()
		_, err := tx.Exec(t.Context(), st.(*store).text(sql)) //nolint:forcetypeassert // it is our own
		require.NoError(t, err)
	}
	each := func(value string) string {
		return "array[" + strings.TrimSuffix(strings.Repeat(value+", ", runs), ", ") + "]"
	}
	statements := func(ids string) []string {
		return []string{
			"execute locked (" + ids + ", " + each("0") + ")",
			fmt.Sprintf("execute claimed (%s, %s, %s, %s, %s, 'w', 1000000, 'v', 2)", ids, each("1"), each("0"), each("false"), ids),
			fmt.Sprintf("execute ended (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
				ids, each("1"), each("'success'"), each("0"), each("false"), each("''"), each("null"), each("false"), each("0")),
		}
	}
	makePlans := func() {
		exec("analyze") // so that the planner knows what is empty
		exec(sqlByIndexes)
		exec("prepare locked (bigint[], bigint[]) as " + claimMany.lock)
		exec("prepare claimed (" + claimTypes + ") as " + claimMany.claim)
		exec("prepare ended (" + endTypes + ") as " + sqlEndMany)
		for _, sql := range statements(each("0")) {
			exec(sql)
		}
	}
	if empty {
		makePlans()
	}
	exec(fmt.Sprintf("insert into {s}dataflow_flow (name, source, sink, runtime, guarantee) select 'flow ' || i, '{}', '{}', '{}', 'exactly_once' from generate_series(1, %d) i", runs))
	run := "insert into {s}dataflow_run (flow_id, trigger, state, ended_at, scheduled_for, run_after, created_at, max_attempts, queue) select i, 'schedule', "
	exec(run + fmt.Sprintf("'pending', null, now() - interval '9 hours', now(), now(), 5, 'etl' from generate_series(1, %d) i", runs))
	exec(run + fmt.Sprintf("'pending', null, now() + n * interval '1 second', now(), now(), 5, 'etl' from generate_series(1, %d) i, generate_series(5041, 5060) n", runs))
	exec(run + "'pending', null, now() + n * interval '1 second', now(), now(), 5, 'etl' from generate_series(1, 1) i, generate_series(1, 5000) n")
	exec(run + fmt.Sprintf("'success', now(), now() - interval '10 hours' - n * interval '1 second', now(), now(), 5, 'etl' from generate_series(1, %d) i, generate_series(1, 50) n", runs))
	exec("insert into {s}dataflow_flow (name, source, sink, runtime, guarantee) select 'other ' || i, '{}', '{}', '{}', 'exactly_once' from generate_series(1, 3000) i")
	if !empty {
		makePlans()
	}
	exec("insert into {s}dataflow_checkpoint (flow_id) select id from {s}dataflow_flow")
	exec("insert into {s}river_job (args, kind, max_attempts) select '{}', 'noop', 1 from generate_series(1, 3000)")
	exec("update {s}dataflow_run set river_job_id = id where state = 'pending' and id <= 3000")
	var ids []string
	for i := range runs {
		ids = append(ids, strconv.Itoa(1+i))
	}
	for i, sql := range statements("array[" + strings.Join(ids, ", ") + "]") {
		rows, err := tx.Query(t.Context(), "explain (analyze, buffers, costs off) "+sql)
		require.NoError(t, err)
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		plan := strings.Join(lines, "\n")
		// Postgres 18 shows two decimals of it.
		require.Regexp(t, fmt.Sprintf(`rows=%d(\.00)? `, map[bool]int{true: 1, false: runs}[i == 0]), lines[0], plan)
		hits := regexp.MustCompile(`shared hit=(\d+)`).FindStringSubmatch(plan)
		n, err := strconv.Atoi(hits[1])
		require.NoError(t, err)
		t.Logf("%d blocks for each run", n/runs)
		require.LessOrEqual(t, n, runs*most, plan)
		for _, removed := range regexp.MustCompile(`Rows Removed by Join Filter: (\d+)`).FindAllStringSubmatch(plan, -1) {
			n, err := strconv.Atoi(removed[1])
			require.NoError(t, err)
			require.LessOrEqual(t, n, runs*most, "it compares all with all: %s", plan)
		}
	}
}

// explain returns the plan of a prepared statement; pgx prepares its statements too.
func explain(t *testing.T, pool *pgxpool.Pool, mode, sql, types, args string) string {
	t.Helper()
	tx, err := pool.Begin(t.Context())
	require.NoError(t, err)
	defer tx.Rollback(t.Context()) //nolint:errcheck // nothing is kept
	_, err = tx.Exec(t.Context(), fmt.Sprintf("set local plan_cache_mode = %s; prepare asked (%s) as %s", mode, types, sql))
	require.NoError(t, err)
	defer tx.Exec(t.Context(), "deallocate asked") //nolint:errcheck // the pool's connection is closed soon
	rows, err := tx.Query(t.Context(), "explain execute asked ("+args+")")
	require.NoError(t, err)
	var lines []string
	for rows.Next() {
		var line string
		require.NoError(t, rows.Scan(&line))
		lines = append(lines, line)
	}
	require.NoError(t, rows.Err())
	return strings.Join(lines, "\n")
}
