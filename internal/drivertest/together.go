package drivertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// togetherRules are those of sets of claims and of ends. What holds for each of them is in the
// rules that are run for sets too.
func togetherRules() []rule {
	return []rule{
		{name: "Claims", run: claimsEach},
		{name: "ClaimRefused", run: claimsRefused},
		{name: "ClaimsOfOneFlow", run: claimsOfOneFlow},
		{name: "ClaimsLeaveSlots", run: claimsLeaveSlots},
		{name: "ClaimsBesideTick", run: claimsBesideTick},
		{name: "ClaimsOfOneRun", run: claimsOfOneRun},
		{name: "ClaimOfSuspect", run: claimsOfSuspect},
		{name: "ClaimsInOrder", run: claimsInOrder},
		{name: "ClaimBusy", run: claimsBusy, needs: concurrentWriters},
		{name: "ClaimRace", run: claimsRace},
		{name: "Ends", run: endsEach},
		{name: "EndLost", run: endsLost},
		{name: "EndBusy", run: endsBusy, needs: concurrentWriters},
		{name: "EndNext", run: endsNext},
		{name: "EndRace", run: endsRace},
		{name: "EndAndClaim", run: endsAndClaims},
	}
}

// claimMany claims runs in one transaction.
func claimMany(ctx context.Context, s dataflow.Store, claims []*dataflow.RunClaimParams) ([]dataflow.ClaimAnswer, error) {
	_, answers, err := s.EndAndClaim(ctx, nil, claims)
	return answers, err
}

// endMany ends runs in one transaction.
func endMany(ctx context.Context, s dataflow.Store, ends []*dataflow.RunEndParams) ([]dataflow.EndAnswer, error) {
	answers, _, err := s.EndAndClaim(ctx, ends, nil)
	return answers, err
}

// claimSet claims runs together.
func (t *test) claimSet(claims ...*dataflow.RunClaimParams) []dataflow.ClaimAnswer {
	t.Helper()
	answers, err := claimMany(t.Context(), t.store, claims)
	require.NoError(t, err)
	require.Len(t, answers, len(claims))
	return answers
}

// requireClaimed requires that a run was claimed, and that the answer has it as it is stored.
func (t *test) requireClaimed(a dataflow.ClaimAnswer, runID, seq int64) {
	t.Helper()
	require.False(t, a.Busy)
	require.NotNil(t, a.Claim, "run %d was not claimed", runID)
	require.Equal(t, t.run(runID), a.Claim.Run)
	require.Equal(t, dataflow.RunInProgress, a.Claim.Run.State)
	require.Equal(t, seq, a.Claim.Seq)
}

func claimsEach(t *test) {
	var claims []*dataflow.RunClaimParams
	for i := range 3 {
		f := t.flow(fmt.Sprint("flow ", i)).ID
		if i > 0 {
			before := t.inProgress(f)
			t.checkpoint(before, fmt.Sprintf(`{"id":%d}`, i), dataflow.Counters{Read: 1})
			t.end(ending(before, dataflow.RunSuccess))
		}
		claims = append(claims, claimParams(t.pending(f).ID))
	}
	backfill := t.backfill(t.flow("flow 0").ID, `{"id":9}`)
	p := claimParams(backfill.ID)
	p.Backfills = 1
	claims = append(claims, p)
	slices.Reverse(claims)
	answers := t.claimSet(claims...)
	for i, seq := range []int64{1, 3, 3, 1} {
		t.requireClaimed(answers[i], claims[i].RunID, seq)
	}
	t.requireCursor(`{"id":9}`, answers[0].Claim.Cursor)
	t.requireCursor(`{"id":2}`, answers[1].Claim.Cursor)
	t.requireCursor(`{"id":1}`, answers[2].Claim.Cursor)
	require.Nil(t, answers[3].Claim.Cursor)
}

// A claim that is refused changes nothing, and does not harm the others.
func claimsRefused(t *test) {
	mine, other := t.flow("mine").ID, t.flow("other").ID
	inactive := t.flow("inactive").ID
	ofInactive := t.pending(inactive).ID
	_, err := t.store.FlowSetState(t.Context(), &dataflow.FlowStateParams{ID: inactive, State: dataflow.FlowInactive})
	require.NoError(t, err)
	later := t.insert(dataflow.RunInsertParams{FlowID: t.flow("later").ID, At: time.Now().Add(time.Hour)}).ID
	refused := []*dataflow.RunClaimParams{
		claimParams(12345), claimParams(ofInactive), claimParams(later),
		claimParams(t.finished(t.flow("ended").ID, dataflow.RunSuccess).ID), claimParams(t.inProgress(t.flow("in progress").ID).Run.ID),
	}
	ofOther := claimParams(t.pending(other).ID)
	ofOther.FlowID = mine
	refused = append(refused, ofOther)
	t.unchanged(func() {
		for i, a := range t.claimSet(refused...) {
			require.Equal(t, dataflow.ClaimAnswer{}, a, "%d", i)
		}
	})
	run := t.pending(mine).ID
	own := claimParams(run)
	own.FlowID = mine
	answers := t.claimSet(slices.Insert(refused, 2, own)...)
	t.requireClaimed(answers[2], run, 1)
	for i, a := range answers {
		require.Equal(t, i == 2, a.Claim != nil, "%d", i)
	}
}

