package drivertest

import (
	"time"

	"github.com/stretchr/testify/require"
)

func flowNextRules() []rule {
	return []rule{
		{name: "None", run: flowNextNone},
		{name: "First", run: flowNextFirst},
		{name: "Overdue", run: flowNextOverdue},
		{name: "Probe", run: flowNextProbe},
		{name: "After", run: flowNextAfter},
		{name: "ByTheDatabase", run: flowNextByDatabase},
		{name: "Now", run: nowRule},
	}
}

// requireNext requires the time until the next tick of flows, to the millisecond.
func (t *test) requireNext(want time.Duration, flows ...int64) {
	t.Helper()
	got, ok, err := t.store.FlowNext(t.Context(), append([]int64{}, flows...), time.Time{})
	require.NoError(t, err)
	require.True(t, ok)
	require.InDelta(t, want.Seconds(), got.Seconds(), 0.001)
}

func (t *test) requireNoNext(flows ...int64) {
	t.Helper()
	_, ok, err := t.store.FlowNext(t.Context(), append([]int64{}, flows...), time.Time{})
	require.NoError(t, err)
	require.False(t, ok)
}

func flowNextNone(t *test) {
	f, g := t.planned("none", time.Time{}, time.Time{}), t.planned("other", time.Now(), time.Now())
	t.requireNoNext()
	t.requireNoNext(f)
	t.requireNoNext(f, g+1)
}

// Paused flows count, because their ticks are accounted for.
func flowNextFirst(t *test) {
	now := t.clocked().Now()
	f, g := t.planned("a", now.Add(time.Hour), time.Time{}), t.planned("b", now.Add(time.Minute), time.Time{})
	none := t.planned("c", time.Time{}, time.Time{})
	t.requireNext(time.Hour, f)
	t.requireNext(time.Hour, f, none)
	t.requireNext(time.Minute, f, g, none)
	t.setState(g, "inactive")
	t.requireNext(time.Minute, f, g)
	t.plan(g, now.Add(1000*24*time.Hour+time.Millisecond), time.Time{})
	t.requireNext(1000*24*time.Hour+time.Millisecond, g)
}

func flowNextOverdue(t *test) {
	clock := t.clocked()
	f := t.planned("orders", clock.Now().Add(time.Hour), time.Time{})
	clock.advance(time.Hour)
	t.requireNext(0, f)
	clock.advance(90 * time.Second)
	t.requireNext(-90*time.Second, f)
}

func flowNextProbe(t *test) {
	now := t.clocked().Now()
	f := t.planned("a", now.Add(time.Hour), now.Add(time.Minute))
	g := t.planned("b", now.Add(time.Second), now.Add(2*time.Hour))
	alone := t.planned("c", time.Time{}, now.Add(time.Millisecond))
	t.requireNext(time.Minute, f)
	t.requireNext(time.Second, f, g)
	t.requireNext(time.Millisecond, alone)
	t.requireNext(time.Millisecond, f, g, alone)
}

// The ticks and probes up to the given time do not count.
func flowNextAfter(t *test) {
	now := t.clocked().Now()
	require.False(t, t.hasNext(nil, now), "there are no flows")
	f := t.planned("a", now.Add(-time.Hour), now.Add(time.Minute))
	g := t.planned("b", now, now.Add(-time.Minute))
	for _, c := range []struct {
		flows []int64
		after time.Duration
		want  time.Duration
	}{
		{nil, -2 * time.Hour, -time.Hour},
		{nil, -time.Hour, -time.Minute},
		{nil, -time.Minute, 0},
		{nil, 0, time.Minute},
		{[]int64{g}, -2 * time.Hour, -time.Minute},
		{[]int64{f}, -time.Hour, time.Minute},
		{[]int64{f, g}, -time.Minute, 0},
	} {
		got, ok, err := t.store.FlowNext(t.Context(), c.flows, now.Add(c.after))
		require.NoError(t, err)
		require.True(t, ok)
		require.InDelta(t, c.want.Seconds(), got.Seconds(), 0.001, "%v", c)
	}
	require.False(t, t.hasNext(nil, now.Add(time.Minute)))
	require.False(t, t.hasNext([]int64{g}, now))
}

func (t *test) hasNext(flows []int64, after time.Time) bool {
	t.Helper()
	_, ok, err := t.store.FlowNext(t.Context(), flows, after)
	require.NoError(t, err)
	return ok
}

// FlowNext counts from this moment, by the database's clock.
func flowNextByDatabase(t *test) {
	now, err := t.store.Now(t.Context())
	require.NoError(t, err)
	f := t.planned("orders", now.Add(time.Hour), time.Time{})
	d, ok, err := t.store.FlowNext(t.Context(), []int64{f}, now)
	require.NoError(t, err)
	require.True(t, ok)
	require.LessOrEqual(t, d, time.Hour+time.Millisecond) // as exact as the clock
	require.Greater(t, d, time.Hour-time.Minute)
}

// Rows written between two calls of Now get a time between the two.
func nowRule(t *test) {
	before, err := t.store.Now(t.Context())
	require.NoError(t, err)
	t.requireNow(&before)
	at := t.flow("orders").CreatedAt
	after, err := t.store.Now(t.Context())
	require.NoError(t, err)
	require.False(t, at.Before(before), "%s is before %s", at, before)
	require.False(t, at.After(after), "%s is after %s", at, after)

	clock := t.clocked()
	for range 2 {
		now, err := t.store.Now(t.Context())
		require.NoError(t, err)
		t.requireTime(clock.Now(), &now)
		require.Equal(t, time.UTC, now.Location())
		clock.advance(time.Millisecond)
	}
}
