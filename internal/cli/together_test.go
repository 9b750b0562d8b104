//go:build unix

package cli_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/cli"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// longEnv makes TestTogether last for a minute, and kill workers too.
const longEnv = "DATAFLOW_CLI_LONG"

// together is a server with two workers, and the commands that are run on it.
type together struct {
	*cliT
	server  *dbtest.Server
	workers []*exec.Cmd
	logs    []*strings.Builder

	mu  sync.Mutex // guards ids
	ids []int64    // the runs that commands have started
}

// Two workers and many commands do everything at once on one Postgres. It then demands:
//
//   - no number is written twice or left out;
//   - each run that was started ends;
//   - only runs that somebody cancelled are cancelled;
//   - the server's log has no deadlock.
func TestTogether(t *testing.T) {
	t.Parallel()
	lasts, long := 10*time.Second, os.Getenv(longEnv) != ""
	if long {
		lasts = time.Minute
	}
	server := dbtest.StartServer(t)
	c := newCLI(t, server.URL())
	c.program.Configure = func(context.Context, cli.Database) (*dataflow.Config, error) {
		return &dataflow.Config{Flows: togetherFlows()}, nil
	}
	w := &together{cliT: c.migrated(), server: server}
	w.exec(`create table counted (flow text not null, n bigint not null)`)
	for range 2 {
		w.workers, w.logs = append(w.workers, nil), append(w.logs, nil)
		w.startWorker(len(w.workers) - 1)
	}
	ctx, cancel := context.WithTimeout(t.Context(), lasts)
	defer cancel()
	over := ctx.Done()
	var busy sync.WaitGroup
	for seed := range uint64(3) {
		busy.Go(func() { w.commands(over, rand.New(rand.NewPCG(1, seed))) })
	}
	w.disturb(over, long)
	busy.Wait()
	w.quiet()
	w.count()
}

func (w *together) startWorker(i int) {
	w.Helper()
	cmd := w.command("work")
	cmd.Env = append(cmd.Env, togetherEnv+"=1")
	w.logs[i] = &strings.Builder{}
	cmd.Stderr = w.logs[i]
	require.NoError(w, cmd.Start())
	w.workers[i] = cmd
}

// disturb stops the workers in turn and starts them again. With kill, it kills one of them.
func (w *together) disturb(over <-chan struct{}, kill bool) {
	w.Helper()
	tick := time.NewTicker(4 * time.Second)
	defer tick.Stop()
	for i := 0; ; i = 1 - i {
		select {
		case <-over:
			return
		case <-tick.C:
		}
		if kill && i == 1 {
			require.NoError(w, w.workers[i].Process.Kill())
			_ = w.workers[i].Wait()
		} else {
			w.stopWorker(i)
		}
		w.startWorker(i)
	}
}

func (w *together) stopWorker(i int) {
	w.Helper()
	require.NoError(w, w.workers[i].Process.Signal(syscall.SIGTERM))
	require.Zero(w, exitOf(w.workers[i].Wait()), w.logs[i])
	for _, bad := range []string{"panic", "DATA RACE"} {
		require.NotContains(w, w.logs[i].String(), bad)
	}
}

// commandsLeast is how many commands each goroutine runs at least, even on a slow machine.
const commandsLeast = 20

// commands runs random commands until the time is over.
func (w *together) commands(over <-chan struct{}, dice *rand.Rand) {
	for n := 0; ; n++ {
		select {
		case <-over:
			if n >= commandsLeast {
				return
			}
		default:
		}
		name := togetherNames[dice.IntN(len(togetherNames))]
		var args []string
		may := []int{0, 4} // 4 if the flow was paused or the run ended meanwhile
		switch dice.IntN(14) {
		case 0, 1, 2, 3:
			args = []string{"enqueue", name, "-o", "json"}
		case 4:
			args, may = []string{"enqueue", name, "--wait", "-o", "json"}, []int{0, 1, 4} // 1 if it was cancelled or interrupted meanwhile
		case 5:
			args = []string{"enqueue-all", "-o", "json"}
		case 6:
			args, may = []string{"run-due"}, []int{0, 1}
		case 7:
			args = []string{"flow", "pause", name}
		case 8, 9:
			args = []string{"flow", "resume", name}
		case 10:
			args = w.onSome(dice, "cancel", "pending,in_progress")
		case 11:
			args = w.onSome(dice, "retry", "cancelled")
		case 12:
			to := []string{"job_queue", "heartbeat"}[dice.IntN(2)]
			args = []string{"migrate-runtime", "--yes", "--actor", "mover", "--to", to}
		default:
			args = [][]string{{"status"}, {"doctor"}, {"flow", "why", name}, {"schedule", "sync"}, {"cleanup", "--yes"}, {"run", "list"}}[dice.IntN(6)]
		}
		if args == nil {
			continue
		}
		patience := 3 * time.Minute
		if slices.Contains(args, "--wait") { // the wait for a paused flow would not end
			patience = 2 * time.Second
		}
		r := w.runFor(patience, args...)
		if !slices.Contains(may, r.code) {
			w.Errorf("%q: exit code %d: %s", args, r.code, r.err)
		}
		w.note(args, r)
	}
}

