package enginetest_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// gate holds batches until it is opened, and tells which runs have reached it.
type gate struct {
	opened chan struct{}

	mu   sync.Mutex // guards what follows
	came []int      // the first records of their batches
}

func newGate() *gate { return &gate{opened: make(chan struct{})} }

// pass returns a transform that notes the first record of each batch. It holds the
// batches of backfills, whose records come after behind.
func (g *gate) pass(behind int) dataflow.Transform[int, int] {
	return dataflow.Batch(func(ctx context.Context, in []int) ([]int, error) {
		g.mu.Lock()
		g.came = append(g.came, in[0])
		g.mu.Unlock()
		if in[0] > behind {
			select {
			case <-g.opened:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		return in, nil
	})
}

func (g *gate) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.came)
}

// While MaxBackfills backfills are in progress, later ones wait and the flow's own runs
// do not. Why says which run waits for which. All end well.
func TestMaxBackfills(t *testing.T) {
	t.Parallel()
	for _, runtime := range []dataflow.Runtime{dataflow.Heartbeat{BatchSize: 100}, dataflow.JobQueue{BatchSize: 100}} {
		t.Run(runtime.Type(), func(t *testing.T) {
			t.Parallel()
			onBoth(t, func(t *dbT) {
				g := newGate()
				t.table("numbers")
				source := splitting{ranged: ranged{n: 40}}
				flow := dataflow.NewFlow("n", source, g.pass(1), appendTo("numbers"), &dataflow.FlowOptions{Runtime: runtime, MaxBackfills: 2})
				client := t.client(&dataflow.Config{Flows: []*dataflow.Flow{flow}, MaxWorkers: 4})
				t.started(client)
				runs, err := client.BackfillRanges(t.Context(), "n", 4, &dataflow.BackfillParams{From: cursorAt(20)})
				require.NoError(t, err)
				require.Eventually(t, func() bool { return g.count() == 2 }, patience, 10*time.Millisecond, "two are worked")

				for range 2 { // the flow's own runs
					own, err := client.Enqueue(t.Context(), "n", nil)
					require.NoError(t, err)
					own, err = t.wait(client, own.ID)
					require.NoError(t, err)
					require.Less(t, own.Slot, dataflow.FirstBackfillSlot)
				}
				require.Equal(t, "40", string(t.live(client, "n").Cursor))
				require.EqualValues(t, 2, t.number("select count(*) from dataflow_run where state = 'in_progress'"))
				require.EqualValues(t, 2, t.number(fmt.Sprintf("select count(*) from dataflow_run where slot in (%d, %d)", dataflow.FirstBackfillSlot, dataflow.FirstBackfillSlot+1)))
				_, err = dataflow.NewFlowExecutor(client).Execute(t.Context(), t.waiting(client, "n")[0].ID)
				require.ErrorIs(t, err, dataflow.ErrAlreadyRunning)

				for who, c := range map[string]*dataflow.Client{"with its code": client, "without": t.client(nil)} {
					why, err := c.Why(t.Context(), "n")
					require.NoError(t, err)
					blocked := 0
					for _, cause := range why.Causes {
						if cause.Code == dataflow.CauseBlocked {
							blocked++
						}
					}
					require.Equal(t, 2, blocked, "%s: %s", who, why)
				}
				close(g.opened)
				for _, run := range runs {
					run, err := t.wait(client, run.ID)
					require.NoError(t, err)
					require.Equal(t, dataflow.Counters{Read: 5, Written: 5}, run.Counters)
				}
				require.EqualValues(t, 60, t.number("select count(*) from numbers"))
				require.EqualValues(t, 20, t.number("select count(*) from (select n from numbers where n > 20 group by n having count(*) = 2) twice"))
			})
		})
	}
}

// Backfills on Heartbeat keep their places until they end, so they leave one place of a
// started client to other runs.
func TestMaxBackfills_LeaveAPlace(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		g := newGate()
		t.table("numbers")
		flow := dataflow.NewFlow("n", splitting{ranged: ranged{n: 40}}, g.pass(1), appendTo("numbers"), &dataflow.FlowOptions{MaxBackfills: 9})
		client := t.client(&dataflow.Config{Flows: []*dataflow.Flow{flow}, MaxWorkers: 3})
		t.started(client)
		runs, err := client.BackfillRanges(t.Context(), "n", 4, &dataflow.BackfillParams{From: cursorAt(20)})
		require.NoError(t, err)
		require.Eventually(t, func() bool { return g.count() == 2 }, patience, 10*time.Millisecond, "two are worked")
		own, err := client.Enqueue(t.Context(), "n", nil)
		require.NoError(t, err)
		_, err = t.wait(client, own.ID)
		require.NoError(t, err)
		require.EqualValues(t, 2, t.number("select count(*) from dataflow_run where state = 'pending'"))
		close(g.opened)
		for _, run := range runs {
			_, err := t.wait(client, run.ID)
			require.NoError(t, err)
		}
	})
}

