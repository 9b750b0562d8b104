package drivertest

import (
	"context"
	"errors"
	"fmt"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

func commitRules() []rule {
	return []rule{
		{name: "WithSinkRows", run: commitWithSinkRows},
		{name: "WithLetters", run: commitWithLetters},
		{name: "Fenced", run: commitFenced},
		{name: "SaysWhatIsAsked", run: commitCancelRequested},
		{name: "SinkFails", run: commitSinkFails},
		{name: "SinkPanics", run: commitSinkPanics},
		{name: "Cancelled", run: commitCancelled},
		{name: "EndsTheTransaction", run: commitEnds},
	}
}

// commitCheckpoint makes a checkpoint as the executor does: together with the commit if the
// store supports it, else before the commit.
func commitCheckpoint(ctx context.Context, s dataflow.Store, fn func(ctx context.Context) (*dataflow.RunCheckpointParams, error)) (dataflow.LeaseStatus, error) {
	if together, ok := s.(dataflow.CheckpointCommitter); ok {
		txCtx, tx, err := together.BeginCheckpoint(ctx)
		if err != nil {
			return dataflow.LeaseStatus{}, err
		}
		ended := false
		defer func() {
			if !ended { // fn has panicked
				_ = tx.Rollback(ctx, nil)
			}
		}()
		p, err := fn(txCtx)
		ended = true
		if err != nil {
			return dataflow.LeaseStatus{}, tx.Rollback(ctx, err)
		}
		return tx.Commit(ctx, p)()
	}
	var status dataflow.LeaseStatus
	err := inTx(ctx, s, func(ctx context.Context, q dataflow.Queries) error {
		p, err := fn(ctx)
		if err != nil {
			return err
		}
		if status, err = q.RunCheckpoint(ctx, p); err == nil && !status.Held {
			err = dataflow.ErrFenced
		}
		return err
	})
	if errors.Is(err, dataflow.ErrFenced) {
		err = nil
	}
	return status, err
}

// writing makes a table of facts, and returns a function that writes one and then calls then.
func (t *test) writing(then func() (*dataflow.RunCheckpointParams, error)) func(ctx context.Context) (*dataflow.RunCheckpointParams, error) {
	return func(ctx context.Context) (*dataflow.RunCheckpointParams, error) {
		found, err := t.db.ExecTx(ctx, "insert into facts (n) values (1)")
		require.NoError(t, err)
		require.True(t, found)
		return then()
	}
}

// facts makes the table that these rules write to.
func (t *test) facts() { t.exec("create table facts (n integer)") }

func (t *test) requireFacts(n int) {
	t.Helper()
	require.EqualValues(t, n, t.number("select count(*) from facts"))
}

// first is a checkpoint of one record.
func first(c *dataflow.Claim) *dataflow.RunCheckpointParams {
	p := progress(c)
	p.From, p.Cursor, p.Delta = raw("null"), raw("7"), dataflow.Counters{Read: 1, Written: 1}
	return p
}

func commitWithSinkRows(t *test) {
	t.facts()
	c := t.inProgress(t.flow("orders").ID)
	for i := range many {
		p := first(c)
		p.Seq += int64(i)
		status, err := commitCheckpoint(t.Context(), t.store, t.writing(func() (*dataflow.RunCheckpointParams, error) { return p, nil }))
		require.NoError(t, err)
		require.Equal(t, dataflow.LeaseStatus{RunID: c.Run.ID, Held: true}, status)
		t.requireFacts(i + 1)
	}
	t.requireCursor("7", t.run(c.Run.ID).ToCursor)
	require.EqualValues(t, many, t.run(c.Run.ID).Counters.Written)
	require.EqualValues(t, many, t.flowCounters(c.Run.FlowID).Written)
}

// The dead letters of a checkpoint exist exactly if it is committed.
func commitWithLetters(t *test) {
	c := t.inProgress(t.flow("orders").ID)
	p := first(c)
	for i := range 2 {
		p.Letters = append(p.Letters, &dataflow.DeadLetterRecord{FlowID: c.Run.FlowID, RunID: c.Run.ID, Stage: dataflow.StageWrite, Key: fmt.Sprint(i + 1), Error: "odd"})
	}
	for _, late := range []int64{0, 1} {
		p.LeaseNumber += late
		status, err := commitCheckpoint(t.Context(), t.store, func(context.Context) (*dataflow.RunCheckpointParams, error) { return p, nil })
		require.NoError(t, err)
		require.Equal(t, late == 0, status.Held)
		require.Equal(t, []string{"2", "1"}, keys(t.letters(dataflow.DeadLetterListParams{})))
	}
}

// A worker that has lost the run or the checkpoint commits nothing, and leaves no transaction
// open.
func commitFenced(t *test) {
	t.facts()
	c := t.inProgress(t.flow("orders").ID)
	for name, change := range map[string]func(*dataflow.RunCheckpointParams){
		"lease number": func(p *dataflow.RunCheckpointParams) { p.LeaseNumber++ },
		"sequence":     func(p *dataflow.RunCheckpointParams) { p.Seq-- },
		"both":         func(p *dataflow.RunCheckpointParams) { p.LeaseNumber--; p.Seq++ },
		"unknown run":  func(p *dataflow.RunCheckpointParams) { p.RunID += 100 },
	} {
		p := first(c)
		change(p)
		t.unchanged(func() {
			for range many {
				status, err := commitCheckpoint(t.Context(), t.store, t.writing(func() (*dataflow.RunCheckpointParams, error) { return p, nil }))
				require.NoError(t, err, name)
				require.False(t, status.Held, name)
			}
		})
		t.requireFacts(0)
	}
	t.checkpoint(c, `7`, dataflow.Counters{})
}

func commitCancelRequested(t *test) {
	c := t.inProgress(t.flow("orders").ID)
	_, err := t.store.RunCancel(t.Context(), &dataflow.RunCancelParams{RunID: c.Run.ID, Actor: "ops"})
	require.NoError(t, err)
	status, err := commitCheckpoint(t.Context(), t.store, func(context.Context) (*dataflow.RunCheckpointParams, error) { return first(c), nil })
	require.NoError(t, err)
	require.Equal(t, dataflow.LeaseStatus{RunID: c.Run.ID, Held: true, CancelRequested: true}, status)
	t.requireCursor("7", t.run(c.Run.ID).ToCursor)
}

func commitSinkFails(t *test) {
	t.facts()
	c := t.inProgress(t.flow("orders").ID)
	t.unchanged(func() {
		for range many {
			_, err := commitCheckpoint(t.Context(), t.store, t.writing(func() (*dataflow.RunCheckpointParams, error) { return first(c), errUndo }))
			require.Equal(t, errUndo, err, "the error is returned unchanged")
		}
	})
	t.requireFacts(0)
}

func commitSinkPanics(t *test) {
	t.facts()
	c := t.inProgress(t.flow("orders").ID)
	t.unchanged(func() {
		for range many {
			require.PanicsWithValue(t, "boom", func() {
				_, _ = commitCheckpoint(t.Context(), t.store, t.writing(func() (*dataflow.RunCheckpointParams, error) { panic("boom") }))
			})
		}
	})
	t.requireFacts(0)
	t.checkpoint(c, `7`, dataflow.Counters{})
}

// A context that ends before the commit ends the transaction.
func commitCancelled(t *test) {
	t.facts()
	c := t.inProgress(t.flow("orders").ID)
	t.unchanged(func() {
		for range many {
			ctx, cancel := context.WithCancel(t.Context())
			_, err := commitCheckpoint(ctx, t.store, t.writing(func() (*dataflow.RunCheckpointParams, error) {
				cancel()
				return first(c), nil
			}))
			require.ErrorIs(t, err, context.Canceled)
		}
	})
	t.requireFacts(0)
}

// A sink that keeps the transaction cannot write after the commit.
func commitEnds(t *test) {
	t.facts()
	c := t.inProgress(t.flow("orders").ID)
	for _, p := range []*dataflow.RunCheckpointParams{first(c), first(c)} { // the second is fenced
		var kept context.Context
		_, err := commitCheckpoint(t.Context(), t.store, func(ctx context.Context) (*dataflow.RunCheckpointParams, error) {
			kept = ctx //nolint:fatcontext // to try it after its transaction has ended
			return p, nil
		})
		require.NoError(t, err)
		_, err = t.db.ExecTx(kept, "insert into facts (n) values (1)")
		require.Error(t, err)
	}
	t.requireFacts(0)
}
