package drivertest

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

func pruneRules() []rule {
	return []rule{
		{name: "RunsOfAState", run: pruneState},
		{name: "LastSuccess", run: pruneLastSuccess},
		{name: "Batches", run: pruneBatches},
		{name: "Place", run: prunePlace},
		{name: "Meanwhile", run: pruneMeanwhile},
		{name: "Unfinished", run: pruneUnfinished},
		{name: "DeadLetters", run: pruneDeadLetters},
		{name: "HeldLetters", run: pruneHeldLetters},
		{name: "Ranges", run: pruneRanges},
		{name: "FirstLoad", run: pruneFirstLoad},
		{name: "Ticks", run: pruneTicks},
	}
}

const month = 30 * 24 * time.Hour

// runIDs returns the ids of all runs, newest first.
func (t *test) runIDs() []int64 {
	t.Helper()
	return t.runsOf(dataflow.RunListParams{Limit: 100})
}

// pruned prunes the oldest runs. Before that, it requires that a dry run counts the same and changes nothing.
func (t *test) pruned(p dataflow.PruneParams) int64 {
	t.Helper()
	if p.Limit == 0 {
		p.Limit = 100
	}
	dry := p
	dry.DryRun = true
	before := t.runIDs()
	counted := t.prune(dry)
	require.Equal(t, before, t.runIDs())
	p.Runs = t.old(p)
	n := t.prune(p)
	require.LessOrEqual(t, n, min(counted, int64(p.Limit)))
	require.Len(t, t.runIDs(), len(before)-int(n))
	return n
}

// old returns the oldest runs.
func (t *test) old(p dataflow.PruneParams) []dataflow.OldRun {
	t.Helper()
	old, err := t.store.RunsOld(t.Context(), &p)
	require.NoError(t, err)
	require.LessOrEqual(t, len(old), p.Limit)
	return old
}

// prune prunes in a transaction.
func (t *test) prune(p dataflow.PruneParams) (n int64) {
	t.Helper()
	require.NoError(t, t.store.InTx(t.Context(), func(ctx context.Context, tx dataflow.Tx) error {
		q, err := t.store.With(tx)
		if err == nil {
			n, err = q.RunPrune(ctx, &p)
		}
		return err
	}))
	return n
}

func pruneState(t *test) {
	clock := t.clocked()
	f := t.flow("orders")
	old := map[dataflow.RunState]int64{}
	for _, state := range []dataflow.RunState{dataflow.RunSuccess, dataflow.RunFailed, dataflow.RunCancelled} {
		old[state] = t.finished(f.ID, state).ID
	}
	last := t.finished(f.ID, dataflow.RunSuccess).ID
	clock.advance(time.Hour)
	young := t.finished(f.ID, dataflow.RunFailed).ID
	clock.advance(month - time.Hour)
	require.Zero(t, t.pruned(dataflow.PruneParams{State: dataflow.RunFailed, Age: month}), "it is exactly as old as the limit")
	clock.advance(time.Millisecond)
	require.EqualValues(t, 1, t.pruned(dataflow.PruneParams{State: dataflow.RunFailed, Age: month}))
	require.Equal(t, []int64{young, last, old[dataflow.RunCancelled], old[dataflow.RunSuccess]}, t.runIDs())
	require.EqualValues(t, 1, t.pruned(dataflow.PruneParams{State: dataflow.RunSuccess, Age: month}))
	require.EqualValues(t, 1, t.pruned(dataflow.PruneParams{State: dataflow.RunCancelled, Age: month}))
	require.Equal(t, []int64{young, last}, t.runIDs())
}

