package drivertest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

func letterRules() []rule {
	return []rule{
		{name: "InsertAndList", run: letterList},
		{name: "Replayed", run: letterReplayed},
		{name: "ReplayedAtOnce", run: letterReplayedAtOnce},
		{name: "Held", run: letterHeld},
		{name: "Superseded", run: letterSuperseded},
		{name: "Savepoint", run: letterSavepoint},
		{name: "FaultData", run: letterFault},
	}
}

// kept stores n dead letters of a run, with the keys 1 to n.
func (t *test) kept(run *dataflow.Run, n int) {
	t.Helper()
	letters := make([]*dataflow.DeadLetterRecord, n)
	for i := range letters {
		letters[i] = &dataflow.DeadLetterRecord{
			FlowID: run.FlowID, RunID: run.ID, Stage: dataflow.StageWrite, Key: fmt.Sprint(i + 1), Error: "it's odd", Payload: raw(`{"n": %d}`, i+1),
		}
	}
	letters[0].Payload = nil
	require.NoError(t, t.store.DeadLetterInsert(t.Context(), letters))
}

func (t *test) letters(p dataflow.DeadLetterListParams) []*dataflow.DeadLetterRecord {
	t.Helper()
	if p.Limit == 0 {
		p.Limit = 100
	}
	letters, err := t.store.DeadLetterList(t.Context(), &p)
	require.NoError(t, err)
	return letters
}

func keys(letters []*dataflow.DeadLetterRecord) []string {
	all := make([]string, len(letters))
	for i, l := range letters {
		all[i] = l.Key
	}
	return all
}

func letterList(t *test) {
	c := t.clocked()
	f := t.flow("a")
	run, other := t.pending(f.ID), t.pending(t.flow("b").ID)
	t.kept(run, 3)
	t.kept(other, 1)
	all := t.letters(dataflow.DeadLetterListParams{Flow: "a"})
	require.Equal(t, []string{"3", "2", "1"}, keys(all))
	require.Equal(t, &dataflow.DeadLetterRecord{
		ID: all[0].ID, FlowID: f.ID, FlowName: "a", RunID: run.ID, Stage: dataflow.StageWrite, Key: "3", Error: "it's odd",
		Payload: raw(`{"n": 3}`), CreatedAt: c.Now(), LastAt: c.Now(), Times: 1, State: dataflow.DeadLetterOpen,
	}, all[0])
	require.Nil(t, all[2].Payload)
	require.Len(t, t.letters(dataflow.DeadLetterListParams{}), 4)
	require.Equal(t, []string{"1"}, keys(t.letters(dataflow.DeadLetterListParams{Run: other.ID})))
	require.Equal(t, []string{"2", "1"}, keys(t.letters(dataflow.DeadLetterListParams{Flow: "a", Before: all[0].ID})))
	require.Equal(t, []string{"3"}, keys(t.letters(dataflow.DeadLetterListParams{Flow: "a", Limit: 1})))
}

func letterReplayed(t *test) {
	c := t.clocked()
	t.kept(t.pending(t.flow("a").ID), 2)
	second := t.letters(dataflow.DeadLetterListParams{})[0]
	c.advance(time.Hour)
	for _, want := range []bool{true, false} {
		ours, err := t.store.DeadLetterReplayed(t.Context(), second.ID, false)
		require.NoError(t, err)
		require.Equal(t, want, ours)
	}
	require.Equal(t, c.Now(), *t.letters(dataflow.DeadLetterListParams{})[0].ClosedAt)
	require.Equal(t, []string{"1"}, keys(t.letters(dataflow.DeadLetterListParams{Open: true})))
	ours, err := t.store.DeadLetterReplayed(t.Context(), second.ID+1, false)
	require.NoError(t, err)
	require.False(t, ours)
}

