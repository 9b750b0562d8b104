package cli_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
	"github.com/activedataflow/dataflow/internal/cli"
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

// A command that waits for a run which does not begin says why, once, after some seconds.
func TestWait_Why(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *cliT) {
		t.migrated()
		t.ok("enqueue", "nightly")
		t.ok("flow", "pause", "nightly", "--reason", "month end")
		said := t.fails(1, "run", "show", "1", "--follow", "--timeout", "8s")
		require.Equal(t, 1, strings.Count(said, "Run 1 has not begun yet: "), said)
		require.Regexp(t, `Run 1 has not begun yet: .*paused.*month end`, said)
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

// A run that is for later waits for its time, whoever is there.
func TestWait_NotDue(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *cliT) {
		t.migrated()
		said := t.fails(1, "enqueue", "orders", "--at", "2099-01-01T00:00:00Z", "--wait", "--timeout", "10ms")
		require.Contains(t, said, "--follow: Run 1 waits for its time, 2099-01-01T00:00:00Z")
		require.Contains(t, t.ok("enqueue", "orders", "--at", "2099-01-01T00:00:00Z"), "Run 1 waits for its time, 2099-01-01T00:00:00Z")
	})
}

// The commands say of a flow whose runtime is disabled that no tick starts a run.
func TestFlow_Disabled(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *cliT) {
		t.program.Configure = func(context.Context, cli.Database) (*dataflow.Config, error) {
			flow := dataflow.NewFlow("off", memory.Slice([]int64{1}), dataflow.Identity[int64](), dataflow.ToTx(discard{}), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{Disabled: true, Interval: time.Hour}})
			return &dataflow.Config{Flows: []*dataflow.Flow{flow}, ID: "here", Clock: func() time.Time { return noon }}, nil
		}
		t.migrated()
		require.Regexp(t, `(?m)^off +disabled +heartbeat +every 1h +- `, t.ok("flow", "list"))
		require.Regexp(t, `(?m)^off +disabled +0 +0 +- `, t.ok("status"))
		require.Regexp(t, `(?m)^state +disabled$`, t.ok("flow", "show", "off"))
		require.Regexp(t, `(?m)^off +disabled +2031-02-03T13:00:00Z`, t.ok("schedule", "next", "off"))
		t.ok("flow", "pause", "off")
		require.Regexp(t, `(?m)^off +paused `, t.ok("flow", "list"))
		require.Equal(t, "Flow \"off\" is resumed.\nIts runtime is disabled: it starts no runs until a program with an enabled one has registered it.\n", t.ok("flow", "resume", "off"))
	})
}
