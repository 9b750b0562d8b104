package drivertest

import (
	"context"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

func claimRules() []rule {
	return []rule{
		{name: "First", run: claimFirst},
		{name: "Again", run: claimAgain},
		{name: "MovesSeqByOne", run: claimMovesSeq},
		{name: "KeepsCounters", run: claimKeepsCounters},
		{name: "Restart", run: claimRestart},
		{name: "NotFound", run: claimNotFound},
		{name: "NotDue", run: claimNotDue},
		{name: "NotInProgress", run: claimNotInProgress},
		{name: "NotFinished", run: claimNotFinished},
		{name: "NotOfInactiveFlow", run: claimNotOfInactiveFlow},
		{name: "NotBehindAnother", run: claimNotBehindAnother},
		{name: "RolledBack", run: claimRolledBack},
		{name: "SlotHasUniqueIndex", run: claimSlotIndex},
		{name: "TicksInOrder", run: claimTicksInOrder},
	}
}

func claimFirst(t *test) {
	f := t.flow("orders")
	want := t.insert(dataflow.RunInsertParams{FlowID: f.ID, Queue: "etl", RiverJobID: 5, UniqueKey: "now", Actor: "ann"})
	other := t.pending(f.ID)
	c := t.claim(want.ID)
	require.EqualValues(t, 1, c.Seq)
	require.Nil(t, c.Cursor)

	got := c.Run
	t.requireNow(got.StartedAt)
	t.requireNow(new(got.LeaseUntil.Add(-lease)))
	want.State, want.Attempt, want.LeaseNumber = dataflow.RunInProgress, 1, 1
	want.Worker, want.CodeVersion = "worker", "v2"
	want.StartedAt, want.LeaseUntil = got.StartedAt, got.LeaseUntil
	require.Equal(t, want, got)
	require.Equal(t, got, t.run(want.ID))
	require.Equal(t, other, t.run(other.ID))
}

func claimAgain(t *test) {
	clock := t.clocked()
	f := t.flow("orders")
	first := t.inProgress(f.ID)
	t.checkpoint(first, `{"id":7}`, dataflow.Counters{Read: 3, Written: 3})
	t.end(failing(first, dataflow.RunPending, "disk full"))

	now := clock.advance(time.Minute)
	p := claimParams(first.Run.ID)
	p.Worker, p.CodeVersion, p.Lease = "other", "v3", 1500*time.Millisecond
	c, err := tryClaim(t.Context(), t.store, p)
	require.NoError(t, err)
	t.requireCursor(`{"id":7}`, c.Cursor)
	require.Equal(t, 2, c.Run.Attempt)
	require.EqualValues(t, 2, c.Run.LeaseNumber)
	require.Equal(t, first.Run.StartedAt, c.Run.StartedAt)
	require.Equal(t, "other", c.Run.Worker)
	require.Equal(t, "v3", c.Run.CodeVersion)
	require.Equal(t, "disk full", c.Run.Error, "until the attempt ends")
	t.requireTime(now.Add(1500*time.Millisecond), c.Run.LeaseUntil)
}

// Each claim and each checkpoint increments the sequence number. So a holder of an old number
// is recognized.
func claimMovesSeq(t *test) {
	f, g := t.flow("orders"), t.flow("other")
	for i := range int64(4) {
		c := t.inProgress(f.ID)
		require.Equal(t, 2*i+1, c.Seq)
		t.checkpoint(c, "", dataflow.Counters{})
		t.end(ending(c, dataflow.RunSuccess))
	}
	require.EqualValues(t, 1, t.inProgress(g.ID).Seq, "each flow has a sequence number of its own")
	require.EqualValues(t, 2, t.number("select count(*) from dataflow_checkpoint"))
}

func claimKeepsCounters(t *test) {
	n := dataflow.Counters{Read: 6, Written: 1, Redundant: 1, Filtered: 1, Dropped: 2, DeadLettered: 1, ReadAgain: 4}
	c := t.inProgress(t.flow("orders").ID)
	t.checkpoint(c, `7`, n)
	t.end(ending(c, dataflow.RunPending))
	c = t.claim(c.Run.ID)
	require.Equal(t, n, c.Run.Counters)
	t.checkpoint(c, `8`, n)
	require.Equal(t, n.Add(n), t.run(c.Run.ID).Counters)
}

// A restart resets the run's counters, not those of the flow.
func claimRestart(t *test) {
	n := dataflow.Counters{Read: 6, Written: 1, Redundant: 1, Filtered: 1, Dropped: 2, DeadLettered: 1, ReadAgain: 4}
	f := t.flow("orders")
	other := t.inProgress(f.ID)
	t.checkpoint(other, `6`, n)
	t.end(ending(other, dataflow.RunSuccess))
	c := t.inProgress(f.ID)
	t.checkpoint(c, `7`, n)
	t.end(ending(c, dataflow.RunPending))
	p := claimParams(c.Run.ID)
	p.Restart = true
	c, err := tryClaim(t.Context(), t.store, p)
	require.NoError(t, err)
	require.Zero(t, c.Run.Counters)
	require.Equal(t, n, t.run(other.Run.ID).Counters)
	require.EqualValues(t, 12, t.number("select read from dataflow_checkpoint"))
}

func claimNotFound(t *test) {
	t.requireNoClaim(t.pending(t.flow("orders").ID).ID + 1)
}

func claimNotDue(t *test) {
	f := t.flow("orders")
	t.requireNoClaim(t.insert(dataflow.RunInsertParams{FlowID: f.ID, At: time.Now().Add(time.Hour)}).ID)
	c := t.inProgress(f.ID)
	p := ending(c, dataflow.RunPending)
	p.Delay = time.Hour
	t.end(p)
	t.requireNoClaim(c.Run.ID)
}

func claimNotInProgress(t *test) {
	t.requireNoClaim(t.inProgress(t.flow("orders").ID).Run.ID)
}

func claimNotFinished(t *test) {
	f := t.flow("orders")
	for _, state := range []dataflow.RunState{dataflow.RunSuccess, dataflow.RunFailed, dataflow.RunCancelled} {
		t.requireNoClaim(t.finished(f.ID, state).ID)
	}
}

func claimNotOfInactiveFlow(t *test) {
	f, g := t.flow("orders"), t.flow("other")
	run := t.pending(f.ID)
	t.setState(f.ID, dataflow.FlowInactive)
	t.requireNoClaim(run.ID)
	t.inProgress(g.ID)
	t.setState(f.ID, dataflow.FlowActive)
	t.claim(run.ID)
}

func claimNotBehindAnother(t *test) {
	f, g := t.flow("orders"), t.flow("other")
	run := t.pending(f.ID)
	c := t.inProgress(f.ID)
	t.requireNoClaim(run.ID)
	t.inProgress(g.ID)
	t.end(ending(c, dataflow.RunSuccess))
	t.claim(run.ID)
}

func claimRolledBack(t *test) {
	run := t.pending(t.flow("orders").ID)
	t.unchanged(func() {
		err := inTx(t.Context(), t.store, func(ctx context.Context, q dataflow.Queries) error {
			c, err := q.RunClaim(ctx, claimParams(run.ID))
			require.NoError(t, err)
			require.NotNil(t, c)
			return errUndo
		})
		require.ErrorIs(t, err, errUndo)
	})
	require.EqualValues(t, 1, t.claim(run.ID).Seq)
}

// The database enforces the rule, whatever the statements do.
func claimSlotIndex(t *test) {
	f := t.flow("orders")
	working, second := t.inProgress(f.ID).Run, t.pending(f.ID)
	t.unchanged(func() {
		for _, set := range []string{"state = 'in_progress', slot = 0", "state = 'in_progress'", "slot = 0", "state = 'done'", "state = 'success'"} {
			require.Error(t, t.db.Exec(t.Context(), "update dataflow_run set "+set+" where id = "+string(raw("%d", second.ID))), set)
		}
		require.Error(t, t.db.Exec(t.Context(), "update dataflow_run set slot = null where id = "+string(raw("%d", working.ID))))
	})
}

// Among waiting ticks in one queue, the run of the earliest tick goes first. Once that run has
// begun, it does not block the others.
func claimTicksInOrder(t *test) {
	f := t.flow("a").ID
	tick := func(hours int, queue string) int64 {
		at := time.Now().Add(-time.Duration(hours) * time.Hour).Truncate(time.Hour)
		return t.insert(dataflow.RunInsertParams{FlowID: f, Trigger: dataflow.TriggerSchedule, At: at, Queue: queue}).ID
	}
	second, first, elsewhere := tick(2, ""), tick(3, ""), tick(9, "etl")
	t.requireNoClaim(second)
	two := claimParams(second)
	two.Slots = 2
	claim, err := tryClaim(t.Context(), t.store, two)
	require.NoError(t, err)
	require.NotNil(t, claim, "with two slots, both can be in progress")
	t.end(ending(claim, dataflow.RunPending))
	c := t.claim(first)
	p := failing(c, dataflow.RunPending, "disk full")
	p.Delay = time.Hour
	t.end(p)
	third := tick(1, "")
	t.claim(third)
	require.Equal(t, dataflow.RunPending, t.run(elsewhere).State)
}
