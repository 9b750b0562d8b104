package cli_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/cli"
)

// strict makes a program whose flow stores even numbers as dead letters while it is broken.
func (t *cliT) strict(broken *bool) *cliT {
	t.program.Configure = func(context.Context, cli.Database) (*dataflow.Config, error) {
		flow := dataflow.NewFlow("strict", count{to: 5}, dataflow.Map(func(_ context.Context, n int64) (int64, error) {
			if *broken && n%2 == 0 {
				return 0, errors.New("even")
			}
			return n, nil
		}), dataflow.ToTx(discard{}), &dataflow.FlowOptions{OnBadRecord: dataflow.DeadLetterUpTo(9)})
		return &dataflow.Config{Flows: []*dataflow.Flow{flow}, ID: "here", Clock: func() time.Time { return noon }}, nil
	}
	return t.migrated()
}

func TestDeadLetter(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *cliT) {
		broken := true
		t.strict(&broken).golden("deadletter",
			"dead-letter list",
			"enqueue strict --wait",
			"dead-letter list strict",
			"dead-letter list --open --limit 1 -o json",
			"dead-letter list strict --run 7",
			"dead-letter show 1",
			"dead-letter show 1 -o json",
			"dead-letter show 9",
			"dead-letter show x",
			"dead-letter replay strict",
			"dead-letter replay strict --all --id 1",
			"dead-letter replay strict --all",
			"dead-letter replay strict --id 9,1 -o json",
			"dead-letter list missing",
			"dead-letter replay missing --all",
			"dead-letter list --state odd",
			"dead-letter edit 1",
			"dead-letter edit 1 --set n=4",
			"dead-letter edit 1 --payload four",
			"dead-letter edit 1 --payload [4]",
			"dead-letter edit 1 --payload 3 --actor ada",
			"dead-letter edit 1 --payload 5 --actor ada -o json",
			"dead-letter edit 9 --payload 5",
			"dead-letter resolve strict",
			"dead-letter resolve strict --id 9",
		)
		broken = false
		t.golden("deadletter_mended",
			"dead-letter replay strict --id 1",
			"dead-letter list strict --open",
			"dead-letter replay strict --all -o json",
			"dead-letter replay strict --all",
			"dead-letter list strict",
		)
		broken = true
		t.golden("deadletter_closed",
			"cursor set strict --beginning --if-seq 2 --yes",
			"enqueue strict --wait",
			`dead-letter discard strict --id 3 --actor ada --reason "a test record"`,
			"dead-letter discard strict --id 3",
			"dead-letter resolve strict --all",
			"dead-letter resolve strict --all --yes --actor ada",
			"dead-letter resolve strict --all --yes -o json",
			"dead-letter list strict",
			"dead-letter list strict --state discarded",
			"dead-letter replay strict --id 3",
			"dead-letter edit 3 --payload 7",
		)
		t.plain().golden("deadletter_plain", "dead-letter list strict", "dead-letter replay strict --all")
	})
}

// elsewhere is a sink that keeps the checkpoint, and no rows.
type elsewhere struct{ state json.RawMessage }

func (e *elsewhere) Claim(context.Context, string, int64) (json.RawMessage, error) {
	return e.state, nil
}

func (e *elsewhere) WriteFenced(_ context.Context, b dataflow.FencedBatch[int64]) error {
	e.state = b.State
	return nil
}

// Where no dead letter can be replayed, to edit one is no advice.
func TestDeadLetter_NoReplay(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *cliT) {
		sink := &elsewhere{}
		t.program.Configure = func(context.Context, cli.Database) (*dataflow.Config, error) {
			return &dataflow.Config{Flows: []*dataflow.Flow{dataflow.NewFlow("strict", count{to: 1}, dataflow.Map(func(context.Context, int64) (int64, error) {
				return 0, errors.New("odd")
			}), dataflow.ToFenced(sink), &dataflow.FlowOptions{OnBadRecord: dataflow.DeadLetterUpTo(9)})}}, nil
		}
		t.migrated().ok("enqueue", "strict", "--wait")
		got := t.run("dead-letter", "replay", "strict", "--all")
		require.Equal(t, 1, got.code)
		require.Contains(t, got.out, "mend the record in the source, and run a backfill that reads it again")
		require.NotContains(t, got.out, "dead-letter edit")
		require.Contains(t, t.fails(2, "dead-letter", "edit", "1", "--payload", "2"), "no replay would take it: its sink keeps the checkpoint")
	})
}

// A program without the flow's code cannot replay the record that it has mended.
func TestDeadLetter_EditElsewhere(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *cliT) {
		broken := true
		t.strict(&broken).ok("enqueue", "strict", "--wait")
		require.Contains(t, t.plain().ok("dead-letter", "edit", "1", "--payload", "4"), "Replay it with dead-letter replay strict --id 1 of a program that has the flow's code.")
	})
}