// When the client stops, each backfill is handed back, and another client goes on with
// it.
func TestMaxBackfills_HandedBack(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.table("numbers")
		flow := func(wait time.Duration) *dataflow.Flow {
			return dataflow.NewFlow("n", splitting{ranged: ranged{n: 300, wait: wait}}, dataflow.Identity[int](), appendTo("numbers"),
				&dataflow.FlowOptions{Runtime: dataflow.JobQueue{BatchSize: 10}, MaxBackfills: 3})
		}
		first := t.client(&dataflow.Config{Flows: []*dataflow.Flow{flow(50 * time.Millisecond)}})
		require.NoError(t, first.Start(t.Context()))
		runs, err := first.BackfillRanges(t.Context(), "n", 3, nil)
		require.NoError(t, err)
		require.Eventually(t, func() bool {
			return t.number("select count(*) from dataflow_run where state = 'in_progress' and read > 0") > 1
		}, patience, 10*time.Millisecond)
		require.NoError(t, first.Stop(t.Context()))
		require.Zero(t, t.number("select count(*) from dataflow_run where state = 'in_progress'"))
		require.Less(t, t.number("select count(*) from numbers"), int64(300))
		second := t.client(&dataflow.Config{Flows: []*dataflow.Flow{flow(0)}})
		t.started(second)
		for _, run := range runs {
			run, err := t.wait(second, run.ID)
			require.NoError(t, err)
			require.Equal(t, 1, run.Attempt)
			require.Equal(t, dataflow.Counters{Read: 100, Written: 100}, run.Counters)
		}
		require.EqualValues(t, 300, t.number("select count(distinct n) from numbers"))
		require.EqualValues(t, 300, t.number("select count(*) from numbers"))
	})
}

func TestMaxBackfills_Validate(t *testing.T) {
	t.Parallel()
	for _, n := range []int{-1, 1001} {
		_, err := dataflow.NewClient(noDatabase{}, &dataflow.Config{Flows: []*dataflow.Flow{
			dataflow.NewFlow("n", ranged{}, dataflow.Identity[int](), dataflow.ToTx(discard{}), &dataflow.FlowOptions{MaxBackfills: n}),
		}})
		require.ErrorContains(t, err, fmt.Sprintf(`Flows["n"].MaxBackfills: %d is out of range: use 1 to 1000, or 0 for backfills that take the place of the flow's own runs`, n))
	}
}

// A backfill whose retry is in progress is not begun a second time: the two would take one checkpoint away from each
// other, as if a worker had died.
func TestMaxBackfills_RetriedTwice(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		g := newGate()
		t.table("numbers")
		flow := dataflow.NewFlow("n", splitting{ranged: ranged{n: 40}}, g.pass(0), appendTo("numbers"), &dataflow.FlowOptions{
			Runtime: dataflow.Heartbeat{BatchSize: 5}, MaxBackfills: 4,
		})
		client := t.started(t.client(&dataflow.Config{Flows: []*dataflow.Flow{flow}, MaxWorkers: 4}))
		run, err := client.Backfill(t.Context(), "n", &dataflow.BackfillParams{From: cursorAt(20)})
		require.NoError(t, err)
		require.Eventually(t, func() bool { return g.count() == 1 }, patience, 10*time.Millisecond)
		_, err = client.Cancel(t.Context(), run.ID, "ann", "a look")
		require.NoError(t, err)
		_, err = t.wait(client, run.ID)
		require.Error(t, err)

		first, err := client.Retry(t.Context(), run.ID, "ann")
		require.NoError(t, err)
		require.Eventually(t, func() bool { return g.count() == 2 }, patience, 10*time.Millisecond)
		second, err := client.Retry(t.Context(), run.ID, "bob")
		require.NoError(t, err)
		require.Equal(t, first.ID, second.ID)
		require.True(t, second.Coalesced)
		require.Equal(t, dataflow.RunInProgress, second.State)
		close(g.opened)
		done, err := t.wait(client, first.ID)
		require.NoError(t, err)
		require.Equal(t, []int64{20, 1, 0}, []int64{done.Counters.Written, done.LeaseNumber, int64(done.Rescues)})
		require.EqualValues(t, 20, t.number("select count(distinct n) from numbers"))
		require.EqualValues(t, 20, t.number("select count(*) from numbers"))
	})
}
