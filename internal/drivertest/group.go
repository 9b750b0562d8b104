package drivertest

import (
	"context"
	"errors"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

func groupRules() []rule {
	return []rule{
		{name: "Limit", run: groupLimit},
		{name: "Apart", run: groupApart},
		{name: "Changed", run: groupChanged},
		{name: "OldestFirst", run: groupOldestFirst},
		{name: "PlacesLeft", run: groupPlacesLeft},
		{name: "BusyFlow", run: groupBusyFlow},
		{name: "BusySince", run: groupBusySince},
		{name: "Silent", run: groupSilent},
		{name: "Rescued", run: groupRescued},
		{name: "LostWorker", run: groupLostWorker},
		{name: "Backfill", run: groupBackfill},
		{name: "Next", run: groupNext},
		{name: "Stored", run: groupStored},
		{name: "Set", run: groupSet},
		{name: "Race", run: groupRace},
	}
}

// grouped registers flows of a group, and returns their ids.
func (t *test) grouped(group string, names ...string) []int64 {
	t.Helper()
	var all []int64
	for _, name := range names {
		d := definition(name)
		d.Group = group
		all = append(all, t.upsert(d).ID)
	}
	return all
}

func (t *test) groupOf(name string, limit int) {
	t.Helper()
	require.NoError(t, t.store.GroupSet(t.Context(), name, limit, "worker"))
}

// requireFull requires that a claim is refused for lack of a place in the group.
func (t *test) requireFull(runID int64, text string) {
	t.Helper()
	claim, err := tryClaim(t.Context(), t.store, claimParams(runID))
	require.NoError(t, err)
	require.Nil(t, claim)
	run := t.run(runID)
	require.Equal(t, dataflow.RunPending, run.State)
	require.Zero(t, run.LeaseNumber)
	require.Equal(t, text, run.WaitsFor)
	require.NotNil(t, run.WaitsSince)
}

func groupLimit(t *test) {
	clock := t.clocked()
	t.groupOf("shopify", 2)
	f := t.grouped("shopify", "a", "b", "c")
	a, b := t.claim(t.pending(f[0]).ID), t.claim(t.pending(f[1]).ID)
	c := t.pending(f[2]).ID
	since := clock.Now()
	t.requireFull(c, "a place in the group shopify, whose limit is 2")
	clock.advance(time.Second)
	t.requireFull(c, "a place in the group shopify, whose limit is 2")
	t.requireTime(since, t.run(c).WaitsSince)
	t.end(ending(a, dataflow.RunSuccess))
	claim := t.claim(c)
	require.Empty(t, claim.Run.WaitsFor)
	require.Nil(t, claim.Run.WaitsSince)
	t.end(ending(b, dataflow.RunPending)) // it is handed back
	t.claim(t.pending(f[0]).ID)
	t.requireFull(t.pending(f[1]).ID, "a place in the group shopify, whose limit is 2")
}

// Other groups, and flows without one, do not count.
func groupApart(t *test) {
	t.groupOf("shopify", 1)
	t.groupOf("stripe", 1)
	f, g, h := t.grouped("shopify", "a"), t.grouped("stripe", "b"), t.grouped("", "c", "d")
	t.claim(t.pending(f[0]).ID)
	t.claim(t.pending(g[0]).ID)
	t.claim(t.pending(h[0]).ID)
	t.claim(t.pending(h[1]).ID)
}

// The stored limit counts, and the group that the flow has now.
func groupChanged(t *test) {
	t.groupOf("shopify", 1)
	f := t.grouped("shopify", "a", "b", "c")
	a := t.claim(t.pending(f[0]).ID)
	b, c := t.pending(f[1]).ID, t.pending(f[2]).ID
	t.requireFull(b, "a place in the group shopify, whose limit is 1")
	t.groupOf("shopify", 2)
	t.claim(b)
	t.groupOf("shopify", 1)
	t.end(ending(a, dataflow.RunSuccess))
	t.requireFull(c, "a place in the group shopify, whose limit is 1")
	t.grouped("", "c")
	t.claim(c)
}

func groupOldestFirst(t *test) {
	clock := t.clocked()
	t.groupOf("shopify", 1)
	f := t.grouped("shopify", "a", "b", "c")
	a := t.claim(t.pending(f[0]).ID)
	old := t.pending(f[1]).ID
	clock.advance(time.Second)
	young := t.pending(f[2]).ID
	text := "a place in the group shopify, whose limit is 1"
	t.requireFull(young, text)
	t.requireFull(old, text)
	t.end(ending(a, dataflow.RunSuccess))
	t.requireFull(young, text)
	t.claim(old)
}

// An older run takes one of the places that are free, and not all.
func groupPlacesLeft(t *test) {
	clock := t.clocked()
	t.groupOf("shopify", 2)
	f := t.grouped("shopify", "a", "b", "c", "d")
	a, b := t.claim(t.pending(f[0]).ID), t.claim(t.pending(f[1]).ID)
	old := t.pending(f[2]).ID
	clock.advance(time.Second)
	young := t.pending(f[3]).ID
	text := "a place in the group shopify, whose limit is 2"
	t.requireFull(old, text)
	t.end(ending(a, dataflow.RunSuccess))
	t.requireFull(young, text)
	t.end(ending(b, dataflow.RunSuccess))
	t.claim(young)
	t.claim(old)
}

// A run that its own flow keeps from being worked takes no place from others.
func groupBusyFlow(t *test) {
	clock := t.clocked()
	t.groupOf("shopify", 2)
	f := t.grouped("shopify", "a", "b", "c")
	t.claim(t.pending(f[0]).ID)
	again := t.pending(f[0]).ID
	t.requireNoClaim(again)
	b := t.claim(t.pending(f[1]).ID)
	t.requireNoClaim(again)
	clock.advance(time.Second)
	c := t.pending(f[2]).ID
	t.end(ending(b, dataflow.RunSuccess))
	t.claim(c)
}

// Of two runs of a flow that have asked for a place, one gets it. The other one waits for its flow,
// and keeps nobody waiting.
func groupBusySince(t *test) {
	clock := t.clocked()
	t.groupOf("shopify", 2)
	f := t.grouped("shopify", "a", "b", "c", "d")
	a, b := t.claim(t.pending(f[0]).ID), t.claim(t.pending(f[1]).ID)
	first, second := t.pending(f[2]).ID, t.pending(f[2]).ID
	clock.advance(time.Second)
	young := t.pending(f[3]).ID
	for _, run := range []int64{first, second, young} {
		t.requireFull(run, "a place in the group shopify, whose limit is 2")
	}
	clock.advance(time.Second)
	t.end(ending(a, dataflow.RunSuccess))
	t.claim(first)
	t.requireNoClaim(second)
	t.end(ending(b, dataflow.RunSuccess))
	next, err := t.store.GroupNext(t.Context(), f[1])
	require.NoError(t, err)
	require.Equal(t, young, next.ID)
	t.claim(young)
}

// An older run whose worker asks no more, because it died, say, keeps nobody waiting for long.
func groupSilent(t *test) {
	clock := t.clocked()
	t.groupOf("shopify", 1)
	f := t.grouped("shopify", "a", "b", "c", "d")
	a := t.claim(t.pending(f[0]).ID)
	text := "a place in the group shopify, whose limit is 1"
	old, paused := t.pending(f[1]).ID, t.pending(f[3]).ID
	t.requireFull(old, text)
	t.requireFull(paused, text)
	clock.advance(time.Second)
	young := t.pending(f[2]).ID
	t.end(ending(a, dataflow.RunSuccess))
	t.setState(f[3], dataflow.FlowInactive)
	t.requireFull(young, text)
	clock.advance(20 * time.Second)
	c := t.claim(young)
	t.end(ending(c, dataflow.RunSuccess))
	t.claim(old)
}

// A run that lost its worker leaves its place, and goes before those that became due after it.
func groupRescued(t *test) {
	clock := t.clocked()
	t.groupOf("shopify", 1)
	f := t.grouped("shopify", "a", "b")
	a := t.claim(t.pending(f[0]).ID)
	clock.advance(time.Second)
	b := t.pending(f[1]).ID
	text := "a place in the group shopify, whose limit is 1"
	t.requireFull(b, text)
	rescued := ending(a, dataflow.RunPending)
	rescued.Rescue, rescued.Refund = true, true
	t.end(rescued)
	other := t.claim(b) // nobody has asked for the older one since
	clock.advance(time.Second)
	claim, err := tryClaim(t.Context(), t.store, claimParams(a.Run.ID))
	require.NoError(t, err)
	require.Nil(t, claim)
	t.end(ending(other, dataflow.RunPending))
	t.requireNoYounger(b)
	t.claim(a.Run.ID)
}

// A run that leaves its slot to one of its flow that lost its worker takes no place of the group, neither
// from that one, which may have become due later, nor from other flows.
func groupLostWorker(t *test) {
	clock := t.clocked()
	t.groupOf("shopify", 1)
	f := t.grouped("shopify", "a", "b")
	due := clock.Now()
	clock.advance(time.Second)
	first := t.claim(t.pending(f[0]).ID)
	older := t.tick(f[0], due).ID
	clock.advance(time.Second)
	other := t.pending(f[1]).ID
	lost := t.lost(first)
	t.requireNoClaim(older)
	require.Empty(t, t.run(older).WaitsFor, "the group has a place")
	t.end(ending(t.claim(other), dataflow.RunSuccess))
	t.claim(lost)
}

// A backfill that lets its flow's own run go first takes no place of the group from it.
func groupBackfill(t *test) {
	clock := t.clocked()
	t.groupOf("shopify", 1)
	f := t.grouped("shopify", "a", "b")
	b := t.claim(t.pending(f[1]).ID)
	backfill := t.backfill(f[0], "7").ID
	t.requireFull(backfill, "a place in the group shopify, whose limit is 1")
	clock.advance(time.Second)
	own := t.pending(f[0]).ID
	t.end(ending(b, dataflow.RunSuccess))
	t.requireNoYounger(backfill)
	t.end(ending(t.claim(own), dataflow.RunSuccess))
	t.claim(backfill)
}

// requireNoYounger requires that a run waits for an older one of its group.
func (t *test) requireNoYounger(runID int64) {
	t.Helper()
	claim, err := tryClaim(t.Context(), t.store, claimParams(runID))
	require.NoError(t, err)
	require.Nil(t, claim)
}

func groupNext(t *test) {
	clock := t.clocked()
	next := func(flowID int64) *dataflow.Run {
		t.Helper()
		run, err := t.store.GroupNext(t.Context(), flowID)
		require.NoError(t, err)
		return run
	}
	t.groupOf("shopify", 1)
	f := t.grouped("shopify", "a", "b", "c")
	other := t.flow("other")
	a := t.claim(t.pending(f[0]).ID)
	require.Nil(t, next(f[0]))
	b := t.insert(dataflow.RunInsertParams{FlowID: f[1], Queue: "etl", MaxAttempts: 7})
	clock.advance(time.Second)
	c := t.pending(f[2]).ID
	require.Nil(t, next(f[0]), "nobody has wanted to work them")
	t.requireFull(c, "a place in the group shopify, whose limit is 1")
	require.Equal(t, c, next(f[0]).ID)
	t.requireFull(b.ID, "a place in the group shopify, whose limit is 1")
	require.Equal(t, &dataflow.Run{ID: b.ID, FlowID: f[1], FlowName: "b", MaxAttempts: 7, Queue: "etl"}, next(f[0]))
	require.Nil(t, next(other.ID))
	t.end(ending(a, dataflow.RunSuccess))
	t.claim(b.ID)
	require.Equal(t, c, next(f[0]).ID)
}

func groupStored(t *test) {
	clock := t.clocked()
	list := func() []*dataflow.FlowGroup {
		t.Helper()
		all, err := t.store.GroupList(t.Context())
		require.NoError(t, err)
		return all
	}
	require.Empty(t, list())
	t.groupOf("shopify", 2)
	first := clock.Now()
	clock.advance(time.Second)
	require.NoError(t, t.store.GroupSet(t.Context(), "it's é", 7, "b"))
	require.NoError(t, t.store.GroupSet(t.Context(), "shopify", 2, "b"))
	f := t.grouped("shopify", "a")
	t.claim(t.pending(f[0]).ID)
	require.Equal(t, []*dataflow.FlowGroup{
		{Name: "it's é", Limit: 7, SetBy: "b", SetAt: clock.Now()},
		{Name: "shopify", Limit: 2, SetBy: "worker", SetAt: first, InProgress: 1}, // it was not changed
	}, list())
}

// A claim of many may leave runs of groups to RunClaim. It claims the others.
func groupSet(t *test) {
	t.groupOf("shopify", 1)
	f, g := t.grouped("shopify", "a"), t.grouped("", "b")
	a, b := t.pending(f[0]).ID, t.pending(g[0]).ID
	pa, pb := claimParams(a), claimParams(b)
	answers := t.claimSet(pa, pb)
	require.NotEqual(t, answers[0].Busy, answers[0].Claim != nil)
	t.requireClaimed(answers[1], b, 1)
	if answers[0].Busy {
		t.claim(a)
	}
	c := t.pending(t.grouped("shopify", "c")[0]).ID
	answer := t.claimSet(claimParams(c))[0]
	require.Nil(t, answer.Claim)
	if answer.Busy {
		t.requireFull(c, "a place in the group shopify, whose limit is 1")
	}
}

// Many processes claim runs of one group at once. As many as there are places succeed: after the
// first round, the oldest.
func groupRace(t *test) {
	const limit = 3
	t.groupOf("shopify", limit)
	flows := t.grouped("shopify", "a", "b", "c", "d", "e", "f", "g", "h")
	stores := []dataflow.Store{t.store, t.another(), t.another(), t.another()}
	for range t.rounds() {
		var runs []int64
		for _, f := range flows {
			runs = append(runs, t.pending(f).ID)
		}
		for round := 0; len(runs) > 0; round++ {
			claims, errs := make([]*dataflow.Claim, len(runs)), make([]error, len(runs))
			atOnce(len(runs), func(i int) {
				errs[i] = withQueries(t.Context(), stores[i%len(stores)], func(q dataflow.Queries) (err error) {
					claims[i], err = q.RunClaim(t.Context(), claimParams(runs[i]))
					return err
				})
			})
			require.NoError(t, errors.Join(errs...))
			var left, claimed []int64
			for i, c := range claims {
				if c == nil {
					left = append(left, runs[i])
					continue
				}
				claimed = append(claimed, runs[i])
				t.end(ending(c, dataflow.RunSuccess))
			}
			require.Len(t, claimed, min(limit, len(runs)))
			if round > 0 {
				require.Equal(t, runs[:len(claimed)], claimed)
			}
			runs = left
		}
	}
}

// withQueries runs fn in a transaction.
func withQueries(ctx context.Context, store dataflow.Store, fn func(q dataflow.Queries) error) error {
	return store.InTx(ctx, func(ctx context.Context, tx dataflow.Tx) error {
		q, err := store.With(tx)
		if err != nil {
			return err
		}
		return fn(q)
	})
}
