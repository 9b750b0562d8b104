package week_test

import (
	"fmt"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// planned compares a flow's next tick with that of the oracle.
func (w *week) planned(m *model) {
	w.Helper()
	f, err := w.admin.Flow(w.Context(), m.spec.name)
	require.NoError(w, err)
	m.checkNext(f.NextRunAt)
}

// compare compares the next ticks of all flows with those of the oracle, in one of 25 calls.
func (w *week) compare(now time.Time) {
	w.Helper()
	if w.dice.IntN(25) > 0 {
		return
	}
	flows, err := w.admin.Flows(w.Context(), &dataflow.FlowListParams{Limit: 10_000})
	require.NoError(w, err)
	require.Len(w, flows, len(w.models))
	for _, f := range flows {
		m := w.byName[f.Name]
		m.checkNext(f.NextRunAt)
		require.True(w, m.nextTick().IsZero() || m.nextTick().After(now))
		if m.tripped != (f.TrippedAt != nil) {
			w.Fatalf("tripped: %v at %s: %s", f.TrippedAt != nil, now.Format(time.RFC3339Nano), m.stored())
		}
		require.Equal(w, m.paused, f.State == dataflow.FlowInactive, "%s", m)
	}
	w.did["comparisons"]++
}

func (m *model) checkNext(next *time.Time) {
	m.Helper()
	want := m.nextTick()
	if want.IsZero() {
		require.True(m, next == nil || next.After(m.horizon), "%s has a next tick, at %s", m, next)
		return
	}
	require.NotNil(m, next, "%s", m)
	require.True(m, want.Equal(*next), "the next tick of %s is at %s, not at %s", m, next, want)
}

func (m *model) String() string {
	return fmt.Sprintf("%s (interval %s, %+v, queue %v, disabled %v, paused %v, tripped %v, probe at %s)",
		m.spec.name, m.spec.interval, m.spec.schedule, m.spec.queue, m.spec.disabled, m.paused, m.tripped, m.probeAt)
}

// show lists the runs that have not ended.
func (w *week) show() string {
	text := ""
	for _, runs := range w.runs {
		for _, r := range runs {
			text += fmt.Sprintf("\n%+v of %s", *r, w.byName[r.flow])
		}
	}
	return text
}

// stored describes a flow as the oracle knows it, and as it is stored.
func (m *model) stored() string {
	f, err := m.admin.Flow(m.Context(), m.spec.name)
	require.NoError(m, err)
	runs, err := m.admin.Runs(m.Context(), &dataflow.RunListParams{Flow: m.spec.name, Limit: 10})
	require.NoError(m, err)
	text := fmt.Sprintf("%s, stored as: next %v, state %s, failures %d, tripped at %v, probe at %v", m, f.NextRunAt, f.State, f.Failures, f.TrippedAt, f.ProbeAt)
	for _, r := range runs {
		text += fmt.Sprintf("\nrun %d: %s by %s, created %s, ended %v, attempt %d, rescues %d, error %q", r.ID, r.State, r.Trigger, r.CreatedAt, r.EndedAt, r.Attempt, r.Rescues, r.Error)
	}
	return text
}
