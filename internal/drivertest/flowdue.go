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

// flowDue returns a due flow and the time, by FlowDue.
func (t *test) flowDue(ctx context.Context, flows ...int64) (*dataflow.FlowRecord, time.Time) {
	t.Helper()
	var rec *dataflow.FlowRecord
	var now time.Time
	require.NoError(t, inTx(ctx, t.store, func(ctx context.Context, q dataflow.Queries) (err error) {
		rec, now, err = q.FlowDue(ctx, flows)
		return err
	}))
	return rec, now
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
	disabled, err := t.store.FlowUpsert(t.Context(), d)
	require.NoError(t, err)
	t.plan(disabled.ID, at, time.Time{})
	t.requireFlowDue(paused, paused)
	t.requireFlowDue(disabled.ID, disabled.ID)
}

// FlowDue skips flows that other transactions have locked.
func flowDueNotLocked(t *test) {
	at := time.Now().Add(-time.Hour)
	first, second := t.planned("a", at, time.Time{}), t.planned("b", at.Add(time.Minute), time.Time{})
	require.NoError(t, inTx(t.Context(), t.store, func(ctx context.Context, q dataflow.Queries) error {
		rec, _, err := q.FlowDue(ctx, []int64{first, second})
		require.NoError(t, err)
		require.Equal(t, first, rec.ID)
		other, _ := t.flowDue(ctx, first, second)
		require.Equal(t, second, other.ID)
		_, _, err = q.FlowLock(ctx, second)
		require.NoError(t, err)
		other, _ = t.flowDue(ctx, first, second)
		require.Nil(t, other, "both are locked")
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
		rec, _, err := q.FlowDue(ctx, []int64{f})
		require.NoError(t, err)
		require.Nil(t, rec)
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
		for errs[i] == nil {
			var rec *dataflow.FlowRecord
			errs[i] = inTx(t.Context(), stores[i%2], func(ctx context.Context, q dataflow.Queries) (err error) {
				if rec, _, err = q.FlowDue(ctx, all); err != nil || rec == nil {
					return err
				}
				return q.FlowPlan(ctx, planParams(rec.ID, time.Now().Add(time.Hour), time.Time{}))
			})
			if rec == nil {
				return
			}
			mu.Lock()
			handled = append(handled, rec.ID)
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
	want := []dataflow.DueFlow{{At: ago(7), ID: b}, {At: ago(5), ID: b}, {At: ago(5), ID: a}, {At: now, ID: c}}
	for _, limit := range []int{1, 2, 3, 100} {
		var all []dataflow.DueFlow
		var after dataflow.DueFlow
		for {
			page, err := t.store.FlowsDue(t.Context(), after, limit)
			require.NoError(t, err)
			for _, due := range page {
				due.At = due.At.UTC()
				all = append(all, due)
				after = due
			}
			if len(page) < limit {
				break
			}
		}
		require.Equal(t, want, all)
	}
}