// runFor runs a command, and interrupts it if it takes longer.
func (w *together) runFor(patience time.Duration, args ...string) result {
	ctx, cancel := context.WithTimeout(w.Context(), patience)
	defer cancel()
	return w.runCtx(ctx, args...)
}

// onSome returns a command for one of the newest runs in these states, or nil if there is none.
func (w *together) onSome(dice *rand.Rand, verb, states string) []string {
	r := w.runFor(3*time.Minute, "run", "list", "--state", states, "--limit", "10", "-o", "json")
	var runs []struct{ ID int64 }
	if err := json.Unmarshal([]byte(r.out), &runs); err != nil || len(runs) == 0 {
		return nil
	}
	return []string{"run", verb, fmt.Sprint(runs[dice.IntN(len(runs))].ID), "-o", "json", "--actor", "ann"}
}

// note records the ids of the runs that a command has started.
func (w *together) note(args []string, r result) {
	if args[0] != "enqueue" && args[0] != "enqueue-all" && args[0] != "run" {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for dec := json.NewDecoder(strings.NewReader(r.out)); ; {
		var raw json.RawMessage
		if dec.Decode(&raw) != nil {
			return
		}
		var one struct{ ID int64 }
		var all []struct{ Run *struct{ ID int64 } }
		if json.Unmarshal(raw, &one) == nil {
			w.ids = append(w.ids, one.ID)
		} else if json.Unmarshal(raw, &all) == nil {
			for _, e := range all {
				if e.Run != nil {
					w.ids = append(w.ids, e.Run.ID)
				}
			}
		}
	}
}

// quiet waits until all runs have ended, and then works one more run of each flow. A flow
// without a schedule may have had no successful run so far, by chance.
func (w *together) quiet() {
	w.Helper()
	for _, name := range togetherNames {
		w.ok("flow", "resume", name)
	}
	w.exec(`update dataflow_flow set next_run_at = null`) // no more ticks
	defer func() {
		for i := range w.workers {
			w.stopWorker(i)
		}
	}()
	w.settle()
	for _, name := range togetherNames {
		w.ok("enqueue", name)
	}
	w.settle()
}

// settle waits until no run waits or is in progress.
func (w *together) settle() {
	w.Helper()
	require.Eventually(w, func() bool {
		return strings.TrimSpace(w.ok("run", "list", "--state", "pending,in_progress", "-o", "json")) == "[]"
	}, 5*time.Minute, 200*time.Millisecond, "%s", lazily(func() string { return w.ok("run", "list", "--state", "pending,in_progress") }))
}

type lazily func() string

func (l lazily) String() string { return l() }

// count checks the outcome.
func (w *together) count() {
	w.Helper()
	conn, err := pgx.Connect(w.Context(), w.url)
	require.NoError(w, err)
	defer func() { require.NoError(w, conn.Close(context.WithoutCancel(w.Context()))) }()
	number := func(sql string, args ...any) (n int64) {
		require.NoError(w, conn.QueryRow(w.Context(), sql, args...).Scan(&n), sql)
		return n
	}
	for _, name := range togetherNames {
		rows := number(`select count(*) from counted where flow = $1`, name)
		require.Positive(w, rows, name)
		require.Equal(w, rows, number(`select count(distinct n) from counted where flow = $1`, name), "%s counted twice", name)
		require.Equal(w, rows, number(`select max(n) from counted where flow = $1`, name), "%s left numbers out", name)
		require.Equal(w, rows, number(`select (c.cursor #>> '{}')::bigint from dataflow_checkpoint c join dataflow_flow f on f.id = c.flow_id where f.name = $1`, name), "cursor of %s", name)
		require.Equal(w, rows, number(`select sum(r.written)::bigint from dataflow_run r join dataflow_flow f on f.id = r.flow_id where f.name = $1`, name), "counters of %s", name)
	}
	slices.Sort(w.ids)
	ids := slices.Compact(w.ids)
	require.Greater(w, len(ids), commandsLeast/2)
	require.Equal(w, int64(len(ids)), number(`select count(*) from dataflow_run where id = any($1)`, ids), "runs are lost")
	require.Zero(w, number(`select count(*) from dataflow_run where state not in ('success', 'cancelled')`))
	require.Zero(w, number(`select count(*) from dataflow_run where state = 'success' and written < 20`), "a source's end was not reached")
	require.Zero(w, number(`select count(*) from dataflow_run where state = 'cancelled' and cancelled_by not in ('ann', 'mover')`), "cancelled by nobody")
	// Other runs may come between the start and the end of a run that was handed back, so
	// only runs with a single claim are compared.
	require.Zero(w, number(`
		select count(*) from dataflow_run a join dataflow_run b on b.flow_id = a.flow_id and b.id > a.id
		where a.state = 'success' and b.state = 'success' and a.lease_no = 1 and b.lease_no = 1 and a.started_at < b.ended_at and b.started_at < a.ended_at`), "two runs of a flow at once")
	log := w.server.Log(w.T)
	require.Contains(w, log, "ready to accept connections")
	require.NotContains(w, log, "deadlock")
	w.Logf("%d runs, %d of them started by commands, %d successful; %d numbers", number(`select count(*) from dataflow_run`), len(ids),
		number(`select count(*) from dataflow_run where state = 'success'`), number(`select count(*) from counted`))
}
