package drivertest

import (
	"context"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

func leaseRules() []rule {
	return []rule{
		{name: "Renew", run: leaseRenew},
		{name: "RenewLost", run: leaseRenewLost},
		{name: "RenewTellsOfCancel", run: leaseRenewCancel},
		{name: "Held", run: leaseHeld},
		{name: "Lapsed", run: leaseLapsed},
		{name: "LapsedIsLockedOnce", run: leaseLapsedOnce, needs: concurrentWriters},
		{name: "Rescues", run: leaseRescues},
	}
}

func ref(c *dataflow.Claim) dataflow.LeaseRef {
	return dataflow.LeaseRef{RunID: c.Run.ID, LeaseNumber: c.Run.LeaseNumber}
}

// lapse makes a run's lease lapse, as if its worker had not renewed it.
func (t *test) lapse(c *dataflow.Claim) {
	t.Helper()
	statuses, err := t.store.RunRenew(t.Context(), []dataflow.LeaseRef{ref(c)}, -time.Hour)
	require.NoError(t, err)
	require.True(t, statuses[0].Held)
}

// lapsed returns a run whose lease has lapsed, or nil if there is none.
func (t *test) lapsed(ctx context.Context) *dataflow.Run {
	t.Helper()
	var run *dataflow.Run
	require.NoError(t, inTx(ctx, t.store, func(ctx context.Context, q dataflow.Queries) (err error) {
		run, err = q.RunLapsed(ctx)
		return err
	}))
	return run
}

func (t *test) held(claim dataflow.LeaseRef) *dataflow.Claim {
	t.Helper()
	var held *dataflow.Claim
	require.NoError(t, inTx(t.Context(), t.store, func(ctx context.Context, q dataflow.Queries) (err error) {
		held, err = q.RunHeld(ctx, claim, 2*lease)
		return err
	}))
	return held
}

func leaseRenew(t *test) {
	one, two := t.inProgress(t.flow("one").ID), t.inProgress(t.flow("two").ID)
	statuses, err := t.store.RunRenew(t.Context(), []dataflow.LeaseRef{ref(one), ref(two)}, 2*lease)
	require.NoError(t, err)
	require.ElementsMatch(t, []dataflow.LeaseStatus{{RunID: one.Run.ID, Held: true}, {RunID: two.Run.ID, Held: true}}, statuses)
	for _, c := range []*dataflow.Claim{one, two} {
		got := t.run(c.Run.ID)
		require.WithinRange(t, *got.LeaseUntil, c.Run.LeaseUntil.Add(lease-time.Second), c.Run.LeaseUntil.Add(lease+time.Minute))
		want := *c.Run
		want.LeaseUntil = got.LeaseUntil
		require.Equal(t, &want, got, "nothing else changes")
	}
}

func leaseRenewLost(t *test) {
	c := t.inProgress(t.flow("orders").ID)
	old, unknown := ref(c), dataflow.LeaseRef{RunID: 999, LeaseNumber: 1}
	old.LeaseNumber--
	t.unchanged(func() {
		statuses, err := t.store.RunRenew(t.Context(), []dataflow.LeaseRef{old, unknown}, lease)
		require.NoError(t, err)
		require.ElementsMatch(t, []dataflow.LeaseStatus{{RunID: c.Run.ID}, {RunID: 999}}, statuses)
	})
	t.end(ending(c, dataflow.RunSuccess))
	t.unchanged(func() {
		statuses, err := t.store.RunRenew(t.Context(), []dataflow.LeaseRef{ref(c)}, lease)
		require.NoError(t, err)
		require.False(t, statuses[0].Held)
	})
}

func leaseRenewCancel(t *test) {
	c := t.inProgress(t.flow("orders").ID)
	_, err := t.store.RunCancel(t.Context(), &dataflow.RunCancelParams{RunID: c.Run.ID})
	require.NoError(t, err)
	statuses, err := t.store.RunRenew(t.Context(), []dataflow.LeaseRef{ref(c)}, lease)
	require.NoError(t, err)
	require.Equal(t, []dataflow.LeaseStatus{{RunID: c.Run.ID, Held: true, CancelRequested: true}}, statuses)
}

func leaseHeld(t *test) {
	c := t.inProgress(t.flow("orders").ID)
	t.checkpoint(c, `{"n": 7}`, dataflow.Counters{Read: 1, Written: 1})
	held := t.held(ref(c))
	require.NotNil(t, held)
	require.Equal(t, c.Seq, held.Seq)
	require.Equal(t, `{"n": 7}`, string(held.Cursor))
	require.Equal(t, int64(1), held.Run.Counters.Written)
	require.True(t, held.Run.LeaseUntil.After(*c.Run.LeaseUntil))

	old := ref(c)
	old.LeaseNumber++
	require.Nil(t, t.held(old))
	t.end(ending(c, dataflow.RunPending))
	require.Nil(t, t.held(ref(c)))
}

func leaseLapsed(t *test) {
	fresh, dead := t.inProgress(t.flow("fresh").ID), t.inProgress(t.flow("dead").ID)
	t.pending(t.flow("waiting").ID)
	require.Nil(t, t.lapsed(t.Context()))
	t.lapse(dead)
	t.unchanged(func() { require.Equal(t, dead.Run.ID, t.lapsed(t.Context()).ID) })
	p := ending(dead, dataflow.RunPending)
	t.end(p)
	require.Nil(t, t.lapsed(t.Context()))
	require.Equal(t, dataflow.RunInProgress, t.run(fresh.Run.ID).State)
}

// Two processes that call RunLapsed at once do not get the same run.
func leaseLapsedOnce(t *test) {
	t.lapse(t.inProgress(t.flow("orders").ID))
	require.NoError(t, inTx(t.Context(), t.store, func(ctx context.Context, q dataflow.Queries) error {
		run, err := q.RunLapsed(ctx)
		require.NoError(t, err)
		require.NotNil(t, run)
		require.Nil(t, t.lapsed(ctx), "it is locked")
		return nil
	}))
	require.NotNil(t, t.lapsed(t.Context()))
}

// Rescues are counted until a checkpoint with a cursor. A checkpoint without a cursor does not
// reset the count, because the next claim begins at the same place again.
func leaseRescues(t *test) {
	f := t.flow("orders")
	id := t.pending(f.ID).ID
	for n := 1; n <= 2; n++ {
		c := t.claim(id)
		require.Equal(t, n-1, c.Run.Rescues)
		p := ending(c, dataflow.RunPending)
		p.Refund, p.Rescue = true, true
		t.end(p)
		run := t.run(id)
		require.Equal(t, n, run.Rescues)
		require.Zero(t, run.Attempt)
	}
	c := t.claim(id)
	t.checkpoint(c, "", dataflow.Counters{})
	require.Equal(t, 2, t.run(id).Rescues)
	t.checkpoint(c, `1`, dataflow.Counters{})
	require.Zero(t, t.run(id).Rescues)
}

func cancelRules() []rule {
	return []rule{
		{name: "Pending", run: cancelPending},
		{name: "InProgress", run: cancelInProgress},
		{name: "PendingOnly", run: cancelPendingOnly},
		{name: "Finished", run: cancelFinished},
	}
}

func cancelPendingOnly(t *test) {
	c := t.inProgress(t.flow("orders").ID)
	p := &dataflow.RunCancelParams{RunID: c.Run.ID, Actor: "alice", PendingOnly: true}
	t.unchanged(func() {
		got, err := t.store.RunCancel(t.Context(), p)
		require.NoError(t, err)
		require.Equal(t, c.Run, got)
	})
	t.end(failing(c, dataflow.RunPending, "disk full"))
	got, err := t.store.RunCancel(t.Context(), p)
	require.NoError(t, err)
	require.Equal(t, dataflow.RunCancelled, got.State)
}

func cancelPending(t *test) {
	run := t.pending(t.flow("orders").ID)
	got, err := t.store.RunCancel(t.Context(), &dataflow.RunCancelParams{RunID: run.ID, Actor: "alice", Reason: "wrong file"})
	require.NoError(t, err)
	require.Equal(t, dataflow.RunCancelled, got.State)
	require.NotNil(t, got.EndedAt)
	require.NotNil(t, got.CancelRequestedAt)
	require.Equal(t, []string{"alice", "wrong file"}, []string{got.CancelledBy, got.CancelReason})
	require.Equal(t, got, t.run(run.ID))
	t.requireNoClaim(run.ID)
}

func cancelInProgress(t *test) {
	c := t.inProgress(t.flow("orders").ID)
	for _, who := range []string{"alice", "bob"} {
		got, err := t.store.RunCancel(t.Context(), &dataflow.RunCancelParams{RunID: c.Run.ID, Actor: who, Reason: who})
		require.NoError(t, err)
		require.Equal(t, dataflow.RunInProgress, got.State)
		require.Nil(t, got.EndedAt)
		require.Equal(t, []string{"alice", "alice"}, []string{got.CancelledBy, got.CancelReason}, "the first request is kept")
	}
	require.NoError(t, inTx(t.Context(), t.store, func(ctx context.Context, q dataflow.Queries) error {
		status, err := q.RunCheckpoint(ctx, progress(c))
		require.NoError(t, err)
		require.True(t, status.Held)
		require.True(t, status.CancelRequested, "the next checkpoint reports it")
		return nil
	}))
	t.end(ending(c, dataflow.RunCancelled))
	require.Equal(t, "alice", t.run(c.Run.ID).CancelledBy)
}

func cancelFinished(t *test) {
	c := t.inProgress(t.flow("orders").ID)
	t.end(ending(c, dataflow.RunSuccess))
	t.unchanged(func() {
		got, err := t.store.RunCancel(t.Context(), &dataflow.RunCancelParams{RunID: c.Run.ID, Actor: "alice"})
		require.NoError(t, err)
		require.Equal(t, dataflow.RunSuccess, got.State)
		_, err = t.store.RunCancel(t.Context(), &dataflow.RunCancelParams{RunID: 999})
		require.ErrorIs(t, err, dataflow.ErrNotFound)
	})
}
