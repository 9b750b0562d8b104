package dataflowsqlite

import (
	"database/sql"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// The cost of the frequent statements must not grow with the number of finished runs.
func TestExplain(t *testing.T) {
	t.Parallel()
	db := dbtest.SQLite(t)
	st, err := New(db).Store(dataflow.StoreOptions{})
	require.NoError(t, err)
	require.NoError(t, st.Migrate(t.Context()))
	text := st.(*store).text //nolint:forcetypeassert // it is our own

	for name, c := range map[string]struct {
		sql     string
		indexes []string
	}{
		"Due":      {text(sqlRunDue), []string{"dataflow_run_loop", "dataflow_run_slot"}},
		"Crowded":  {text(sqlFlowsCrowded), []string{"dataflow_run_slot", "dataflow_run_due"}},
		"Stranded": {text(sqlRunsStranded), []string{"dataflow_run_due"}},
		"Next":     {text(sqlFlowNext), []string{"dataflow_flow_next_run", "dataflow_flow_probe"}},
		"Changed":  {text(sqlFlowsChanged), []string{"dataflow_flow_changed"}},
		"Live":     {text(sqlRunLive), []string{"dataflow_run_slot", "dataflow_run_waiting", "SEARCH r USING INTEGER PRIMARY KEY"}},
		"Lease":    {"select id from dataflow_run where state = 'in_progress' and lease_until < ?", []string{"dataflow_run_lease"}},
		"Job":      {text(sqlRunByJob), []string{"dataflow_run_job"}},
		"Claim":    {text(sqlRunClaim), []string{"SEARCH r USING INTEGER PRIMARY KEY", "dataflow_run_slot", "dataflow_run_waiting"}},
		"Wait":     {text(sqlRunWaiting), []string{"dataflow_run_waiting"}},
		"WaitLike": {text(sqlRunWaitingLike), []string{"dataflow_run_waiting"}},
		"Tick":     {text(sqlRunByTick), []string{"dataflow_run_tick"}},
		"Activity": {text(sqlRunActivity), []string{"dataflow_run_slot", "dataflow_run_waiting"}},
		"Stats":    {text(sqlFlowStats), []string{"dataflow_run_slot", "dataflow_run_waiting", "dataflow_dead_letter_unclosed", "SEARCH f USING INTEGER PRIMARY KEY"}},
		"FlowDue":  {text(sqlFlowDue), []string{"SEARCH f USING INTEGER PRIMARY KEY"}},
		"FlowsDue": {text(sqlFlowsDue), []string{"dataflow_flow_next_run", "dataflow_flow_probe"}},
		"List":     {text(list("", 10)), []string{"dataflow_run_all_ended (state=? AND trigger=? AND id<?)", "dataflow_run_slot", "dataflow_run_due"}},
		"ListFlow": {text(list("f", 10)), []string{"dataflow_run_flow_ended (flow_id=? AND state=? AND trigger=? AND id<?)", "dataflow_run_slot", "dataflow_run_next"}},
		"Callback": {text(sqlCallbackDue), []string{"dataflow_run_callback"}},
		"Untold":   {text(sqlCallbackList), []string{"dataflow_run_callback"}},
		"Skip":     {text(sqlTickExtend), []string{"dataflow_tick_flow", "dataflow_run_tick"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			plan := explain(t, db, c.sql)
			require.NotContains(t, plan, "SCAN r USING", plan)
			require.NotContains(t, plan, "SCAN o", plan)
			for _, index := range c.indexes {
				require.Contains(t, plan, index, plan)
			}
		})
	}
}

func explain(t *testing.T, db *sql.DB, query string) string {
	t.Helper()
	args := append([]any{1, 2, 3, 4, 5, "[0]", "[1000]"}, make([]any, 100)...) // as many as any statement has
	rows, err := db.QueryContext(t.Context(), "explain query plan "+query, args...)
	require.NoError(t, err)
	defer rows.Close() //nolint:errcheck // rows.Err tells what matters
	var lines []string
	for rows.Next() {
		var id, parent, unused int
		var detail string
		require.NoError(t, rows.Scan(&id, &parent, &unused, &detail))
		lines = append(lines, detail)
	}
	require.NoError(t, rows.Err())
	return strings.Join(lines, "\n")
}

func list(flow string, limit int) string {
	query, _ := runListQuery(&dataflow.RunListParams{Flow: flow, Limit: limit})
	return query
}
