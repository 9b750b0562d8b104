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
		Payload: raw(`{"n": 3}`), CreatedAt: c.Now(),
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
		ours, err := t.store.DeadLetterReplayed(t.Context(), second.ID)
		require.NoError(t, err)
		require.Equal(t, want, ours)
	}
	require.Equal(t, c.Now(), *t.letters(dataflow.DeadLetterListParams{})[0].ReplayedAt)
	require.Equal(t, []string{"1"}, keys(t.letters(dataflow.DeadLetterListParams{Open: true})))
	ours, err := t.store.DeadLetterReplayed(t.Context(), second.ID+1)
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
		ours, err := stores[i%2].DeadLetterReplayed(t.Context(), id)
		if ours {
			wins.Add(1)
		}
		errs[i] = err
	})
	require.NoError(t, errors.Join(errs...))
	require.EqualValues(t, 1, wins.Load())
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
