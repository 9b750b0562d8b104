package drivertest

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

func backfillSlotRules() []rule {
	return []rule{
		{name: "BesideOwnRun", run: backfillSlotBeside},
		{name: "NoMore", run: backfillSlotNoMore},
		{name: "Fewer", run: backfillSlotFewer},
		{name: "WithAndWithout", run: backfillSlotMixed},
		{name: "DoesNotWait", run: backfillSlotGoesFirst},
		{name: "TakenOver", run: backfillSlotTakenOver},
		{name: "Due", run: backfillSlotDue},
		{name: "Race", run: backfillSlotRace},
		{name: "RunWaiting", run: waitingLike},
	}
}

// backfillSlotNo is the nth backfill slot, from 0.
func backfillSlotNo(n int) int { return dataflow.FirstBackfillSlot + n }

func backfillSlotParams(runID int64, backfills int) *dataflow.RunClaimParams {
	p := claimParams(runID)
	p.Slots, p.Backfills = 1, backfills
	return p
}

// claimWithBackfills claims a run of a flow with one slot of its own and some backfill slots.
func (t *test) claimWithBackfills(runID int64, backfills int) *dataflow.Claim {
	t.Helper()
	return t.claimWith(backfillSlotParams(runID, backfills))
}

func (t *test) requireNoBackfillSlot(runID int64, backfills int) {
	t.Helper()
	t.refuseWith(backfillSlotParams(runID, backfills))
}

// With backfill slots, backfills and the flow's own runs do not block each other. Each has its
// own checkpoint.
func backfillSlotBeside(t *test) {
	f := t.flow("orders").ID
	own := t.claimWithBackfills(t.pending(f).ID, 2)
	require.Zero(t, own.Run.Slot)
	first := t.claimWithBackfills(t.backfill(f, "10").ID, 2)
	second := t.claimWithBackfills(t.backfill(f, "20").ID, 2)
	require.ElementsMatch(t, []int{backfillSlotNo(0), backfillSlotNo(1)}, []int{first.Run.Slot, second.Run.Slot})
	for i, c := range []*dataflow.Claim{own, first, second} {
		require.EqualValues(t, 1, c.Seq)
		t.checkpoint(c, fmt.Sprint(30+i), dataflow.Counters{Read: 1, Written: 1})
	}
	next := t.pending(f).ID
	t.requireNoBackfillSlot(next, 2) // the flow has one slot of its own
	t.end(ending(own, dataflow.RunSuccess))
	c := t.claimWithBackfills(next, 2)
	require.Zero(t, c.Run.Slot)
	t.requireCursor("30", c.Cursor)
	held := t.held(ref(second))
	require.Equal(t, second.Run.Slot, held.Run.Slot)
	t.requireCursor("32", held.Cursor)
	require.Equal(t, &dataflow.Activity{InProgress: 3, Backfills: 2}, t.activity(f))
}

// A flow has no more backfills in progress than backfill slots, each in a free slot.
func backfillSlotNoMore(t *test) {
	f, g := t.flow("orders").ID, t.flow("other").ID
	var claims []*dataflow.Claim
	var slots []int
	for range 3 {
		c := t.claimWithBackfills(t.backfill(f, "").ID, 3)
		claims, slots = append(claims, c), append(slots, c.Run.Slot)
	}
	require.ElementsMatch(t, []int{backfillSlotNo(0), backfillSlotNo(1), backfillSlotNo(2)}, slots)
	waits := t.backfill(f, "").ID
	t.requireNoBackfillSlot(waits, 3)
	require.Contains(t, slots, t.claimWithBackfills(t.backfill(g, "").ID, 3).Run.Slot, "another flow's")
	t.end(ending(claims[1], dataflow.RunSuccess))
	c := t.claimWithBackfills(waits, 3)
	require.Equal(t, slots[1], c.Run.Slot)
	t.requireNoBackfillSlot(t.backfill(f, "").ID, 3)
	t.unchanged(func() {
		require.Error(t, t.db.Exec(t.Context(), fmt.Sprintf("update dataflow_run set slot = %d where id = %d", slots[0], c.Run.ID)), "the unique index refuses it")
	})
}

