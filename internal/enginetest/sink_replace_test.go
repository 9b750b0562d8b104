package enginetest_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowpgx"
	"github.com/activedataflow/dataflow/dataflowsqlite"
)

// whole replaces the numbers in table kept by those that a run wrote to table staged.
type whole struct {
	// before is called before a step ("begin", "write", "end") is done.
	before func(ctx context.Context, step string) error
}

// execTx runs a statement in the checkpoint's transaction.
func execTx(ctx context.Context, sql string) error {
	if tx, ok := dataflowpgx.TxFrom(ctx); ok {
		_, err := tx.Exec(ctx, sql)
		return err
	}
	tx, _ := dataflowsqlite.TxFrom(ctx)
	_, err := tx.ExecContext(ctx, sql)
	return err
}

func (s *whole) step(ctx context.Context, step string) error {
	if s.before == nil {
		return nil
	}
	return s.before(ctx, step)
}

func (s *whole) BeginTx(ctx context.Context, _ string) (dataflow.Replacement[int], error) {
	if err := s.step(ctx, "begin"); err != nil {
		return nil, err
	}
	return s, execTx(ctx, "delete from staged")
}

func (s *whole) WriteTx(ctx context.Context, rows []int) error {
	if err := s.step(ctx, "write"); err != nil {
		return err
	}
	return insertInto(ctx, "staged", rows)
}

func (s *whole) EndTx(ctx context.Context) error {
	for _, sql := range []string{"delete from kept", "insert into kept select n from staged", "delete from staged"} {
		if err := execTx(ctx, sql); err != nil {
			return err
		}
	}
	return s.step(ctx, "end") // behind it, so that there is something to roll back
}

// someNumbers yields a given count of numbers at each read, and calls before ahead of
// each.
type someNumbers struct {
	n      *int
	before func(n int) error
}

func (s someNumbers) Read(context.Context, dataflow.Request[dataflow.NoCursor]) iter.Seq2[dataflow.Item[int, dataflow.NoCursor], error] {
	return func(yield func(dataflow.Item[int, dataflow.NoCursor], error) bool) {
		for i := 1; i <= *s.n; i++ {
			var err error
			if s.before != nil {
				err = s.before(i)
			}
			if !yield(dataflow.Item[int, dataflow.NoCursor]{Value: i}, err) || err != nil {
				return
			}
		}
	}
}

// wholeFlow replaces table kept.
func (t *dbT) wholeFlow(sink *whole, source dataflow.Source[int, dataflow.NoCursor], opts dataflow.FlowOptions) *dataflow.Flow {
	t.Helper()
	if opts.Runtime == nil {
		opts.Runtime = dataflow.Heartbeat{BatchSize: 10}
	}
	opts.Backoff = func(int) time.Duration { return 0 }
	return dataflow.NewFlow("whole", source, dataflow.Identity[int](), dataflow.ToReplace(sink), &opts)
}

// keptTables makes table kept, with the numbers 1 to 3, and table staged.
func (t *dbT) keptTables() {
	t.Helper()
	t.table("kept", "staged")
	require.NoError(t, t.exec("insert into kept (n) values (1), (2), (3)"))
}

// Each run replaces the old content: by more numbers, by full batches, by fewer, and by
// none.
func TestToReplace(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.keptTables()
		n := 0
		flow := t.wholeFlow(&whole{}, someNumbers{n: &n}, dataflow.FlowOptions{})
		require.Equal(t, dataflow.ExactlyOnce, flow.Guarantee)
		client := t.registered(flow)
		for _, n = range []int{25, 20, 1, 0, 3} {
			run, err := t.execute(client, "whole")
			require.NoError(t, err)
			require.Equal(t, dataflow.Counters{Read: int64(n), Written: int64(n)}, run.Counters)
			t.requireExactly("kept", int64(n))
			require.Zero(t, t.number("select count(*) from staged"))
		}
	})
}

// By River, where the run is not sliced.
func TestToReplace_JobQueue(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.keptTables()
		n := 35
		flow := t.wholeFlow(&whole{}, someNumbers{n: &n}, dataflow.FlowOptions{Runtime: dataflow.JobQueue{BatchSize: 10}})
		client := t.started(t.client(&dataflow.Config{Flows: []*dataflow.Flow{flow}, Slice: time.Nanosecond}))
		run, err := client.Trigger(t.Context(), "whole", nil)
		require.NoError(t, err)
		_, err = t.wait(client, run.ID)
		require.NoError(t, err)
		t.requireExactly("kept", 35)
	})
}

