package drivertest

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

func cursorSetRules() []rule {
	return []rule{
		{name: "Get", run: cursorGet},
		{name: "Set", run: cursorSet},
		{name: "OfNewFlow", run: cursorSetNew},
		{name: "Beginning", run: cursorSetBeginning},
		{name: "NotTheSeq", run: cursorSetMoved},
		{name: "FencesTheClaim", run: cursorSetFences},
		{name: "SetSeq", run: cursorSetSeq},
		{name: "AtOnce", run: cursorSetAtOnce},
		{name: "WaitsForTheClaim", run: cursorLockWaits, needs: concurrentWriters},
		{name: "History", run: cursorHistory},
		{name: "NotFound", run: cursorNotFound},
	}
}

func (t *test) cursorOf(flowID int64) *dataflow.FlowCursor {
	t.Helper()
	cur, err := t.store.CursorGet(t.Context(), flowID)
	require.NoError(t, err)
	return cur
}

// trySet sets a cursor if it has the expected sequence number.
func trySet(ctx context.Context, s dataflow.Store, p dataflow.CursorSetParams) error {
	return inTx(ctx, s, func(ctx context.Context, q dataflow.Queries) error {
		if _, err := q.CursorLock(ctx, p.FlowID); err != nil {
			return err
		}
		return q.CursorSet(ctx, &p)
	})
}

func (t *test) set(flowID, seq int64, to string) {
	t.Helper()
	p := dataflow.CursorSetParams{FlowID: flowID, Seq: seq}
	if to != "" {
		p.To = raw("%s", to)
	}
	require.NoError(t, trySet(t.Context(), t.store, p))
}

// CursorGet returns the cursor of the flow's own runs, and the run that moved it last.
func cursorGet(t *test) {
	clock := t.clocked()
	f := t.flow("orders")
	t.flow("other")
	require.Equal(t, &dataflow.FlowCursor{FlowID: f.ID, FlowName: "orders"}, t.cursorOf(f.ID))
	c := t.inProgress(f.ID)
	require.Equal(t, &dataflow.FlowCursor{FlowID: f.ID, FlowName: "orders", Seq: 1}, t.cursorOf(f.ID), "a claim moves no cursor")
	at := clock.advance(time.Minute)
	t.checkpoint(c, `{"id":7}`, dataflow.Counters{Read: 1, Written: 1})
	clock.advance(time.Minute)
	t.end(ending(c, dataflow.RunSuccess))
	t.inProgress(f.ID)
	got := t.cursorOf(f.ID)
	t.requireCursor(`{"id":7}`, got.Cursor)
	t.requireTime(at, got.At)
	require.Equal(t, c.Run.ID, got.RunID)
	require.EqualValues(t, 3, got.Seq)
}

func cursorSet(t *test) {
	clock := t.clocked()
	f := t.flow("orders")
	c := t.inProgress(f.ID)
	t.checkpoint(c, `7`, dataflow.Counters{Read: 3, Written: 3})
	t.end(ending(c, dataflow.RunSuccess))
	before := t.cursorOf(f.ID)
	at := clock.advance(time.Minute)
	require.NoError(t, trySet(t.Context(), t.store, dataflow.CursorSetParams{FlowID: f.ID, Seq: before.Seq, From: before.Cursor, To: raw("5"), Actor: "ann", Reason: "two were wrong"}))
	got := t.cursorOf(f.ID)
	t.requireCursor("5", got.Cursor)
	t.requireTime(at, got.At)
	require.Equal(t, before.Seq+1, got.Seq)
	require.Zero(t, got.RunID)
	require.Equal(t, dataflow.Counters{Read: 3, Written: 3}, t.flowCounters(f.ID), "the counters are unchanged")
	history, err := t.store.CursorHistory(t.Context(), &dataflow.CursorHistoryParams{FlowID: f.ID, Limit: 10})
	require.NoError(t, err)
	require.Len(t, history, 1)
	require.Equal(t, &dataflow.CursorChange{
		ID: history[0].ID, FlowID: f.ID, FlowName: "orders", From: raw("7"), To: raw("5"), Seq: got.Seq, Actor: "ann", Reason: "two were wrong", At: clock.Now(),
	}, history[0])
	next := t.inProgress(f.ID)
	t.requireCursor("5", next.Cursor)
	require.Equal(t, got.Seq+1, next.Seq)
}

func cursorSetNew(t *test) {
	f := t.flow("orders")
	t.set(f.ID, 0, `9`)
	c := t.inProgress(f.ID)
	t.requireCursor("9", c.Cursor)
	require.EqualValues(t, 2, c.Seq)
}

