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
		{name: "BesideOwnRun", run: apartBeside},
		{name: "NoMore", run: apartNoMore},
		{name: "Fewer", run: apartFewer},
		{name: "WithAndWithout", run: apartMixed},
		{name: "DoesNotWait", run: apartGoesFirst},
		{name: "TakenOver", run: apartTakenOver},
		{name: "Due", run: apartDue},
		{name: "Race", run: apartRace},
		{name: "RunWaiting", run: waitingLike},
	}
}

// apartSlot is the slot of the nth backfill, from 0.
func apartSlot(n int) int { return dataflow.FirstBackfillSlot + n }

func apartParams(runID int64, backfills int) *dataflow.RunClaimParams {
	p := claimParams(runID)
	p.Slots, p.Backfills = 1, backfills
	return p
}

// claimApart claims a run of a flow with one place of its own and some for backfills.
func (t *test) claimApart(runID int64, backfills int) *dataflow.Claim {
	t.Helper()
	return t.claimWith(apartParams(runID, backfills))
}

func (t *test) requireNotApart(runID int64, backfills int) {
	t.Helper()
	t.refuseWith(apartParams(runID, backfills))
}

// Backfills and the flow's own runs are not in each other's way, whoever is first, and
// each has its own checkpoint.
func apartBeside(t *test) {
	f := t.flow("orders").ID
	own := t.claimApart(t.pending(f).ID, 2)
	require.Zero(t, own.Run.Slot)
	first := t.claimApart(t.backfill(f, "10").ID, 2)
	second := t.claimApart(t.backfill(f, "20").ID, 2)
	require.ElementsMatch(t, []int{apartSlot(0), apartSlot(1)}, []int{first.Run.Slot, second.Run.Slot})
	for i, c := range []*dataflow.Claim{own, first, second} {
		require.EqualValues(t, 1, c.Seq)
		t.checkpoint(c, fmt.Sprint(30+i), dataflow.Counters{Read: 1, Written: 1})
	}
	next := t.pending(f).ID
	t.requireNotApart(next, 2) // of its own there is one place
	t.end(ending(own, dataflow.RunSuccess))
	c := t.claimApart(next, 2)
	require.Zero(t, c.Run.Slot)
	t.requireCursor("30", c.Cursor)
	held := t.held(ref(second))
	require.Equal(t, second.Run.Slot, held.Run.Slot)
	t.requireCursor("32", held.Cursor)
	require.Equal(t, &dataflow.Activity{InProgress: 3, Backfills: 2}, t.activityOf(f))
}

func (t *test) activityOf(flowID int64) *dataflow.Activity {
	t.Helper()
	a, err := t.store.RunActivity(t.Context(), flowID)
	require.NoError(t, err)
	return a
}

// Not more than so many of a flow's, each in a slot that is free.
func apartNoMore(t *test) {
	f, g := t.flow("orders").ID, t.flow("other").ID
	var claims []*dataflow.Claim
	var slots []int
	for range 3 {
		c := t.claimApart(t.backfill(f, "").ID, 3)
		claims, slots = append(claims, c), append(slots, c.Run.Slot)
	}
	require.ElementsMatch(t, []int{apartSlot(0), apartSlot(1), apartSlot(2)}, slots)
	waits := t.backfill(f, "").ID
	t.requireNotApart(waits, 3)
	require.Contains(t, slots, t.claimApart(t.backfill(g, "").ID, 3).Run.Slot, "another flow's")
	t.end(ending(claims[1], dataflow.RunSuccess))
	c := t.claimApart(waits, 3)
	require.Equal(t, slots[1], c.Run.Slot)
	t.requireNotApart(t.backfill(f, "").ID, 3)
	t.unchanged(func() {
		require.Error(t, t.db.Exec(t.Context(), fmt.Sprintf("update dataflow_run set slot = %d where id = %d", slots[0], c.Run.ID)), "the index holds it")
	})
}

// A process that is told of fewer than another works none until few enough are in
// progress, in whichever slots.
func apartFewer(t *test) {
	f := t.flow("orders").ID
	var claims []*dataflow.Claim
	for range 3 {
		claims = append(claims, t.claimApart(t.backfill(f, "").ID, 3))
	}
	waits := t.backfill(f, "").ID
	for _, c := range claims[:2] {
		t.requireNotApart(waits, 1)
		t.end(ending(c, dataflow.RunSuccess))
	}
	t.requireNotApart(waits, 1)
	slot := t.claimApart(waits, 2).Run.Slot
	require.Contains(t, []int{apartSlot(0), apartSlot(1)}, slot)
	require.NotEqual(t, claims[2].Run.Slot, slot)
}

