package drivertest

import (
	"context"
	"fmt"
	"slices"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

func states() []dataflow.RunState {
	return []dataflow.RunState{
		dataflow.RunPending, dataflow.RunInProgress, dataflow.RunSuccess, dataflow.RunFailed, dataflow.RunCancelled,
	}
}

func transitionRules() []rule {
	var rules []rule
	for _, from := range states() {
		rules = append(rules, rule{name: "From-" + string(from), run: func(t *test) {
			for _, to := range append(states(), "done", "") {
				t.transition(t.flow(fmt.Sprintf("to %q", to)).ID, from, to)
			}
		}})
	}
	return rules
}

// inState returns a claim of a run that is now in a state.
func (t *test) inState(flowID int64, state dataflow.RunState) *dataflow.Claim {
	t.Helper()
	c := t.inProgress(flowID)
	if state != dataflow.RunInProgress {
		t.end(ending(c, state))
	}
	require.Equal(t, state, t.run(c.Run.ID).State)
	return c
}

// transition requires that no query makes a transition that RunState.Next does not allow.
func (t *test) transition(flowID int64, from, to dataflow.RunState) {
	t.Helper()
	c := t.inState(flowID, from)
	if slices.Contains(from.Next(), to) && from == dataflow.RunInProgress {
		require.Equal(t, to, t.end(ending(c, to)).State)
		return
	}
	t.unchanged(func() {
		t.Helper()
		// An error will do, as there is no such state for a run that has ended.
		run, err := tryEnd(t.Context(), t.store, ending(c, to))
		if err == nil {
			require.Nil(t, run)
		}
	})
	if from != dataflow.RunPending {
		t.requireNoClaim(c.Run.ID)
	}
}

// Only the holder of a run can end it.
func endNotHeld(t *test) {
	f := t.flow("orders")
	notHeld := func(p *dataflow.RunEndParams) {
		t.Helper()
		t.unchanged(func() {
			t.Helper()
			run, err := tryEnd(t.Context(), t.store, p)
			require.NoError(t, err)
			require.Nil(t, run)
		})
	}
	c := t.inProgress(f.ID)
	for _, n := range []int64{c.Run.LeaseNumber - 1, c.Run.LeaseNumber + 1} {
		p := failing(c, dataflow.RunFailed, "disk full")
		p.LeaseNumber = n
		notHeld(p)
	}
	p := ending(c, dataflow.RunSuccess)
	p.RunID++
	notHeld(p)
	t.end(ending(c, dataflow.RunPending))
	notHeld(failing(c, dataflow.RunPending, "disk full"))
	again := t.claim(c.Run.ID)
	notHeld(ending(c, dataflow.RunSuccess))
	t.end(ending(again, dataflow.RunFailed))
	for _, state := range []dataflow.RunState{dataflow.RunSuccess, dataflow.RunPending, dataflow.RunFailed} {
		notHeld(failing(again, state, "disk full"))
	}
}

func endRolledBack(t *test) {
	c := t.inProgress(t.flow("orders").ID)
	t.unchanged(func() {
		err := inTx(t.Context(), t.store, func(ctx context.Context, q dataflow.Queries) error {
			run, err := q.RunEnd(ctx, failing(c, dataflow.RunFailed, "disk full"))
			require.NoError(t, err)
			require.NotNil(t, run)
			return errUndo
		})
		require.ErrorIs(t, err, errUndo)
	})
	t.end(ending(c, dataflow.RunSuccess))
}
