package cli_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// The command completes an interrupted migration back, and says so.
func TestMigrateRuntime_Interrupted(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *cliT) {
		t.migrated()
		t.ok("migrate-runtime", "orders", "broken", "--to", "job_queue", "--yes")
		t.ok("migrate-runtime", "orders", "--to", "heartbeat", "--yes")
		// The state after an interrupt that came after the flow was moved back.
		t.exec(`update dataflow_flow set runtime_from = runtime where name = 'orders'`)
		t.exec(`update dataflow_run set state = 'pending', ended_at = null, cancel_requested_at = null where id = 2`)
		t.ask, t.in = true, "n\n"
		for name, says := range map[string]string{
			"orders": "This completes the move of 1 flow to heartbeat, and cancels 1 waiting run. Go on?",
			"broken": "This moves 1 flow to heartbeat, and cancels 1 waiting run. Go on?",
			"":       "This moves 2 flows to heartbeat, completes the move of 1 flow to heartbeat, and cancels 2 waiting runs. Go on?",
		} {
			args := []string{"migrate-runtime", "--to", "heartbeat"}
			if name != "" {
				args = append(args, name)
			}
			require.Contains(t, t.fails(4, args...), says)
		}
		t.ok("migrate-runtime", "orders", "--to", "heartbeat", "--yes")
		require.Contains(t, t.ok("run", "list", "--flow", "orders", "--state", "cancelled"), "\n2 ")
		require.Contains(t, t.ok("migrate-runtime", "orders", "--to", "heartbeat", "--yes"), "There is nothing to move to heartbeat.")
	})
}