func pruneLastSuccess(t *test) {
	clock := t.clocked()
	f, g := t.flow("orders"), t.flow("other")
	t.finished(f.ID, dataflow.RunSuccess)
	only := t.finished(g.ID, dataflow.RunSuccess).ID
	last := t.finished(f.ID, dataflow.RunSuccess).ID // it ended at the same moment as the first
	clock.advance(time.Hour)
	t.finished(f.ID, dataflow.RunFailed) // it is newer, but not a success
	clock.advance(10 * 12 * month)
	for range 2 {
		t.pruned(dataflow.PruneParams{State: dataflow.RunSuccess, Age: time.Second})
		t.pruned(dataflow.PruneParams{State: dataflow.RunFailed, Age: time.Second})
		require.Equal(t, []int64{last, only}, t.runIDs())
	}
}

func pruneBatches(t *test) {
	clock := t.clocked()
	f := t.flow("orders")
	for range 5 {
		t.finished(f.ID, dataflow.RunFailed)
		clock.advance(time.Second)
	}
	all := t.runIDs()
	clock.advance(time.Hour)
	p := dataflow.PruneParams{State: dataflow.RunFailed, Age: time.Minute, Limit: 2}
	require.EqualValues(t, 2, t.pruned(p))
	require.Equal(t, all[:3], t.runIDs(), "the oldest go first")
	require.EqualValues(t, 2, t.pruned(p))
	require.EqualValues(t, 1, t.pruned(p))
	require.Zero(t, t.pruned(p))
}

// Old runs are looked up from a place on, also those that are kept.
func prunePlace(t *test) {
	clock := t.clocked()
	for i := range 5 {
		t.finished(t.flow(fmt.Sprint("flow ", i)).ID, dataflow.RunSuccess) // the last success of its flow
	}
	f := t.flow("orders")
	for range 4 {
		t.finished(f.ID, dataflow.RunSuccess) // all ended at the same moment
	}
	all := t.runIDs()
	clock.advance(time.Hour)
	p := dataflow.PruneParams{State: dataflow.RunSuccess, Age: time.Minute, Limit: 3}
	var seen, removed []int64
	for {
		old := t.old(p)
		for _, run := range old {
			seen = append(seen, run.ID)
			found, err := t.store.RunByID(t.Context(), run.ID)
			require.NoError(t, err)
			require.Equal(t, found.FlowID, run.FlowID)
			require.True(t, found.EndedAt.Equal(run.EndedAt))
		}
		p.Runs = old
		removed = append(removed, t.prune(p))
		if len(old) == 0 {
			break
		}
		p.After = &old[len(old)-1]
	}
	slices.Reverse(all)
	require.Equal(t, all, seen)
	require.Equal(t, []int64{0, 1, 2, 0}, removed)
	require.Len(t, t.runIDs(), 6)
}

// A run is removed only if it is still old when it is removed, and has not become one that is kept.
func pruneMeanwhile(t *test) {
	clock := t.clocked()
	f, g := t.flow("orders"), t.flow("other")
	old, kept := t.finished(f.ID, dataflow.RunFailed), t.finished(g.ID, dataflow.RunFailed)
	clock.advance(time.Hour)
	young, other, works := t.finished(f.ID, dataflow.RunFailed), t.finished(f.ID, dataflow.RunCancelled), t.inProgress(f.ID).Run
	p := dataflow.PruneParams{State: dataflow.RunFailed, Age: time.Minute, DeadLetterAge: month, OpenDeadLetterAge: -1, Limit: 10}
	require.Len(t, t.old(p), 2)
	for _, run := range []*dataflow.Run{young, other, works, kept, old} {
		p.Runs = append(p.Runs, dataflow.OldRun{ID: run.ID, FlowID: run.FlowID})
	}
	p.Runs = append(p.Runs, dataflow.OldRun{ID: works.ID + 1000, FlowID: f.ID}) // another process has removed it
	t.kept(kept, 1)
	require.EqualValues(t, 1, t.prune(p))
	require.Equal(t, []int64{works.ID, other.ID, young.ID, kept.ID}, t.runIDs())
	require.Zero(t, t.prune(p))
}

