//go:build unix

package cli_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/cli"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// command is a process of the program.
func (t *cliT) command(args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, os.Args[0], append([]string{"-test.run=none", "--"}, args...)...)
	cmd.Env = append(os.Environ(), childEnv+"=1", "DATABASE_URL="+t.url, "USER=ann")
	return cmd
}

// begun starts a command that follows a run, and returns once the run is in progress.
func (t *cliT) begun(cmd *exec.Cmd) (stderr *strings.Builder, out *os.File) {
	t.Helper()
	stderr = &strings.Builder{}
	cmd.Stderr = stderr
	out, w, err := os.Pipe()
	require.NoError(t, err)
	t.Cleanup(func() { _ = out.Close() })
	cmd.Stdout = w
	require.NoError(t, cmd.Start())
	require.NoError(t, w.Close())
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "in_progress") {
			return stderr, out
		}
	}
	require.FailNow(t, "it has ended", stderr.String())
	return nil, nil
}

// slow registers the slow flows.
func (t *cliT) slow() {
	t.Helper()
	out, err := t.command("migrate", "up").CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// state returns a run as the database has it.
func (t *cliT) state(id int64) *dataflow.Run {
	t.Helper()
	run, err := t.client(&dataflow.Config{}).Run(t.Context(), id)
	require.NoError(t, err)
	return run
}

// An interrupt ends a command in good order, and the command says what happens to the run.
func TestInterrupt(t *testing.T) {
	t.Parallel()
	t.Run("WorkedHere", func(t *testing.T) {
		t.Parallel()
		onBoth(t, func(t *cliT) {
			t.slow()
			for i, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
				cmd := t.command("enqueue", "slow", "--wait")
				stderr, _ := t.begun(cmd)
				require.NoError(t, cmd.Process.Signal(signal))
				require.Equal(t, 1, exitOf(cmd.Wait()), stderr)
				require.Contains(t, stderr.String(), fmt.Sprintf("interrupted: run %d was handed back, and continues when a process with its code takes it up", i+1))
				run := t.state(int64(i + 1))
				require.Equal(t, dataflow.RunPending, run.State)
				require.Zero(t, run.Attempt, "an attempt was spent")
			}
		})
	})
	t.Run("RunDue", func(t *testing.T) {
		t.Parallel()
		onBoth(t, func(t *cliT) {
			t.slow()
			out, err := t.command("enqueue", "slow").CombinedOutput()
			require.NoError(t, err, "%s", out)
			cmd := t.command("run-due")
			var stderr strings.Builder
			cmd.Stderr = &stderr
			require.NoError(t, cmd.Start())
			require.Eventually(t, func() bool { return t.state(1).State == dataflow.RunInProgress }, 2*time.Minute, 50*time.Millisecond)
			require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
			require.Equal(t, 1, exitOf(cmd.Wait()), stderr.String())
			require.Contains(t, stderr.String(), "run 1 was handed back")
			require.Equal(t, dataflow.RunPending, t.state(1).State)
		})
	})
	t.Run("WorkedElsewhere", func(t *testing.T) {
		t.Parallel()
		onBoth(t, func(t *cliT) {
			t.slow()
			worker := t.client(&dataflow.Config{Flows: slowFlows(), ID: "elsewhere"})
			require.NoError(t, worker.Start(t.Context()))
			cmd := t.command("enqueue", "queued", "--wait")
			stderr, _ := t.begun(cmd)
			require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
			require.Equal(t, 1, exitOf(cmd.Wait()), stderr)
			require.Contains(t, stderr.String(), "run 1 continues on worker elsewhere: shop run show 1 --follow")
			require.Equal(t, dataflow.RunInProgress, t.state(1).State)

			out, err := t.command("run", "cancel", "1", "--wait").CombinedOutput()
			require.NoError(t, err, "%s", out)
			require.Contains(t, string(out), `Run 1 of flow "queued" is cancelled.`)
			require.NoError(t, worker.Stop(t.Context()))
		})
	})
}

