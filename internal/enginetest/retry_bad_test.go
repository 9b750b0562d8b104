package enginetest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// orphans makes a table hb of numbers that are refused until the table parents has them.
func (t *dbT) orphans() {
	t.Helper()
	require.NoError(t, t.exec("create table parents (n integer primary key)"))
	require.NoError(t, t.exec("create table hb (n integer not null references parents)"))
}

// again calls fn for each record that is transformed for the second time or later. times is
// how often it was transformed.
func again(fn func(n, times int) error) dataflow.Transform[int, int] {
	var mu sync.Mutex
	seen := make(map[int]int)
	return dataflow.Map(func(_ context.Context, n int) (int, error) {
		mu.Lock()
		seen[n]++
		times := seen[n]
		mu.Unlock()
		if times > 1 {
			return n, fn(n, times)
		}
		return n, nil
	})
}

// retried is a flow of the numbers 1 to n into hb, one to a batch.
func retried(n int, transform dataflow.Transform[int, int], target dataflow.Target[int], opts *dataflow.FlowOptions) *dataflow.Flow {
	o := dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 1}, OnBadRecord: dataflow.RetryBadFor(time.Hour, 3), MaxAttempts: 1}
	if opts != nil {
		o = *opts
	}
	return dataflow.NewFlow("hb", numbers{n: n}, transform, target, &o)
}

const endTries = "update dataflow_dead_letter set retry_until = null"

// A dead letter whose tries end while it is tried again is not written: a newer record has
// written its row at this moment.
func TestRetryBadFor_SupersededMeanwhile(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.orphans()
		transform := again(func(int, int) error {
			return errors.Join(t.exec("insert into parents values (1)"), t.exec(endTries))
		})
		logs := newLogs()
		client := t.client(&dataflow.Config{Flows: []*dataflow.Flow{retried(1, transform, appendTo("hb"), nil)}, Logger: logs.logger()})
		require.NoError(t, client.Register(t.Context()))
		_, err := client.Trigger(t.Context(), "hb", nil)
		require.NoError(t, err)
		require.Zero(t, t.number("select count(*) from hb"), "an older record may have replaced a newer one")
		require.Equal(t, []string{"write 1 1"}, t.letters(client, &dataflow.DeadLetterListParams{Open: true}))
		require.Empty(t, logs.lines("were written after all"))
	})
}

// A process that has lost its run spends no tries of dead letters.
func TestRetryBadFor_Fenced(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.orphans()
		transform := again(func(int, int) error {
			return errors.Join(errBroken, t.exec("update dataflow_run set lease_no = lease_no + 1"))
		})
		client := t.registered(retried(1, transform, appendTo("hb"), nil))
		_, err := client.Trigger(t.Context(), "hb", nil)
		require.ErrorIs(t, err, dataflow.ErrFenced)
		require.Zero(t, t.number("select max(tries) from dataflow_dead_letter"))
	})
}

// outside is a sink elsewhere that refuses each record the first time. second is called
// before it takes one.
func outside(second func() error) (target dataflow.Target[int], got func() []int) {
	var mu sync.Mutex
	seen, all := make(map[int]bool), []int(nil)
	return dataflow.To[int](dataflow.SinkFunc[int](func(_ context.Context, b dataflow.SinkBatch[int]) error {
			mu.Lock()
			defer mu.Unlock()
			for i, n := range b.Rows {
				if !seen[n] {
					seen[n] = true
					return &dataflow.RowError{Row: i, Alone: true, Err: errBroken}
				}
				if err := second(); err != nil {
					return err
				}
				all = append(all, n)
			}
			return nil
		})), func() []int {
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(all)
		}
}

// An error that passes spends no try, whatever the clock of the process says: the time of a dead letter is the database's.
func TestRetryBadFor_Clock(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		var tries atomic.Int64
		target, got := outside(func() error { tries.Add(1); return dataflow.Transient(errBroken) })
		client := t.skewed(2*time.Hour, retried(1, dataflow.Identity[int](), target, nil))
		require.NoError(t, client.Register(t.Context()))
		_, err := client.Trigger(t.Context(), "hb", nil)
		require.NoError(t, err)
		require.Empty(t, got())
		require.EqualValues(t, 1, tries.Load())
		require.EqualValues(t, 1, t.number("select count(*) from dataflow_dead_letter where tries = 0 and retry_until is not null"))
	})
}

// A sink elsewhere gets a dead letter only while the process has the run, and while nobody
// else has replayed it.
func TestRetryBadFor_Outside(t *testing.T) {
	t.Parallel()
	const replayed = "update dataflow_dead_letter set retry_until = null, closed_at = created_at, state = 'replayed'"
	for name, c := range map[string]struct {
		transform, write string // what happens just before
		got              []int
		err              error
	}{
		"Fenced":            {transform: "update dataflow_run set lease_no = lease_no + 1", err: dataflow.ErrFenced},
		"Superseded":        {transform: endTries},
		"Replayed":          {transform: replayed},
		"ReplayedMeanwhile": {write: replayed, got: []int{1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onBoth(t, func(t *dbT) {
				run := func(sql string) error {
					if sql == "" {
						return nil
					}
					return t.exec(sql)
				}
				target, got := outside(func() error { return run(c.write) })
				logs := newLogs()
				flow := retried(1, again(func(int, int) error { return run(c.transform) }), target, &dataflow.FlowOptions{OnBadRecord: dataflow.RetryBadFor(time.Hour, 1), MaxAttempts: 1})
				client := t.client(&dataflow.Config{Flows: []*dataflow.Flow{flow}, Logger: logs.logger()})
				require.NoError(t, client.Register(t.Context()))
				_, err := client.Trigger(t.Context(), "hb", nil)
				require.ErrorIs(t, err, c.err)
				require.Equal(t, c.got, got())
				require.Empty(t, logs.lines("tried for the last time"))
				require.Zero(t, t.number("select max(tries) from dataflow_dead_letter"))
			})
		})
	}
}

