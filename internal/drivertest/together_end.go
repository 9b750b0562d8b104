package drivertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// endSet ends runs together.
func (t *test) endSet(ends ...*dataflow.RunEndParams) []dataflow.EndAnswer {
	t.Helper()
	answers, err := endMany(t.Context(), t.store, ends)
	require.NoError(t, err)
	require.Len(t, answers, len(ends))
	return answers
}

// Each outcome is stored with its run and with its flow. Two runs of one flow count one after the
// other.
func endsEach(t *test) {
	fails, works := t.tripping("fails", 3, time.Hour), t.flow("works").ID
	t.fail(fails, "disk full")
	var ends []*dataflow.RunEndParams
	for range 2 {
		ends = append(ends, failing(t.claimSlot(t.pending(fails).ID, 2), dataflow.RunFailed, "no space"))
	}
	ends = append(ends, ending(t.inProgress(works), dataflow.RunSuccess))
	answers := t.endSet(ends...)
	for i, a := range answers {
		require.NotNil(t, a.Run)
		require.Equal(t, i == 1, a.Run.Tripped, "the third failure trips the flow")
		a.Run.Tripped = false
		require.Equal(t, t.run(ends[i].RunID), a.Run)
	}
	require.Equal(t, 3, t.flowByID(fails).Failures)
	require.NotNil(t, t.flowByID(fails).TrippedAt)
	require.Equal(t, dataflow.RunSuccess, answers[2].Run.State)
	require.Equal(t, answers[2].Run.ID, t.number(fmt.Sprintf("select last_success_run from dataflow_flow where id = %d", works)))
}

// An end whose claim has lost the run changes nothing, and does not harm the others.
func endsLost(t *test) {
	lost, held := t.inProgress(t.flow("a").ID), t.inProgress(t.flow("b").ID)
	old := ending(lost, dataflow.RunSuccess)
	old.LeaseNumber--
	ended := ending(t.inProgress(t.flow("c").ID), dataflow.RunSuccess)
	require.NotNil(t, t.endSet(ended)[0].Run)
	t.unchanged(func() {
		require.Equal(t, []dataflow.EndAnswer{{}, {}}, t.endSet(old, ended))
	})
	answers := t.endSet(old, ending(held, dataflow.RunSuccess), ended)
	require.Equal(t, dataflow.EndAnswer{}, answers[0])
	require.Equal(t, dataflow.RunSuccess, answers[1].Run.State)
	require.Equal(t, dataflow.EndAnswer{}, answers[2])
	require.Equal(t, dataflow.RunInProgress, t.run(lost.Run.ID).State)
}

// What another transaction has locked is answered as busy, at once, and the others are ended.
func endsBusy(t *test) {
	other := t.another()
	flow, run, free := t.inProgress(t.flow("a").ID), t.inProgress(t.flow("b").ID), t.inProgress(t.flow("c").ID)
	ends := []*dataflow.RunEndParams{ending(flow, dataflow.RunSuccess), ending(run, dataflow.RunSuccess), ending(free, dataflow.RunSuccess)}
	var answers []dataflow.EndAnswer
	outside := func() (err error) {
		answers, err = endMany(t.Context(), other, ends)
		return err
	}
	err := inTx(t.Context(), t.store, func(ctx context.Context, q dataflow.Queries) error {
		_, _, err := q.FlowLock(ctx, flow.Run.FlowID)
		require.NoError(t, err)
		_, err = q.RunCancel(ctx, &dataflow.RunCancelParams{RunID: run.Run.ID})
		require.NoError(t, err)
		return outside()
	})
	require.NoError(t, err)
	require.Equal(t, dataflow.EndAnswer{Busy: true}, answers[0])
	require.Equal(t, dataflow.EndAnswer{Busy: true}, answers[1])
	require.Equal(t, t.run(free.Run.ID), answers[2].Run)
	for _, a := range t.endSet(ends[:2]...) {
		require.Equal(t, dataflow.RunSuccess, a.Run.State)
	}
}

