package drivertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

func flowDueRules() []rule {
	return []rule{
		{name: "Order", run: flowDueOrder},
		{name: "OfFlows", run: flowDueOfFlows},
		{name: "AtItsTime", run: flowDueAtItsTime},
		{name: "Probe", run: flowDueProbe},
		{name: "InactiveAndDisabled", run: flowDueInactive},
		{name: "NotLocked", run: flowDueNotLocked, needs: concurrentWriters},
		{name: "NotPlannedMeanwhile", run: flowDueNotPlanned, needs: concurrentWriters},
		{name: "HandledOnce", run: flowDueOnce},
		{name: "All", run: flowsDueAll},
	}
}

// plan sets a flow's next tick and probe. A zero time is none.
func (t *test) plan(flowID int64, next, probe time.Time) {
	t.Helper()
	require.NoError(t, t.store.FlowPlan(t.Context(), planParams(flowID, next, probe)))
}

func planParams(flowID int64, next, probe time.Time) *dataflow.FlowPlanParams {
	p := &dataflow.FlowPlanParams{ID: flowID}
	if !next.IsZero() {
		p.NextRunAt = &next
	}
	if !probe.IsZero() {
		p.ProbeAt = &probe
	}
	return p
}

// planned registers a flow with a next tick and a probe.
func (t *test) planned(name string, next, probe time.Time) int64 {
	t.Helper()
	id := t.flow(name).ID
	t.plan(id, next, probe)
	return id
}

// flowDue returns the flow that has been due for longest and the time, by FlowDue.
func (t *test) flowDue(ctx context.Context, flows ...int64) (*dataflow.FlowRecord, time.Time) {
	t.Helper()
	recs, now := t.allDue(ctx, flows...)
	if len(recs) == 0 {
		return nil, now
	}
	return recs[0], now
}

// allDue returns the due flows and the time, by FlowDue.
func (t *test) allDue(ctx context.Context, flows ...int64) ([]*dataflow.FlowRecord, time.Time) {
	t.Helper()
	var recs []*dataflow.FlowRecord
	var now time.Time
	require.NoError(t, inTx(ctx, t.store, func(ctx context.Context, q dataflow.Queries) (err error) {
		recs, now, err = q.FlowDue(ctx, append([]int64{}, flows...))
		return err
	}))
	return recs, now
}

// requireFlowDue requires that FlowDue returns a flow, or none for 0, and changes nothing.
func (t *test) requireFlowDue(want int64, flows ...int64) {
	t.Helper()
	t.unchanged(func() {
		t.Helper()
		rec, _ := t.flowDue(t.Context(), flows...)
		if want == 0 {
			require.Nil(t, rec)
			return
		}
		require.NotNil(t, rec)
		require.Equal(t, t.flowByID(want), rec)
	})
}

// The flow whose tick or probe has been due for longest comes first.
func flowDueOrder(t *test) {
	now, none := t.clocked().Now(), time.Time{}
	ago := func(minutes int) time.Time { return now.Add(-time.Duration(minutes) * time.Minute) }
	third, first := t.planned("a", ago(5), none), t.planned("b", ago(9), none)
	second, fifth := t.planned("c", ago(-60), ago(7)), t.planned("d", ago(1), ago(-60))
	fourth := t.planned("e", ago(2), ago(3))
	all := []int64{third, first, second, fifth, fourth, t.planned("f", ago(-1), ago(-2)), t.planned("g", none, none)}
	recs, _ := t.allDue(t.Context(), all...)
	for i, want := range []int64{first, second, third, fourth, fifth} {
		require.Equal(t, want, recs[i].ID)
	}
	require.Len(t, recs, 5)
	for _, want := range []int64{first, second, third, fourth, fifth, 0} {
		t.requireFlowDue(want, all...)
		if want != 0 {
			t.plan(want, ago(-10), ago(-20))
		}
	}
}

func flowDueOfFlows(t *test) {
	at := t.clocked().Now().Add(-time.Minute)
	f, g := t.planned("a", at, time.Time{}), t.planned("b", at.Add(-time.Minute), time.Time{})
	t.requireFlowDue(0)
	t.requireFlowDue(0, []int64{}...)
	t.requireFlowDue(0, g+1, -1)
	t.requireFlowDue(f, f)
	t.requireFlowDue(f, f, f, g+1)
	t.requireFlowDue(g, f, g)
}

// A tick is due at its time, and not a millisecond earlier. FlowDue returns the time by which
// it decided that.
func flowDueAtItsTime(t *test) {
	clock := t.clocked()
	at := clock.Now().Add(time.Hour)
	f := t.planned("orders", at, time.Time{})
	clock.advance(time.Hour - time.Millisecond)
	t.requireFlowDue(0, f)
	clock.advance(time.Millisecond)
	t.requireFlowDue(f, f)
	clock.advance(time.Second)
	rec, now := t.flowDue(t.Context(), f)
	t.requireTime(at, rec.NextRunAt)
	t.requireTime(clock.Now(), &now)
	require.Equal(t, time.UTC, now.Location())
}

func flowDueProbe(t *test) {
	clock := t.clocked()
	at := clock.Now().Add(time.Hour)
	alone, beside := t.planned("alone", time.Time{}, at), t.planned("beside", at.Add(time.Hour), at)
	clock.advance(time.Hour - time.Millisecond)
	t.requireFlowDue(0, alone, beside)
	clock.advance(time.Millisecond)
	for _, id := range []int64{alone, beside} {
		t.requireFlowDue(id, id)
		rec, _ := t.flowDue(t.Context(), id)
		t.requireTime(at, rec.ProbeAt)
	}
}