// Of the runs of one flow, as many are claimed as it has slots, each with a slot of its own.
func claimsOfOneFlow(t *test) {
	for slots := 1; slots <= 3; slots++ {
		f := t.flow(fmt.Sprint("flow ", slots)).ID
		var claims []*dataflow.RunClaimParams
		for range 5 {
			claims = append(claims, slotParams(t.pending(f).ID, slots))
		}
		taken := make(map[int]bool)
		var ends []*dataflow.RunEndParams
		for i, a := range t.claimSet(claims...) {
			if a.Claim == nil {
				require.Equal(t, dataflow.RunPending, t.run(claims[i].RunID).State)
				continue
			}
			require.Less(t, i, slots, "those that were asked for first")
			taken[a.Claim.Run.Slot] = true
			ends = append(ends, ending(a.Claim, dataflow.RunSuccess))
		}
		require.Len(t, taken, slots)
		require.Len(t, ends, slots)
		t.requireActivity(f, slots, 5-slots, 0)
		for _, a := range t.endSet(ends...) {
			require.NotNil(t, a.Run)
		}
		t.requireActivity(f, 0, 5-slots, 0)
	}
}

// Of a set too, new runs leave a slot to each run that lost its worker. One that is in the set takes
// its slot there, wherever it stands.
func claimsLeaveSlots(t *test) {
	f := t.flow("orders").ID
	lost := []int64{t.lost(t.claimSlot(t.pending(f).ID, 3)), t.lost(t.claimSlot(t.pending(f).ID, 3))}
	var set []*dataflow.RunClaimParams
	for range 4 {
		set = append(set, slotParams(t.pending(f).ID, 3))
	}
	claim := func(set ...*dataflow.RunClaimParams) (claimed []int64, ends []*dataflow.RunEndParams) {
		for _, a := range t.claimSet(set...) {
			if a.Claim != nil {
				claimed, ends = append(claimed, a.Claim.Run.ID), append(ends, ending(a.Claim, dataflow.RunSuccess))
			}
		}
		return claimed, ends
	}
	claimed, ends := claim(set...)
	require.Equal(t, []int64{set[0].RunID}, claimed, "two slots are left")
	t.endSet(ends...)
	claimed, ends = claim(set[1], set[2], set[3], slotParams(lost[0], 3))
	require.Equal(t, []int64{set[1].RunID, lost[0]}, claimed, "one is left, and one taken")
	t.endSet(ends...)
	claimed, _ = claim(set[2], slotParams(lost[1], 3), set[3])
	require.Equal(t, []int64{set[2].RunID, lost[1], set[3].RunID}, claimed)
}

// A tick that waits for a run that lost its worker keeps no other run of its set from a slot.
func claimsBesideTick(t *test) {
	clock := t.clocked()
	f := t.flow("orders").ID
	t.lost(t.claimSlot(t.pending(f).ID, 1))
	tick, asked := t.tick(f, clock.Now()).ID, t.pending(f).ID
	clock.advance(lease)
	answers := t.claimSet(slotParams(tick, 1), slotParams(asked, 1))
	require.Nil(t, answers[0].Claim)
	t.requireClaimed(answers[1], asked, 2)
}

// Two jobs of one run make one claim.
func claimsOfOneRun(t *test) {
	run := t.pending(t.flow("a").ID).ID
	answers := t.claimSet(claimParams(run), claimParams(run))
	t.requireClaimed(answers[0], run, 1)
	require.Nil(t, answers[1].Claim)
}

// A run that may kill its worker is left to a claim of its own.
func claimsOfSuspect(t *test) {
	suspect, run := t.pending(t.flow("a").ID).ID, t.pending(t.flow("b").ID).ID
	t.exec(fmt.Sprintf("update dataflow_run set rescues = 2 where id = %d", suspect))
	claims := []*dataflow.RunClaimParams{claimParams(suspect), claimParams(run)}
	for _, p := range claims {
		p.Suspect = 2
	}
	answers := t.claimSet(claims...)
	require.Equal(t, dataflow.ClaimAnswer{Busy: true}, answers[0])
	t.requireClaimed(answers[1], run, 1)
	require.Equal(t, dataflow.RunPending, t.run(suspect).State)
	t.claim(suspect)
}

