package drivertest

import (
	"context"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

func afterRules() []rule {
	return []rule{
		{name: "Due", run: afterDue},
		{name: "OnlyIfRows", run: afterOnlyIfRows},
		{name: "Loaded", run: afterLoaded},
		{name: "Wrote", run: afterWrote},
		{name: "Place", run: afterPlace},
		{name: "Chain", run: afterChain},
		{name: "Waits", run: afterWaits, needs: concurrentWriters},
	}
}

func (t *test) follow(flowID int64, after dataflow.After) {
	t.Helper()
	require.NoError(t, inTx(t.Context(), t.store, func(ctx context.Context, q dataflow.Queries) error {
		return q.AfterSet(ctx, flowID, after)
	}))
}

// dueAfter returns the flows that are to run after another one.
func (t *test) dueAfter() []dataflow.DueAfter {
	t.Helper()
	list, err := t.store.AfterDue(t.Context(), 0)
	require.NoError(t, err)
	var all []dataflow.DueAfter
	for _, d := range list {
		all = append(all, *d)
	}
	return all
}

// succeeded works a run that writes n rows, and returns its id.
func (t *test) succeeded(flowID, n int64) int64 {
	t.Helper()
	c := t.inProgress(flowID)
	if n > 0 {
		t.checkpoint(c, "1", dataflow.Counters{Read: n, Written: n})
	}
	t.end(ending(c, dataflow.RunSuccess))
	return c.Run.ID
}

// A flow is due after a success of the other one, once, and not after a failure. It need not be
// registered first.
func afterDue(t *test) {
	report := t.flow("report")
	t.follow(report.ID, dataflow.After{Flow: "orders"})
	require.Empty(t, t.dueAfter(), "there is no such flow yet")
	got, err := t.store.AfterGet(t.Context(), report.ID)
	require.NoError(t, err)
	require.Equal(t, &dataflow.AfterState{After: dataflow.After{Flow: "orders"}}, got)
	orders := t.flow("orders")
	require.Empty(t, t.dueAfter())
	t.end(ending(t.inProgress(orders.ID), dataflow.RunFailed))
	require.Empty(t, t.dueAfter(), "it failed")
	t.succeeded(orders.ID, 0)
	last := t.succeeded(orders.ID, 3)
	want := dataflow.DueAfter{FlowID: report.ID, Upstream: "orders", RunID: last, Rows: 3}
	require.Equal(t, []dataflow.DueAfter{want}, t.dueAfter(), "two successes are one run")
	got, err = t.store.AfterGet(t.Context(), report.ID)
	require.NoError(t, err)
	require.Equal(t, &dataflow.AfterState{After: dataflow.After{Flow: "orders"}, Registered: true, LastRun: last, Due: &want}, got)
	require.NoError(t, t.store.AfterDone(t.Context(), &want))
	require.Empty(t, t.dueAfter())
	t.succeeded(orders.ID, 0)
	require.Len(t, t.dueAfter(), 1)
	t.follow(report.ID, dataflow.After{})
	require.Empty(t, t.dueAfter())
	_, err = t.store.AfterGet(t.Context(), report.ID)
	require.ErrorIs(t, err, dataflow.ErrNotFound)
}

// Rows of a run that was not the last one before the next look count too.
func afterOnlyIfRows(t *test) {
	report, orders := t.flow("report"), t.flow("orders")
	t.follow(report.ID, dataflow.After{Flow: "orders", OnlyIfRows: true})
	t.succeeded(orders.ID, 0)
	require.Empty(t, t.dueAfter())
	t.succeeded(orders.ID, 2)
	last := t.succeeded(orders.ID, 0)
	want := dataflow.DueAfter{FlowID: report.ID, Upstream: "orders", RunID: last, Rows: 2}
	require.Equal(t, []dataflow.DueAfter{want}, t.dueAfter())
	require.NoError(t, t.store.AfterDone(t.Context(), &want))
	t.succeeded(orders.ID, 0)
	require.Empty(t, t.dueAfter())
}

// Rows of the ranges of a first load count too, and the run that waited for them has written none itself.
func afterLoaded(t *test) {
	report, orders := t.flow("report"), t.flow("orders")
	t.follow(report.ID, dataflow.After{Flow: "orders", OnlyIfRows: true})
	c := t.inProgress(orders.ID)
	p := progress(c)
	p.From, p.Cursor, p.Loaded = raw("null"), raw("9"), 5
	t.requireHeld(p)
	t.end(ending(c, dataflow.RunSuccess))
	require.Zero(t, t.run(c.Run.ID).Counters.Written)
	require.Equal(t, []dataflow.DueAfter{{FlowID: report.ID, Upstream: "orders", RunID: c.Run.ID, Rows: 5}}, t.dueAfter())
}

// Rows of dead letters count too, at the next success of the flow, also before its first checkpoint.
func afterWrote(t *test) {
	report, orders := t.flow("report"), t.flow("orders")
	t.follow(report.ID, dataflow.After{Flow: "orders", OnlyIfRows: true})
	require.NoError(t, t.store.AfterWrote(t.Context(), orders.ID, 2))
	require.Empty(t, t.dueAfter(), "it has not succeeded since")
	last := t.succeeded(orders.ID, 0)
	want := dataflow.DueAfter{FlowID: report.ID, Upstream: "orders", RunID: last, Rows: 2}
	require.Equal(t, []dataflow.DueAfter{want}, t.dueAfter())
	require.NoError(t, t.store.AfterDone(t.Context(), &want))
	last = t.succeeded(orders.ID, 3)
	require.NoError(t, t.store.AfterWrote(t.Context(), orders.ID, 1))
	want.RunID, want.Rows = last, 6
	require.Equal(t, []dataflow.DueAfter{want}, t.dueAfter())
}

// A flow begins with the next success of the one that it follows. Registering it again does not
// move its place; following another one does.
func afterPlace(t *test) {
	report, orders, stock := t.flow("report"), t.flow("orders"), t.flow("stock")
	t.succeeded(orders.ID, 1)
	t.succeeded(stock.ID, 1)
	t.follow(report.ID, dataflow.After{Flow: "orders"})
	require.Empty(t, t.dueAfter(), "that was before")
	t.succeeded(orders.ID, 1)
	t.follow(report.ID, dataflow.After{Flow: "orders"})
	require.Len(t, t.dueAfter(), 1)
	t.follow(report.ID, dataflow.After{Flow: "stock"})
	require.Empty(t, t.dueAfter())
	_, err := t.store.FlowSetState(t.Context(), &dataflow.FlowStateParams{ID: report.ID, State: dataflow.FlowInactive})
	require.NoError(t, err)
	t.succeeded(stock.ID, 1)
	require.Empty(t, t.dueAfter(), "it is paused")
	own, err := t.store.AfterDue(t.Context(), report.ID)
	require.NoError(t, err)
	require.Len(t, own, 1, "and due all the same")
}

func afterChain(t *test) {
	a, b, c := t.flow("a"), t.flow("b"), t.flow("c")
	chain := func(name string) []string {
		all, err := t.store.AfterChain(t.Context(), name)
		require.NoError(t, err)
		return all
	}
	require.Empty(t, chain("a"))
	t.follow(a.ID, dataflow.After{Flow: "b"})
	t.follow(b.ID, dataflow.After{Flow: "c"})
	t.follow(c.ID, dataflow.After{Flow: "unknown"})
	require.Equal(t, []string{"b", "c", "unknown"}, chain("a"))
	t.follow(c.ID, dataflow.After{Flow: "a"})
	require.Equal(t, []string{"b", "c", "a"}, chain("a"))
}

// Of two that set what is followed, the second one sees what the first has set.
func afterWaits(t *test) {
	a, b := t.flow("a"), t.flow("b")
	set, second, other := make(chan struct{}), make(chan []string, 1), t.another()
	errs := make(chan error, 1)
	require.NoError(t, inTx(t.Context(), t.store, func(ctx context.Context, q dataflow.Queries) error {
		if err := q.AfterSet(ctx, a.ID, dataflow.After{Flow: "b"}); err != nil {
			return err
		}
		go func() { //nolint:contextcheck // a transaction of its own
			errs <- inTx(t.Context(), other, func(ctx context.Context, q dataflow.Queries) error {
				close(set)
				if err := q.AfterSet(ctx, b.ID, dataflow.After{Flow: "a"}); err != nil {
					return err
				}
				chain, err := q.AfterChain(ctx, "b")
				second <- chain
				return err
			})
		}()
		<-set
		return nil
	}))
	require.NoError(t, <-errs)
	require.Equal(t, []string{"a", "b"}, <-second)
}