// The end of a run names the run to wake: the one that waits longest in its lane.
func endsNext(t *test) {
	f, g := t.flow("a").ID, t.flow("b").ID
	waiting := func(flow int64, hours int, queue string) int64 {
		return t.insert(dataflow.RunInsertParams{FlowID: flow, At: time.Now().Add(-time.Duration(hours) * time.Hour), Queue: queue}).ID
	}
	first, second := t.inProgress(f), t.inProgress(g)
	waiting(f, 1, "etl")
	next := waiting(f, 3, "etl")
	waiting(f, -1, "etl")
	waiting(f, 2, "etl")
	waiting(g, 5, "")
	answers := t.endSet(ending(second, dataflow.RunSuccess), ending(first, dataflow.RunSuccess))
	require.Nil(t, answers[0].Next, "a run without a queue needs no job")
	require.Equal(t, &dataflow.NextRun{ID: next, MaxAttempts: t.run(next).MaxAttempts}, answers[1].Next)
}

// What is ended makes room for what is claimed together with it. An end that is refused does not
// harm a claim, and the other way round.
func endsAndClaims(t *test) {
	f, g := t.flow("a").ID, t.flow("b").ID
	ended, lost, held := t.inProgress(f), ending(t.inProgress(t.flow("c").ID), dataflow.RunSuccess), t.inProgress(g)
	lost.LeaseNumber--
	next, other, refused := t.pending(f).ID, t.pending(t.flow("d").ID).ID, t.pending(g).ID
	t.checkpoint(ended, `{"id":7}`, dataflow.Counters{Read: 1})
	ends, claims, err := t.store.EndAndClaim(t.Context(), []*dataflow.RunEndParams{lost, ending(ended, dataflow.RunSuccess)},
		[]*dataflow.RunClaimParams{claimParams(refused), claimParams(next), claimParams(other)})
	require.NoError(t, err)
	require.Len(t, ends, 2)
	require.Len(t, claims, 3)
	require.Equal(t, dataflow.EndAnswer{}, ends[0])
	require.Equal(t, t.run(ended.Run.ID), ends[1].Run)
	require.Equal(t, dataflow.RunSuccess, ends[1].Run.State)
	require.Equal(t, dataflow.ClaimAnswer{}, claims[0])
	t.requireClaimed(claims[1], next, 3)
	t.requireCursor(`{"id":7}`, claims[1].Claim.Cursor)
	t.requireClaimed(claims[2], other, 1)
	require.Equal(t, dataflow.RunInProgress, t.run(held.Run.ID).State)
}

// Of many who end the same runs at once, one ends each run.
func endsRace(t *test) {
	stores := []dataflow.Store{t.store, t.another()}
	var flows []int64
	for i := range 5 {
		flows = append(flows, t.flow(fmt.Sprint("flow ", i)).ID)
	}
	for round := range t.rounds() {
		var ends []*dataflow.RunEndParams
		for _, f := range flows {
			ends = append(ends, failing(t.inProgress(f), dataflow.RunFailed, "disk full"))
		}
		var mu sync.Mutex // guards ended
		ended := make(map[int64]int)
		errs := make([]error, 4)
		atOnce(4, func(n int) {
			mine := slices.Clone(ends)
			if n%2 == 1 {
				slices.Reverse(mine)
			}
			answers, err := endMany(t.Context(), stores[n/2], mine)
			for i, a := range answers {
				if a.Busy && err == nil {
					err = inTx(t.Context(), stores[n/2], func(ctx context.Context, q dataflow.Queries) (err error) {
						a.Run, err = q.RunEnd(ctx, mine[i])
						return err
					})
				}
				if a.Run != nil {
					mu.Lock()
					ended[a.Run.ID]++
					mu.Unlock()
				}
			}
			errs[n] = err
		})
		require.NoError(t, errors.Join(errs...))
		for i, p := range ends {
			require.Equal(t, 1, ended[p.RunID])
			require.Equal(t, round+1, t.flowByID(flows[i]).Failures)
		}
	}
}
