package enginetest_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// gated yields numbers like its inner source. Before one of them it waits until it is
// let through or, unless it is deaf, its context is done.
type gated struct {
	numbers
	before  int
	reached chan struct{} // closed when it waits
	open    chan struct{}
	deaf    bool // ignores its context
}

func newGated(n, before int) *gated {
	return &gated{numbers: numbers{n: n}, before: before, reached: make(chan struct{}), open: make(chan struct{})}
}

func (g *gated) Read(ctx context.Context, r dataflow.Request[int]) iter.Seq2[dataflow.Item[int, int], error] {
	var once sync.Once
	return func(yield func(dataflow.Item[int, int], error) bool) {
		for item, err := range g.numbers.Read(ctx, r) {
			if item.Value == g.before {
				select {
				case <-g.open:
				default:
					once.Do(func() { close(g.reached) })
					if g.deaf {
						<-g.open
					} else {
						select {
						case <-g.open:
						case <-ctx.Done():
							return
						}
					}
				}
			}
			if !yield(item, err) {
				return
			}
		}
	}
}

// numbersFlow appends 1 to n to the table numbers, ten a batch.
func (t *dbT) numbersFlow(name string, source dataflow.Source[int, int], rt dataflow.Runtime) *dataflow.Flow {
	t.Helper()
	require.NoError(t, t.exec("create table if not exists numbers (n integer)"))
	return dataflow.NewFlow(name, source, dataflow.Identity[int](), appendTo("numbers"), &dataflow.FlowOptions{
		Runtime: rt, Backoff: func(int) time.Duration { return time.Millisecond },
	})
}

// exactly checks that the table holds 1 to n, each once.
func (t *dbT) exactly(n int64) {
	t.Helper()
	require.Equal(t, n, t.number("select count(*) from numbers"))
	require.Equal(t, n, t.number("select count(distinct n) from numbers"))
}

// abandoned claims a run like a process that dies right afterwards.
func (t *dbT) abandoned(id int64) *dataflow.Claim {
	t.Helper()
	claim := t.claimed(id)
	require.NotNil(t, claim)
	return claim
}

// claimed claims a run for a moment, or returns nil if that is not possible.
func (t *dbT) claimed(id int64) *dataflow.Claim {
	t.Helper()
	store, err := t.driver.Store(dataflow.StoreOptions{})
	require.NoError(t, err)
	var claim *dataflow.Claim
	require.NoError(t, store.InTx(t.Context(), func(ctx context.Context, tx dataflow.Tx) error {
		q, err := store.With(tx)
		require.NoError(t, err)
		claim, err = q.RunClaim(ctx, &dataflow.RunClaimParams{RunID: id, Worker: "the dead", Lease: time.Millisecond})
		return err
	}))
	return claim
}

// rescued ticks until a run is no longer in progress: until its lease has lapsed.
func (t *dbT) rescued(client *dataflow.Client, id int64) {
	t.Helper()
	require.Eventually(t, func() bool {
		_, err := client.Tick(t.Context())
		require.NoError(t, err)
		now, err := client.Run(t.Context(), id)
		require.NoError(t, err)
		return now.State != dataflow.RunInProgress
	}, patience, 5*time.Millisecond)
}

// A run whose worker has died goes on in any started client, and the death costs
// no attempt.
func TestRescue(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		for _, rt := range []dataflow.Runtime{dataflow.Heartbeat{}, dataflow.JobQueue{}} {
			name := rt.Type()
			require.NoError(t, t.exec("drop table if exists numbers"))
			client := t.client(&dataflow.Config{Flows: []*dataflow.Flow{t.numbersFlow(name, numbers{n: 25}, rt)}, Lease: time.Second})
			require.NoError(t, client.Register(t.Context()))
			run, err := client.Trigger(t.Context(), name, &dataflow.TriggerOptions{At: time.Unix(1, 0)})
			require.NoError(t, err)
			t.abandoned(run.ID)

			require.NoError(t, client.Start(t.Context()))
			rescued, err := t.wait(client, run.ID)
			require.NoError(t, err)
			require.NoError(t, client.Stop(context.WithoutCancel(t.Context())))
			require.Equal(t, 1, rescued.Attempt)
			require.Equal(t, int64(2), rescued.LeaseNumber)
			require.Zero(t, rescued.Rescues, "there was a checkpoint since")
			require.Equal(t, "the dead", rescued.Errors[0].Worker)
			require.Contains(t, rescued.Errors[0].Error, "died")
			require.Equal(t, rt.Type() == "job_queue", rescued.RiverJobID != run.RiverJobID, "a fresh job")
			t.exactly(25)
		}
	})
}

