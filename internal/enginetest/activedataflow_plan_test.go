package enginetest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/riverqueue/river/rivertype"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// TestPlan_1_DataFlowJob: the hook and a log line report a job that is discarded,
// whether its args cannot be read or its run failed. A missing or disabled flow is not
// reported.
func TestPlan_1_DataFlowJob(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		type discard struct {
			job *rivertype.JobRow
			err error
		}
		discards := make(chan discard, 10)
		l := newLogs()
		t.table("f")
		client := t.client(&dataflow.Config{
			Flows: []*dataflow.Flow{onQueue("f", broken(), dataflow.FlowOptions{MaxAttempts: 2})}, Logger: l.logger(),
			OnJobDiscarded: func(_ context.Context, job *rivertype.JobRow, err error) {
				discards <- discard{job, err}
				panic("the hook is broken")
			},
		})
		rc := t.river(client)
		t.started(client)
		j := &jobT{dbT: t, client: client, river: rc}

		for args, why := range map[string]string{`{"flow_id":"gid://app/Thing/1"}`: "not a global id of a flow", `[]`: "cannot be read"} {
			id := j.insert(rawArgs(args))
			d := receive(t, discards)
			require.Equal(t, id, d.job.ID)
			require.ErrorContains(t, d.err, why)
			lines := l.lines(fmt.Sprintf("job=%d ", id))
			require.Contains(t, lines[0], "job discarded")
		}
		j.insert(rawArgs(`{"flow_id":4242}`)) // a flow that does not exist
		run, err := t.execute(client, "f")
		require.NoError(t, err)
		d := receive(t, discards)
		require.Equal(t, run.RiverJobID, d.job.ID)
		require.ErrorIs(t, d.err, errBroken)
		require.Equal(t, 2, d.job.Attempt, "the last attempt")
		require.Len(t, l.lines("job discarded"), 3)
		require.Eventually(t, func() bool { return len(l.lines("Config.OnJobDiscarded panicked")) == 3 }, patience, time.Millisecond)
		require.Empty(t, discards)
	})
}

// TestPlan_2_JobRuntime: queue, priority and time are those of River's job, and the log
// names the job and the flow.
func TestPlan_2_JobRuntime(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		l := newLogs()
		rt := dataflow.JobQueue{Queue: "test", Priority: 3, Interval: time.Minute, BatchSize: 9}
		client := t.client(&dataflow.Config{Flows: []*dataflow.Flow{named("orders", rt)}, Logger: l.logger()})
		require.NoError(t, client.Register(t.Context()))
		flow, err := client.Flow(t.Context(), "orders")
		require.NoError(t, err)
		require.Equal(t, rt, flow.Runtime, "a round trip through JSON")
		soon := time.Now().Add(time.Hour).Truncate(time.Second)
		for i, start := range []func() (*dataflow.Run, error){
			func() (*dataflow.Run, error) { return flow.Runtime.Execute(t.Context(), flow) },
			func() (*dataflow.Run, error) { return flow.Runtime.ExecuteAt(t.Context(), flow, soon) },
			func() (*dataflow.Run, error) { return flow.Runtime.ScheduleNext(t.Context(), flow, soon) },
		} {
			run, err := start()
			require.NoError(t, err)
			job, err := t.river(client).JobGet(t.Context(), run.RiverJobID)
			require.NoError(t, err)
			require.Equal(t, "test", job.Queue)
			require.Equal(t, 3, job.Priority)
			if i > 0 {
				require.WithinDuration(t, soon.Add(time.Duration(i-1)*time.Minute), job.ScheduledAt, time.Second)
			}
			lines := l.lines("job enqueued")
			require.Len(t, lines, i+1)
			require.Contains(t, lines[i], fmt.Sprintf("flow=orders run=%d job=%d queue=test", run.ID, run.RiverJobID))
		}
		t.registered(named("orders", dataflow.JobQueue{Disabled: true}))
		flow, err = client.Flow(t.Context(), "orders")
		require.NoError(t, err)
		_, err = flow.Runtime.Execute(t.Context(), flow)
		require.ErrorIs(t, err, dataflow.ErrDisabled)
	})
}

// conflicting is a driver whose database reports errBroken as a deadlock.
type conflicting struct{ dataflow.Driver }

func (d conflicting) Store(opts dataflow.StoreOptions) (dataflow.Store, error) {
	store, err := d.Driver.Store(opts)
	return conflictingStore{store}, err
}

type conflictingStore struct{ dataflow.Store }

func (s conflictingStore) Classify(err error) dataflow.Fault {
	if errors.Is(err, errBroken) {
		return dataflow.FaultConflict
	}
	return s.Store.Classify(err)
}

// TestPlan_1_Deadlock: after a deadlock the batch is written again 5 s later, which
// spends no attempt. Any other error spends one, and the waits grow polynomially.
func TestPlan_1_Deadlock(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.table("f")
		t.driver = conflicting{t.driver}
		var writes []time.Time
		sink := dataflow.TxSinkFunc[int](func(ctx context.Context, rows []int) error {
			if writes = append(writes, time.Now()); len(writes) == 1 {
				return errBroken
			}
			return insertInto(ctx, "f", rows)
		})
		client := t.registered(dataflow.NewFlow("f", numbers{n: 5}, dataflow.Identity[int](), dataflow.ToTx(sink), nil))
		run, err := t.execute(client, "f")
		require.NoError(t, err)
		require.Equal(t, 1, run.Attempt)
		require.Len(t, writes, 2)
		require.WithinRange(t, writes[1], writes[0].Add(5*time.Second), writes[0].Add(25*time.Second)) // a slow machine is late
		t.requireExactly("f", 5)
	})
}

// TestPlan_1_Retries: any other error is tried again after polynomially growing waits,
// five times in all.
func TestPlan_1_Retries(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		c := newClock()
		client := t.onClock(c, dataflow.NewFlow("f", numbers{n: 5}, broken(), dataflow.ToTx(discard{}), nil))
		run, err := t.execute(client, "f")
		require.ErrorIs(t, err, errBroken)
		for i, wait := range []time.Duration{3 * time.Second, 18 * time.Second, 83 * time.Second, 258 * time.Second} {
			require.Equal(t, dataflow.RunPending, run.State)
			require.Equal(t, i+1, run.Attempt)
			require.Equal(t, wait, run.RunAfter.Sub(c.Now()))
			c.advance(wait)
			require.Equal(t, []int64{run.ID}, t.tick(client))
			run, err = client.Run(t.Context(), run.ID)
			require.NoError(t, err)
		}
		require.Equal(t, dataflow.RunFailed, run.State)
		require.Equal(t, 5, run.Attempt)
	})
}