// The order of a flow's ticks holds within a set, whatever the order of the set. A run that lost
// its worker goes first.
func claimsInOrder(t *test) {
	f := t.flow("a").ID
	var claims []*dataflow.RunClaimParams
	for hours := 1; hours <= 4; hours++ {
		at := time.Now().Add(-time.Duration(hours) * time.Hour).Truncate(time.Hour)
		claims = append(claims, claimParams(t.tick(f, at).ID))
	}
	lost := t.inProgress(f)
	p := ending(lost, dataflow.RunPending)
	p.Rescue = true
	t.end(p)
	claims = append(claims, claimParams(lost.Run.ID))
	for _, first := range []int{4, 3, 2, 1, 0} {
		var end *dataflow.RunEndParams
		for i, a := range t.claimSet(claims...) {
			require.Equal(t, i == first, a.Claim != nil, "%d before %d", i, first)
			if a.Claim != nil {
				end = ending(a.Claim, dataflow.RunSuccess)
			}
		}
		require.NotNil(t, t.endSet(end)[0].Run)
	}
}

// What another transaction has locked is answered as busy, at once, and the others are claimed.
func claimsBusy(t *test) {
	other := t.another()
	locked, claimed, free := t.pending(t.flow("locked").ID).ID, t.flow("claimed").ID, t.pending(t.flow("free").ID).ID
	first, second := t.pending(claimed).ID, t.pending(claimed).ID
	var answers []dataflow.ClaimAnswer
	claims := []*dataflow.RunClaimParams{claimParams(locked), claimParams(second), claimParams(free)}
	outside := func() (err error) {
		answers, err = claimMany(t.Context(), other, claims)
		return err
	}
	err := inTx(t.Context(), t.store, func(ctx context.Context, q dataflow.Queries) error {
		_, err := q.RunCancel(ctx, &dataflow.RunCancelParams{RunID: locked})
		require.NoError(t, err)
		c, err := q.RunClaim(ctx, claimParams(first))
		require.NoError(t, err)
		require.NotNil(t, c)
		require.NoError(t, outside())
		return errUndo
	})
	require.ErrorIs(t, err, errUndo)
	require.Equal(t, dataflow.ClaimAnswer{Busy: true}, answers[0])
	require.Equal(t, dataflow.ClaimAnswer{Busy: true}, answers[1])
	t.requireClaimed(answers[2], free, 1)
	again := t.claimSet(claimParams(locked), claimParams(second))
	t.requireClaimed(again[0], locked, 1)
	t.requireClaimed(again[1], second, 1)
}

// Of two processes that claim the same runs at once, one gets each run. One that was in the
// other's way is claimed by itself afterwards, as the executor does.
func claimsRace(t *test) {
	stores := []dataflow.Store{t.store, t.another()}
	var flows []int64
	for i := range 10 {
		flows = append(flows, t.flow(fmt.Sprint("flow ", i)).ID)
	}
	for range t.rounds() {
		claims := make([]*dataflow.RunClaimParams, len(flows))
		for i, f := range flows {
			claims[i] = claimParams(t.pending(f).ID)
		}
		got, errs := make([][]*dataflow.Claim, 4), make([]error, 4)
		atOnce(4, func(n int) {
			mine := slices.Clone(claims)
			if n%2 == 1 {
				slices.Reverse(mine)
			}
			got[n], errs[n] = claimAll(t.Context(), stores[n/2], mine)
		})
		require.NoError(t, errors.Join(errs...))
		all := slices.Concat(got...)
		require.Len(t, all, len(flows))
		taken := make(map[int64]bool)
		var ends []*dataflow.RunEndParams
		for _, c := range all {
			require.EqualValues(t, 1, c.Run.LeaseNumber)
			taken[c.Run.ID] = true
			ends = append(ends, ending(c, dataflow.RunSuccess))
		}
		require.Len(t, taken, len(flows))
		for _, a := range t.endSet(ends...) {
			require.NotNil(t, a.Run)
		}
	}
}

// claimAll claims runs together, and those by themselves that something was in the way of.
func claimAll(ctx context.Context, s dataflow.Store, claims []*dataflow.RunClaimParams) (got []*dataflow.Claim, err error) {
	answers, err := claimMany(ctx, s, claims)
	if err != nil {
		return nil, err
	}
	for i, a := range answers {
		if a.Busy {
			err = inTx(ctx, s, func(ctx context.Context, q dataflow.Queries) (err error) {
				a.Claim, err = q.RunClaim(ctx, claims[i])
				return err
			})
			if err != nil && !errors.Is(err, dataflow.ErrAlreadyRunning) {
				return nil, err
			}
		}
		if a.Claim != nil && err == nil {
			got = append(got, a.Claim)
		}
	}
	return got, nil
}
