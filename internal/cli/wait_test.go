package cli_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A wait that nobody ends says for what it waits, and --timeout ends it. The run stays.
func TestWait_Timeout(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *cliT) {
		t.migrated()
		said := t.fails(1, "enqueue", "nightly", "--wait", "--timeout", "10ms")
		require.Contains(t, said, "not ended within --timeout 10ms: run 1 is pending, and stays so until a process works it or run cancel ends it")
		require.Contains(t, said, "shop run show 1 --follow")
		require.Contains(t, said, "Start a client that has its code")
		require.Contains(t, t.fails(1, "run", "show", "1", "--follow", "--timeout", "10ms"), "not ended within")
		require.Contains(t, t.fails(1, "backfill", "nightly", "--wait", "--timeout", "10ms"), "not ended within")
		require.Contains(t, t.ok("run", "list", "nightly", "--state", "pending"), "backfill")
		t.ok("enqueue", "orders", "--wait", "--timeout", "1m")
	})
}

func TestWait_BadTimeout(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *cliT) {
		t.migrated()
		for _, command := range [][]string{{"enqueue", "nightly"}, {"backfill", "nightly"}, {"run", "show", "1"}, {"run", "retry", "1"}, {"run", "cancel", "1"}} {
			require.Contains(t, t.fails(2, append(command, "--timeout", "1s")...), "--timeout needs --")
			require.Contains(t, t.fails(2, append(command, "--timeout", "-1s")...), "is negative")
		}
	})
}

// run list takes the name of a flow, as other lists do.
func TestRunList_Name(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *cliT) {
		t.migrated()
		t.ok("enqueue", "orders", "--wait")
		t.ok("enqueue", "nightly")
		said := t.ok("run", "list", "orders")
		require.Contains(t, said, "orders")
		require.NotContains(t, said, "nightly")
		require.Equal(t, said, t.ok("run", "list", "--flow", "orders"))
		require.Contains(t, t.fails(2, "run", "list", "orders", "--flow", "nightly"), "two flows are named")
		t.fails(3, "run", "list", "missing")
	})
}
