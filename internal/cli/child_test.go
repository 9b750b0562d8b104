package cli_test

import (
	"context"
	"iter"
	"os"
	"os/exec"
	"time"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowpgx"
	"github.com/activedataflow/dataflow/internal/cli"
)

// childEnv turns the test binary into a program with slow flows. Its arguments are those after
// "--".
const childEnv = "DATAFLOW_CLI_CHILD"

// togetherEnv gives that program the flows of TestTogether.
const togetherEnv = "DATAFLOW_CLI_TOGETHER"

func child() int {
	args := os.Args[1:]
	for i, arg := range args {
		if arg == "--" {
			args = args[i+1:]
			break
		}
	}
	return cli.Main(context.Background(), args, cli.Program{Name: "shop", Configure: func(context.Context, cli.Database) (*dataflow.Config, error) {
		if os.Getenv(togetherEnv) != "" {
			return &dataflow.Config{Flows: togetherFlows()}, nil
		}
		return &dataflow.Config{Flows: slowFlows()}, nil
	}})
}

func slowFlows() []*dataflow.Flow {
	return []*dataflow.Flow{
		dataflow.NewFlow("slow", count{to: 100_000, pace: 5 * time.Millisecond}, dataflow.Identity[int64](), dataflow.ToTx(discard{}),
			&dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 10}}),
		dataflow.NewFlow("queued", count{to: 100_000, pace: 5 * time.Millisecond}, dataflow.Identity[int64](), dataflow.ToTx(discard{}),
			&dataflow.FlowOptions{Runtime: dataflow.JobQueue{BatchSize: 10}}),
	}
}

// togetherNames are flows that count: each run writes the next few numbers.
var togetherNames = []string{"by-heartbeat", "by-queue", "by-schedule", "by-both"}

func togetherFlows() []*dataflow.Flow {
	runtimes := []dataflow.Runtime{
		dataflow.Heartbeat{BatchSize: 5},
		dataflow.JobQueue{BatchSize: 5},
		dataflow.Heartbeat{BatchSize: 5, Interval: time.Second},
		dataflow.JobQueue{BatchSize: 5, Interval: time.Second, Schedule: dataflow.Schedule{Overlap: dataflow.OverlapBufferOne}},
	}
	flows := make([]*dataflow.Flow, len(togetherNames))
	for i, name := range togetherNames {
		write := dataflow.TxSinkFunc[int64](func(ctx context.Context, rows []int64) error {
			tx, _ := dataflowpgx.TxFrom(ctx)
			_, err := tx.Exec(ctx, `insert into counted (flow, n) select $1, unnest($2::bigint[])`, name, rows)
			return err
		})
		flows[i] = dataflow.NewFlow(name, few{}, dataflow.Identity[int64](), dataflow.ToTx(write), &dataflow.FlowOptions{
			Runtime: runtimes[i], Backoff: func(int) time.Duration { return 100 * time.Millisecond },
		})
	}
	return flows
}

// few is a source of the next 20 numbers.
type few struct{}

func (few) Read(ctx context.Context, r dataflow.Request[int64]) iter.Seq2[dataflow.Item[int64, int64], error] {
	return count{to: r.From + 20, pace: 2 * time.Millisecond}.Read(ctx, r)
}

// exitOf is the exit code of a process.
func exitOf(err error) int {
	if err == nil {
		return 0
	}
	if exit, ok := err.(*exec.ExitError); ok { //nolint:errorlint // as Wait returns it
		return exit.ExitCode()
	}
	return -1
}
