package drivertest

import (
	"fmt"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

func backfillRules() []rule {
	return []rule{
		{name: "Insert", run: backfillInsert},
		{name: "Params", run: backfillParams},
		{name: "OwnCheckpoint", run: backfillCheckpoint},
		{name: "GoesOn", run: backfillGoesOn},
		{name: "InAnySlot", run: backfillSlots},
		{name: "Fenced", run: backfillFenced},
		{name: "TakesASlot", run: backfillSlot},
		{name: "LetsOthersGoFirst", run: backfillWaits},
		{name: "Activity", run: backfillActivity},
		{name: "TellsNothingAboutTheFlow", run: backfillOutcome},
		{name: "Prune", run: backfillPrune},
	}
}

// backfill adds a run of a new backfill.
func (t *test) backfill(flowID int64, from string) *dataflow.Run {
	t.Helper()
	p := dataflow.RunInsertParams{FlowID: flowID, Trigger: dataflow.TriggerBackfill, Backfill: true}
	if from != "" {
		p.From = raw("%s", from)
	}
	return t.insert(p)
}

func backfillInsert(t *test) {
	f := t.flow("orders")
	run := t.insert(dataflow.RunInsertParams{
		FlowID: f.ID, Trigger: dataflow.TriggerBackfill, Backfill: true, UniqueKey: "b", From: raw(`["a", 1]`), Until: raw(`["b", 2]`), Params: raw(`{"day": 3}`),
	})
	require.Equal(t, fmt.Sprint(run.ID), run.Scope)
	require.True(t, run.IsBackfill())
	require.Equal(t, []string{`["a", 1]`, `["b", 2]`, `{"day": 3}`}, []string{string(run.FromCursor), string(run.UntilCursor), string(run.Params)})
	require.Nil(t, run.ToCursor)
	require.Equal(t, run, t.run(run.ID))

	second := t.backfill(f.ID, "")
	require.Equal(t, fmt.Sprint(second.ID), second.Scope)
	require.Nil(t, second.FromCursor)
	again := t.insert(dataflow.RunInsertParams{FlowID: f.ID, Trigger: dataflow.TriggerRetry, Backfill: true, Scope: run.Scope, From: run.FromCursor, Until: run.UntilCursor})
	require.Equal(t, run.Scope, again.Scope)
	require.NotEqual(t, run.ID, again.ID)
	coalesced := t.insert(dataflow.RunInsertParams{FlowID: f.ID, Trigger: dataflow.TriggerBackfill, Backfill: true, UniqueKey: "b"})
	require.True(t, coalesced.Coalesced)
	require.Equal(t, run.Scope, coalesced.Scope)
	require.False(t, t.pending(f.ID).IsBackfill())
}

// An own run of the flow may have parameters too.
func backfillParams(t *test) {
	f := t.flow("orders")
	run := t.insert(dataflow.RunInsertParams{FlowID: f.ID, Params: raw("[1]")})
	require.Empty(t, run.Scope)
	c := t.claim(run.ID)
	require.Equal(t, "[1]", string(c.Run.Params))
	require.Nil(t, t.run(t.pending(f.ID).ID).Params)
}

// A backfill leaves the flow's own cursor, sequence number and counters as they are.
func backfillCheckpoint(t *test) {
	f := t.flow("orders")
	live := t.inProgress(f.ID)
	t.checkpoint(live, `100`, dataflow.Counters{Read: 9, Written: 9})
	t.end(ending(live, dataflow.RunSuccess))
	before := t.cursorOf(f.ID)
	counters := "select read from dataflow_checkpoint where scope = ''"

	c := t.claim(t.backfill(f.ID, "10").ID)
	t.requireCursor("10", c.Cursor)
	require.EqualValues(t, 1, c.Seq)
	t.checkpoint(c, `20`, dataflow.Counters{Read: 3, Written: 3})
	held := t.held(ref(c))
	require.Equal(t, c.Seq, held.Seq)
	t.requireCursor("20", held.Cursor)
	t.requireCursor("10", t.run(c.Run.ID).FromCursor)
	t.end(ending(c, dataflow.RunSuccess))
	require.Equal(t, before, t.cursorOf(f.ID))
	require.EqualValues(t, 9, t.number(counters))

	beginning := t.claim(t.backfill(f.ID, "").ID)
	require.Nil(t, beginning.Cursor)
	t.end(ending(beginning, dataflow.RunSuccess))
	next := t.inProgress(f.ID)
	t.requireCursor("100", next.Cursor)
	require.Equal(t, before.Seq+1, next.Seq)
}

// The next attempt of a backfill, and a run that is started in its place, continue at its
// cursor.
func backfillGoesOn(t *test) {
	f := t.flow("orders")
	first := t.claim(t.backfill(f.ID, "10").ID)
	t.checkpoint(first, `20`, dataflow.Counters{})
	t.end(ending(first, dataflow.RunPending))
	c := t.claim(first.Run.ID)
	t.requireCursor("20", c.Cursor)
	t.checkpoint(c, `30`, dataflow.Counters{})
	t.end(failing(c, dataflow.RunFailed, "disk full"))
	again := t.insert(dataflow.RunInsertParams{FlowID: f.ID, Trigger: dataflow.TriggerRetry, Backfill: true, Scope: c.Run.Scope, From: raw("10")})
	c = t.claim(again.ID)
	t.requireCursor("30", c.Cursor)
	t.requireFenced(progress(first))
}

// A backfill has the same checkpoint in every slot.
func backfillSlots(t *test) {
	f := t.flow("orders").ID
	t.claimSlot(t.pending(f).ID, 3)
	run := t.backfill(f, "10")
	c := t.claimSlot(run.ID, 3)
	require.Equal(t, 1, c.Run.Slot)
	t.checkpoint(c, `20`, dataflow.Counters{})
	t.end(ending(c, dataflow.RunPending))
	t.claimSlot(t.pending(f).ID, 3)
	c = t.claimSlot(run.ID, 3)
	require.Equal(t, 2, c.Run.Slot)
	t.requireCursor("20", c.Cursor)
}

// The sequence number of one checkpoint commits nothing at another.
func backfillFenced(t *test) {
	f := t.flow("orders")
	c := t.claim(t.backfill(f.ID, "10").ID)
	p := progress(c)
	p.Scope = ""
	t.requireFenced(p)
	p.Scope = "77"
	t.requireFenced(p)
	t.requireHeld(progress(c))
}

// A backfill counts among the runs of the flow that may be in progress at once.
func backfillSlot(t *test) {
	f := t.flow("orders").ID
	c := t.claim(t.backfill(f, "").ID)
	live := t.pending(f)
	t.requireNoSlot(live.ID, 1)
	other := t.backfill(f, "")
	t.requireNoSlot(other.ID, 1)
	t.end(ending(c, dataflow.RunSuccess))
	t.claim(live.ID)
}

// If both a backfill and an own run could be claimed, the own run goes first.
func backfillWaits(t *test) {
	clock := t.clocked()
	f := t.flow("orders").ID
	b := t.backfill(f, "")
	elsewhere := t.insert(dataflow.RunInsertParams{FlowID: f, Queue: "etl"})
	later := t.insert(dataflow.RunInsertParams{FlowID: f, At: clock.Now().Add(time.Hour)})
	c := t.claim(b.ID)
	t.end(ending(c, dataflow.RunPending))
	live := t.pending(f)
	t.requireNoSlot(b.ID, 1)
	t.end(ending(t.claim(live.ID), dataflow.RunSuccess))
	t.end(ending(t.claim(b.ID), dataflow.RunPending))
	clock.advance(time.Hour)
	t.requireNoSlot(b.ID, 1)
	t.claimSlot(b.ID, 2) // there are slots for both
	require.Equal(t, []dataflow.RunState{dataflow.RunPending, dataflow.RunPending}, []dataflow.RunState{t.run(elsewhere.ID).State, t.run(later.ID).State})
}

func backfillActivity(t *test) {
	f := t.flow("orders").ID
	c := t.claim(t.backfill(f, "").ID)
	t.backfill(f, "")
	t.pending(f)
	require.Equal(t, dataflow.RunInProgress, c.Run.State)
	require.Equal(t, &dataflow.Activity{InProgress: 1, Waiting: 2, Backfills: 2}, t.activity(f))
}

// Neither the success nor the failure of a backfill counts for the flow.
func backfillOutcome(t *test) {
	id := t.tripping("orders", 1, time.Hour)
	before := t.flowByID(id)
	for _, state := range []dataflow.RunState{dataflow.RunFailed, dataflow.RunSuccess, dataflow.RunPending} {
		run := t.end(failing(t.claim(t.backfill(id, "").ID), state, "disk full"))
		require.Equal(t, "disk full", run.Error)
		require.False(t, run.Tripped)
		require.Equal(t, before, t.flowByID(id))
	}
}

// The checkpoint of a backfill is removed with the last of its runs. The flow's last success
// that is kept is one of its own runs.
func backfillPrune(t *test) {
	clock := t.clocked()
	f := t.flow("orders")
	live := t.finished(f.ID, dataflow.RunSuccess)
	clock.advance(time.Minute)
	b := t.claim(t.backfill(f.ID, "").ID)
	t.end(failing(b, dataflow.RunFailed, "disk full"))
	clock.advance(time.Minute)
	again := t.insert(dataflow.RunInsertParams{FlowID: f.ID, Trigger: dataflow.TriggerRetry, Backfill: true, Scope: b.Run.Scope})
	t.end(ending(t.claim(again.ID), dataflow.RunSuccess))
	clock.advance(time.Hour)
	const scopes = "select count(*) from dataflow_checkpoint where scope <> ''"
	require.EqualValues(t, 1, t.pruned(dataflow.PruneParams{State: dataflow.RunFailed, Age: time.Minute}))
	require.NoError(t, t.store.ScopePrune(t.Context()))
	require.EqualValues(t, 1, t.number(scopes))
	require.EqualValues(t, 1, t.pruned(dataflow.PruneParams{State: dataflow.RunSuccess, Age: time.Minute}))
	require.NoError(t, t.store.ScopePrune(t.Context()))
	require.Equal(t, []int64{live.ID}, t.runIDs())
	require.Zero(t, t.number(scopes))
	require.EqualValues(t, 1, t.number("select count(*) from dataflow_checkpoint"))
}