// Stop does not wait until all dead letters are tried again. Those that were spend no try.
func TestRetryBadFor_Stop(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.orphans()
		var client *dataflow.Client
		var calls atomic.Int64
		stopped := make(chan error, 1)
		transform := again(func(int, int) error {
			if calls.Add(1) == 1 {
				go func() { stopped <- client.Stop(context.WithoutCancel(t.Context())) }()
				for {
					if _, err := client.Trigger(t.Context(), "hb", nil); errors.Is(err, dataflow.ErrStopped) {
						break
					}
				}
			}
			return errBroken
		})
		client = t.registered(retried(8, transform, appendTo("hb"), nil))
		run, err := client.Trigger(t.Context(), "hb", nil)
		require.NoError(t, err)
		require.NoError(t, receive(t, stopped))
		require.Equal(t, dataflow.RunSuccess, run.State)
		require.LessOrEqual(t, calls.Load(), int64(8), "one part was tried again")
		require.Zero(t, t.number("select max(tries) from dataflow_dead_letter"))
	})
}

// A run that never ends tries its dead letters again all the same, and not at the same time
// as it transforms others.
func TestRetryBadFor_RunWithoutEnd(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.orphans()
		var transforming atomic.Int64
		written := make(chan struct{}, 1)
		transform := dataflow.Map(func(_ context.Context, n int) (int, error) {
			defer transforming.Add(-1)
			if transforming.Add(1) > 1 {
				return 0, errors.New("two batches are transformed at once")
			}
			return n, nil
		})
		source := readFunc(func(ctx context.Context, r dataflow.Request[int], yield func(dataflow.Item[int, int], error) bool) {
			for i := r.From + 1; ctx.Err() == nil; i++ {
				if i == 3 {
					<-ctx.Done()
				}
				if !yield(dataflow.Item[int, int]{Value: i, Cursor: i, Resume: true}, ctx.Err()) {
					return
				}
			}
		})
		sink := dataflow.ToTx(dataflow.TxSinkFunc[int](func(ctx context.Context, rows []int) error {
			err := insertInto(ctx, "hb", rows)
			if err == nil && slices.Contains(rows, 1) {
				select {
				case written <- struct{}{}:
				default:
				}
			}
			return err
		}))
		flow := dataflow.NewFlow("hb", source, transform, sink, &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 1}, OnBadRecord: dataflow.RetryBadFor(time.Hour, 1000), ReadTimeout: -1})
		client := t.client(&dataflow.Config{Flows: []*dataflow.Flow{flow}, Slice: 50 * time.Millisecond})
		require.NoError(t, client.Register(t.Context()))
		events, cancel := client.Subscribe()
		defer cancel()
		ended := make(chan error, 1)
		go func() {
			_, err := client.Trigger(t.Context(), "hb", nil)
			ended <- err
		}()
		for receive(t, events).Kind != dataflow.EventRunProgress {
		}
		require.NoError(t, t.exec("insert into parents values (1), (2)"))
		receive(t, written)
		require.NoError(t, client.Stop(t.Context()))
		require.ErrorIs(t, receive(t, ended), dataflow.ErrStopped)
		require.Equal(t, int64(1), t.number("select count(*) from hb where n = 1"))
	})
}

// Dead letters that take longer than a slice leave time for the run, and each has its turn.
func TestRetryBadFor_LongerThanSlice(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.orphans()
		const n, slice = 8, 40 * time.Millisecond
		transform := again(func(int, int) error {
			<-time.After(slice / 2)
			return errBroken
		})
		source := readFunc(func(_ context.Context, r dataflow.Request[int], yield func(dataflow.Item[int, int], error) bool) {
			for i := r.From + 1; i <= 6*n; i++ {
				if i > n {
					<-time.After(slice / n) // a batch for each slice
				}
				if !yield(dataflow.Item[int, int]{Value: i, Cursor: i, Resume: true}, nil) {
					return
				}
			}
		})
		for i := n + 1; i <= 6*n; i++ {
			require.NoError(t, t.exec(fmt.Sprintf("insert into parents values (%d)", i)))
		}
		flow := dataflow.NewFlow("hb", source, transform, appendTo("hb"), &dataflow.FlowOptions{
			Runtime: dataflow.JobQueue{BatchSize: n}, OnBadRecord: dataflow.RetryBadFor(time.Hour, 1000),
		})
		client := t.client(&dataflow.Config{Flows: []*dataflow.Flow{flow}, Slice: slice})
		require.NoError(t, client.Register(t.Context()))
		t.started(client)
		run, err := client.Trigger(t.Context(), "hb", nil)
		require.NoError(t, err)
		run, err = t.wait(client, run.ID)
		require.NoError(t, err)
		require.Equal(t, dataflow.RunSuccess, run.State)
		least, most := t.number("select min(tries) from dataflow_dead_letter"), t.number("select max(tries) from dataflow_dead_letter")
		require.LessOrEqual(t, most-least, int64(1), "%d to %d tries", least, most)
	})
}