// The reader of the output may close it early.
func TestClosedOutput(t *testing.T) {
	t.Parallel()
	t.Run("Nothing", func(t *testing.T) {
		t.Parallel()
		onBoth(t, func(t *cliT) {
			t.slow()
			r, w, err := os.Pipe()
			require.NoError(t, err)
			require.NoError(t, r.Close())
			cmd := t.command("flow", "list")
			var stderr strings.Builder
			cmd.Stdout, cmd.Stderr = w, &stderr
			err = cmd.Run()
			require.NoError(t, w.Close())
			require.Equal(t, 0, exitOf(err))
			require.Empty(t, stderr.String())
		})
	})
	t.Run("WhileItWorks", func(t *testing.T) {
		t.Parallel()
		onBoth(t, func(t *cliT) {
			t.slow()
			cmd := t.command("enqueue", "slow", "--wait")
			stderr, out := t.begun(cmd)
			require.NoError(t, out.Close())
			require.Equal(t, 1, exitOf(cmd.Wait()), stderr)
			require.True(t, cmd.ProcessState.Exited(), "it was killed: %s", cmd.ProcessState)
			require.Contains(t, stderr.String(), "shop: the output can no longer be written: run 1 was handed back, and continues when a process with its code takes it up")
			run := t.state(1)
			require.Equal(t, dataflow.RunPending, run.State, "it was not handed back")
			require.Zero(t, run.Attempt)
		})
	})
}

// unwritable is an output whose writes fail for a reason.
type unwritable struct{ reason error }

func (u unwritable) Write([]byte) (int, error) { return 0, u.reason }

// A command reports its errors even if its output is lost. Lost output makes it fail, unless
// the reader closed the pipe.
func TestOutput_Lost(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *cliT) {
		t.migrated()
		lost := func(reason error, args ...string) (code int, said string) {
			var stderr strings.Builder
			code = cli.Run(t.Context(), args, t.program, cli.Streams{
				In: strings.NewReader(""), Out: unwritable{reason}, Err: &stderr, Env: func(name string) string { return t.env[name] }, Now: func() time.Time { return noon },
			})
			return code, stderr.String()
		}
		for _, reason := range []error{syscall.EPIPE, syscall.ENOSPC} {
			t.ok("enqueue", "broken")
			code, said := lost(reason, "run-due")
			require.Equal(t, 1, code)
			require.Contains(t, said, "the shop is")
			code, said = lost(reason, "enqueue", "broken", "--wait")
			require.Equal(t, 1, code)
			require.Contains(t, said, "shop: the output can no longer be written: run")
			want := map[error]int{syscall.EPIPE: 0, syscall.ENOSPC: 1}[reason]
			for _, args := range [][]string{{"flow", "list"}, {"enqueue", "orders"}, {"completion", "bash"}, {"--help"}} {
				code, said = lost(reason, args...)
				require.Equal(t, want, code, "%q: %s", args, said)
				require.Equal(t, want == 1, strings.Contains(said, "shop: the output can no longer be written: no space left on device"), "%q: %s", args, said)
			}
		}
		t.exec(`insert into dataflow_migration (version, name) values (4711, 'from_the_future')`)
		code, said := lost(syscall.EPIPE, "doctor")
		require.Equal(t, 5, code)
		require.Contains(t, said, "newer than the")
	})
}

func TestWork(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *cliT) {
		t.slow()
		worker := t.command("work")
		var stderr strings.Builder
		worker.Stderr = &stderr
		require.NoError(t, worker.Start())
		cmd := t.command("enqueue", "queued", "--wait")
		said, out := t.begun(cmd)
		require.NoError(t, out.Close())
		require.Equal(t, 1, exitOf(cmd.Wait()), said)
		require.Contains(t, said.String(), "shop: the output can no longer be written: run 1 continues on worker")
		require.NoError(t, worker.Process.Signal(syscall.SIGTERM))
		require.Equal(t, 0, exitOf(worker.Wait()), stderr.String())
		require.Contains(t, stderr.String(), "dataflow: stopped")
		require.Equal(t, dataflow.RunPending, t.state(1).State)
	})
}

// os.DevNull does not count as a terminal, although it is a character device.
func TestConfirm_DevNull(t *testing.T) {
	t.Parallel()
	c := newCLI(t, dbtest.SQLitePath(t))
	c.slow()
	cmd := c.command("migrate", "down", "--to", "0") // it reads from os.DevNull, as Stdin is nil
	out, err := cmd.CombinedOutput()
	require.Equal(t, 2, exitOf(err), "%s", out)
	require.Contains(t, string(out), "There is no terminal to ask on: use --yes")
}
