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
		{name: "KeptAgain", run: letterKeptAgain},
		{name: "KeptTwiceAtOnce", run: letterKeptTwiceAtOnce},
		{name: "Edited", run: letterEdited},
		{name: "Closed", run: letterClosed},
		{name: "Records", run: letterRecords},
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
		ours, err := t.store.DeadLetterReplayed(t.Context(), second.ID, "", "", false)
		require.NoError(t, err)
		require.Equal(t, want, ours)
	}
	require.Equal(t, c.Now(), *t.letters(dataflow.DeadLetterListParams{})[0].ClosedAt)
	require.Equal(t, []string{"1"}, keys(t.letters(dataflow.DeadLetterListParams{Open: true})))
	ours, err := t.store.DeadLetterReplayed(t.Context(), second.ID+1, "", "", false)
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
		ours, err := stores[i%2].DeadLetterReplayed(t.Context(), id, "", "", false)
		if ours {
			wins.Add(1)
		}
		errs[i] = err
	})
	require.NoError(t, errors.Join(errs...))
	require.EqualValues(t, 1, wins.Load())
}

// keep stores dead letters of records with these identities, each with its payload.
func (t *test) keep(run *dataflow.Run, payload string, identities ...string) {
	t.Helper()
	letters := make([]*dataflow.DeadLetterRecord, len(identities))
	for i, identity := range identities {
		letters[i] = &dataflow.DeadLetterRecord{FlowID: run.FlowID, RunID: run.ID, Stage: dataflow.StageRead, Key: "key " + identity, Error: "odd", Identity: identity}
		if payload != "" {
			letters[i].Payload = raw("%s", payload)
		}
	}
	require.NoError(t, t.store.InTx(t.Context(), func(ctx context.Context, tx dataflow.Tx) error {
		q, err := t.store.With(tx)
		require.NoError(t, err)
		return q.DeadLetterInsert(ctx, letters)
	}))
}

// A record of a flow is open once. A later version of it takes the place of the one before.
func letterKeptAgain(t *test) {
	c := t.clocked()
	run, other := t.pending(t.flow("a").ID), t.pending(t.flow("b").ID)
	t.keep(run, `{"n": 1}`, "x", "y", "", "")
	began := c.Now()
	c.advance(time.Hour)
	again := t.pending(run.FlowID)
	t.keep(again, `{"n": 1}`, "x", "", "y", "x")
	t.keep(other, `{"n": 1}`, "x")
	all := t.letters(dataflow.DeadLetterListParams{Flow: "a"})
	require.Len(t, all, 5, "three of them have no identity")
	x := all[4]
	require.Equal(t, []any{3, again.ID, began, c.Now()}, []any{x.Times, x.RunID, x.CreatedAt, x.LastAt})
	require.Equal(t, 1, t.letters(dataflow.DeadLetterListParams{Flow: "b"})[0].Times)

	t.keep(again, `{"n": 2}`, "x", "x")
	t.keep(again, "", "x")
	open := t.letters(dataflow.DeadLetterListParams{Flow: "a", Open: true})
	require.Equal(t, "x", open[0].Identity)
	require.Nil(t, open[0].Payload)
	closed := t.letters(dataflow.DeadLetterListParams{Flow: "a", State: dataflow.DeadLetterResolved})
	require.Len(t, closed, 2)
	require.Equal(t, []any{2, raw(`{"n": 2}`), fmt.Sprintf("run %d", again.ID), dataflow.ReasonLaterVersion, c.Now()},
		[]any{closed[0].Times, closed[0].Payload, closed[0].ClosedBy, closed[0].Reason, *closed[0].ClosedAt})
	require.Equal(t, x.ID, closed[1].ID)
}