// A process that has no slots apart works a backfill only alone, and what it works counts
// among the backfills of the others; its own runs mind none that are apart.
func apartMixed(t *test) {
	f := t.flow("orders").ID
	c := t.claimApart(t.backfill(f, "").ID, 2)
	waits := t.backfill(f, "").ID
	t.requireNotApart(waits, 0)
	own := t.claimApart(t.pending(f).ID, 0)
	require.Zero(t, own.Run.Slot)
	t.end(ending(own, dataflow.RunSuccess))
	t.end(ending(c, dataflow.RunSuccess))

	without := t.claimApart(waits, 0)
	require.Zero(t, without.Run.Slot)
	t.requireNotApart(t.pending(f).ID, 2) // it has the flow's own place
	other := t.backfill(f, "").ID
	t.requireNotApart(other, 1)
	require.Contains(t, []int{apartSlot(0), apartSlot(1)}, t.claimApart(other, 2).Run.Slot)
	t.requireNotApart(t.backfill(f, "").ID, 2)
}

// A backfill with a slot apart does not let the flow's own runs go first.
func apartGoesFirst(t *test) {
	f := t.flow("orders").ID
	t.pending(f)
	b := t.backfill(f, "").ID
	t.requireNotApart(b, 0)
	t.claimApart(b, 1)
}

// One whose lease has lapsed is put back, goes on at its checkpoint in any of the slots, and whoever
// had it before can commit nothing. Its slot is free meanwhile.
func apartTakenOver(t *test) {
	clock := t.clocked()
	f := t.flow("orders").ID
	old := t.claimApart(t.backfill(f, "10").ID, 2)
	t.checkpoint(old, `20`, dataflow.Counters{Read: 1, Written: 1})
	clock.advance(lease / 2)
	own, second := t.claimApart(t.pending(f).ID, 2), t.claimApart(t.backfill(f, "").ID, 2)
	waits := t.backfill(f, "").ID
	t.requireNotApart(waits, 2) // as long as nobody has put it back
	clock.advance(lease/2 + time.Second)
	t.requireNotApart(waits, 2)
	lapsed := t.lapsed(t.Context())
	require.Equal(t, old.Run.ID, lapsed.ID)
	put := ending(old, dataflow.RunPending)
	put.Refund, put.Rescue = true, true
	require.Equal(t, 1, t.end(put).Rescues)
	require.Equal(t, old.Run.Slot, t.claimApart(waits, 2).Run.Slot)
	t.requireNotApart(old.Run.ID, 2)
	t.end(ending(second, dataflow.RunSuccess))
	again := t.claimApart(old.Run.ID, 2)
	require.Equal(t, second.Run.Slot, again.Run.Slot)
	t.requireCursor("20", again.Cursor)
	t.requireFenced(progress(old))
	t.requireHeld(progress(again))
	t.requireHeld(progress(own))
}

// What could be claimed is due, and nothing else.
func apartDue(t *test) {
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
		runs, err := t.store.RunDue(t.Context(), []dataflow.FlowSlots{{FlowID: 1 << 40, Slots: 9, Backfills: 9}, {FlowID: f, Slots: 1, Backfills: backfills}}, 10)
		require.NoError(t, err)
		require.Equal(t, append([]int64{}, want...), ids(runs))
	}
	due(2, own, b[0], b[1], b[2], second)
	t.claimApart(own, 2)
	due(2, b...)
	due(0)
	t.claimApart(b[0], 2)
	due(2, b[1], b[2])
	due(1)
	t.claimApart(b[1], 2)
	due(2)
	due(3, b[2])
}

// Of many that claim at once, none is given a slot twice, and not more than there are.
func apartRace(t *test) {
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
			c, err := tryClaim(t.Context(), stores[i%2], apartParams(runs[i], most))
			if errors.Is(err, dataflow.ErrAlreadyRunning) {
				return // another has taken the slot in the same moment
			}
			errs[i] = err
			if c != nil {
				mu.Lock()
				slots = append(slots, c.Run.Slot)
				mu.Unlock()
			}
		})
		require.NoError(t, errors.Join(errs...))
		require.Contains(t, slots, 0, "the flow's own run minds none of them")
		require.Subset(t, []int{0, apartSlot(0), apartSlot(1), apartSlot(2)}, slots)
		require.Greater(t, len(slots), 1)
		require.Equal(t, &dataflow.Activity{InProgress: len(slots), Waiting: 8 - len(slots), Backfills: 7}, t.activityOf(f))
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
	require.Equal(t, []int64{first.ID}, waiting("ranges:a:"), "what has begun waits no more")
}
