package cli_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
	"github.com/activedataflow/dataflow/internal/cli"
)

// opens lets a shop open once the command has said that it is closed.
type opens struct {
	strings.Builder
	open atomic.Bool
}

func (o *opens) Write(b []byte) (int, error) {
	n, err := o.Builder.Write(b)
	o.open.Store(strings.Contains(o.String(), "the shop is closed"))
	return n, err
}

// A run in progress that waits for trouble to pass says which trouble that is, once.
func TestWait_Trouble(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *cliT) {
		var said opens
		t.program.Configure = func(context.Context, cli.Database) (*dataflow.Config, error) {
			return &dataflow.Config{Flows: []*dataflow.Flow{dataflow.NewFlow("orders", count{to: 1}, dataflow.Map(func(_ context.Context, n int64) (int64, error) {
				if !said.open.Load() {
					return 0, dataflow.Transient(errors.New("the shop is closed"))
				}
				return n, nil
			}), memory.NewSink[int64]().Target(), nil)}}, nil
		}
		t.migrated()
		code := cli.Run(t.Context(), []string{"enqueue", "orders", "--wait"}, t.program, cli.Streams{
			In: strings.NewReader(""), Out: io.Discard, Err: &said, Env: func(name string) string { return t.env[name] }, Now: time.Now,
		})
		require.Equal(t, 0, code, said.String())
		require.Regexp(t, `^Run 1 waits for trouble that should pass: .*the shop is closed, since [^\n]*\n$`, said.String())
	})
}

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
