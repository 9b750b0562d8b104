package enginetest_test

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// In slices, a backfill lets the flow's own runs go first, and no tick is skipped for
// it. The live cursor and its own are apart all the time.
func TestClient_Backfill_Slices(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		source := ranged{n: 60, wait: 10 * time.Millisecond}
		flow := t.numbersFlow("n", source, dataflow.JobQueue{BatchSize: 5})
		client := t.client(&dataflow.Config{Flows: []*dataflow.Flow{flow}, Slice: 200 * time.Millisecond})
		var mu sync.Mutex
		var order []int64 // in which runs have ended
		events, cancel := client.Subscribe(dataflow.EventRunSucceeded)
		defer cancel()
		go func() {
			for e := range events {
				mu.Lock()
				order = append(order, e.Run.ID)
				mu.Unlock()
			}
		}()
		t.started(client)
		backfill, err := client.Backfill(t.Context(), "n", &dataflow.BackfillParams{From: cursorAt(10)})
		require.NoError(t, err)
		require.Eventually(t, func() bool {
			run, err := client.Run(t.Context(), backfill.ID)
			require.NoError(t, err)
			return run.LeaseNumber > 1
		}, patience, 10*time.Millisecond, "it has been sliced")
		own, err := client.Trigger(t.Context(), "n", &dataflow.TriggerOptions{Params: cursorAt(1000)})
		require.NoError(t, err)
		own, err = t.wait(client, own.ID)
		require.NoError(t, err)
		backfill, err = t.wait(client, backfill.ID)
		require.NoError(t, err)
		require.Equal(t, dataflow.Counters{Read: 50, Written: 50}, backfill.Counters)
		require.Equal(t, dataflow.Counters{Read: 60, Written: 60}, own.Counters)
		require.EqualValues(t, 50, t.number("select count(distinct n) from numbers where n <= 60"))
		require.EqualValues(t, 110, t.number("select count(distinct n) from numbers"))
		require.EqualValues(t, 110, t.number("select count(*) from numbers"))
		require.Eventually(t, func() bool { mu.Lock(); defer mu.Unlock(); return len(order) == 2 }, patience, 10*time.Millisecond)
		mu.Lock()
		defer mu.Unlock()
		require.Equal(t, []int64{own.ID, backfill.ID}, order)
	})
}

// With OverlapSkip, a tick that comes while a backfill is in progress starts a run, which
// waits.
func TestClient_Backfill_Ticks(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		c := newClock()
		var client *dataflow.Client
		ticked := 0
		flow := dataflow.NewFlow("n", ranged{n: 10}, dataflow.Batch(func(ctx context.Context, in []int) ([]int, error) {
			if in[0] == 100 { // in the backfill
				c.advance(2 * time.Hour)
				r, err := client.BeginTick(ctx)
				if err != nil {
					return nil, err
				}
				ticked = len(r.Fired)
				if r.Skipped > 1 { // of two ticks, the last is made up for
					return nil, errors.New("ticks were skipped")
				}
			}
			return in, nil
		}), dataflow.ToTx(discard{}), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{Interval: time.Hour}, MaxAttempts: 1})
		client = t.onClock(c, flow)
		_, err := client.Backfill(t.Context(), "n", &dataflow.BackfillParams{Params: cursorAt(100)})
		require.NoError(t, err)
		runs, err := client.Tick(t.Context())
		require.NoError(t, err)
		require.Len(t, runs, 1)
		require.Equal(t, dataflow.RunSuccess, runs[0].State, runs[0].Error)
		require.Equal(t, 1, ticked)
		_, err = client.Tick(t.Context())
		require.NoError(t, err)
		last, err := client.Runs(t.Context(), &dataflow.RunListParams{Trigger: dataflow.TriggerSchedule})
		require.NoError(t, err)
		require.Len(t, last, 1)
		last[0], err = t.wait(client, last[0].ID)
		require.NoError(t, err)
		require.EqualValues(t, 10, last[0].Counters.Read)
	})
}

// A sink elsewhere keeps the checkpoint of a backfill apart too.
func TestClient_Backfill_Fenced(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		sinks := map[string]*elsewhere{}
		sink := byFlow(sinks)
		flow := dataflow.NewFlow("far", ranged{n: 6}, dataflow.Identity[int](), dataflow.ToFenced(sink), nil)
		client := t.registered(flow)
		_, err := t.execute(client, "far")
		require.NoError(t, err)
		state := string(sinks["far"].state)
		run, err := client.Backfill(t.Context(), "far", &dataflow.BackfillParams{From: cursorAt(1), Until: cursorAt(3), Append: true})
		require.NoError(t, err)
		runs, err := client.Tick(t.Context())
		require.NoError(t, err)
		require.Equal(t, dataflow.RunSuccess, runs[0].State, runs[0].Error)
		require.Equal(t, []int{2, 3}, sinks["far\tbackfill "+run.Scope].rows)
		require.Equal(t, state, string(sinks["far"].state))
		require.Equal(t, "6", string(t.live(client, "far").Cursor))
	})
}

