package drivertest

import (
	"fmt"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

func slotRules() []rule {
	return []rule{
		{name: "LowestFree", run: slotLowest},
		{name: "NoneIsOne", run: slotNone},
		{name: "Fewer", run: slotFewer},
		{name: "OwnCheckpoint", run: slotCheckpoint},
		{name: "Held", run: slotHeld},
		{name: "FencedByNextInSlot", run: slotFenced},
		{name: "Due", run: slotDue},
		{name: "LostWorker", run: slotLostWorker},
		{name: "LostWorkerTick", run: slotLostWorkerTick},
		{name: "UniqueIndex", run: slotIndex},
	}
}

func slotParams(runID int64, slots int) *dataflow.RunClaimParams {
	p := claimParams(runID)
	p.Slots = slots
	return p
}

// claimSlot claims a run of a flow that has a number of slots.
func (t *test) claimSlot(runID int64, slots int) *dataflow.Claim {
	t.Helper()
	return t.claimWith(slotParams(runID, slots))
}

// claimWith claims a run, and requires that the stored run equals that of the claim.
func (t *test) claimWith(p *dataflow.RunClaimParams) *dataflow.Claim {
	t.Helper()
	c, err := tryClaim(t.Context(), t.store, p)
	require.NoError(t, err)
	require.NotNil(t, c, "run %d could not be claimed", p.RunID)
	require.Equal(t, c.Run, t.run(p.RunID))
	return c
}

func (t *test) requireNoSlot(runID int64, slots int) {
	t.Helper()
	t.refuseWith(slotParams(runID, slots))
}

// refuseWith requires that a run cannot be claimed with these parameters.
func (t *test) refuseWith(p *dataflow.RunClaimParams) {
	t.Helper()
	t.unchanged(func() {
		t.Helper()
		c, err := tryClaim(t.Context(), t.store, p)
		require.NoError(t, err)
		require.Nil(t, c)
	})
}

// fill claims runs for all slots of a flow.
func (t *test) fill(flowID int64, slots int) []*dataflow.Claim {
	t.Helper()
	claims := make([]*dataflow.Claim, slots)
	for i := range claims {
		claims[i] = t.claimSlot(t.pending(flowID).ID, slots)
		require.Equal(t, i, claims[i].Run.Slot)
	}
	return claims
}

// A claim takes the lowest free slot, and fails if there is none.
func slotLowest(t *test) {
	f, g := t.flow("orders").ID, t.flow("other").ID
	claims := t.fill(f, 3)
	fourth := t.pending(f).ID
	t.requireNoSlot(fourth, 3)
	t.fill(g, 3)
	for _, free := range []struct {
		slot int
		by   dataflow.RunState
	}{{1, dataflow.RunSuccess}, {0, dataflow.RunPending}, {2, dataflow.RunFailed}} {
		t.end(ending(claims[free.slot], free.by))
		c := t.claimSlot(fourth, 3)
		require.Equal(t, free.slot, c.Run.Slot)
		t.requireNoSlot(t.pending(f).ID, 3)
		t.end(ending(c, dataflow.RunPending))
		t.claimSlot(t.pending(f).ID, 3)
	}
	for _, c := range t.fill(t.flow("third").ID, 3)[:2] {
		t.end(ending(c, dataflow.RunSuccess))
	}
	require.Zero(t, t.claimSlot(t.pending(t.flow("third").ID).ID, 3).Run.Slot, "the lower of two free slots")
}

// lost ends a claim as that of a worker that died.
func (t *test) lost(c *dataflow.Claim) int64 {
	t.Helper()
	p := ending(c, dataflow.RunPending)
	p.Rescue, p.Refund = true, true
	return t.end(p).ID
}

// A new run leaves a slot in its queue to each run that lost its worker, for the time of a lease
// since it was asked for.
func slotLostWorker(t *test) {
	clock := t.clocked()
	f, g := t.flow("orders").ID, t.flow("other").ID
	first := t.lost(t.claimSlot(t.pending(f).ID, 1))
	asked := t.pending(f).ID
	t.requireNoSlot(asked, 1)
	t.claimSlot(t.pending(g).ID, 1)
	t.end(ending(t.claimSlot(t.insert(dataflow.RunInsertParams{FlowID: f, Queue: "etl"}).ID, 1), dataflow.RunSuccess))

	two := t.claimSlot(asked, 2)
	again := t.pending(f).ID
	t.requireNoSlot(again, 2)
	t.end(ending(two, dataflow.RunPending))
	t.end(ending(t.claimSlot(asked, 1), dataflow.RunSuccess)) // its second attempt
	t.requireNoSlot(again, 1)

	clock.advance(lease)
	t.end(ending(t.claimSlot(again, 1), dataflow.RunSuccess))
	t.requireNoSlot(t.pending(f).ID, 1)
	t.end(ending(t.claimSlot(first, 1), dataflow.RunSuccess))
	t.claimSlot(t.pending(f).ID, 1)
}

// A tick's run leaves a slot to it for any time.
func slotLostWorkerTick(t *test) {
	clock := t.clocked()
	f := t.flow("orders").ID
	lost := t.lost(t.claimSlot(t.pending(f).ID, 1))
	tick := t.tick(f, clock.Now()).ID
	clock.advance(2 * lease)
	t.requireNoSlot(tick, 1)
	t.end(ending(t.claimSlot(tick, 2), dataflow.RunPending))
	next := t.tick(f, clock.Now()).ID
	t.requireNoSlot(next, 1)
	t.end(ending(t.claimSlot(lost, 1), dataflow.RunSuccess))
	t.claimSlot(next, 1)
}

func slotNone(t *test) {
	for _, slots := range []int{0, -1, 1} {
		f := t.flow(fmt.Sprint(slots)).ID
		require.Zero(t, t.claimSlot(t.pending(f).ID, slots).Run.Slot)
		t.requireNoSlot(t.pending(f).ID, slots)
	}
}

// With fewer slots than before, no run of the flow is claimed until few enough are in progress,
// in whatever slots.
func slotFewer(t *test) {
	f := t.flow("orders").ID
	claims := t.fill(f, 3)
	next := t.pending(f).ID
	for _, c := range claims[:2] {
		t.requireNoSlot(next, 1)
		t.end(ending(c, dataflow.RunSuccess))
	}
	t.requireNoSlot(next, 1)
	require.Zero(t, t.claimSlot(next, 2).Run.Slot)
	t.end(ending(claims[2], dataflow.RunSuccess))
	t.requireNoSlot(t.pending(f).ID, 1)
	require.Equal(t, 1, t.claimSlot(t.pending(f).ID, 2).Run.Slot)
}

// Each slot has a cursor, a sequence number and counters of its own.
func slotCheckpoint(t *test) {
	f := t.flow("orders").ID
	claims := t.fill(f, 3)
	for round := range int64(2) {
		for i, c := range claims {
			require.Equal(t, 1+round, c.Seq)
			t.checkpoint(c, fmt.Sprintf(`{"slot":%d,"round":%d}`, i, round), dataflow.Counters{Read: 1, Written: 1})
		}
	}
	require.Equal(t, [][]any{{int64(3), int64(2)}, {int64(3), int64(2)}, {int64(3), int64(2)}}, t.rows("select seq, written from dataflow_checkpoint"))
	for i, c := range claims {
		t.end(ending(c, dataflow.RunSuccess))
		next := t.claimSlot(t.pending(f).ID, 3)
		require.Equal(t, i, next.Run.Slot)
		require.EqualValues(t, 4, next.Seq)
		t.requireCursor(fmt.Sprintf(`{"slot":%d,"round":1}`, i), next.Cursor)
	}
}

// When a flow gets more slots, the first slot continues at the flow's cursor.
func slotHeld(t *test) {
	f := t.flow("orders").ID
	one := t.inProgress(f)
	t.checkpoint(one, `7`, dataflow.Counters{Read: 1, Written: 1})
	t.end(ending(one, dataflow.RunSuccess))
	for i, c := range t.fill(f, 3) {
		if i == 0 {
			t.requireCursor(`7`, c.Cursor)
			require.Equal(t, one.Seq+1, c.Seq)
		} else {
			require.Nil(t, c.Cursor)
		}
		t.checkpoint(c, fmt.Sprint(10+i), dataflow.Counters{})
		held := t.held(ref(c))
		require.NotNil(t, held)
		require.Equal(t, i, held.Run.Slot)
		require.Equal(t, c.Seq, held.Seq)
		t.requireCursor(fmt.Sprint(10+i), held.Cursor)
	}
}

// The previous worker of a slot can commit nothing, neither while another has the slot nor
// later, nor with one of the two numbers of the present worker. The other slots go on.
func slotFenced(t *test) {
	f := t.flow("orders").ID
	claims := t.fill(f, 3)
	old := claims[1]
	t.end(ending(old, dataflow.RunPending))
	t.requireFenced(progress(old))
	c := t.claimSlot(t.pending(f).ID, 3)
	require.Equal(t, old.Run.Slot, c.Run.Slot)
	t.requireFenced(progress(old))
	half := progress(c)
	half.Seq = old.Seq
	t.requireFenced(half)
	half = progress(old)
	half.Seq = c.Seq
	t.requireFenced(half)
	for _, c := range []*dataflow.Claim{claims[0], c, claims[2]} {
		t.checkpoint(c, `1`, dataflow.Counters{})
	}
	again := t.end(ending(claims[2], dataflow.RunSuccess))
	require.Equal(t, dataflow.RunSuccess, again.State)
	require.Equal(t, 2, t.claimSlot(old.Run.ID, 3).Run.Slot, "the run continues in another slot")
	t.requireFenced(progress(old))
}

// Runs of a flow are due as long as it has a free slot.
func slotDue(t *test) {
	f, g := t.flow("a").ID, t.flow("b").ID
	first, second := t.due(f, 9), t.due(f, 8)
	third, fourth := t.due(f, 7), t.due(g, 6)
	due := func(slots int, want ...int64) {
		t.Helper()
		runs, err := t.store.RunDue(t.Context(), &dataflow.RunDueParams{Slots: []dataflow.FlowSlots{{FlowID: f, Slots: slots}}, Limit: 10})
		require.NoError(t, err)
		require.Equal(t, want, ids(runs))
	}
	due(2, first, second, third, fourth)
	t.claimSlot(first, 2)
	due(2, second, third, fourth)
	due(1, fourth)
	due(0, fourth)
	t.claimSlot(second, 2)
	due(2, fourth)
	due(3, third, fourth)
	t.claim(fourth)
	due(3, third)
}

func slotIndex(t *test) {
	f := t.flow("orders").ID
	claims := t.fill(f, 2)
	t.unchanged(func() {
		require.Error(t, t.db.Exec(t.Context(), fmt.Sprintf("update dataflow_run set slot = 0 where id = %d", claims[1].Run.ID)))
	})
}
