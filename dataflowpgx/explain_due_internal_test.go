package dataflowpgx

import (
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// 20,000 flows, of which 300 are due; 5,000 runs that wait for River jobs, and 400 that need none.
const sqlManyDue = `
insert into dataflow_flow (name, source, sink, runtime, guarantee, next_run_at, probe_at, changed)
select 'flow ' || i, '{}', '{}', '{"type":"job_queue","queue":"etl"}', 'exactly_once',
	now() + (i - 300) * interval '1 minute', case when i % 100 = 0 then now() + i * interval '1 minute' end, i
from generate_series(1, 20000) i;

insert into dataflow_run (flow_id, trigger, state, scheduled_for, run_after, created_at, started_at, ended_at, max_attempts, attempt)
select 1 + i % 20000, 'schedule', 'success', t, t, t, t, t, 5, 1
from (select i, now() - i * interval '1 minute' as t from generate_series(1, 40000) i) finished;

insert into river_job (kind, args, max_attempts, queue, state)
select 'data_flow', '{}', 5, 'etl', 'available' from generate_series(1, 5000) i;

insert into dataflow_run (flow_id, trigger, scheduled_for, run_after, created_at, max_attempts, queue, river_job_id)
select 1000 + row_number() over (), 'manual', now(), now() - interval '1 hour', now(), 5, 'etl', id from river_job;

insert into dataflow_run (flow_id, trigger, scheduled_for, run_after, created_at, max_attempts)
select 8000 + i, 'manual', now(), now() - interval '1 hour', now(), 5 from generate_series(1, 400) i;

insert into dataflow_run (flow_id, trigger, state, scheduled_for, run_after, created_at, max_attempts, slot, lease_until)
select 9000 + i, 'schedule', 'in_progress', now(), now(), now(), 5, 0, now() from generate_series(1, 200) i;

analyze;
`

// What is due is found without reading what is not, also by the plan that does not know the
// arguments.
func TestExplain_Due(t *testing.T) {
	t.Parallel()
	pool := dbtest.Postgres(t)
	st, err := New(pool).Store(dataflow.StoreOptions{})
	require.NoError(t, err)
	require.NoError(t, st.Migrate(t.Context()))
	_, err = pool.Exec(t.Context(), sqlManyDue)
	require.NoError(t, err)
	var zero dataflow.Due
	var ids []int64
	for i := range int64(200) {
		ids = append(ids, 100+i)
	}
	for name, c := range map[string]struct {
		sql     string
		args    []any
		indexes []string
	}{
		"FlowsDue":     {sqlFlowsDue, []any{zero.At, zero.ID, 100}, []string{"dataflow_flow_next_run", "dataflow_flow_probe"}},
		"FlowsDueOf":   {sqlFlowsDueOf, []any{zero.At, zero.ID, 100, ids[:5]}, nil},
		"FlowDue":      {sqlFlowDue, []any{ids}, nil},
		"FlowNext":     {sqlFlowNext, []any{zero.At}, []string{"dataflow_flow_next_run", "dataflow_flow_probe"}},
		"FlowNextOf":   {sqlFlowNextOf, []any{zero.At, ids[:5]}, nil},
		"FlowsLock":    {sqlFlowsLock, []any{ids}, []string{"dataflow_flow_pkey"}},
		"FlowsByName":  {sqlFlowsByName, []any{[]string{"flow 7", "flow 8"}}, []string{"dataflow_flow_name_key"}},
		"FlowsChanged": {sqlFlowsChanged, []any{int64(19999)}, []string{"dataflow_flow_changed"}},
		"RunDue":       {sqlRunDue, []any{"{}", zero.At, zero.ID, 100}, []string{"dataflow_run_loop", "dataflow_run_slot"}},
		"RunDueOf":     {sqlRunDueOf, []any{"{}", zero.At, zero.ID, 100, ids[:5]}, []string{"dataflow_run_slot", pendingOf}},
		"FlowStats":    {sqlFlowStats, []any{ids, 10_000}, []string{"dataflow_run_slot", pendingOf}},
		"RunActivity":  {sqlRunActivity, []any{ids}, []string{"dataflow_run_slot", pendingOf}},
		"RunsStranded": {sqlRunsStranded, []any{int64(1), []string{"heartbeat"}, zero.At, zero.ID, 100}, []string{"dataflow_run_due"}},
		"RunStranded":  {sqlRunStranded, []any{int64(1), []string{"heartbeat"}, int64(40100)}, []string{"dataflow_run_pkey"}},
	} {
		for _, mode := range []string{"force_custom_plan", "force_generic_plan"} {
			t.Run(name+"/"+mode, func(t *testing.T) {
				t.Parallel()
				plan := explainAnalyze(t, pool, mode, st.(*store).text(c.sql), c.args) //nolint:forcetypeassert // it is our own
				require.NotContains(t, plan, "Seq Scan on dataflow_run", plan)
				if name != "RunsStranded" { // it joins what it has found to flows
					require.NotContains(t, plan, "Seq Scan on dataflow_flow", plan)
				}
				for _, index := range c.indexes {
					require.Regexp(t, index, plan)
				}
				if name == "RunsStranded" { // it must look at each run that waits for a job
					return
				}
				for _, removed := range regexp.MustCompile(`Rows Removed by [A-Za-z ]*: (\d+)`).FindAllStringSubmatch(plan, -1) {
					n, err := strconv.Atoi(removed[1])
					require.NoError(t, err)
					require.LessOrEqual(t, n, 450, "more than what is due: %s", plan)
				}
			})
		}
	}
}