// A process with fewer backfill slots than another claims no backfill until few enough are in
// progress, in whatever slots.
func backfillSlotFewer(t *test) {
	f := t.flow("orders").ID
	var claims []*dataflow.Claim
	for range 3 {
		claims = append(claims, t.claimWithBackfills(t.backfill(f, "").ID, 3))
	}
	waits := t.backfill(f, "").ID
	for _, c := range claims[:2] {
		t.requireNoBackfillSlot(waits, 1)
		t.end(ending(c, dataflow.RunSuccess))
	}
	t.requireNoBackfillSlot(waits, 1)
	slot := t.claimWithBackfills(waits, 2).Run.Slot
	require.Contains(t, []int{backfillSlotNo(0), backfillSlotNo(1)}, slot)
	require.NotEqual(t, claims[2].Run.Slot, slot)
}

// A process without backfill slots works a backfill in one of the flow's own slots, and only if
// nothing else is in progress. The others count it as a backfill. Backfills in backfill slots
// do not block that process's own runs.
func backfillSlotMixed(t *test) {
	f := t.flow("orders").ID
	c := t.claimWithBackfills(t.backfill(f, "").ID, 2)
	waits := t.backfill(f, "").ID
	t.requireNoBackfillSlot(waits, 0)
	own := t.claimWithBackfills(t.pending(f).ID, 0)
	require.Zero(t, own.Run.Slot)
	t.end(ending(own, dataflow.RunSuccess))
	t.end(ending(c, dataflow.RunSuccess))

	without := t.claimWithBackfills(waits, 0)
	require.Zero(t, without.Run.Slot)
	t.requireNoBackfillSlot(t.pending(f).ID, 2) // the backfill is in the flow's own slot
	other := t.backfill(f, "").ID
	t.requireNoBackfillSlot(other, 1)
	require.Contains(t, []int{backfillSlotNo(0), backfillSlotNo(1)}, t.claimWithBackfills(other, 2).Run.Slot)
	t.requireNoBackfillSlot(t.backfill(f, "").ID, 2)
}

// A backfill with a backfill slot does not wait for the flow's own runs.
func backfillSlotGoesFirst(t *test) {
	f := t.flow("orders").ID
	t.pending(f)
	b := t.backfill(f, "").ID
	t.requireNoBackfillSlot(b, 0)
	t.claimWithBackfills(b, 1)
}

// A backfill whose lease has lapsed is put back, and its slot is free. It continues at its
// checkpoint in any of the slots, and its old worker can commit nothing.
func backfillSlotTakenOver(t *test) {
	clock := t.clocked()
	f := t.flow("orders").ID
	old := t.claimWithBackfills(t.backfill(f, "10").ID, 2)
	t.checkpoint(old, `20`, dataflow.Counters{Read: 1, Written: 1})
	clock.advance(lease / 2)
	own, second := t.claimWithBackfills(t.pending(f).ID, 2), t.claimWithBackfills(t.backfill(f, "").ID, 2)
	waits := t.backfill(f, "").ID
	t.requireNoBackfillSlot(waits, 2) // because nobody has put the other one back yet
	clock.advance(lease/2 + time.Second)
	t.requireNoBackfillSlot(waits, 2)
	lapsed := t.lapsed(t.Context())
	require.Equal(t, old.Run.ID, lapsed.ID)
	put := ending(old, dataflow.RunPending)
	put.Refund, put.Rescue = true, true
	require.Equal(t, 1, t.end(put).Rescues)
	require.Equal(t, old.Run.Slot, t.claimWithBackfills(waits, 2).Run.Slot)
	t.requireNoBackfillSlot(old.Run.ID, 2)
	t.end(ending(second, dataflow.RunSuccess))
	again := t.claimWithBackfills(old.Run.ID, 2)
	require.Equal(t, second.Run.Slot, again.Run.Slot)
	t.requireCursor("20", again.Cursor)
	t.requireFenced(progress(old))
	t.requireHeld(progress(again))
	t.requireHeld(progress(own))
}