// What a failed attempt leaves behind is neither seen nor kept. The next attempt begins
// again.
func TestToReplace_Fails(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		for _, at := range []string{"begin", "read", "write", "end", "panic"} {
			require.NoError(t, t.exec("drop table if exists kept"))
			require.NoError(t, t.exec("drop table if exists staged"))
			t.keptTables()
			broken, seen, n := true, 0, 25
			sink := &whole{before: func(_ context.Context, step string) error {
				if step == "write" {
					seen++
				}
				switch {
				case broken && at == "panic" && seen == 2:
					panic("out of paper")
				case broken && step == at && (step != "write" || seen == 2):
					return errBroken
				default:
					return nil
				}
			}}
			source := someNumbers{n: &n, before: func(i int) error {
				if broken && at == "read" && i == 22 {
					return errBroken
				}
				return nil
			}}
			client := t.registered(t.wholeFlow(sink, source, dataflow.FlowOptions{}))
			run, err := t.execute(client, "whole")
			require.ErrorContains(t, err, "out of paper", at)
			require.Equal(t, dataflow.RunPending, run.State)
			t.requireExactly("kept", 3)
			broken = false
			run, err = dataflow.NewFlowExecutor(client).Execute(t.Context(), run.ID)
			require.NoError(t, err, at)
			require.Equal(t, dataflow.Counters{Read: 25, Written: 25}, run.Counters, at)
			t.requireExactly("kept", 25)
		}
	})
}

// A run that is cancelled at the last moment leaves the old content.
func TestToReplace_Cancelled(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.keptTables()
		n := 25
		sink := &whole{before: func(ctx context.Context, step string) error {
			if step != "end" {
				return nil
			}
			return execTx(ctx, "update dataflow_run set cancel_requested_at = started_at where state = 'in_progress'")
		}}
		client := t.registered(t.wholeFlow(sink, someNumbers{n: &n}, dataflow.FlowOptions{}))
		run, err := t.execute(client, "whole")
		require.Error(t, err)
		require.Equal(t, dataflow.RunCancelled, run.State)
		t.requireExactly("kept", 3)
	})
}

// A worker whose run was taken over changes nothing when it goes on later.
func TestToReplace_TakenOver(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.keptTables()
		reached, open := make(chan struct{}), make(chan struct{})
		oldN, newN := 30, 7
		old := t.registered(t.wholeFlow(&whole{}, someNumbers{n: &oldN, before: func(i int) error {
			if i == 25 {
				close(reached)
				<-open // whatever its context says
			}
			return nil
		}}, dataflow.FlowOptions{}))
		done := make(chan error, 1)
		go func() {
			_, err := t.execute(old, "whole")
			done <- err
		}()
		<-reached
		runID := t.number("select max(id) from dataflow_run")
		store, err := t.driver.Store(dataflow.StoreOptions{})
		require.NoError(t, err)
		back, err := store.RunEnd(t.Context(), &dataflow.RunEndParams{RunID: runID, FlowID: t.number("select max(id) from dataflow_flow"), LeaseNumber: 1, State: dataflow.RunPending, Refund: true})
		require.NoError(t, err)
		require.NotNil(t, back)

		run, err := dataflow.NewFlowExecutor(t.registered(t.wholeFlow(&whole{}, someNumbers{n: &newN}, dataflow.FlowOptions{}))).Execute(t.Context(), runID)
		require.NoError(t, err)
		require.Equal(t, dataflow.RunSuccess, run.State)
		close(open)
		require.ErrorIs(t, receive(t, done), dataflow.ErrFenced)
		t.requireExactly("kept", 7)
		require.Zero(t, t.number("select count(*) from staged"))
	})
}

// The answer to a commit is lost: that of BeginTx, of a batch, or of EndTx.
func TestToReplace_AnswerLost(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		for commit := int64(2); commit <= 5; commit++ { // the first is the claim's
			require.NoError(t, t.exec("drop table if exists kept"))
			require.NoError(t, t.exec("drop table if exists staged"))
			t.keptTables()
			driver := &losesAnswer{Driver: t.driver, together: true}
			n := 15
			client, err := dataflow.NewClient(driver, &dataflow.Config{
				Flows: []*dataflow.Flow{t.wholeFlow(&whole{}, someNumbers{n: &n}, dataflow.FlowOptions{})}, Logger: slog.New(slog.DiscardHandler),
			})
			require.NoError(t, err)
			require.NoError(t, client.Register(t.Context()))
			driver.commit.Store(commit)
			run, err := t.execute(client, "whole")
			if run.State == dataflow.RunPending { // since the source cannot go on in its middle
				run, err = dataflow.NewFlowExecutor(client).Execute(t.Context(), run.ID)
			}
			require.NoError(t, err)
			require.Equal(t, dataflow.RunSuccess, run.State)
			require.Equal(t, dataflow.Counters{Read: 15, Written: 15}, run.Counters, commit)
			require.Negative(t, driver.commit.Load(), "an answer was lost")
			t.requireExactly("kept", 15)
		}
	})
}

