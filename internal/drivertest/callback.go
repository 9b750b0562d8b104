package drivertest

import (
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

func callbackRules() []rule {
	return []rule{
		{name: "Endings", run: callbackEndings},
		{name: "NobodyAsks", run: callbackNobodyAsks},
		{name: "NoLonger", run: callbackNoLonger},
		{name: "KeepsTheLater", run: callbackKeepsTheLater},
		{name: "OfTheFlows", run: callbackOfTheFlows},
		{name: "Once", run: callbackOnce},
		{name: "LeaseOver", run: callbackLeaseOver},
		{name: "TriedAgain", run: callbackTriedAgain},
		{name: "GivenUp", run: callbackGivenUp},
		{name: "OldestFirst", run: callbackOldestFirst},
		{name: "Pruned", run: callbackPruned},
	}
}

const week = 7 * 24 * time.Hour

// keeping registers a flow whose runs' ends are kept for a week.
func (t *test) keeping(name string) *dataflow.FlowRecord {
	t.Helper()
	f := t.flow(name)
	require.NoError(t, t.store.CallbackKeep(t.Context(), []int64{f.ID}, week))
	return f
}

// toTell takes up to limit ends of a flow's runs, for a minute.
func (t *test) toTell(limit int, flowIDs ...int64) []*dataflow.CallbackTry {
	t.Helper()
	tries, err := t.store.CallbackTake(t.Context(), &dataflow.CallbackTakeParams{FlowIDs: flowIDs, Lease: time.Minute, Limit: limit})
	require.NoError(t, err)
	return tries
}

// done stores what came of a try.
func (t *test) done(p dataflow.CallbackDoneParams) bool {
	t.Helper()
	last, err := t.store.CallbackDone(t.Context(), &p)
	require.NoError(t, err)
	return last
}

func (t *test) untold(p dataflow.CallbackListParams) []*dataflow.UntoldRun {
	t.Helper()
	p.Limit = max(p.Limit, 100)
	all, err := t.store.CallbackList(t.Context(), &p)
	require.NoError(t, err)
	return all
}

// All endings are kept: of runs in progress, of pending runs that are cancelled, and of runs
// whose workers died. A run that is tried again has not ended.
func callbackEndings(t *test) {
	clock := t.clocked()
	f := t.keeping("orders")
	var want []*dataflow.Run
	for _, state := range []dataflow.RunState{dataflow.RunSuccess, dataflow.RunFailed, dataflow.RunCancelled} {
		want = append(want, t.end(ending(t.inProgress(f.ID), state)))
		clock.advance(time.Second)
	}
	dead := ending(t.inProgress(f.ID), dataflow.RunFailed)
	dead.Rescue = true
	want = append(want, t.end(dead))
	clock.advance(time.Second)
	c := t.inProgress(f.ID)
	t.end(ending(c, dataflow.RunPending))
	require.Len(t, t.untold(dataflow.CallbackListParams{}), 4)
	cancelled, err := t.store.RunCancel(t.Context(), &dataflow.RunCancelParams{RunID: c.Run.ID, Actor: "op", Reason: "enough"})
	require.NoError(t, err)
	want = append(want, cancelled)

	asked := t.inProgress(f.ID)
	_, err = t.store.RunCancel(t.Context(), &dataflow.RunCancelParams{RunID: asked.Run.ID})
	require.NoError(t, err)
	tries := t.toTell(100, f.ID)
	require.Len(t, tries, len(want), "a run that is asked to end has not ended")
	for i, try := range tries {
		want[i].Tripped = false
		require.Equal(t, want[i], try.Run)
		require.Equal(t, 1, try.Tries)
	}
}

func callbackNobodyAsks(t *test) {
	f := t.flow("orders")
	t.finished(f.ID, dataflow.RunSuccess)
	_, err := t.store.RunCancel(t.Context(), &dataflow.RunCancelParams{RunID: t.pending(f.ID).ID})
	require.NoError(t, err)
	require.NoError(t, t.store.CallbackKeep(t.Context(), []int64{f.ID}, week))
	require.Empty(t, t.untold(dataflow.CallbackListParams{}), "what ended before is not told")
	require.Empty(t, t.toTell(100, f.ID))
}

// A week after nobody has asked any more, ends are not kept. Those that were stay.
func callbackNoLonger(t *test) {
	clock := t.clocked()
	f := t.keeping("orders")
	clock.advance(week - time.Second)
	kept := t.finished(f.ID, dataflow.RunSuccess)
	clock.advance(2 * time.Second)
	t.finished(f.ID, dataflow.RunSuccess)
	_, err := t.store.RunCancel(t.Context(), &dataflow.RunCancelParams{RunID: t.pending(f.ID).ID})
	require.NoError(t, err)
	all := t.untold(dataflow.CallbackListParams{FlowID: f.ID})
	require.Len(t, all, 1)
	require.Equal(t, kept.ID, all[0].RunID)
}

func callbackKeepsTheLater(t *test) {
	clock := t.clocked()
	f := t.keeping("orders")
	require.NoError(t, t.store.CallbackKeep(t.Context(), []int64{f.ID}, time.Hour))
	clock.advance(2 * time.Hour)
	t.finished(f.ID, dataflow.RunSuccess)
	require.Len(t, t.untold(dataflow.CallbackListParams{}), 1)
	require.NoError(t, t.store.CallbackKeep(t.Context(), []int64{f.ID}, week), "it is asked for again")
	clock.advance(week - time.Hour)
	t.finished(f.ID, dataflow.RunSuccess)
	require.Len(t, t.untold(dataflow.CallbackListParams{}), 2)
}

func callbackOfTheFlows(t *test) {
	f, g, other := t.keeping("orders"), t.keeping("items"), t.flow("other")
	run := t.finished(f.ID, dataflow.RunSuccess)
	t.finished(g.ID, dataflow.RunSuccess)
	t.finished(other.ID, dataflow.RunSuccess)
	require.Empty(t, t.toTell(100, other.ID))
	require.Empty(t, t.toTell(100))
	many := []int64{f.ID} // so many that a driver may look first
	for i := range 200 {
		many = append(many, 1_000_000+int64(i))
	}
	require.Equal(t, run.ID, t.toTell(100, many...)[0].Run.ID)
	require.Empty(t, t.toTell(100, many...))
	all := t.untold(dataflow.CallbackListParams{FlowID: g.ID})
	require.Len(t, all, 1)
	require.Equal(t, "items", all[0].FlowName)
	require.Equal(t, dataflow.RunSuccess, all[0].State)
	require.Zero(t, all[0].Tries)
	require.Len(t, t.untold(dataflow.CallbackListParams{}), 2)
}

// However many processes look at once, one of them gets the run, until it is told.
func callbackOnce(t *test) {
	f := t.keeping("orders")
	want := map[int64]int{}
	for range 20 {
		want[t.finished(f.ID, dataflow.RunSuccess).ID] = 1
	}
	stores := []dataflow.Store{t.store, t.another(), t.another(), t.another()}
	taken := make([][]*dataflow.CallbackTry, len(stores))
	errs := make([]error, len(stores))
	atOnce(len(stores), func(i int) {
		for range 20 {
			tries, err := stores[i].CallbackTake(t.Context(), &dataflow.CallbackTakeParams{FlowIDs: []int64{f.ID}, Lease: time.Minute, Limit: 3})
			taken[i], errs[i] = append(taken[i], tries...), err
			if err != nil {
				return
			}
		}
	})
	got := map[int64]int{}
	for i := range stores {
		require.NoError(t, errs[i])
		for _, try := range taken[i] {
			got[try.Run.ID] += try.Tries
		}
	}
	require.Equal(t, want, got)
	for id := range want {
		require.True(t, t.done(dataflow.CallbackDoneParams{RunID: id, Tries: 1}))
		require.False(t, t.done(dataflow.CallbackDoneParams{RunID: id, Tries: 1}), "it is told")
	}
	require.Empty(t, t.untold(dataflow.CallbackListParams{}))
}

func callbackLeaseOver(t *test) {
	clock := t.clocked()
	f := t.keeping("orders")
	run := t.finished(f.ID, dataflow.RunSuccess)
	require.Len(t, t.toTell(1, f.ID), 1)
	clock.advance(time.Minute - time.Second)
	require.Empty(t, t.toTell(1, f.ID))
	all := t.untold(dataflow.CallbackListParams{})
	require.Len(t, all, 1)
	require.Equal(t, "try 1 of Config.OnRunEnded has not returned; unless it does, it is called again from 2031-02-03T04:06:06Z on", all[0].Why())
	clock.advance(time.Second)
	again := t.toTell(1, f.ID)
	require.Len(t, again, 1)
	require.Equal(t, run.ID, again[0].Run.ID)
	require.Equal(t, 2, again[0].Tries)
	require.False(t, t.done(dataflow.CallbackDoneParams{RunID: run.ID, Tries: 1}), "another process tries it now")
	require.False(t, t.done(dataflow.CallbackDoneParams{RunID: run.ID, Tries: 1, Error: "boom", GiveUp: true}))
	require.True(t, t.done(dataflow.CallbackDoneParams{RunID: run.ID, Tries: 2}))
	require.False(t, t.done(dataflow.CallbackDoneParams{RunID: 1_000_000, Tries: 1}))
}

func callbackTriedAgain(t *test) {
	clock := t.clocked()
	f := t.keeping("orders")
	run := t.finished(f.ID, dataflow.RunFailed)
	t.toTell(1, f.ID)
	now := clock.advance(time.Second)
	require.True(t, t.done(dataflow.CallbackDoneParams{RunID: run.ID, Tries: 1, Error: "it's 503 'é'", Delay: 3 * time.Second}))
	all := t.untold(dataflow.CallbackListParams{})
	require.Len(t, all, 1)
	require.Equal(t, &dataflow.UntoldRun{
		RunID: run.ID, FlowID: f.ID, FlowName: "orders", State: dataflow.RunFailed, EndedAt: *run.EndedAt,
		NextAt: now.Add(3 * time.Second), Tries: 1, Error: "it's 503 'é'",
	}, all[0])
	require.False(t, all[0].GaveUp())
	require.Empty(t, t.toTell(1, f.ID))
	clock.advance(3 * time.Second)
	require.Equal(t, 2, t.toTell(1, f.ID)[0].Tries)
	require.Empty(t, t.untold(dataflow.CallbackListParams{})[0].Error)
	require.True(t, t.done(dataflow.CallbackDoneParams{RunID: run.ID, Tries: 2}))
	require.Empty(t, t.untold(dataflow.CallbackListParams{}))
	clock.advance(week)
	require.Empty(t, t.toTell(1, f.ID))
}

func callbackGivenUp(t *test) {
	clock := t.clocked()
	f := t.keeping("orders")
	run := t.finished(f.ID, dataflow.RunFailed)
	t.toTell(1, f.ID)
	require.True(t, t.done(dataflow.CallbackDoneParams{RunID: run.ID, Tries: 1, Error: "410 Gone", GiveUp: true, Delay: time.Second}))
	clock.advance(time.Hour)
	require.Empty(t, t.toTell(1, f.ID))
	require.False(t, t.done(dataflow.CallbackDoneParams{RunID: run.ID, Tries: 1}))
	later := t.finished(f.ID, dataflow.RunSuccess)
	all := t.untold(dataflow.CallbackListParams{})
	require.Len(t, all, 2)
	require.Equal(t, later.ID, all[0].RunID, "those that were given up come last")
	require.True(t, all[1].GaveUp())
	require.Equal(t, "Config.OnRunEnded was given up after try 1, which failed with: 410 Gone", all[1].Why())
	require.Equal(t, all[1:], t.untold(dataflow.CallbackListParams{GivenUp: true}))
}

func callbackOldestFirst(t *test) {
	clock := t.clocked()
	f := t.keeping("orders")
	var want []int64
	for range 4 {
		want = append(want, t.finished(f.ID, dataflow.RunSuccess).ID)
		clock.advance(time.Second)
	}
	for _, id := range want {
		require.Equal(t, id, t.toTell(1, f.ID)[0].Run.ID)
	}
}

// A run whose end is still to be told is not removed, as long as somebody asks for it.
func callbackPruned(t *test) {
	clock := t.clocked()
	f := t.keeping("orders")
	told, waits, gone := t.finished(f.ID, dataflow.RunFailed), t.finished(f.ID, dataflow.RunFailed), t.finished(f.ID, dataflow.RunFailed)
	t.toTell(3, f.ID)
	t.done(dataflow.CallbackDoneParams{RunID: told.ID, Tries: 1})
	t.done(dataflow.CallbackDoneParams{RunID: gone.ID, Tries: 1, Error: "boom", GiveUp: true})
	clock.advance(2 * time.Hour)
	require.EqualValues(t, 2, t.pruned(dataflow.PruneParams{State: dataflow.RunFailed, Age: time.Hour}))
	require.Equal(t, []int64{waits.ID}, t.runIDs())
	clock.advance(week)
	require.EqualValues(t, 1, t.pruned(dataflow.PruneParams{State: dataflow.RunFailed, Age: time.Hour}))
}