func pruneUnfinished(t *test) {
	clock := t.clocked()
	f, g := t.flow("orders"), t.flow("other")
	t.pending(f.ID)
	t.inProgress(g.ID)
	clock.advance(12 * month)
	for _, state := range []dataflow.RunState{dataflow.RunSuccess, dataflow.RunFailed, dataflow.RunCancelled, dataflow.RunPending, dataflow.RunInProgress} {
		require.Zero(t, t.pruned(dataflow.PruneParams{State: state, Age: time.Second}))
	}
	require.Len(t, t.runIDs(), 2)
}

// Dead letters that were closed are removed by another age than open ones, and keep their runs
// for as long as they are kept.
func pruneDeadLetters(t *test) {
	clock := t.clocked()
	f := t.flow("orders")
	run := func() int64 { return t.finished(f.ID, dataflow.RunFailed).ID }
	closed, open, young := run(), run(), run()
	layout := "2006-01-02 15:04:05.000"
	if t.features.Schemas { // Postgres would read the time in the session's time zone
		layout += "Z"
	}
	letter := func(run int64) {
		t.exec(fmt.Sprintf("insert into dataflow_dead_letter (flow_id, run_id, stage, key, error, created_at) values (%d, %d, 'read', 'k', 'e', '%s')",
			f.ID, run, clock.Now().UTC().Format(layout)))
	}
	letter(closed)
	letter(open)
	clock.advance(month)
	letter(young)
	n, err := t.store.DeadLetterClose(t.Context(), &dataflow.DeadLetterCloseParams{
		FlowID: f.ID, State: dataflow.DeadLetterDiscarded, IDs: []int64{t.number(fmt.Sprint("select id from dataflow_dead_letter where run_id = ", closed))},
	})
	require.NoError(t, err)
	require.EqualValues(t, 1, n)
	clock.advance(time.Hour)
	letters := func(closedAge, openAge time.Duration) (n int64) {
		t.Helper()
		for _, dry := range []bool{true, false} {
			counted, err := t.store.DeadLetterPrune(t.Context(), &dataflow.PruneParams{DeadLetterAge: closedAge, OpenDeadLetterAge: openAge, Limit: 10, DryRun: dry})
			require.NoError(t, err)
			require.True(t, dry || counted == n)
			n = counted
		}
		return n
	}
	runs := func(closedAge, openAge time.Duration) int64 {
		t.Helper()
		return t.pruned(dataflow.PruneParams{State: dataflow.RunFailed, Age: time.Second, DeadLetterAge: closedAge, OpenDeadLetterAge: openAge})
	}
	require.Zero(t, letters(month, -1), "it is old, and was closed an hour ago")
	require.Zero(t, runs(month, -1), "a dead letter that is kept keeps its run")
	require.Zero(t, letters(-1, 2*month))
	require.Zero(t, runs(-1, 2*month))
	require.EqualValues(t, 1, letters(-1, month))
	require.EqualValues(t, 1, runs(-1, month))
	require.Equal(t, []int64{young, closed}, t.runIDs())
	require.EqualValues(t, 1, runs(time.Minute, -1), "the run goes together with its dead letter")
	require.EqualValues(t, 1, t.number("select count(*) from dataflow_dead_letter"))
	clock.advance(100 * 12 * month)
	require.Zero(t, letters(time.Minute, -1))
	require.Zero(t, runs(time.Minute, -1))
	require.Equal(t, []int64{young}, t.runIDs(), "an open one stays for ever")
}

