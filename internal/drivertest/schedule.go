package drivertest

import (
	"context"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

func scheduleRules() []rule {
	return []rule{
		{name: "LockedAt", run: lockedAt},
		{name: "ScheduleAt", run: scheduleAt},
		{name: "SkipAfterChange", run: skipAfterChange},
	}
}

// FlowLock returns the time at which it got the lock. It is after everything that the
// transaction that held the lock did.
func lockedAt(t *test) {
	f := t.flow("a")
	begun, got := make(chan struct{}), make(chan time.Time, 1)
	var released time.Time
	lockToo := func() {
		var at time.Time
		err := inTx(t.Context(), t.store, func(ctx context.Context, q dataflow.Queries) error {
			_, err := q.Now(ctx)
			close(begun)
			if err != nil {
				return err
			}
			_, at, err = q.FlowLock(ctx, f.ID)
			return err
		})
		if err != nil {
			t.Errorf("lock the flow too: %v", err)
		}
		got <- at
	}
	err := inTx(t.Context(), t.store, func(ctx context.Context, q dataflow.Queries) error {
		_, _, err := q.FlowLock(ctx, f.ID)
		require.NoError(t, err)
		go lockToo()
		if t.features.ConcurrentWriters {
			<-begun // with a single writer, its transaction cannot begin yet
		}
		released = time.Now().Truncate(time.Millisecond)
		return q.FlowPlan(ctx, &dataflow.FlowPlanParams{ID: f.ID, NextRunAt: &released})
	})
	require.NoError(t, err)
	require.False(t, (<-got).Before(released))
}

// FlowPlan sets ScheduleAt only if it is given.
func scheduleAt(t *test) {
	f := t.flow("a")
	at := time.Date(2031, 2, 3, 4, 5, 6, 789e6, time.UTC)
	require.NoError(t, t.store.FlowPlan(t.Context(), &dataflow.FlowPlanParams{ID: f.ID, ScheduleAt: &at}))
	require.Equal(t, at, t.flowByID(f.ID).ScheduleAt)
	require.NoError(t, t.store.FlowPlan(t.Context(), &dataflow.FlowPlanParams{ID: f.ID}))
	require.Equal(t, at, t.flowByID(f.ID).ScheduleAt)
}

// Ticks skipped for one reason share an entry, unless the schedule changed between them. The
// time at which they were written does not matter.
func skipAfterChange(t *test) {
	f := t.flow("a")
	change := time.Now().Add(-time.Hour).UTC().Truncate(time.Second)
	require.NoError(t, t.store.FlowPlan(t.Context(), &dataflow.FlowPlanParams{ID: f.ID, ScheduleAt: &change}))
	for _, tick := range []time.Duration{-time.Second, 0, time.Second, 2 * time.Second} {
		at := change.Add(tick)
		require.NoError(t, t.store.TickSkip(t.Context(), &dataflow.TickSkipParams{FlowID: f.ID, First: at, Last: at, Count: 1, Reason: dataflow.SkipMissed}))
	}
	entries, err := t.store.TickList(t.Context(), &dataflow.TickListParams{Limit: 10})
	require.NoError(t, err)
	require.Equal(t, change.Add(time.Second), entries[0].First)
	require.Equal(t, change.Add(2*time.Second), entries[0].Last)
	require.EqualValues(t, 2, entries[0].Count)
	require.Equal(t, change, entries[1].Last)
}