// A poison run fails, and its error says where.
func TestRescue_Max(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		failed := make(chan *dataflow.Run, 1)
		flow := t.numbersFlow("deadly", numbers{n: 5}, dataflow.Heartbeat{})
		client := t.client(&dataflow.Config{
			Flows: []*dataflow.Flow{flow}, MaxRescues: 3,
			OnRunFailed: func(_ context.Context, run *dataflow.Run, _ error) { failed <- run },
		})
		require.NoError(t, client.Register(t.Context()))
		run, err := client.Trigger(t.Context(), "deadly", &dataflow.TriggerOptions{At: time.Unix(1, 0)})
		require.NoError(t, err)
		watch := t.client(&dataflow.Config{MaxRescues: 3, OnRunFailed: func(_ context.Context, run *dataflow.Run, _ error) { failed <- run }})
		for range 3 {
			t.abandoned(run.ID)
			t.rescued(watch, run.ID)
		}
		run, err = t.wait(client, run.ID)
		require.ErrorContains(t, err, "killed its worker 3 times in a row, in the batch after its beginning")
		require.Equal(t, dataflow.RunFailed, run.State)
		require.Equal(t, run.ID, (<-failed).ID)
	})
}

// A worker whose run was taken over in the middle of a batch commits nothing of the
// batch. It says so once.
func TestFenced(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		out := newLogs()
		source := newGated(30, 15)
		client := t.client(&dataflow.Config{Flows: []*dataflow.Flow{t.numbersFlow("n", source, dataflow.Heartbeat{BatchSize: 10})}, Logger: out.logger()})
		require.NoError(t, client.Register(t.Context()))
		done := make(chan error, 1)
		go func() {
			_, err := client.Trigger(t.Context(), "n", nil)
			done <- err
		}()
		<-source.reached
		runs, err := client.Runs(t.Context(), nil)
		require.NoError(t, err)
		store, err := t.driver.Store(dataflow.StoreOptions{})
		require.NoError(t, err)
		back, err := store.RunEnd(t.Context(), &dataflow.RunEndParams{RunID: runs[0].ID, FlowID: runs[0].FlowID, LeaseNumber: 1, State: dataflow.RunPending, Refund: true})
		require.NoError(t, err)
		require.NotNil(t, back)
		close(source.open)
		require.ErrorIs(t, <-done, dataflow.ErrFenced)
		require.LessOrEqual(t, t.number("select count(*) from numbers"), int64(10))
		require.Len(t, out.lines("taken over"), 1)

		_, err = client.Tick(t.Context())
		require.NoError(t, err)
		run, err := t.wait(client, back.ID)
		require.NoError(t, err)
		require.Equal(t, 1, run.Attempt)
		require.Equal(t, int64(30), run.Counters.Written)
		t.exactly(30)
	})
}

// A lease is renewed as long as its run is worked, however slow that is.
func TestLease_IsRenewed(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		const lease = 3 * time.Second
		source := newGated(5, 3)
		flow := t.numbersFlow("slow", source, dataflow.Heartbeat{})
		client := t.client(&dataflow.Config{Flows: []*dataflow.Flow{flow}, Lease: lease})
		require.NoError(t, client.Register(t.Context()))
		other := t.started(t.client(&dataflow.Config{Lease: lease}))
		time.AfterFunc(2*lease, func() { close(source.open) })
		run, err := client.Trigger(t.Context(), "slow", nil)
		require.NoError(t, err)
		require.Equal(t, int64(1), run.LeaseNumber)
		require.Empty(t, run.Errors)
		_, err = other.Run(t.Context(), run.ID)
		require.NoError(t, err)
	})
}

// An error that should pass by itself costs no attempt.
func TestTransient(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		tries := 0
		flow := dataflow.NewFlow("n", numbers{n: 30}, dataflow.Map(func(_ context.Context, n int) (int, error) { return n, nil }),
			dataflow.To(dataflow.SinkFunc[int](func(context.Context, dataflow.SinkBatch[int]) error {
				if tries++; tries%2 == 1 {
					return dataflow.Transient(errors.New("503"))
				}
				return nil
			})), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 10}, MaxAttempts: 1})
		client := t.client(&dataflow.Config{Flows: []*dataflow.Flow{flow}})
		require.NoError(t, client.Register(t.Context()))
		run, err := client.Trigger(t.Context(), "n", nil)
		require.NoError(t, err)
		require.Equal(t, 6, tries)
		require.Equal(t, dataflow.Counters{Read: 30, Written: 30}, run.Counters)
		require.Empty(t, run.Errors)
	})
}