// An inactive flow is due too, so that its ticks are accounted for.
func flowDueInactive(t *test) {
	at := t.clocked().Now().Add(-time.Minute)
	paused := t.planned("paused", at, time.Time{})
	t.setState(paused, dataflow.FlowInactive)
	d := definition("disabled")
	d.Runtime = raw(`{"type":"heartbeat","enabled":false,"interval":60}`)
	disabled := t.upsert(d)
	t.plan(disabled.ID, at, time.Time{})
	t.requireFlowDue(paused, paused)
	t.requireFlowDue(disabled.ID, disabled.ID)
}

// FlowDue skips flows that other transactions have locked.
func flowDueNotLocked(t *test) {
	at := time.Now().Add(-time.Hour)
	first, second := t.planned("a", at, time.Time{}), t.planned("b", at.Add(time.Minute), time.Time{})
	require.NoError(t, inTx(t.Context(), t.store, func(ctx context.Context, q dataflow.Queries) error {
		recs, _, err := q.FlowDue(ctx, []int64{first})
		require.NoError(t, err)
		require.Equal(t, first, recs[0].ID)
		others, _ := t.allDue(ctx, first, second)
		require.Len(t, others, 1)
		require.Equal(t, second, others[0].ID)
		_, _, err = q.FlowLock(ctx, second)
		require.NoError(t, err)
		others, _ = t.allDue(ctx, first, second)
		require.Empty(t, others, "both are locked")
		return nil
	}))
	t.requireFlowDue(first, first, second)
}

// A transaction sees a plan that another one committed after the first began.
func flowDueNotPlanned(t *test) {
	f := t.planned("orders", time.Now().Add(-time.Hour), time.Time{})
	outside := func() { t.plan(f, time.Now().Add(time.Hour), time.Time{}) }
	require.NoError(t, inTx(t.Context(), t.store, func(ctx context.Context, q dataflow.Queries) error {
		_, err := q.FlowByID(ctx, f)
		require.NoError(t, err)
		outside()
		recs, _, err := q.FlowDue(ctx, []int64{f})
		require.NoError(t, err)
		require.Empty(t, recs)
		return nil
	}))
}

// If many processes call FlowDue at once, each flow is handled once.
func flowDueOnce(t *test) {
	stores := []dataflow.Store{t.store, t.another()}
	var all []int64
	for i := range 3 * t.rounds() {
		all = append(all, t.planned(fmt.Sprint("flow ", i), time.Now().Add(-time.Hour), time.Time{}))
	}
	var mu sync.Mutex // guards handled
	var handled []int64
	errs := make([]error, 6)
	atOnce(len(errs), func(i int) {
		for set := range slices.Chunk(slices.Concat(all[i:], all[:i]), 4) { // each begins elsewhere
			var recs []*dataflow.FlowRecord
			errs[i] = errors.Join(errs[i], inTx(t.Context(), stores[i%2], func(ctx context.Context, q dataflow.Queries) (err error) {
				if recs, _, err = q.FlowDue(ctx, set); err != nil || len(recs) == 0 {
					return err
				}
				plans := make([]*dataflow.FlowPlanParams, len(recs))
				for n, rec := range recs {
					plans[n] = planParams(rec.ID, time.Now().Add(time.Hour), time.Time{})
				}
				return q.FlowPlan(ctx, plans...)
			}))
			mu.Lock()
			for _, rec := range recs {
				handled = append(handled, rec.ID)
			}
			mu.Unlock()
		}
	})
	require.NoError(t, errors.Join(errs...))
	slices.Sort(handled)
	require.Equal(t, all, handled)
}

// FlowsDue lists what is due, page by page, the longest due first.
func flowsDueAll(t *test) {
	clock := t.clocked()
	now, none := clock.Now(), time.Time{}
	ago := func(minutes int) time.Time { return now.Add(-time.Duration(minutes) * time.Minute) }
	b, a := t.planned("b", ago(5), ago(7)), t.planned("a", ago(5), none)
	c := t.planned("c", ago(-1), ago(0))
	t.planned("later", ago(-1), ago(-1))
	t.planned("never", none, none)
	listed := func(p *dataflow.FlowsDueParams) (all []dataflow.Due) {
		for {
			page, at, err := t.store.FlowsDue(t.Context(), p)
			require.NoError(t, err)
			t.requireTime(now, &at)
			for _, due := range page {
				all = append(all, due)
				p.After = due
			}
			if len(page) < p.Limit {
				return all
			}
		}
	}
	for _, limit := range []int{1, 2, 3, 100} {
		all := []dataflow.Due{{At: ago(7), ID: b}, {At: ago(5), ID: b}, {At: ago(5), ID: a}, {At: now, ID: c}}
		require.Equal(t, all, listed(&dataflow.FlowsDueParams{Limit: limit}))
		require.Equal(t, all, listed(&dataflow.FlowsDueParams{FlowIDs: []int64{c, a, b, a}, Limit: limit}))
		require.Equal(t, all[2:], listed(&dataflow.FlowsDueParams{FlowIDs: []int64{c, a}, Limit: limit}))
		require.Empty(t, listed(&dataflow.FlowsDueParams{FlowIDs: []int64{}, Limit: limit}))
	}
}
