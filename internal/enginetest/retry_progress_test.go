package enginetest_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// windows is a source that yields ten numbers, and then asks for a wait until the next ten.
func windows(n int) readFunc {
	return func(_ context.Context, r dataflow.Request[int], yield func(dataflow.Item[int, int], error) bool) {
		for i := r.From + 1; i <= min(r.From+10, n); i++ {
			if !yield(dataflow.Item[int, int]{Value: i, Cursor: i, Resume: true}, nil) {
				return
			}
		}
		if r.From+10 < n {
			yield(dataflow.Item[int, int]{}, dataflow.RetryAfter(errBroken, time.Millisecond))
		}
	}
}

// A wait that a server asks for spends no attempt if the attempt has advanced, however many
// there are. Without progress it spends one.
func TestRetryAfter_Progress(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		c := newClock()
		client := t.onClock(c,
			t.numbersFlow("windows", windows(95), dataflow.Heartbeat{BatchSize: 10}),
			t.numbersFlow("stuck", readFunc(func(_ context.Context, _ dataflow.Request[int], yield func(dataflow.Item[int, int], error) bool) {
				yield(dataflow.Item[int, int]{}, dataflow.RetryAfter(errBroken, time.Millisecond))
			}), dataflow.Heartbeat{}))
		run, err := t.execute(client, "windows")
		attempts := 1
		for ; run.State == dataflow.RunPending; attempts++ {
			require.ErrorIs(t, err, errBroken)
			require.Contains(t, run.Error, errBroken.Error(), "a run says why it waits")
			c.advance(time.Second)
			run, err = dataflow.NewFlowExecutor(client).Execute(t.Context(), run.ID)
		}
		require.NoError(t, err)
		require.Equal(t, 10, attempts)
		require.Equal(t, 1, run.Attempt)
		require.Empty(t, run.Error)
		require.Empty(t, run.Errors, "no attempt has failed")
		t.exactly(95)

		run, err = t.execute(client, "stuck")
		for attempts = 1; run.State == dataflow.RunPending; attempts++ {
			require.ErrorIs(t, err, errBroken)
			c.advance(time.Second)
			run, err = dataflow.NewFlowExecutor(client).Execute(t.Context(), run.ID)
		}
		require.ErrorIs(t, err, errBroken)
		require.Equal(t, dataflow.RunFailed, run.State)
		require.Equal(t, 5, attempts)
		require.Len(t, run.Errors, 5)
	})
}

// River works such a run to its end, through more waits than the job has attempts.
func TestRetryAfter_ProgressInJobs(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		j := t.working(t.numbersFlow("windows", windows(95), dataflow.JobQueue{BatchSize: 10}))
		run, err := j.client.Trigger(t.Context(), "windows", nil)
		require.NoError(t, err)
		run, err = t.wait(j.client, run.ID)
		require.NoError(t, err)
		require.Equal(t, 1, run.Attempt)
		t.exactly(95)
	})
}

// Marks alone make checkpoints: what was read before them is written, and a slice can end.
func TestMarks_MakeCheckpoints(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		sliced := make(chan int, 100)
		source := readFunc(func(ctx context.Context, r dataflow.Request[int], yield func(dataflow.Item[int, int], error) bool) {
			sliced <- r.From
			for i := r.From + 1; i <= 60; i++ {
				if !yield(dataflow.Item[int, int]{Value: i, Cursor: i, Resume: i <= 30, Mark: i > 30}, ctx.Err()) {
					return
				}
			}
			if r.From < 40 {
				<-ctx.Done() // as if no record came for long
			}
		})
		client, err := dataflow.NewClient(t.driver, &dataflow.Config{
			Flows: []*dataflow.Flow{t.numbersFlow("n", source, dataflow.JobQueue{BatchSize: 1000})},
			Slice: time.Nanosecond, MaxWorkers: 1, Logger: newLogs().logger(),
		})
		require.NoError(t, err)
		t.started(client)
		run, err := client.Trigger(t.Context(), "n", nil)
		require.NoError(t, err)
		require.Equal(t, 0, receive(t, sliced))
		require.GreaterOrEqual(t, receive(t, sliced), 40, "the first slice ended after some marks")
		require.EqualValues(t, 30, t.number("select count(*) from numbers"), "they were written while only marks came")
		_, err = t.wait(client, run.ID)
		require.NoError(t, err)
		t.exactly(30)
	})
}
