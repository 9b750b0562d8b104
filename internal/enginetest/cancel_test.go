package enginetest_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

func TestCancel_Pending(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		later := &dataflow.TriggerOptions{At: time.Now().Add(time.Hour)}
		for _, rt := range []dataflow.Runtime{dataflow.Heartbeat{}, dataflow.JobQueue{}} {
			client := t.client(&dataflow.Config{Flows: []*dataflow.Flow{t.numbersFlow(rt.Type(), numbers{n: 5}, rt)}})
			require.NoError(t, client.Register(t.Context()))
			run, err := client.Trigger(t.Context(), rt.Type(), later)
			require.NoError(t, err)
			run, err = client.Cancel(t.Context(), run.ID, "alice", "wrong file")
			require.NoError(t, err)
			require.Equal(t, dataflow.RunCancelled, run.State)
			require.NotNil(t, run.EndedAt)
			run, err = client.Wait(t.Context(), run.ID)
			require.ErrorContains(t, err, "cancelled: by alice: wrong file")
			require.Equal(t, "alice", run.CancelledBy)
			_, err = client.Cancel(t.Context(), run.ID, "bob", "me too")
			require.NoError(t, err, "it is what bob wanted")
		}
		require.Equal(t, int64(1), t.number("select count(*) from river_job where state = 'cancelled'"))
	})
}

// longLease would be renewed after ten minutes, a third of it, which is longer than a test's
// patience. A worker that learns sooner of a cancellation asks more often than its lease needs.
const longLease = 30 * time.Minute

// A run in progress ends soon, though another process works it and its source
// waits.
func TestCancel_InProgress(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		for _, rt := range []dataflow.Runtime{dataflow.Heartbeat{BatchSize: 10}, dataflow.JobQueue{BatchSize: 10}} {
			name := rt.Type()
			source := newGated(35, 25)
			client := t.started(t.client(&dataflow.Config{Lease: longLease, Flows: []*dataflow.Flow{t.numbersFlow(name, source, rt)}}))
			other := t.client(nil)
			run, err := client.Trigger(t.Context(), name, &dataflow.TriggerOptions{At: time.Unix(1, 0)})
			require.NoError(t, err)
			<-source.reached
			runs, err := other.CancelFlow(t.Context(), name, "alice", "wrong file")
			require.NoError(t, err)
			require.Len(t, runs, 1)
			require.Equal(t, dataflow.RunInProgress, runs[0].State)
			run, err = t.wait(other, run.ID)
			require.ErrorContains(t, err, "cancelled: by alice: wrong file")
			require.Equal(t, "alice", run.CancelledBy)
			require.Equal(t, "wrong file", run.CancelReason)
			require.LessOrEqual(t, run.Counters.Written, int64(20))
			_, err = other.Cancel(t.Context(), run.ID, "bob", "")
			require.NoError(t, err)
		}
	})
}

// blocked is a flow with one part that waits until its context is done. It closes
// reached when it begins to wait.
func blocked(stage string, rt dataflow.Runtime, reached chan struct{}) *dataflow.Flow {
	var once sync.Once
	block := func(ctx context.Context) error {
		once.Do(func() { close(reached) })
		<-ctx.Done()
		return fmt.Errorf("as the driver puts it: %w", ctx.Err())
	}
	transform, target := dataflow.Identity[int](), appendTo("numbers")
	switch stage {
	case "Map":
		transform = dataflow.Map(func(ctx context.Context, n int) (int, error) {
			if n < 15 {
				return n, nil
			}
			return n, block(ctx)
		})
	case "Write":
		target = dataflow.To(dataflow.SinkFunc[int](func(ctx context.Context, _ dataflow.SinkBatch[int]) error { return block(ctx) }))
	case "WriteTx":
		target = dataflow.ToTx(dataflow.TxSinkFunc[int](func(ctx context.Context, rows []int) error {
			return errors.Join(insertInto(ctx, "numbers", rows), block(ctx))
		}))
	case "Trouble":
		target = dataflow.To(dataflow.SinkFunc[int](func(context.Context, dataflow.SinkBatch[int]) error {
			once.Do(func() { close(reached) })
			return dataflow.Transient(errBroken)
		}))
	}
	return dataflow.NewFlow(rt.Type(), numbers{n: 30}, transform, target, &dataflow.FlowOptions{Runtime: rt})
}

