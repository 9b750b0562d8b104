package drivertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// rounds is how often a race is run. It is less often if the database has a single writer.
func (t *test) rounds() int {
	if t.features.ConcurrentWriters {
		return 25
	}
	return 5
}

func raceRules() []rule {
	return []rule{
		{name: "TwoRunsOfOneFlow", run: func(t *test) { t.Helper(); t.raceForFlow(2) }},
		{name: "EightRunsOfOneFlow", run: func(t *test) { t.Helper(); t.raceForFlow(8) }},
		{name: "OneRun", run: raceForRun},
		{name: "OneCheckpoint", run: raceForCheckpoint},
		{name: "OneEnd", run: raceForEnd},
		{name: "Slots", run: raceForSlots},
		{name: "ClaimWaitsForCommit", run: raceWaits},
		{name: "RunsDoNotOverlap", run: raceNoOverlap, needs: concurrentWriters},
		{name: "FlowsDoNotWait", run: raceFlowsApart, needs: concurrentWriters},
	}
}

// race claims runs at once, from two processes, and returns the only claim that succeeds.
func (t *test) race(stores []dataflow.Store, runs []*dataflow.Run) *dataflow.Claim {
	t.Helper()
	claims, errs := make([]*dataflow.Claim, len(runs)), make([]error, len(runs))
	atOnce(len(runs), func(i int) {
		claims[i], errs[i] = tryClaim(t.Context(), stores[i%len(stores)], claimParams(runs[i].ID))
	})
	var winner *dataflow.Claim
	for i, err := range errs {
		if !errors.Is(err, dataflow.ErrAlreadyRunning) {
			require.NoError(t, err)
		}
		if claims[i] != nil {
			require.Nil(t, winner, "two claims of one flow")
			winner = claims[i]
		}
	}
	require.NotNil(t, winner, "nobody has claimed a run")
	return winner
}

func (t *test) raceForFlow(n int) {
	t.Helper()
	stores := []dataflow.Store{t.store, t.another()}
	for round := range t.rounds() {
		f := t.flow(fmt.Sprint("round ", round))
		runs := make([]*dataflow.Run, n)
		for i := range runs {
			runs[i] = t.pending(f.ID)
		}
		winner := t.race(stores, runs)
		require.EqualValues(t, 1, winner.Seq)
		working, err := t.store.RunList(t.Context(), &dataflow.RunListParams{Flow: f.Name, States: []dataflow.RunState{dataflow.RunInProgress}, Limit: n})
		require.NoError(t, err)
		require.Equal(t, []*dataflow.Run{winner.Run}, working)
		for _, run := range runs {
			if run.ID != winner.Run.ID {
				require.Equal(t, run, t.run(run.ID), "the other runs are unchanged")
			}
		}
		require.Len(t, t.rows(fmt.Sprintf("select id from dataflow_run where state = 'pending' and flow_id = %d", f.ID)), n-1)
	}
}

func raceForRun(t *test) {
	stores := []dataflow.Store{t.store, t.another()}
	for round := range t.rounds() {
		run := t.pending(t.flow(fmt.Sprint("round ", round)).ID)
		winner := t.race(stores, []*dataflow.Run{run, run, run, run, run, run, run, run})
		require.Equal(t, winner.Run, t.run(run.ID))
		require.Equal(t, 1, winner.Run.Attempt)
		require.EqualValues(t, 1, winner.Run.LeaseNumber)
	}
}

// With many claims at once, no more runs than slots are in progress, and in the end all runs
// have been worked.
func raceForSlots(t *test) {
	const slots = 3
	stores := []dataflow.Store{t.store, t.another()}
	f := t.flow("orders").ID
	left := make([]int64, 4*t.rounds())
	for i := range left {
		left[i] = t.pending(f).ID
	}
	for len(left) > 0 {
		some := left[:min(6, len(left))]
		var mu sync.Mutex // guards claims
		var claims []*dataflow.Claim
		errs := make([]error, len(some))
		atOnce(len(some), func(i int) {
			c, err := tryClaim(t.Context(), stores[i%2], slotParams(some[i], slots))
			if errors.Is(err, dataflow.ErrAlreadyRunning) {
				return // another claim took the slot at the same moment
			}
			errs[i] = err
			if c != nil {
				mu.Lock()
				claims = append(claims, c)
				mu.Unlock()
			}
		})
		require.NoError(t, errors.Join(errs...))
		require.NotEmpty(t, claims)
		taken := make(map[int]bool)
		for _, c := range claims {
			require.False(t, taken[c.Run.Slot], "slot %d is taken twice", c.Run.Slot)
			require.Less(t, c.Run.Slot, slots)
			taken[c.Run.Slot] = true
		}
		t.requireActivity(f, len(claims), len(left)-len(claims), 0)
		for _, c := range claims {
			t.end(ending(c, dataflow.RunSuccess))
			left = slices.DeleteFunc(left, func(id int64) bool { return id == c.Run.ID })
		}
	}
}

