package enginetest_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/riverqueue/river/rivertype"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// The process that finds a lapsed lease puts the run back as its Runtime says, even if
// it has neither the flow's code nor its queue.
func TestRescue_ByOther(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		rt := dataflow.JobQueue{Queue: "etl", Priority: 3}
		client := t.registered(t.numbersFlow("n", numbers{n: 5}, rt))
		run, err := client.Trigger(t.Context(), "n", nil)
		require.NoError(t, err)
		t.abandoned(run.ID)
		require.NoError(t, t.exec("update river_job set state = 'running', attempt = 1, attempted_at = current_timestamp"))
		t.rescued(t.client(&dataflow.Config{CodeVersion: "of another age"}), run.ID)
		back, err := client.Run(t.Context(), run.ID)
		require.NoError(t, err)
		require.Equal(t, dataflow.RunPending, back.State)
		require.Zero(t, back.Attempt)
		require.Equal(t, 1, back.Rescues)
		require.NotEqual(t, run.RiverJobID, back.RiverJobID)
		job, err := t.river(client).JobGet(t.Context(), back.RiverJobID)
		require.NoError(t, err)
		require.Equal(t, "etl", job.Queue)
		require.Equal(t, 3, job.Priority)
		require.Equal(t, rivertype.JobStateAvailable, job.State)

		t.started(client)
		_, err = t.wait(client, run.ID)
		require.NoError(t, err)
		t.exactly(5)
	})
}

// A run that lost its worker goes before a tick that has been due for longer.
func TestRescue_BeforeOlderTick(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		client := t.registered(named("f", nil))
		tick, err := client.Enqueue(t.Context(), "f", &dataflow.TriggerOptions{At: time.Now().Add(-time.Hour)})
		require.NoError(t, err)
		lost, err := client.Enqueue(t.Context(), "f", nil)
		require.NoError(t, err)
		require.NoError(t, t.exec(fmt.Sprintf("update dataflow_run set trigger = 'schedule' where id = %d", tick.ID)))
		require.NoError(t, t.exec(fmt.Sprintf("update dataflow_run set rescues = 1, lease_no = 1 where id = %d", lost.ID)))
		t.started(client)
		first, err := t.wait(client, lost.ID)
		require.NoError(t, err)
		second, err := t.wait(client, tick.ID)
		require.NoError(t, err)
		require.False(t, second.StartedAt.Before(*first.EndedAt))
	})
}

// A source without a cursor begins again in each attempt. So a checkpoint before the
// record that kills is no progress.
func TestRescue_MaxWithoutCursor(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		flow := dataflow.NewFlow("deadly", onceNumbers{n: 30}, dataflow.Identity[int](), dataflow.ToTx[int](discard{}), nil)
		client := t.client(&dataflow.Config{Flows: []*dataflow.Flow{flow}, MaxRescues: 3})
		require.NoError(t, client.Register(t.Context()))
		run, err := client.Trigger(t.Context(), "deadly", &dataflow.TriggerOptions{At: time.Unix(1, 0)})
		require.NoError(t, err)
		watch := t.client(&dataflow.Config{MaxRescues: 3})
		store, err := t.driver.Store(dataflow.StoreOptions{})
		require.NoError(t, err)
		for range 3 {
			claim := t.abandoned(run.ID)
			require.NoError(t, store.InTx(t.Context(), func(ctx context.Context, tx dataflow.Tx) error {
				q, err := store.With(tx)
				require.NoError(t, err)
				status, err := q.RunCheckpoint(ctx, &dataflow.RunCheckpointParams{
					RunID: run.ID, FlowID: run.FlowID, LeaseNumber: claim.Run.LeaseNumber, Seq: claim.Seq, Lease: time.Millisecond,
				})
				require.True(t, status.Held)
				return err
			}))
			t.rescued(watch, run.ID)
		}
		run, err = client.Run(t.Context(), run.ID)
		require.NoError(t, err)
		require.Equal(t, dataflow.RunFailed, run.State)
		require.Contains(t, run.Error, "killed its worker 3 times in a row")
	})
}

// countedRenewals counts the statements that renew leases, and how many leases
// each renews.
type countedRenewals struct {
	dataflow.Driver
	claims chan int
}

type countedRenewalsStore struct {
	dataflow.Store
	claims chan int
}

func (d countedRenewals) Store(opts dataflow.StoreOptions) (dataflow.Store, error) {
	s, err := d.Driver.Store(opts)
	return countedRenewalsStore{Store: s, claims: d.claims}, err
}

func (s countedRenewalsStore) RunRenew(ctx context.Context, claims []dataflow.LeaseRef, lease time.Duration) ([]dataflow.LeaseStatus, error) {
	s.claims <- len(claims)
	return s.Store.RunRenew(ctx, claims, lease)
}

// One statement renews all leases of a process, at a third of their length.
func TestLease_OneStatement(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		const lease = 3 * time.Second
		driver := countedRenewals{Driver: t.driver, claims: make(chan int, 100)}
		var flows []*dataflow.Flow
		var sources []*gated
		for i := range 3 {
			sources = append(sources, newGated(5, 3))
			flows = append(flows, t.numbersFlow(fmt.Sprint(i), sources[i], dataflow.Heartbeat{}))
		}
		client, err := dataflow.NewClient(driver, &dataflow.Config{Flows: flows, Lease: lease, Logger: slog.New(slog.DiscardHandler)})
		require.NoError(t, err)
		t.started(client)
		for i := range flows {
			_, err := client.Trigger(t.Context(), fmt.Sprint(i), &dataflow.TriggerOptions{At: time.Unix(1, 0)})
			require.NoError(t, err)
		}
		for _, source := range sources {
			receive(t, source.reached)
		}
		for len(driver.claims) > 0 {
			<-driver.claims
		}
		receive(t, driver.claims)
		// A process that gets little time renews late, and then sooner. It goes on until two
		// renewals were a third apart.
		last, third := time.Now(), false
		for tries := 0; tries < 3 || !third; tries++ {
			require.Less(t, tries, 30, "they are renewed at no third")
			require.Equal(t, 3, receive(t, driver.claims))
			took := time.Since(last)
			third = third || took > lease/4 && took < lease/2
			last = last.Add(took)
		}
		for _, source := range sources {
			close(source.open)
		}
	})
}