func pruneTicks(t *test) {
	clock := t.clocked()
	f := t.flow("orders")
	now := clock.Now()
	for i, reason := range []dataflow.SkipReason{dataflow.SkipPaused, dataflow.SkipOverlap, dataflow.SkipPaused} {
		clock.advance(time.Millisecond)
		at := now.Add(time.Duration(i) * time.Hour)
		require.NoError(t, t.store.TickSkip(t.Context(), &dataflow.TickSkipParams{FlowID: f.ID, First: at.Add(-month), Last: at, Count: 9, Reason: reason}))
	}
	clock.advance(month + 90*time.Minute)
	p := &dataflow.PruneParams{Age: month, Limit: 1, DryRun: true}
	n, err := t.store.TickPrune(t.Context(), p)
	require.NoError(t, err)
	require.EqualValues(t, 2, n)
	p.DryRun = false
	for _, want := range []int64{1, 1, 0} {
		n, err := t.store.TickPrune(t.Context(), p)
		require.NoError(t, err)
		require.Equal(t, want, n)
	}
	left, err := t.store.TickList(t.Context(), &dataflow.TickListParams{Limit: 10})
	require.NoError(t, err)
	require.Len(t, left, 1)
	require.True(t, now.Add(2*time.Hour).Equal(left[0].Last))
}

// A dead letter that is still tried again is kept, with its run, however old it is.
func pruneHeldLetters(t *test) {
	clock := t.clocked()
	f := t.flow("orders")
	run := t.finished(f.ID, dataflow.RunFailed)
	require.NoError(t, t.store.InTx(t.Context(), func(ctx context.Context, tx dataflow.Tx) error {
		q, err := t.store.With(tx)
		if err != nil {
			return err
		}
		return q.DeadLetterInsert(ctx, []*dataflow.DeadLetterRecord{{
			FlowID: f.ID, RunID: run.ID, Stage: dataflow.StageWrite, Key: "k", Error: "e", RetryFor: 3 * month, TriesLeft: 2,
		}})
	}))
	prune := func() int64 {
		n, err := t.store.DeadLetterPrune(t.Context(), &dataflow.PruneParams{OpenDeadLetterAge: time.Hour, Limit: 10})
		require.NoError(t, err)
		return n + t.pruned(dataflow.PruneParams{State: dataflow.RunFailed, Age: time.Hour, OpenDeadLetterAge: time.Hour})
	}
	clock.advance(2 * month)
	require.Zero(t, prune())
	clock.advance(2 * month)
	require.EqualValues(t, 2, prune(), "the dead letter, and its run")
}

// The ranges of a backfill that have ended are kept while another one waits or is worked.
func pruneRanges(t *test) {
	clock := t.clocked()
	f := t.flow("orders")
	t.finished(f.ID, dataflow.RunSuccess)
	first := t.backfill(f.ID, "")
	t.end(ending(t.claim(first.ID), dataflow.RunSuccess))
	second := t.insert(dataflow.RunInsertParams{FlowID: f.ID, Trigger: dataflow.TriggerBackfill, Backfill: true, Scope: first.Scope + "/2"})
	old := dataflow.PruneParams{State: dataflow.RunSuccess, Age: time.Minute}
	clock.advance(month)
	require.Zero(t, t.pruned(old), "a range waits")
	claim := t.claim(second.ID)
	require.Zero(t, t.pruned(old), "a range is worked")
	t.end(ending(claim, dataflow.RunSuccess))
	require.EqualValues(t, 1, t.pruned(old))
	clock.advance(month)
	require.EqualValues(t, 1, t.pruned(old))
}

// The ranges of a first load are kept until the flow has a cursor: it goes on with them.
func pruneFirstLoad(t *test) {
	clock := t.clocked()
	f := t.flow("orders")
	load := t.insert(dataflow.RunInsertParams{FlowID: f.ID, Trigger: dataflow.TriggerFirstLoad, Backfill: true})
	t.end(ending(t.claim(load.ID), dataflow.RunSuccess))
	old := dataflow.PruneParams{State: dataflow.RunSuccess, Age: time.Minute}
	clock.advance(month)
	require.Zero(t, t.pruned(old))
	own := t.inProgress(f.ID)
	require.Zero(t, t.pruned(old), "its checkpoint has no cursor yet")
	t.checkpoint(own, "7", dataflow.Counters{})
	require.EqualValues(t, 1, t.pruned(old))
}
