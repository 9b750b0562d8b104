package enginetest_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowpgx"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

const (
	workerEnv   = "DATAFLOW_TEST_WORKER" // its value is the database's URL
	runtimeEnv  = "DATAFLOW_TEST_RUNTIME"
	perRun      = 20 // records that a run reads
	perProcess  = 4  // runs that a process starts
	workerDelay = 20 * time.Millisecond
)

// more yields the next numbers after the cursor, the same count in each run.
type more struct{}

func (more) Read(ctx context.Context, r dataflow.Request[int]) iter.Seq2[dataflow.Item[int, int], error] {
	return numbers{n: r.From + perRun}.Read(ctx, r)
}

// sharedFlow appends numbers to a table, taking its time over each batch.
func sharedFlow(rt dataflow.Runtime) *dataflow.Flow {
	sink := dataflow.TxSinkFunc[int](func(ctx context.Context, rows []int) error {
		tx, _ := dataflowpgx.TxFrom(ctx)
		_, err := tx.Exec(ctx, `insert into numbers (n) select unnest($1::int[])`, rows)
		if err == nil {
			_, err = tx.Exec(ctx, `select pg_sleep($1)`, workerDelay.Seconds())
		}
		return err
	})
	return dataflow.NewFlow("shared", more{}, dataflow.Identity[int](), dataflow.ToTx(sink), &dataflow.FlowOptions{Runtime: rt})
}

// worker is the main of a process that starts runs of the shared flow, works due runs,
// and prints the ids of its runs. It waits for two lines on its standard input: one to
// begin, one to end.
func worker(ctx context.Context, url string) error {
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return err
	}
	defer pool.Close()
	rt, err := dataflow.ParseRuntime([]byte(os.Getenv(runtimeEnv)), nil)
	if err != nil {
		return err
	}
	client, err := dataflow.NewClient(dataflowpgx.New(pool), &dataflow.Config{
		Flows: []*dataflow.Flow{sharedFlow(rt)}, PollInterval: 10 * time.Millisecond, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	if err := client.Start(ctx); err != nil {
		return err
	}
	stdin := bufio.NewReader(os.Stdin)
	fmt.Println("ready")
	if _, err := stdin.ReadString('\n'); err != nil {
		return err
	}
	ids := make([]int64, perProcess)
	for i := range ids {
		opts := &dataflow.TriggerOptions{Actor: fmt.Sprint(os.Getpid())}
		if i%2 == 0 { // due at once, and not coalesced with any other
			opts.At = time.Unix(int64(os.Getpid()), int64(i)*int64(time.Millisecond))
		}
		run, err := client.Trigger(ctx, "shared", opts)
		if err != nil && !errors.Is(err, dataflow.ErrAlreadyRunning) {
			return err
		}
		ids[i] = run.ID
	}
	for _, id := range ids {
		if _, err := client.Wait(ctx, id); err != nil {
			return err
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(ids); err != nil {
		return err
	}
	if _, err := stdin.ReadString('\n'); err != nil {
		return err
	}
	return client.Stop(ctx)
}

// process is a worker in a process of its own.
type process struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func startWorker(t *testing.T, url, runtime string) *process {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), workerEnv+"="+url, runtimeEnv+"="+runtime)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	return &process{cmd: cmd, in: in, out: bufio.NewReader(out)}
}

func (p *process) say(t *testing.T) {
	t.Helper()
	_, err := io.WriteString(p.in, "\n")
	require.NoError(t, err)
}

func (p *process) hear(t *testing.T) string {
	t.Helper()
	line, err := p.out.ReadString('\n')
	require.NoError(t, err)
	return line
}

// The server itself records each change of a run's state, and how many runs of the flow
// were in progress then.
const auditSQL = `
create table numbers (n integer);
create table audit (at timestamptz, run bigint, state text, others bigint);
create function audit() returns trigger language plpgsql as $$
begin
	insert into audit select clock_timestamp(), new.id, new.state,
		(select count(*) from dataflow_run where flow_id = new.flow_id and state = 'in_progress' and id <> new.id);
	return new;
end $$;
create trigger audit after insert or update of state on dataflow_run for each row execute function audit();`

// Two processes start runs of one flow at once. One run is worked and the others wait.
// Two are never in progress.
func TestTwoProcesses_OneFlow(t *testing.T) {
	t.Parallel()
	for _, runtime := range []string{`{"type":"heartbeat"}`, `{"type":"job_queue"}`} {
		t.Run(runtime, func(t *testing.T) {
			t.Parallel()
			url := dbtest.PostgresURL(t)
			pool, err := pgxpool.New(t.Context(), url)
			require.NoError(t, err)
			defer pool.Close()
			client, err := dataflow.NewClient(dataflowpgx.New(pool), &dataflow.Config{Logger: slog.New(slog.DiscardHandler)})
			require.NoError(t, err)
			require.NoError(t, client.Migrate(t.Context()))
			_, err = pool.Exec(t.Context(), auditSQL)
			require.NoError(t, err)

			both := []*process{startWorker(t, url, runtime), startWorker(t, url, runtime)}
			for _, p := range both {
				require.Equal(t, "ready\n", p.hear(t))
			}
			for _, p := range both {
				p.say(t)
			}
			ids := make(map[int64]bool)
			for _, p := range both {
				var own []int64
				require.NoError(t, json.Unmarshal([]byte(p.hear(t)), &own))
				for _, id := range own {
					ids[id] = true
				}
			}
			for _, p := range both {
				p.say(t)
				require.NoError(t, p.cmd.Wait())
			}
			checkTwoProcesses(t, pool, len(ids))
		})
	}
}

func checkTwoProcesses(t *testing.T, pool *pgxpool.Pool, runs int) {
	t.Helper()
	number := func(sql string) (n int) {
		require.NoError(t, pool.QueryRow(t.Context(), sql).Scan(&n), sql)
		return n
	}
	require.Positive(t, runs)
	require.Equal(t, runs, number(`select count(*) from dataflow_run where state = 'success'`))
	require.Equal(t, runs, number(`select count(*) from dataflow_run`))
	require.Equal(t, runs*perRun, number(`select count(*) from numbers`))
	require.Equal(t, runs*perRun, number(`select count(distinct n) from numbers`))
	require.Equal(t, runs*perRun, number(`select max(n) from numbers`))
	require.Equal(t, runs, number(`select count(*) from audit where state = 'in_progress'`))
	require.Zero(t, number(`select count(*) from audit where state = 'in_progress' and others > 0`))
	require.Equal(t, runs, number(`select max(attempt) * count(*) from dataflow_run`), "waiting spends no attempt")
	require.Zero(t, number(`select count(*) from dataflow_run a join dataflow_run b
		on a.id < b.id and a.started_at < b.ended_at and b.started_at < a.ended_at`))
	rows, err := pool.Query(t.Context(), `select distinct worker from dataflow_run`)
	require.NoError(t, err)
	workers, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	t.Logf("%d runs, worked by %d processes", runs, len(workers))
}
