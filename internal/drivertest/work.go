package drivertest

import (
	"context"
	"sync"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// inTx runs fn with the queries of a transaction, as the executor does.
func inTx(ctx context.Context, s dataflow.Store, fn func(ctx context.Context, q dataflow.Queries) error) error {
	return s.InTx(ctx, func(ctx context.Context, tx dataflow.Tx) error {
		q, err := s.With(tx)
		if err != nil {
			return err
		}
		return fn(ctx, q)
	})
}

func claimParams(runID int64) *dataflow.RunClaimParams {
	return &dataflow.RunClaimParams{RunID: runID, Worker: "worker", Lease: lease, CodeVersion: "v2"}
}

// together is the key of a context whose runs are claimed and ended by EndAndClaim, as the executor does.
type together struct{}

// Context tells how runs are claimed and ended in this test.
func (t *test) Context() context.Context {
	if !t.together {
		return t.T.Context()
	}
	return context.WithValue(t.T.Context(), together{}, true)
}

// tryClaim claims a run in a transaction of its own, if it can be claimed.
func tryClaim(ctx context.Context, s dataflow.Store, p *dataflow.RunClaimParams) (*dataflow.Claim, error) {
	if ctx.Value(together{}) != nil {
		answers, err := claimMany(ctx, s, []*dataflow.RunClaimParams{p})
		if err == nil && !answers[0].Busy {
			return answers[0].Claim, nil
		}
	}
	var claim *dataflow.Claim
	err := inTx(ctx, s, func(ctx context.Context, q dataflow.Queries) (err error) {
		claim, err = q.RunClaim(ctx, p)
		return err
	})
	if err != nil {
		return nil, err
	}
	return claim, nil
}

func (t *test) claim(runID int64) *dataflow.Claim {
	t.Helper()
	claim, err := tryClaim(t.Context(), t.store, claimParams(runID))
	require.NoError(t, err)
	require.NotNil(t, claim, "run %d could not be claimed", runID)
	return claim
}

// requireNoClaim requires that a claim is refused and changes nothing.
func (t *test) requireNoClaim(runID int64) {
	t.Helper()
	t.unchanged(func() {
		t.Helper()
		claim, err := tryClaim(t.Context(), t.store, claimParams(runID))
		require.NoError(t, err)
		require.Nil(t, claim)
	})
}

// inProgress adds a run and claims it.
func (t *test) inProgress(flowID int64) *dataflow.Claim {
	t.Helper()
	return t.claim(t.pending(flowID).ID)
}

// progress returns the first checkpoint of a claim.
func progress(c *dataflow.Claim) *dataflow.RunCheckpointParams {
	return &dataflow.RunCheckpointParams{
		RunID: c.Run.ID, FlowID: c.Run.FlowID, LeaseNumber: c.Run.LeaseNumber, Scope: c.Run.Scope, Slot: c.Run.Slot, Seq: c.Seq, Lease: lease,
	}
}

// tryCheckpoint makes a checkpoint. It rolls back if the claim is lost, as the executor does.
func tryCheckpoint(ctx context.Context, s dataflow.Store, p *dataflow.RunCheckpointParams) (bool, error) {
	held := false
	err := inTx(ctx, s, func(ctx context.Context, q dataflow.Queries) (err error) {
		status, err := q.RunCheckpoint(ctx, p)
		held = status.Held
		if err == nil && !held {
			err = dataflow.ErrFenced
		}
		return err
	})
	if !held && err == dataflow.ErrFenced { //nolint:errorlint // InTx must not wrap the error of its function
		err = nil
	}
	return held && err == nil, err
}

// checkpoint makes a checkpoint that must succeed, and updates the Seq of the claim.
func (t *test) checkpoint(c *dataflow.Claim, cursor string, delta dataflow.Counters) {
	t.Helper()
	p := progress(c)
	p.From, p.Delta = raw("null"), delta
	if cursor != "" {
		p.Cursor = raw("%s", cursor)
	}
	t.requireHeld(p)
	c.Seq++
}

// tryCommit is tryCheckpoint with the checkpoint sent together with the commit.
func tryCommit(ctx context.Context, s dataflow.Store, p *dataflow.RunCheckpointParams) (bool, error) {
	status, err := commitCheckpoint(ctx, s, func(context.Context) (*dataflow.RunCheckpointParams, error) { return p, nil })
	return status.Held && err == nil, err
}

// requireHeld requires that a checkpoint succeeds. Every other call sends it with the commit.
func (t *test) requireHeld(p *dataflow.RunCheckpointParams) {
	t.Helper()
	try := tryCheckpoint
	if p.Seq%2 == 0 {
		try = tryCommit
	}
	held, err := try(t.Context(), t.store, p)
	require.NoError(t, err)
	require.True(t, held)
}

// requireFenced requires that a checkpoint is refused and changes nothing.
func (t *test) requireFenced(p *dataflow.RunCheckpointParams) {
	t.Helper()
	t.unchanged(func() {
		t.Helper()
		for _, try := range []func(context.Context, dataflow.Store, *dataflow.RunCheckpointParams) (bool, error){tryCheckpoint, tryCommit} {
			held, err := try(t.Context(), t.store, p)
			require.NoError(t, err)
			require.False(t, held)
		}
	})
}

// ending returns the parameters that end the claim's run.
func ending(c *dataflow.Claim, state dataflow.RunState) *dataflow.RunEndParams {
	return &dataflow.RunEndParams{RunID: c.Run.ID, FlowID: c.Run.FlowID, LeaseNumber: c.Run.LeaseNumber, State: state}
}

// failing returns the parameters that end the claim's run with an error.
func failing(c *dataflow.Claim, state dataflow.RunState, message string) *dataflow.RunEndParams {
	p := ending(c, state)
	p.Error = &dataflow.AttemptError{Attempt: c.Run.Attempt, At: c.Run.CreatedAt, Worker: c.Run.Worker, Error: message}
	return p
}

func tryEnd(ctx context.Context, s dataflow.Store, p *dataflow.RunEndParams) (*dataflow.Run, error) {
	if ctx.Value(together{}) != nil {
		answers, err := endMany(ctx, s, []*dataflow.RunEndParams{p})
		if err == nil && !answers[0].Busy {
			return answers[0].Run, nil
		}
	}
	var run *dataflow.Run
	err := inTx(ctx, s, func(ctx context.Context, q dataflow.Queries) (err error) {
		run, err = q.RunEnd(ctx, p)
		return err
	})
	return run, err
}

func (t *test) end(p *dataflow.RunEndParams) *dataflow.Run {
	t.Helper()
	run, err := tryEnd(t.Context(), t.store, p)
	require.NoError(t, err)
	require.NotNil(t, run, "run %d was not the claim's", p.RunID)
	require.Equal(t, t.run(p.RunID), run)
	return run
}

// finished adds a run that has ended in a state.
func (t *test) finished(flowID int64, state dataflow.RunState) *dataflow.Run {
	t.Helper()
	return t.end(ending(t.inProgress(flowID), state))
}

// atOnce calls fn n times, all concurrently.
func atOnce(n int, fn func(i int)) {
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			<-start
			fn(i)
		})
	}
	close(start)
	wg.Wait()
}