func letterReplayedAtOnce(t *test) {
	t.kept(t.pending(t.flow("a").ID), 1)
	id := t.letters(dataflow.DeadLetterListParams{})[0].ID
	stores := []dataflow.Store{t.store, t.another()}
	var wins atomic.Int64
	errs := make([]error, 8)
	atOnce(8, func(i int) {
		ours, err := stores[i%2].DeadLetterReplayed(t.Context(), id, false)
		if ours {
			wins.Add(1)
		}
		errs[i] = err
	})
	require.NoError(t, errors.Join(errs...))
	require.EqualValues(t, 1, wins.Load())
}

// retried stores dead letters of a run with the keys 1 to n that are tried again twice within an
// hour, and one that is not.
func (t *test) retried(run *dataflow.Run, n int) {
	t.Helper()
	letters := make([]*dataflow.DeadLetterRecord, n+1)
	for i := range letters {
		letters[i] = &dataflow.DeadLetterRecord{
			FlowID: run.FlowID, RunID: run.ID, Stage: dataflow.StageWrite, Key: fmt.Sprint(i + 1), Error: "no parent", Payload: raw(`{"n": %d}`, i+1),
			RetryFor: time.Hour, TriesLeft: 2, SinkKey: fmt.Sprintf("[%d]", i+1),
		}
	}
	letters[n].RetryFor, letters[n].TriesLeft = 0, 0
	require.NoError(t, t.store.DeadLetterInsert(t.Context(), letters))
}

// heldNow returns the dead letters of a flow that are to be tried again.
func (t *test) heldNow(flowID, after int64, limit int) []*dataflow.DeadLetterRecord {
	t.Helper()
	letters, err := t.store.DeadLetterHeld(t.Context(), flowID, after, limit)
	require.NoError(t, err)
	return letters
}

// A dead letter is tried again until it is replayed, its tries are used up, or its time is
// over.
func letterHeld(t *test) {
	c := t.clocked()
	f := t.flow("a")
	t.retried(t.pending(f.ID), 4)
	t.retried(t.pending(t.flow("b").ID), 1)
	all := t.heldNow(f.ID, 0, 10)
	require.Equal(t, []string{"1", "2", "3", "4"}, keys(all), "oldest first")
	require.Equal(t, c.Now().Add(time.Hour), *all[0].RetryUntil)
	require.Equal(t, []any{2, 0, "[1]", "a"}, []any{all[0].TriesLeft, all[0].Tries, all[0].SinkKey, all[0].FlowName})
	require.Equal(t, all[0], t.letters(dataflow.DeadLetterListParams{Flow: "a"})[4])
	require.Equal(t, []string{"2", "3"}, keys(t.heldNow(f.ID, all[0].ID, 2)))

	ours, err := t.store.DeadLetterReplayed(t.Context(), all[0].ID, false)
	require.NoError(t, err)
	require.True(t, ours)
	tried := func(l *dataflow.DeadLetterRecord) {
		require.NoError(t, t.store.DeadLetterTried(t.Context(), l.ID, "it's still alone"))
	}
	tried(all[1])
	require.Equal(t, []string{"2", "3", "4"}, keys(t.heldNow(f.ID, 0, 10)))
	require.Equal(t, []any{1, 1, "it's still alone"}, []any{t.heldNow(f.ID, 0, 1)[0].TriesLeft, t.heldNow(f.ID, 0, 1)[0].Tries, t.heldNow(f.ID, 0, 1)[0].Error})
	tried(all[1])
	require.Equal(t, []string{"3", "4"}, keys(t.heldNow(f.ID, 0, 10)), "its tries are used up")
	tried(all[1])
	c.advance(time.Hour - time.Second)
	tried(all[2])
	c.advance(time.Second)
	require.Len(t, t.heldNow(f.ID, 0, 10), 2, "one more try after its time")
	tried(all[3])
	require.Equal(t, []string{"3"}, keys(t.heldNow(f.ID, 0, 10)), "its time is over")
	list := t.letters(dataflow.DeadLetterListParams{Flow: "a"})
	require.Equal(t, []any{2, 0}, []any{list[3].Tries, list[3].TriesLeft})
	require.Nil(t, list[3].RetryUntil)
	require.Len(t, t.letters(dataflow.DeadLetterListParams{Flow: "a", Open: true}), 4)
}