// TestMarkError: a flow says what its errors mean, where the code that returns them cannot.
func TestMarkError(t *testing.T) {
	t.Parallel()
	errGone, errBusy, errOdd := errors.New("410"), errors.New("503"), errors.New("odd")
	mark := func(err error) error {
		switch {
		case errors.Is(err, errGone):
			return dataflow.Permanent(err)
		case errors.Is(err, errBusy):
			return dataflow.Transient(err)
		case errors.Is(err, errOdd):
			panic("a fault of the user's")
		}
		return nil
	}
	onBoth(t, func(t *dbT) {
		var fail func(batch int) error
		batches := 0
		flow := dataflow.NewFlow("n", numbers{n: 30}, dataflow.Map(func(_ context.Context, n int) (int, error) { return n, nil }),
			dataflow.To(dataflow.SinkFunc[int](func(context.Context, dataflow.SinkBatch[int]) error {
				batches++
				return fail(batches)
			})), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 10}, MaxAttempts: 3, MarkError: mark, OnBadRecord: dataflow.SkipUpTo(9)})
		client := t.client(&dataflow.Config{Flows: []*dataflow.Flow{flow}})
		require.NoError(t, client.Register(t.Context()))
		run := func(f func(batch int) error) *dataflow.Run {
			fail, batches = f, 0
			cursor, err := client.Cursor(t.Context(), "n")
			require.NoError(t, err)
			_, err = client.SetCursor(t.Context(), "n", &dataflow.SetCursorParams{IfSeq: &cursor.Seq})
			require.NoError(t, err)
			run, err := client.Trigger(t.Context(), "n", nil)
			var re *dataflow.RunError
			if !errors.As(err, &re) {
				require.NoError(t, err)
			}
			return run
		}
		require.Equal(t, dataflow.RunFailed, run(func(int) error { return fmt.Errorf("write: %w", errGone) }).State, "permanent")
		passed := run(func(batch int) error {
			if batch%2 == 1 {
				return errBusy
			}
			return nil
		})
		require.Equal(t, dataflow.RunSuccess, passed.State)
		require.Empty(t, passed.Errors, "transient: it spends no attempt")
		require.Equal(t, dataflow.RunPending, run(func(int) error { return errOdd }).State, "a MarkError that panics changes nothing")
		require.NoError(t, func() error { _, err := client.CancelFlow(t.Context(), "n", "", ""); return err }())
		require.Equal(t, dataflow.RunPending, run(func(int) error { return errors.New("other") }).State, "nil changes nothing")
		require.NoError(t, func() error { _, err := client.CancelFlow(t.Context(), "n", "", ""); return err }())
	})
}

// TestMarkError_BadRecord: the error of a record may be about the attempt.
func TestMarkError_BadRecord(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		errKey := errors.New("the key is revoked")
		flow := dataflow.NewFlow("n", numbers{n: 3}, dataflow.Map(func(_ context.Context, n int) (int, error) { return n, errKey }),
			dataflow.To(dataflow.SinkFunc[int](func(context.Context, dataflow.SinkBatch[int]) error { return nil })),
			&dataflow.FlowOptions{OnBadRecord: dataflow.SkipUpTo(9), MarkError: func(err error) error {
				if errors.Is(err, errKey) {
					return dataflow.Permanent(err)
				}
				return err
			}})
		client := t.client(&dataflow.Config{Flows: []*dataflow.Flow{flow}})
		require.NoError(t, client.Register(t.Context()))
		run, err := client.Trigger(t.Context(), "n", nil)
		require.ErrorIs(t, err, errKey)
		require.Equal(t, dataflow.RunFailed, run.State)
		require.Zero(t, run.Counters.Dropped, "the policy was not asked")
	})
}

// slowNumbers waits before each number.
type slowNumbers struct {
	numbers
	wait time.Duration
}

func (s slowNumbers) Read(ctx context.Context, r dataflow.Request[int]) iter.Seq2[dataflow.Item[int, int], error] {
	return func(yield func(dataflow.Item[int, int], error) bool) {
		tick := time.NewTicker(s.wait)
		defer tick.Stop()
		for item, err := range s.numbers.Read(ctx, r) {
			<-tick.C
			if !yield(item, err) {
				return
			}
		}
	}
}