// Of many checkpoints with the same numbers, one commits.
func raceForCheckpoint(t *test) {
	stores := []dataflow.Store{t.store, t.another()}
	c := t.inProgress(t.flow("orders").ID)
	for round := range t.rounds() {
		held, errs := make([]bool, 4), make([]error, 4)
		p := progress(c)
		p.Seq, p.Delta = c.Seq+int64(round), dataflow.Counters{Read: 1, Written: 1}
		atOnce(4, func(i int) {
			try := tryCheckpoint
			if i < 2 {
				try = tryCommit
			}
			held[i], errs[i] = try(t.Context(), stores[i%2], p)
		})
		require.NoError(t, errors.Join(errs...))
		winners := 0
		for _, h := range held {
			if h {
				winners++
			}
		}
		require.Equal(t, 1, winners)
	}
	require.EqualValues(t, t.rounds(), t.run(c.Run.ID).Counters.Written)
	require.EqualValues(t, t.rounds(), t.number("select written from dataflow_checkpoint"))
}

func raceForEnd(t *test) {
	stores := []dataflow.Store{t.store, t.another()}
	f := t.flow("orders")
	for round := range t.rounds() {
		c := t.inProgress(f.ID)
		ended, errs := make([]*dataflow.Run, 4), make([]error, 4)
		atOnce(4, func(i int) {
			ended[i], errs[i] = tryEnd(t.Context(), stores[i%2], failing(c, dataflow.RunFailed, "disk full"))
		})
		require.NoError(t, errors.Join(errs...))
		winners := 0
		for _, run := range ended {
			if run != nil {
				winners++
			}
		}
		require.Equal(t, 1, winners)
		require.Len(t, t.run(c.Run.ID).Errors, 1)
		require.Equal(t, round+1, t.flowByID(f.ID).Failures)
	}
}

// A second claim of a flow waits for the transaction of the first.
func raceWaits(t *test) {
	other := t.another()
	for _, commit := range []bool{false, true} {
		f := t.flow(fmt.Sprint("commit ", commit))
		first, second := t.pending(f.ID), t.pending(f.ID)
		var claim *dataflow.Claim
		result := make(chan error, 1)
		outside := func() {
			var err error
			claim, err = tryClaim(t.Context(), other, claimParams(second.ID))
			result <- err
		}
		err := inTx(t.Context(), t.store, func(ctx context.Context, q dataflow.Queries) error {
			c, err := q.RunClaim(ctx, claimParams(first.ID))
			require.NoError(t, err)
			require.NotNil(t, c)
			go outside()
			if !commit {
				return errUndo
			}
			return nil
		})
		require.Equal(t, !commit, errors.Is(err, errUndo), err)
		if err := <-result; !commit || !errors.Is(err, dataflow.ErrAlreadyRunning) {
			require.NoError(t, err)
		}
		require.Equal(t, commit, claim == nil, "it can be claimed exactly if the first claim was rolled back")
	}
}

// A run starts after the end of the run before, even if its claim's transaction began earlier.
func raceNoOverlap(t *test) {
	f := t.flow("orders")
	run, before := t.pending(f.ID), t.inProgress(f.ID)
	outside := func() *dataflow.Run { return t.end(ending(before, dataflow.RunSuccess)) }
	err := inTx(t.Context(), t.store, func(ctx context.Context, q dataflow.Queries) error {
		_, err := q.RunByID(ctx, run.ID)
		require.NoError(t, err)
		ended := outside()
		c, err := q.RunClaim(ctx, claimParams(run.ID))
		require.NoError(t, err)
		require.False(t, c.Run.StartedAt.Before(*ended.EndedAt), "%s is before %s", c.Run.StartedAt, ended.EndedAt)
		return nil
	})
	require.NoError(t, err)
}

func raceFlowsApart(t *test) {
	f, g := t.flow("orders"), t.flow("other")
	run := t.pending(f.ID)
	outside := func() {
		c := t.inProgress(g.ID)
		t.checkpoint(c, `1`, dataflow.Counters{Read: 1, Written: 1})
		t.end(ending(c, dataflow.RunSuccess))
	}
	err := inTx(t.Context(), t.store, func(ctx context.Context, q dataflow.Queries) error {
		c, err := q.RunClaim(ctx, claimParams(run.ID))
		require.NoError(t, err)
		require.NotNil(t, c)
		outside()
		return nil
	})
	require.NoError(t, err)
}