func letterSuperseded(t *test) {
	f := t.flow("a")
	t.retried(t.pending(f.ID), 4)
	t.retried(t.pending(t.flow("b").ID), 4)
	all := t.heldNow(f.ID, 0, 10)
	end := func(before int64, sinkKeys ...string) int64 {
		n, err := t.store.DeadLetterSuperseded(t.Context(), &dataflow.DeadLetterSupersededParams{FlowID: f.ID, SinkKeys: sinkKeys, Before: before, Note: "; newer"})
		require.NoError(t, err)
		return n
	}
	require.EqualValues(t, 1, end(all[1].ID, "[1]", "[2]", "[9]"))
	require.Equal(t, []string{"2", "3", "4"}, keys(t.heldNow(f.ID, 0, 10)))
	require.EqualValues(t, 2, end(0, "[1]", "[2]", "[3]", "[5]"))
	require.Equal(t, []string{"4"}, keys(t.heldNow(f.ID, 0, 10)))
	for i, l := range []*dataflow.DeadLetterRecord{all[0], all[3]} {
		ours, err := t.store.DeadLetterReplayed(t.Context(), l.ID, true)
		require.NoError(t, err)
		require.Equal(t, i == 1, ours, "it is written only if it is still to be tried again")
	}
	ours, err := t.store.DeadLetterReplayed(t.Context(), all[0].ID, false)
	require.NoError(t, err)
	require.True(t, ours)
	list := t.letters(dataflow.DeadLetterListParams{Flow: "a"})
	require.Equal(t, []string{"no parent", "no parent", "no parent; newer"}, []string{list[0].Error, list[1].Error, list[2].Error})
	require.Nil(t, list[3].ClosedAt)
	require.Len(t, t.heldNow(list[0].FlowID+1, 0, 10), 4)
}

// If something fails after a savepoint, even a statement, only that part is undone. The
// transaction goes on.
func letterSavepoint(t *test) {
	t.exec("create table sp (n integer check (n < 10))")
	insert := func(ctx context.Context, n int) error {
		_, err := t.db.ExecTx(ctx, fmt.Sprintf("insert into sp (n) values (%d)", n))
		return err
	}
	require.NoError(t, t.store.InTx(t.Context(), func(ctx context.Context, tx dataflow.Tx) error {
		require.NoError(t, t.store.Savepoint(ctx, tx, func() error { return insert(ctx, 1) }))
		require.ErrorIs(t, t.store.Savepoint(ctx, tx, func() error {
			require.NoError(t, insert(ctx, 2))
			return errUndo
		}), errUndo)
		require.Error(t, t.store.Savepoint(ctx, tx, func() error {
			require.NoError(t, insert(ctx, 3))
			return insert(ctx, 10)
		}))
		require.NoError(t, t.store.Savepoint(ctx, tx, func() error {
			require.NoError(t, insert(ctx, 4))
			require.ErrorIs(t, t.store.Savepoint(ctx, tx, func() error { require.NoError(t, insert(ctx, 5)); return errUndo }), errUndo)
			return nil
		}))
		return insert(ctx, 6)
	}))
	require.Equal(t, [][]any{{int64(1)}, {int64(4)}, {int64(6)}}, t.rows("select n from sp order by n"))
}

// Data that the database refuses is FaultData.
func letterFault(t *test) {
	t.exec("create table odd (n integer not null unique check (n < 10))")
	t.exec("insert into odd (n) values (1)")
	for _, value := range []string{"null", "1", "10"} {
		err := t.db.Exec(t.Context(), "insert into odd (n) values ("+value+")")
		require.Error(t, err)
		require.Equal(t, dataflow.FaultData, t.store.Classify(err), "%s: %v", value, err)
	}
	err := t.db.Exec(t.Context(), "insert into no_such_table (n) values (1)")
	require.Equal(t, dataflow.FaultOther, t.store.Classify(err))
}