// Exactly the runs that could be claimed are due.
func backfillSlotDue(t *test) {
	f := t.flow("a").ID
	own := t.due(f, 9)
	var b []int64
	for i := range 3 {
		at := time.Now().Add(-time.Duration(8-i) * time.Hour).Truncate(time.Hour)
		b = append(b, t.insert(dataflow.RunInsertParams{FlowID: f, Trigger: dataflow.TriggerBackfill, Backfill: true, At: at}).ID)
	}
	second := t.due(f, 2)
	due := func(backfills int, want ...int64) {
		t.Helper()
		runs, err := t.store.RunDue(t.Context(), &dataflow.RunDueParams{Slots: []dataflow.FlowSlots{{FlowID: 1 << 40, Slots: 9, Backfills: 9}, {FlowID: f, Slots: 1, Backfills: backfills}}, Limit: 10})
		require.NoError(t, err)
		require.Equal(t, append([]int64{}, want...), ids(runs))
	}
	due(2, own, b[0], b[1], b[2], second)
	t.claimWithBackfills(own, 2)
	due(2, b...)
	due(0)
	t.claimWithBackfills(b[0], 2)
	due(2, b[1], b[2])
	due(1)
	t.claimWithBackfills(b[1], 2)
	due(2)
	due(3, b[2])
}

// Of many claims at once, each gets another slot, and no more succeed than there are slots.
func backfillSlotRace(t *test) {
	const most = 3
	stores := []dataflow.Store{t.store, t.another()}
	for round := range t.rounds() {
		f := t.flow(fmt.Sprint("round ", round)).ID
		runs := make([]int64, 8)
		for i := range runs[:7] {
			runs[i] = t.backfill(f, "").ID
		}
		runs[7] = t.pending(f).ID
		var mu sync.Mutex // guards slots
		var slots []int
		errs := make([]error, len(runs))
		atOnce(len(runs), func(i int) {
			c, err := tryClaim(t.Context(), stores[i%2], backfillSlotParams(runs[i], most))
			if errors.Is(err, dataflow.ErrAlreadyRunning) {
				return // another claim took the slot at the same moment
			}
			errs[i] = err
			if c != nil {
				mu.Lock()
				slots = append(slots, c.Run.Slot)
				mu.Unlock()
			}
		})
		require.NoError(t, errors.Join(errs...))
		require.Contains(t, slots, 0, "backfills do not block the flow's own run")
		require.Subset(t, []int{0, backfillSlotNo(0), backfillSlotNo(1), backfillSlotNo(2)}, slots)
		require.Greater(t, len(slots), 1)
		require.Equal(t, &dataflow.Activity{InProgress: len(slots), Waiting: 8 - len(slots), Backfills: 7}, t.activity(f))
	}
}

func waitingLike(t *test) {
	f, g := t.flow("orders").ID, t.flow("other").ID
	with := func(flowID int64, key string) *dataflow.Run {
		t.Helper()
		return t.insert(dataflow.RunInsertParams{FlowID: flowID, UniqueKey: key})
	}
	second, first := with(f, "ranges:a:2"), with(f, "ranges:a:1")
	with(f, "ranges:ab:1")
	with(f, "x:ranges:a:1")
	with(g, "ranges:a:1")
	t.pending(f)
	waiting := func(prefix string) []int64 {
		t.Helper()
		runs, err := t.store.RunWaiting(t.Context(), f, prefix)
		require.NoError(t, err)
		return ids(runs)
	}
	require.Equal(t, []int64{second.ID, first.ID}, waiting("ranges:a:"))
	require.Len(t, waiting("ranges:a"), 3)
	require.Empty(t, waiting("ranges:%"))
	t.end(ending(t.claim(second.ID), dataflow.RunPending))
	require.Equal(t, []int64{first.ID}, waiting("ranges:a:"), "claimed runs do not wait any more")
}