// Everything that would replace the whole by a part is refused.
func TestToReplace_Refused(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.keptTables()
		n := 25
		allow := dataflow.Heartbeat{Schedule: dataflow.Schedule{Overlap: dataflow.OverlapAllow(2)}}
		for want, flow := range map[string]*dataflow.Flow{
			`Flows["f"].Target: it replaces all that is there by what a run writes, and the source has a cursor`: dataflow.NewFlow("f", numbers{n: 3}, dataflow.Identity[int](), dataflow.ToReplace(&whole{}), nil),
			`Flows["whole"].Runtime.Schedule.Overlap: OverlapAllow(2) lets 2 runs replace the same content`:      t.wholeFlow(&whole{}, someNumbers{n: &n}, dataflow.FlowOptions{Runtime: allow}),
			`Flows["f"].Target: `: dataflow.NewFlow("f", onceNumbers{}, dataflow.Identity[int](), dataflow.ToReplace[int](nil), nil),
		} {
			_, err := dataflow.NewClient(t.driver, &dataflow.Config{Flows: []*dataflow.Flow{flow}})
			var ce *dataflow.ConfigError
			require.ErrorAs(t, err, &ce)
			require.ErrorContains(t, err, want)
		}
		client := t.registered(t.wholeFlow(&whole{}, someNumbers{n: &n}, dataflow.FlowOptions{}))
		_, err := client.Backfill(t.Context(), "whole", nil)
		require.ErrorContains(t, err, `Target: the flow's target replaces all that is there by what one run writes: start a run`)
		t.requireExactly("kept", 3)
	})
}

// Bad records are kept as dead letters, even those that the sink refuses, and are not
// replayed. The others replace the old content.
func TestToReplace_BadRecords(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.keptTables()
		require.NoError(t, t.exec("create unique index one on staged (n)"))
		n := 25
		twice := dataflow.FlatMap(func(_ context.Context, n int) ([]int, error) {
			switch n {
			case 7:
				return nil, errBroken
			case 15:
				return []int{3}, nil // which is there
			}
			return []int{n}, nil
		})
		client := t.registered(dataflow.NewFlow("whole", someNumbers{n: &n}, twice, dataflow.ToReplace(&whole{}),
			&dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 10}, OnBadRecord: dataflow.DeadLetterUpTo(2)}))
		run, err := t.execute(client, "whole")
		require.NoError(t, err)
		require.Equal(t, dataflow.Counters{Read: 25, Written: 23, DeadLettered: 2}, run.Counters)
		require.Equal(t, int64(23), t.number("select count(distinct n) from kept"))
		report, err := client.Replay(t.Context(), "whole", nil)
		require.NoError(t, err)
		require.Empty(t, report.Replayed)
		require.Len(t, report.Failed, 2)
		for _, err := range report.Failed {
			require.ErrorContains(t, err, "replaces all that is there")
		}
		require.Equal(t, int64(23), t.number("select count(*) from kept"))
	})
}

// A preview shows what would be written, and leaves everything as it is.
func TestToReplace_DryRun(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.keptTables()
		require.NoError(t, t.exec("insert into staged (n) values (17)"))
		n := 4
		var names []string
		client := t.registered(t.wholeFlow(&whole{before: func(_ context.Context, step string) error {
			names = append(names, step)
			if step == "end" {
				return errors.New("a preview replaces nothing")
			}
			return nil
		}}, someNumbers{n: &n}, dataflow.FlowOptions{}))
		before := fmt.Sprint(t.traces("kept"), t.traces("staged"))
		report, err := client.DryRun(t.Context(), "whole", nil)
		require.NoError(t, err)
		require.Equal(t, []string{"#1: 1 -> [1] write", "#2: 2 -> [2] write", "#3: 3 -> [3] write", "#4: 4 -> [4] write"}, outcomes(report))
		require.True(t, report.Written)
		require.Equal(t, []string{"begin", "write"}, names)
		require.Equal(t, before, fmt.Sprint(t.traces("kept"), t.traces("staged")))
	})
}