// Whatever blocks a run, another process can cancel it, long before its lease is renewed.
func TestCancel_Blocked(t *testing.T) {
	t.Parallel()
	for _, stage := range []string{"Map", "Write", "WriteTx", "Trouble"} {
		t.Run(stage, func(t *testing.T) {
			t.Parallel()
			onBoth(t, func(t *dbT) {
				if stage == "WriteTx" && !t.isPostgres {
					return // It holds the only connection, so that nobody can ask.
				}
				t.table("numbers")
				for _, rt := range []dataflow.Runtime{dataflow.Heartbeat{BatchSize: 10}, dataflow.JobQueue{BatchSize: 10}} {
					reached := make(chan struct{})
					client := t.started(t.client(&dataflow.Config{Lease: longLease, Flows: []*dataflow.Flow{blocked(stage, rt, reached)}}))
					other := t.client(nil)
					run, err := client.Trigger(t.Context(), rt.Type(), &dataflow.TriggerOptions{At: time.Unix(1, 0)})
					require.NoError(t, err)
					receive(t, reached)
					run, err = other.Cancel(t.Context(), run.ID, "alice", "wrong file")
					require.NoError(t, err)
					require.Equal(t, dataflow.RunInProgress, run.State)
					run, err = t.wait(other, run.ID)
					require.ErrorContains(t, err, "cancelled: by alice: wrong file")
					require.Equal(t, dataflow.RunCancelled, run.State)
					require.Empty(t, run.Errors)
				}
				require.Zero(t, t.number("select count(*) from numbers where n > 10"))
			})
		})
	}
}

// A cancelled run whose worker died before it heard of that ends, and is not worked
// again.
func TestCancel_WorkerDead(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		for _, rt := range []dataflow.Runtime{dataflow.Heartbeat{}, dataflow.JobQueue{}} {
			client := t.registered(t.numbersFlow(rt.Type(), numbers{n: 5}, rt))
			run, err := client.Trigger(t.Context(), rt.Type(), &dataflow.TriggerOptions{At: time.Unix(1, 0)})
			require.NoError(t, err)
			t.abandoned(run.ID)
			_, err = client.Cancel(t.Context(), run.ID, "alice", "wrong file")
			require.NoError(t, err)
			cancelled, cancel := client.Subscribe(dataflow.EventRunCancelled)
			t.rescued(client, run.ID)
			cancel()
			require.Len(t, cancelled, 1)
			run, err = t.wait(client, run.ID)
			require.ErrorContains(t, err, "cancelled: by alice: wrong file")
			require.Equal(t, dataflow.RunCancelled, run.State)
		}
		require.Zero(t, t.number("select count(*) from numbers"))
	})
}

func TestCancel_Finished(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		client := t.client(&dataflow.Config{Flows: []*dataflow.Flow{t.numbersFlow("n", numbers{n: 5}, dataflow.Heartbeat{})}})
		require.NoError(t, client.Register(t.Context()))
		run, err := client.Trigger(t.Context(), "n", nil)
		require.NoError(t, err)
		_, err = client.Cancel(t.Context(), run.ID, "alice", "")
		require.ErrorIs(t, err, dataflow.ErrRunFinished)
		_, err = client.Cancel(t.Context(), 999, "alice", "")
		require.ErrorIs(t, err, dataflow.ErrNotFound)
		_, err = client.CancelFlow(t.Context(), "unknown", "alice", "")
		require.ErrorIs(t, err, dataflow.ErrNotFound)
	})
}