func letterKeptTwiceAtOnce(t *test) {
	run := t.pending(t.flow("a").ID)
	stores := []dataflow.Store{t.store, t.another()}
	errs := make([]error, 8)
	atOnce(8, func(i int) {
		errs[i] = stores[i%2].InTx(t.Context(), func(ctx context.Context, tx dataflow.Tx) error {
			q, err := stores[i%2].With(tx)
			if err != nil {
				return err
			}
			return q.DeadLetterInsert(ctx, []*dataflow.DeadLetterRecord{{FlowID: run.FlowID, RunID: run.ID, Stage: dataflow.StageRead, Key: "x", Identity: "x"}})
		})
	})
	require.NoError(t, errors.Join(errs...))
	all := t.letters(dataflow.DeadLetterListParams{})
	require.Len(t, all, 1)
	require.Equal(t, 8, all[0].Times)
}

// An edit keeps the record as it was kept first. The same record is known again.
func letterEdited(t *test) {
	c := t.clocked()
	run := t.pending(t.flow("a").ID)
	t.keep(run, `{"n": 1}`, "x")
	id := t.letters(dataflow.DeadLetterListParams{})[0].ID
	require.NoError(t, t.store.DeadLetterEdit(t.Context(), id, raw(`{"n": 2}`), "ada"))
	c.advance(time.Minute)
	require.NoError(t, t.store.DeadLetterEdit(t.Context(), id, raw(`{"n": 3}`), "bob"))
	t.keep(run, `{"n": 1}`, "x")
	l := t.letters(dataflow.DeadLetterListParams{})[0]
	require.Equal(t, []any{id, raw(`{"n": 3}`), raw(`{"n": 1}`), "bob", c.Now(), 2}, []any{l.ID, l.Payload, l.Original, l.EditedBy, *l.EditedAt, l.Times})
	ours, err := t.store.DeadLetterReplayed(t.Context(), id, "", "", false)
	require.NoError(t, err)
	require.True(t, ours)
	require.ErrorIs(t, t.store.DeadLetterEdit(t.Context(), id, raw(`4`), "ada"), dataflow.ErrNotFound)
	require.ErrorIs(t, t.store.DeadLetterEdit(t.Context(), id+9, raw(`4`), "ada"), dataflow.ErrNotFound)

	t.keep(run, "", "y") // nothing of it was known
	l = t.letters(dataflow.DeadLetterListParams{})[0]
	require.NoError(t, t.store.DeadLetterEdit(t.Context(), l.ID, raw(`5`), "ada"))
	l = t.letters(dataflow.DeadLetterListParams{})[0]
	require.Equal(t, []any{raw(`5`), true}, []any{l.Payload, l.Original == nil})

	// The rows that an edited record makes may be others than those of its SinkKey.
	held := &dataflow.DeadLetterRecord{
		FlowID: run.FlowID, RunID: run.ID, Stage: dataflow.StageWrite, Key: "z", Identity: "z", Payload: raw(`1`),
		RetryFor: time.Hour, TriesLeft: 2, SinkKey: "[1]",
	}
	for range 2 { // it is kept again after the edit
		require.NoError(t, t.store.DeadLetterInsert(t.Context(), []*dataflow.DeadLetterRecord{held}))
		l = t.letters(dataflow.DeadLetterListParams{})[0]
		require.NoError(t, t.store.DeadLetterEdit(t.Context(), l.ID, raw(`2`), "ada"))
		require.Empty(t, t.heldNow(run.FlowID, 0, 10))
	}
	require.NoError(t, t.store.DeadLetterInsert(t.Context(), []*dataflow.DeadLetterRecord{held}))
	require.Empty(t, t.heldNow(run.FlowID, 0, 10))
}