func cursorSetBeginning(t *test) {
	f := t.flow("orders")
	t.set(f.ID, 0, `9`)
	t.set(f.ID, 1, "")
	require.Nil(t, t.cursorOf(f.ID).Cursor)
	require.Nil(t, t.inProgress(f.ID).Cursor)
	history, err := t.store.CursorHistory(t.Context(), &dataflow.CursorHistoryParams{FlowID: f.ID, Limit: 10})
	require.NoError(t, err)
	require.Nil(t, history[0].To)
}

// With a wrong sequence number, nothing changes.
func cursorSetMoved(t *test) {
	f := t.flow("orders")
	t.set(f.ID, 0, `9`)
	t.unchanged(func() {
		for _, seq := range []int64{0, 2} {
			require.ErrorIs(t, trySet(t.Context(), t.store, dataflow.CursorSetParams{FlowID: f.ID, Seq: seq, To: raw("1")}), dataflow.ErrCursorMoved)
		}
	})
}

// After the cursor was set, a stalled worker of the flow commits nothing.
func cursorSetFences(t *test) {
	f := t.flow("orders")
	c := t.inProgress(f.ID)
	t.checkpoint(c, `7`, dataflow.Counters{})
	t.set(f.ID, c.Seq, `3`)
	t.requireFenced(progress(c))
	t.requireCursor("3", t.cursorOf(f.ID).Cursor)
}

// A claim returns the sequence number at which the cursor was last set.
func cursorSetSeq(t *test) {
	f := t.flow("orders")
	require.Zero(t, t.inProgress(f.ID).SetSeq)
	g := t.flow("other")
	t.set(g.ID, 0, `9`)
	c := t.inProgress(g.ID)
	require.EqualValues(t, 1, c.SetSeq)
	t.checkpoint(c, `10`, dataflow.Counters{})
	held := t.held(ref(c))
	require.EqualValues(t, 1, held.SetSeq)
}

func cursorSetAtOnce(t *test) {
	f := t.flow("orders")
	stores := []dataflow.Store{t.store, t.another()}
	var wins, losses atomic.Int64
	errs := make([]error, 8)
	atOnce(len(errs), func(i int) {
		err := trySet(t.Context(), stores[i%2], dataflow.CursorSetParams{FlowID: f.ID, To: raw("%d", i)})
		switch {
		case err == nil:
			wins.Add(1)
		case errors.Is(err, dataflow.ErrCursorMoved):
			losses.Add(1)
		default:
			errs[i] = err
		}
	})
	require.NoError(t, errors.Join(errs...))
	require.Equal(t, []int64{1, 7}, []int64{wins.Load(), losses.Load()})
	require.EqualValues(t, 1, t.cursorOf(f.ID).Seq)
}

// CursorLock waits for a claim that is not committed yet. The claim has then moved the
// sequence number.
func cursorLockWaits(t *test) {
	f := t.flow("orders")
	t.set(f.ID, 0, `9`)
	run := t.pending(f.ID)
	claimed, tried := make(chan struct{}), make(chan error)
	go func() {
		<-claimed
		tried <- trySet(t.Context(), t.another(), dataflow.CursorSetParams{FlowID: f.ID, Seq: 1, To: raw("1")})
	}()
	require.NoError(t, inTx(t.Context(), t.store, func(ctx context.Context, q dataflow.Queries) error {
		_, err := q.RunClaim(ctx, claimParams(run.ID))
		close(claimed)
		return err
	}))
	require.ErrorIs(t, <-tried, dataflow.ErrCursorMoved)
	t.requireCursor("9", t.cursorOf(f.ID).Cursor)
}

func cursorHistory(t *test) {
	f, g := t.flow("orders"), t.flow("other")
	for seq, to := range []string{"1", "2", "3"} {
		t.set(f.ID, int64(seq), to)
	}
	t.set(g.ID, 0, "9")
	list := func(p dataflow.CursorHistoryParams) (all []*dataflow.CursorChange, to []string) {
		p.FlowID = f.ID
		all, err := t.store.CursorHistory(t.Context(), &p)
		require.NoError(t, err)
		for _, c := range all {
			to = append(to, string(c.To))
		}
		return all, to
	}
	all, to := list(dataflow.CursorHistoryParams{Limit: 2})
	require.Equal(t, []string{"3", "2"}, to)
	_, to = list(dataflow.CursorHistoryParams{Limit: 2, Before: all[1].ID})
	require.Equal(t, []string{"1"}, to)
}

func cursorNotFound(t *test) {
	_, err := t.store.CursorGet(t.Context(), 7)
	require.ErrorIs(t, err, dataflow.ErrNotFound)
	require.ErrorIs(t, trySet(t.Context(), t.store, dataflow.CursorSetParams{FlowID: 7}), dataflow.ErrNotFound)
}
