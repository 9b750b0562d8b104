package drivertest

import (
	"context"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

func checkpointRules() []rule {
	return []rule{
		{name: "AddsCounters", run: checkpointAdds},
		{name: "Total", run: checkpointTotal},
		{name: "Lease", run: checkpointLease},
		{name: "FlowsApart", run: checkpointFlowsApart},
		{name: "WithSinkRows", run: checkpointWithSinkRows},
		{name: "FencedByLeaseNumber", run: checkpointLeaseNumber},
		{name: "FencedBySeq", run: checkpointSeq},
		{name: "FencedByNextClaim", run: checkpointNextClaim},
		{name: "FencedByNextRun", run: checkpointNextRun},
		{name: "FencedAfterEnd", run: checkpointAfterEnd},
		{name: "FencedOfUnknownRun", run: checkpointUnknown},
	}
}

// flowCounters are the counters of a flow's checkpoint.
func (t *test) flowCounters(flowID int64) dataflow.Counters {
	t.Helper()
	row := t.rows("select read, written, redundant, filtered, dropped, dead_lettered, updated, read_again from dataflow_checkpoint where flow_id = " + string(raw("%d", flowID)))[0]
	n := make([]int64, len(row))
	for i, v := range row {
		n[i], _ = v.(int64)
	}
	return dataflow.Counters{Read: n[0], Written: n[1], Redundant: n[2], Filtered: n[3], Dropped: n[4], DeadLettered: n[5], Updated: n[6], ReadAgain: n[7]}
}

func checkpointAdds(t *test) {
	f := t.flow("orders")
	first := dataflow.Counters{Read: 63, Written: 1, Redundant: 2, Filtered: 4, Dropped: 8, DeadLettered: 48, Updated: 1, ReadAgain: 33}
	second := dataflow.Counters{Read: 1 << 40, Written: 1 << 40}
	c := t.inProgress(f.ID)
	want := *c.Run
	t.checkpoint(c, `1`, first)
	t.checkpoint(c, `2`, second)
	want.Counters, want.FromCursor, want.ToCursor = first.Add(second), raw("null"), raw("2")
	got := t.run(want.ID)
	require.Equal(t, &want, got, "nothing else changes")
	require.Equal(t, want.Counters, t.flowCounters(f.ID))
	require.EqualValues(t, 3, t.number("select seq from dataflow_checkpoint"))

	t.end(ending(c, dataflow.RunSuccess))
	c = t.inProgress(f.ID)
	t.checkpoint(c, `3`, first)
	require.Equal(t, first, t.run(c.Run.ID).Counters, "each run has counters of its own")
	require.Equal(t, first.Add(second).Add(first), t.flowCounters(f.ID))
}

func checkpointTotal(t *test) {
	c := t.inProgress(t.flow("orders").ID)
	p := progress(c)
	for _, total := range []*int64{nil, new(int64(0)), nil, new(int64(1 << 40)), nil} {
		before := t.run(c.Run.ID).Total
		p.Total = total
		t.requireHeld(p)
		p.Seq++
		if total == nil {
			total = before
		}
		require.Equal(t, total, t.run(c.Run.ID).Total)
	}
}

// A checkpoint renews a lease that was not renewed in time, and leaves any other as it is.
func checkpointLease(t *test) {
	c := t.inProgress(t.flow("orders").ID)
	p := progress(c)
	for _, left := range []time.Duration{-time.Minute, time.Minute, lease * 3 / 5, lease * 7 / 10, lease, 2 * lease} {
		statuses, err := t.store.RunRenew(t.Context(), []dataflow.LeaseRef{ref(c)}, left)
		require.NoError(t, err)
		require.True(t, statuses[0].Held)
		before := *t.run(c.Run.ID).LeaseUntil
		p.Lease = lease
		t.requireHeld(p)
		p.Seq++
		got := *t.run(c.Run.ID).LeaseUntil
		if left > lease*2/3 {
			require.Equal(t, before, got, left)
			continue
		}
		require.WithinRange(t, got, before.Add(lease-left), before.Add(lease-left+time.Minute), left)
	}
}

func checkpointFlowsApart(t *test) {
	f, g := t.flow("orders"), t.flow("other")
	c, other := t.inProgress(f.ID), t.inProgress(g.ID)
	t.checkpoint(other, `9`, dataflow.Counters{Read: 9, Written: 9})
	want := t.run(other.Run.ID)
	t.checkpoint(c, `1`, dataflow.Counters{Read: 1, Written: 1})
	require.Equal(t, want, t.run(other.Run.ID))
	require.Equal(t, dataflow.Counters{Read: 9, Written: 9}, t.flowCounters(g.ID))
	require.Equal(t, dataflow.Counters{Read: 1, Written: 1}, t.flowCounters(f.ID))
}

// The sink's rows and the checkpoint are committed together or not at all.
func checkpointWithSinkRows(t *test) {
	t.exec("create table facts (n integer)")
	c := t.inProgress(t.flow("orders").ID)
	p := progress(c)
	p.Cursor, p.Delta = raw("7"), dataflow.Counters{Read: 1, Written: 1}
	write := func(fail error) error {
		return inTx(t.Context(), t.store, func(ctx context.Context, q dataflow.Queries) error {
			found, err := t.db.ExecTx(ctx, "insert into facts (n) values (1)")
			require.NoError(t, err)
			require.True(t, found)
			status, err := q.RunCheckpoint(ctx, p)
			require.NoError(t, err)
			require.True(t, status.Held)
			return fail
		})
	}
	t.unchanged(func() { require.ErrorIs(t, write(errUndo), errUndo) })
	require.Zero(t, t.number("select count(*) from facts"))
	require.NoError(t, write(nil))
	require.EqualValues(t, 1, t.number("select count(*) from facts"))
	t.requireCursor("7", t.run(c.Run.ID).ToCursor)
	require.EqualValues(t, 1, t.flowCounters(c.Run.FlowID).Written)
}

func checkpointLeaseNumber(t *test) {
	c := t.inProgress(t.flow("orders").ID)
	for _, n := range []int64{c.Run.LeaseNumber - 1, c.Run.LeaseNumber + 1} {
		p := progress(c)
		p.LeaseNumber, p.Cursor, p.Delta = n, raw("7"), dataflow.Counters{Read: 1, Written: 1}
		t.requireFenced(p)
	}
	t.checkpoint(c, `7`, dataflow.Counters{})
}

func checkpointSeq(t *test) {
	c := t.inProgress(t.flow("orders").ID)
	t.checkpoint(c, `6`, dataflow.Counters{})
	for _, seq := range []int64{c.Seq - 1, c.Seq + 1, 0} {
		p := progress(c)
		p.Seq, p.Cursor, p.Delta = seq, raw("7"), dataflow.Counters{Read: 1, Written: 1}
		t.requireFenced(p)
	}
	t.checkpoint(c, `7`, dataflow.Counters{})
}

// The run's previous worker can commit nothing, not even with one of the two numbers of the
// present worker.
func checkpointNextClaim(t *test) {
	old := t.inProgress(t.flow("orders").ID)
	t.end(ending(old, dataflow.RunPending))
	t.requireFenced(progress(old))
	c := t.claim(old.Run.ID)
	require.NotEqual(t, old.Seq, c.Seq)
	require.NotEqual(t, old.Run.LeaseNumber, c.Run.LeaseNumber)
	t.requireFenced(progress(old))
	half := progress(c)
	half.Seq = old.Seq
	t.requireFenced(half)
	half = progress(c)
	half.LeaseNumber = old.Run.LeaseNumber
	t.requireFenced(half)
	t.checkpoint(c, `7`, dataflow.Counters{})
}

func checkpointNextRun(t *test) {
	f := t.flow("orders")
	old := t.inProgress(f.ID)
	t.end(ending(old, dataflow.RunPending))
	c := t.inProgress(f.ID)
	t.requireFenced(progress(old))
	stolen := progress(old)
	stolen.Seq = c.Seq
	t.requireFenced(stolen)
	t.checkpoint(c, `7`, dataflow.Counters{})
}

func checkpointAfterEnd(t *test) {
	f := t.flow("orders")
	for _, state := range []dataflow.RunState{dataflow.RunSuccess, dataflow.RunFailed, dataflow.RunCancelled, dataflow.RunPending} {
		c := t.inProgress(f.ID)
		t.end(ending(c, state))
		t.requireFenced(progress(c))
	}
}

func checkpointUnknown(t *test) {
	f, g := t.flow("orders"), t.flow("other")
	c := t.inProgress(f.ID)
	p := progress(c)
	p.RunID++
	t.requireFenced(p)
	p = progress(c)
	p.FlowID = g.ID // that flow has no checkpoint yet
	t.requireFenced(p)
}
