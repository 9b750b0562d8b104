package drivertest

import (
	"context"
	"errors"
	"fmt"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// startRules are those of runs that are added and claimed together. A database with one writer at a time gains
// nothing by it.
func startRules() []rule {
	return []rule{
		{name: "Each", run: startsEach, needs: concurrentWriters},
		{name: "Refused", run: startsRefused, needs: concurrentWriters},
		{name: "Fails", run: startsFail, needs: concurrentWriters},
		{name: "WaitsForAMoment", run: startsWait, needs: concurrentWriters},
		{name: "Race", run: startsRace, needs: concurrentWriters},
	}
}

func startParams(flowID int64) *dataflow.RunInsertParams {
	return &dataflow.RunInsertParams{FlowID: flowID, Trigger: dataflow.TriggerManual, UniqueKey: "now", MaxAttempts: 5, Quiet: true}
}

// startAll adds a run of each flow, and claims them.
func (t *test) startAll(ctx context.Context, s dataflow.Store, flows ...int64) ([]dataflow.InsertAnswer, error) {
	starter, ok := s.(dataflow.InsertClaimer)
	require.True(t, ok)
	var ps []*dataflow.RunInsertParams
	var claims []*dataflow.RunClaimParams
	for _, f := range flows {
		ps, claims = append(ps, startParams(f)), append(claims, claimParams(0))
		claims[len(claims)-1].FlowID = f
	}
	return starter.InsertAndClaim(ctx, ps, claims)
}

// Each answer has the run as it is stored, with the place of its flow's checkpoint.
func startsEach(t *test) {
	var flows []int64
	for i := range 3 {
		flows = append(flows, t.flow(fmt.Sprint("flow ", 2-i)).ID)
	}
	before := t.inProgress(flows[1])
	t.checkpoint(before, `{"id":7}`, dataflow.Counters{Read: 1})
	t.end(ending(before, dataflow.RunSuccess))
	answers, err := t.startAll(t.Context(), t.store, flows...)
	require.NoError(t, err)
	for i, seq := range []int64{1, 3, 1} {
		require.Equal(t, flows[i], answers[i].Run.FlowID)
		require.Equal(t, answers[i].Run.ID, answers[i].Claim.Run.ID)
		require.False(t, answers[i].Run.Coalesced)
		t.requireClaimed(answers[i].ClaimAnswer, answers[i].Run.ID, seq)
	}
	t.requireCursor(`{"id":7}`, answers[1].Claim.Cursor)
}

// A run that is not added, or cannot be claimed, does not harm the others. One that is added waits.
func startsRefused(t *test) {
	inactive, busy, waits, free := t.flow("inactive").ID, t.flow("busy").ID, t.flow("waits").ID, t.flow("free").ID
	t.setState(inactive, dataflow.FlowInactive)
	t.inProgress(busy)
	waiting := t.insert(*startParams(waits))
	answers, err := t.startAll(t.Context(), t.store, inactive, busy, waits, free)
	require.NoError(t, err)
	require.Equal(t, dataflow.InsertAnswer{}, answers[0])
	require.Equal(t, dataflow.ClaimAnswer{}, answers[1].ClaimAnswer)
	require.Equal(t, dataflow.RunPending, t.run(answers[1].Run.ID).State)
	require.True(t, answers[2].Run.Coalesced)
	t.requireClaimed(answers[2].ClaimAnswer, waiting.ID, 1)
	t.requireClaimed(answers[3].ClaimAnswer, answers[3].Run.ID, 1)
}

// If one cannot be stored, none is.
func startsFail(t *test) {
	free := t.flow("free").ID
	t.unchanged(func() {
		ps := []*dataflow.RunInsertParams{startParams(free), startParams(free)}
		ps[1].UniqueKey, ps[1].Params = "other", raw("not JSON")
		starter, ok := t.store.(dataflow.InsertClaimer)
		require.True(t, ok)
		_, err := starter.InsertAndClaim(t.Context(), ps, []*dataflow.RunClaimParams{claimParams(0), claimParams(0)})
		require.Equal(t, dataflow.FaultData, t.store.Classify(err), err)
	})
}

// A transaction that adds the same run is waited for, but not for long. Nothing came about then.
func startsWait(t *test) {
	locked, free := t.flow("locked").ID, t.flow("free").ID
	outside := func() error { _, err := t.startAll(t.Context(), t.another(), free, locked); return err }
	err := inTx(t.Context(), t.store, func(ctx context.Context, q dataflow.Queries) error {
		_, err := q.RunInsert(ctx, startParams(locked))
		require.NoError(t, err)
		err = outside()
		require.Equal(t, dataflow.FaultConflict, t.store.Classify(err), err)
		return errUndo
	})
	require.ErrorIs(t, err, errUndo)
	require.Zero(t, t.number("select count(*) from dataflow_run"))
	answers, err := t.startAll(t.Context(), t.store, free, locked)
	require.NoError(t, err)
	t.requireClaimed(answers[0].ClaimAnswer, answers[0].Run.ID, 1)
	t.requireClaimed(answers[1].ClaimAnswer, answers[1].Run.ID, 1)
}

// Processes start runs of the same flows at once. No flow has two in progress, and no run is claimed twice.
func startsRace(t *test) {
	stores := []dataflow.Store{t.store, t.another()}
	var flows []int64
	for i := range 5 {
		flows = append(flows, t.flow(fmt.Sprint("flow ", i)).ID)
	}
	for range t.rounds() {
		answers, errs := make([][]dataflow.InsertAnswer, 4), make([]error, 4)
		atOnce(4, func(n int) {
			mine := flows
			if n%2 == 1 {
				mine = []int64{flows[4], flows[2], flows[0], flows[1], flows[3]}
			}
			answers[n], errs[n] = t.startAll(t.Context(), stores[n/2], mine...)
			if errs[n] != nil && t.store.Classify(errs[n]) == dataflow.FaultConflict {
				answers[n], errs[n] = nil, nil // another one was slow
			}
		})
		require.NoError(t, errors.Join(errs...))
		taken := make(map[int64]bool)
		for _, all := range answers {
			for _, a := range all {
				if a.Claim != nil {
					require.False(t, taken[a.Claim.Run.FlowID])
					taken[a.Claim.Run.FlowID] = true
					require.NotNil(t, t.end(ending(a.Claim, dataflow.RunSuccess)))
				}
			}
		}
		require.Zero(t, t.number("select count(*) from dataflow_run where state = 'in_progress'"))
		t.exec("update dataflow_run set state = 'cancelled', ended_at = created_at where state = 'pending'")
	}
}