// byFlow is a store for each name.
type byFlow map[string]*elsewhere

func (s byFlow) Claim(ctx context.Context, flow string, fence int64) (json.RawMessage, error) {
	if s[flow] == nil {
		s[flow] = &elsewhere{}
	}
	return s[flow].Claim(ctx, flow, fence)
}

func (s byFlow) WriteFenced(ctx context.Context, b dataflow.FencedBatch[int]) error {
	return s[b.Flow].WriteFenced(ctx, b)
}

// A batch of a backfill has another ID than the batch that was written before. The
// source does not hear of cursors that are not the flow's own.
func TestClient_Backfill_To(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		seen := map[string]int{}
		sink := dataflow.To(dataflow.SinkFunc[int](func(_ context.Context, b dataflow.SinkBatch[int]) error { seen[b.ID]++; return nil }))
		source := &acking{ranged: ranged{n: 6}}
		client := t.registered(dataflow.NewFlow("n", source, dataflow.Identity[int](), sink, &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 3}}))
		_, err := t.execute(client, "n")
		require.NoError(t, err)
		_, err = client.Backfill(t.Context(), "n", nil)
		require.NoError(t, err)
		_, err = client.Tick(t.Context())
		require.NoError(t, err)
		require.Len(t, seen, 4)
		require.Equal(t, []int{3, 6}, source.acked)
	})
}

type acking struct {
	ranged
	acked []int
}

func (a *acking) Committed(_ context.Context, cursor int) error {
	a.acked = append(a.acked, cursor)
	return nil
}

// OverlapCancelOther cancels older runs, and leaves backfills alone.
func TestClient_Backfill_NotCancelled(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		client := t.registered(t.numbersFlow("n", ranged{n: 3}, dataflow.Heartbeat{Schedule: dataflow.Schedule{Overlap: dataflow.OverlapCancelOther}}))
		b, err := client.Backfill(t.Context(), "n", nil)
		require.NoError(t, err)
		for range 2 {
			_, err = client.Enqueue(t.Context(), "n", nil)
			require.NoError(t, err)
		}
		_, err = client.Tick(t.Context())
		require.NoError(t, err)
		b, err = client.Run(t.Context(), b.ID)
		require.NoError(t, err)
		require.Equal(t, dataflow.RunSuccess, b.State)
	})
}

// A cursor can be set while a backfill is in progress, which has its own.
func TestProgress_Left(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		var client *dataflow.Client
		var during *dataflow.Progress
		flow := dataflow.NewFlow("n", ranged{n: 10, wait: time.Millisecond}, dataflow.Map(func(ctx context.Context, n int) (int, error) {
			if n != 8 {
				return n, nil
			}
			runs, err := client.Runs(ctx, nil)
			for err == nil && (during == nil || during.Counters.Read < 4) { // the batch before is written meanwhile
				during, err = client.Progress(ctx, runs[0].ID)
			}
			if err == nil {
				_, err = client.SetCursor(ctx, "n", &dataflow.SetCursorParams{IfCursor: json.RawMessage("null"), Cursor: cursorAt(4)})
			}
			return n, err
		}), dataflow.ToTx(discard{}), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 2}, MaxAttempts: 1})
		client = t.registered(flow)
		_, err := client.Backfill(t.Context(), "n", &dataflow.BackfillParams{From: cursorAt(2)})
		require.NoError(t, err)
		runs, err := client.Tick(t.Context())
		require.NoError(t, err)
		require.Equal(t, dataflow.RunSuccess, runs[0].State, runs[0].Error)
		require.EqualValues(t, 4, during.Counters.Read)
		require.EqualValues(t, 8, *during.Total)
		require.Positive(t, during.Rate)
		require.InDelta(t, 4/during.Rate, during.Left.Seconds(), 1e-6)
		require.Equal(t, "4", string(t.live(client, "n").Cursor))
		after, err := client.Progress(t.Context(), runs[0].ID)
		require.NoError(t, err)
		require.Nil(t, after.Left)
	})
}
