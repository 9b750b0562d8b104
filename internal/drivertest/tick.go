package drivertest

import (
	"context"
	"fmt"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

func tickRules() []rule {
	return []rule{
		{name: "New", run: tickNew},
		{name: "Extended", run: tickExtended},
		{name: "OtherReason", run: tickOtherReason},
		{name: "RunBetween", run: tickRunBetween},
		{name: "NotForward", run: tickNotForward},
		{name: "FlowsApart", run: tickFlowsApart},
		{name: "UnknownFlow", run: tickUnknownFlow},
		{name: "Many", run: tickMany},
		{name: "List", run: tickList},
		{name: "Pages", run: tickPages},
	}
}

// firstTick is the first tick in these rules. The ticks are a minute apart.
func firstTick() time.Time { return time.Date(2031, 3, 1, 0, 0, 0, 0, time.UTC) }

func tickAt(n int) time.Time { return firstTick().Add(time.Duration(n) * time.Minute) }

func (t *test) skip(flowID int64, first, last time.Time, count int64, reason dataflow.SkipReason) {
	t.Helper()
	p := &dataflow.TickSkipParams{FlowID: flowID, First: first, Last: last, Count: count, Reason: reason}
	require.NoError(t, t.store.TickSkip(t.Context(), p))
}

// skipN skips the ticks from one to another.
func (t *test) skipN(flowID int64, from, to int, reason dataflow.SkipReason) {
	t.Helper()
	t.skip(flowID, tickAt(from), tickAt(to), int64(to-from+1), reason)
}

func (t *test) skipped(p dataflow.TickListParams) []*dataflow.SkippedTicks {
	t.Helper()
	if p.Limit == 0 {
		p.Limit = 100
	}
	ticks, err := t.store.TickList(t.Context(), &p)
	require.NoError(t, err)
	return ticks
}

// ledger formats a flow's entries, oldest first.
func (t *test) ledger(name string) []string {
	t.Helper()
	ticks := t.skipped(dataflow.TickListParams{Flow: name})
	all := make([]string, len(ticks))
	minute := func(at time.Time) int { return int(at.Sub(firstTick()) / time.Minute) }
	for i, s := range ticks {
		all[len(ticks)-1-i] = fmt.Sprintf("%d-%d: %d %s", minute(s.First), minute(s.Last), s.Count, s.Reason)
	}
	return all
}

// Many entries are stored as each would be, those of a flow in their order.
func tickMany(t *test) {
	f, g, h := t.flow("f").ID, t.flow("g").ID, t.flow("h").ID
	t.skipN(f, 1, 2, dataflow.SkipPaused)
	t.skipN(g, 1, 2, dataflow.SkipPaused)
	t.skipN(h, 1, 2, dataflow.SkipPaused)
	t.tick(h, tickAt(3))
	var ps []*dataflow.TickSkipParams
	for _, s := range []struct {
		flow     int64
		from, to int
		reason   dataflow.SkipReason
	}{
		{f, 3, 4, dataflow.SkipPaused},
		{g, 3, 4, dataflow.SkipOverlap},
		{f, 5, 5, dataflow.SkipMissed},
		{h, 4, 4, dataflow.SkipPaused},
		{f, 6, 6, dataflow.SkipMissed},
		{f, 7, 7, dataflow.SkipOverlap},
		{g, 5, 9, dataflow.SkipOverlap},
	} {
		ps = append(ps, &dataflow.TickSkipParams{FlowID: s.flow, First: tickAt(s.from), Last: tickAt(s.to), Count: int64(s.to - s.from + 1), Reason: s.reason})
	}
	require.NoError(t, inTx(t.Context(), t.store, func(ctx context.Context, q dataflow.Queries) error { return q.TickSkip(ctx, ps...) }))
	require.Equal(t, []string{"1-4: 4 paused", "5-6: 2 missed", "7-7: 1 overlap"}, t.ledger("f"))
	require.Equal(t, []string{"1-2: 2 paused", "3-9: 7 overlap"}, t.ledger("g"))
	require.Equal(t, []string{"1-2: 2 paused", "4-4: 1 paused"}, t.ledger("h"))
}

func tickNew(t *test) {
	clock := t.clocked()
	f := t.flow("orders")
	now := clock.advance(time.Hour)
	india := time.FixedZone("", 5*3600+1800)
	t.skip(f.ID, tickAt(1).In(india), tickAt(3).Add(time.Millisecond), 1<<40, dataflow.SkipWindow)
	got := t.skipped(dataflow.TickListParams{})
	require.Len(t, got, 1)
	want := &dataflow.SkippedTicks{
		ID: got[0].ID, FlowID: f.ID, FlowName: "orders", First: tickAt(1), Last: tickAt(3).Add(time.Millisecond),
		Count: 1 << 40, Reason: dataflow.SkipWindow, CreatedAt: now,
	}
	require.Equal(t, want, got[0])
	require.Positive(t, want.ID)
}

// An entry is extended as long as nothing else comes. Its beginning stays.
func tickExtended(t *test) {
	clock := t.clocked()
	f := t.flow("orders").ID
	created := clock.advance(time.Hour)
	t.skipN(f, 1, 3, dataflow.SkipPaused)
	clock.advance(time.Hour)
	t.skipN(f, 4, 4, dataflow.SkipPaused)
	t.skipN(f, 7, 9, dataflow.SkipPaused)
	require.Equal(t, []string{"1-9: 7 paused"}, t.ledger("orders"))
	require.Equal(t, created, t.skipped(dataflow.TickListParams{})[0].CreatedAt)
}

func tickOtherReason(t *test) {
	clock := t.clocked()
	f := t.flow("orders").ID
	clock.advance(time.Hour)
	for i, reason := range []dataflow.SkipReason{dataflow.SkipOverlap, dataflow.SkipMissed, dataflow.SkipMissed, dataflow.SkipOverlap} {
		t.skipN(f, i, i, reason)
	}
	require.Equal(t, []string{"0-0: 1 overlap", "1-2: 2 missed", "3-3: 1 overlap"}, t.ledger("orders"), "only the last entry can be extended")
}

// The run of a tick ends an entry, whatever the state of that run. A run with another trigger
// does not.
func tickRunBetween(t *test) {
	clock := t.clocked()
	f, g := t.flow("orders").ID, t.flow("other").ID
	clock.advance(time.Hour)
	t.skipN(f, 0, 1, dataflow.SkipOverlap)
	t.tick(f, tickAt(2))
	t.skipN(f, 3, 3, dataflow.SkipOverlap)
	t.insert(dataflow.RunInsertParams{FlowID: f, At: tickAt(4)})
	t.insert(dataflow.RunInsertParams{FlowID: f, At: tickAt(4), Trigger: dataflow.TriggerProbe})
	t.tick(g, tickAt(4))
	t.skipN(f, 5, 5, dataflow.SkipOverlap)
	t.tick(f, tickAt(9))
	t.skipN(f, 6, 6, dataflow.SkipOverlap)
	require.Equal(t, []string{"0-1: 2 overlap", "3-6: 3 overlap"}, t.ledger("orders"))
}

// A tick that is not after the last entry, because a clock was set back, does not extend it.
func tickNotForward(t *test) {
	clock := t.clocked()
	f := t.flow("orders").ID
	clock.advance(time.Hour)
	t.skipN(f, 5, 7, dataflow.SkipPaused)
	t.skipN(f, 7, 8, dataflow.SkipPaused)
	t.skipN(f, 1, 2, dataflow.SkipPaused)
	require.Equal(t, []string{"5-7: 3 paused", "7-8: 2 paused", "1-2: 2 paused"}, t.ledger("orders"))
}

func tickFlowsApart(t *test) {
	clock := t.clocked()
	f, g := t.flow("orders").ID, t.flow("other").ID
	clock.advance(time.Hour)
	for n := range 3 {
		t.skipN(f, n, n, dataflow.SkipPaused)
		t.skipN(g, n, n, dataflow.SkipPaused)
	}
	require.Equal(t, []string{"0-2: 3 paused"}, t.ledger("orders"))
	require.Equal(t, []string{"0-2: 3 paused"}, t.ledger("other"))
}

func tickUnknownFlow(t *test) {
	f := t.flow("orders").ID
	p := &dataflow.TickSkipParams{FlowID: f + 1, First: tickAt(0), Last: tickAt(0), Count: 1, Reason: dataflow.SkipPaused}
	require.Error(t, t.store.TickSkip(t.Context(), p))
	require.Empty(t, t.skipped(dataflow.TickListParams{}))
}

func tickList(t *test) {
	clock := t.clocked()
	f, g := t.flow("orders").ID, t.flow("other").ID
	require.Empty(t, t.skipped(dataflow.TickListParams{}))
	clock.advance(time.Hour)
	t.skipN(f, 0, 0, dataflow.SkipPaused)
	t.skipN(g, 1, 1, dataflow.SkipPaused)
	t.skipN(f, 2, 2, dataflow.SkipMissed)
	t.skipN(f, 3, 3, dataflow.SkipPaused)
	for _, c := range []struct {
		p    dataflow.TickListParams
		want []int
	}{
		{dataflow.TickListParams{}, []int{3, 2, 1, 0}},
		{dataflow.TickListParams{Flow: "orders"}, []int{3, 2, 0}},
		{dataflow.TickListParams{Flow: "other"}, []int{1}},
		{dataflow.TickListParams{Flow: "order"}, []int{}},
		{dataflow.TickListParams{Reason: dataflow.SkipPaused}, []int{3, 1, 0}},
		{dataflow.TickListParams{Reason: dataflow.SkipDisabled}, []int{}},
		{dataflow.TickListParams{Flow: "orders", Reason: dataflow.SkipPaused}, []int{3, 0}},
		{dataflow.TickListParams{Flow: "orders", Reason: dataflow.SkipPaused, Limit: 1}, []int{3}},
	} {
		got := []int{}
		for _, s := range t.skipped(c.p) {
			got = append(got, int(s.First.Sub(firstTick())/time.Minute))
		}
		require.Equal(t, c.want, got, "%+v", c.p)
	}
}

func tickPages(t *test) {
	clock := t.clocked()
	f := t.flow("orders").ID
	clock.advance(time.Hour)
	for i := range 25 {
		t.skipN(f, i, i, []dataflow.SkipReason{dataflow.SkipPaused, dataflow.SkipMissed}[i%2])
	}
	want := t.skipped(dataflow.TickListParams{Limit: 100})
	require.Len(t, want, 25)
	for _, limit := range []int{1, 7, 24, 25, 26} {
		var got []*dataflow.SkippedTicks
		p := dataflow.TickListParams{Flow: "orders", Limit: limit}
		for page := t.skipped(p); len(page) > 0; page = t.skipped(p) {
			require.LessOrEqual(t, len(page), limit)
			got = append(got, page...)
			require.LessOrEqual(t, len(got), len(want), "pages of %d", limit)
			p.Before = got[len(got)-1].ID
		}
		require.Equal(t, want, got, "pages of %d", limit)
	}
}