func letterClosed(t *test) {
	c := t.clocked()
	run := t.pending(t.flow("a").ID)
	later, elsewhere := t.pending(run.FlowID), t.pending(t.flow("b").ID)
	t.keep(run, `1`, "u", "v", "w", "")
	t.keep(later, `1`, "z")
	t.keep(elsewhere, `1`, "u", "v")
	all := t.letters(dataflow.DeadLetterListParams{Flow: "a"}) // z, "", w, v, u
	do := func(want int64, p dataflow.DeadLetterCloseParams) {
		t.Helper()
		p.FlowID, p.By, p.Reason = run.FlowID, "ada", "by hand"
		n, err := t.store.DeadLetterClose(t.Context(), &p)
		require.NoError(t, err)
		require.Equal(t, want, n)
	}
	do(2, dataflow.DeadLetterCloseParams{State: dataflow.DeadLetterDiscarded, IDs: []int64{all[4].ID, 99}, Identities: []string{"v", "", "other"}})
	do(0, dataflow.DeadLetterCloseParams{State: dataflow.DeadLetterResolved, IDs: []int64{all[4].ID}, Identities: []string{"v"}})
	l := t.letters(dataflow.DeadLetterListParams{Flow: "a"})[4]
	require.Equal(t, []any{dataflow.DeadLetterDiscarded, "ada", "by hand", c.Now()}, []any{l.State, l.ClosedBy, l.Reason, *l.ClosedAt})
	do(2, dataflow.DeadLetterCloseParams{State: dataflow.DeadLetterResolved, NotOfRun: later.ID})
	require.Equal(t, []string{"key z"}, keys(t.letters(dataflow.DeadLetterListParams{Flow: "a", Open: true})))
	require.Len(t, t.letters(dataflow.DeadLetterListParams{Flow: "b", State: dataflow.DeadLetterOpen}), 2)
	t.keep(run, `1`, "u") // it is bad again
	require.Equal(t, []string{"key u", "key z"}, keys(t.letters(dataflow.DeadLetterListParams{Flow: "a", Open: true})))

	t.retried(elsewhere, 1)
	held := t.heldNow(elsewhere.FlowID, 0, 10)
	n, err := t.store.DeadLetterClose(t.Context(), &dataflow.DeadLetterCloseParams{FlowID: elsewhere.FlowID, IDs: []int64{held[0].ID}, State: dataflow.DeadLetterDiscarded})
	require.NoError(t, err)
	require.EqualValues(t, 1, n)
	require.Empty(t, t.heldNow(elsewhere.FlowID, 0, 10), "it is not tried again")
}

func letterRecords(t *test) {
	run := t.pending(t.flow("a").ID)
	t.keep(run, `1`, "c", "a", "", "b")
	t.keep(t.pending(t.flow("b").ID), `1`, "d")
	list := func(after string, limit int) []string {
		found, err := t.store.DeadLetterRecords(t.Context(), run.FlowID, after, limit)
		require.NoError(t, err)
		var identities []string
		for _, l := range found {
			require.Equal(t, "key "+l.Identity, l.Key)
			identities = append(identities, l.Identity)
		}
		return identities
	}
	require.Equal(t, []string{"a", "b"}, list("", 2))
	require.Equal(t, []string{"c"}, list("b", 2))
	_, err := t.store.DeadLetterClose(t.Context(), &dataflow.DeadLetterCloseParams{FlowID: run.FlowID, Identities: []string{"c"}, State: dataflow.DeadLetterResolved})
	require.NoError(t, err)
	require.Empty(t, list("b", 2))
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

	ours, err := t.store.DeadLetterReplayed(t.Context(), all[0].ID, "", "", false)
	require.NoError(t, err)
	require.True(t, ours)
	tried := func(l *dataflow.DeadLetterRecord) {
		require.NoError(t, t.store.DeadLetterTried(t.Context(), l.ID, "it's still alone", false))
	}
	passing := func(l *dataflow.DeadLetterRecord) {
		require.NoError(t, t.store.DeadLetterTried(t.Context(), l.ID, "it's away", true))
	}
	passing(all[1])
	require.Equal(t, all[1:], t.heldNow(f.ID, 0, 10), "an error that passes spends no try")
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
	passing(all[3])
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
		ours, err := t.store.DeadLetterReplayed(t.Context(), l.ID, "", "", true)
		require.NoError(t, err)
		require.Equal(t, i == 1, ours, "it is written only if it is still to be tried again")
	}
	ours, err := t.store.DeadLetterReplayed(t.Context(), all[0].ID, "", "", false)
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
