package drivertest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// Many definitions are stored as each would be, new ones and others, in their order.
func flowMany(t *test) {
	old := t.flow("m 7")
	t.setState(old.ID, dataflow.FlowInactive)
	var ds []*dataflow.FlowDefinition
	for i := range 20 {
		d := definition(fmt.Sprint("m ", 19-i))
		d.Source, d.CodeVersion, d.Hash, d.PauseAfter = raw(`{"n":%d}`, i), fmt.Sprint("v", i), fmt.Sprint("h", i), i
		if i%2 == 0 {
			d.MigratedFrom = raw(`{"from":%d}`, i)
		}
		ds = append(ds, d)
	}
	recs, err := t.store.FlowUpsert(t.Context(), ds...)
	require.NoError(t, err)
	require.Len(t, recs, len(ds))
	for i, d := range ds {
		require.Equal(t, d.Name, recs[i].Name)
		require.Equal(t, t.flowByID(recs[i].ID), recs[i])
		t.sameJSON(d.Source, recs[i].Source)
		require.Equal(t, d.CodeVersion, recs[i].CodeVersion)
		require.Equal(t, d.Hash, recs[i].DefinitionHash)
		require.Equal(t, d.MigratedFrom == nil, recs[i].MigratedFrom == nil)
		require.Equal(t, d.Name == old.Name, recs[i].State == dataflow.FlowInactive)
		require.Equal(t, d.Name == old.Name, recs[i].ID == old.ID)
	}
	require.EqualValues(t, 19, t.number("select max(pause_after) from dataflow_flow"))
	none, err := t.store.FlowUpsert(t.Context())
	require.NoError(t, err)
	require.Empty(t, none)
}

// Processes that register the same flows at once do not deadlock, in whatever order they name them.
func flowManyAtOnce(t *test) {
	stores := []dataflow.Store{t.store, t.another()}
	errs := make([]error, 4)
	atOnce(len(errs), func(i int) {
		var ds []*dataflow.FlowDefinition
		for n := range 100 {
			ds = append(ds, definition(fmt.Sprint("m ", n)))
		}
		if i%2 == 0 {
			slices.Reverse(ds)
		}
		_, errs[i] = stores[i%2].FlowUpsert(t.Context(), ds...)
	})
	require.NoError(t, errors.Join(errs...))
	require.EqualValues(t, 100, t.number("select count(*) from dataflow_flow"))
}

func flowsByName(t *test) {
	a, b := t.flow("a"), t.flow("it's é")
	t.flow("c")
	recs, err := t.store.FlowsByName(t.Context(), []string{"missing", b.Name, "a", ""})
	require.NoError(t, err)
	require.ElementsMatch(t, []*dataflow.FlowRecord{a, b}, recs)
	recs, err = t.store.FlowsByName(t.Context(), []string{})
	require.NoError(t, err)
	require.Empty(t, recs)
}

// changedSince returns the names of the flows that were changed after a place, and the place after
// them.
func (t *test) changedSince(after int64) ([]string, int64) {
	t.Helper()
	recs, next, err := t.store.FlowsChanged(t.Context(), after)
	require.NoError(t, err)
	require.Positive(t, next)
	names := make([]string, len(recs))
	for i, rec := range recs {
		require.Equal(t, t.flowByID(rec.ID), rec)
		names[i] = rec.Name
	}
	slices.Sort(names)
	return names, next
}

// A change of a definition, a Runtime or a state is a change. What runs and ticks do is none.
func flowsChanged(t *test) {
	none, place := t.changedSince(0)
	require.Empty(t, none)
	a, b, c := t.flow("a"), t.flow("b"), t.flow("c")
	names, place := t.changedSince(place)
	require.Equal(t, []string{"a", "b", "c"}, names)
	was := t.rows("select id, changed from dataflow_flow order by id")
	t.plan(a.ID, time.Now(), time.Now())
	t.end(failing(t.inProgress(b.ID), dataflow.RunFailed, "disk full"))
	require.Equal(t, was, t.rows("select id, changed from dataflow_flow order by id"))
	for _, change := range []func(){
		func() { t.upsert(definition("c")) },
		func() { t.setState(c.ID, dataflow.FlowInactive) },
		func() {
			_, err := t.store.FlowSetRuntime(t.Context(), &dataflow.FlowRuntimeParams{ID: c.ID, Runtime: raw(`{"type":"job_queue"}`)})
			require.NoError(t, err)
		},
	} {
		change()
		names, place = t.changedSince(place)
		require.Contains(t, names, "c") // the others may come twice, while a transaction holds the place
		before := t.number("select max(changed) from dataflow_flow where name <> 'c'")
		require.Greater(t, t.number("select changed from dataflow_flow where name = 'c'"), before)
	}
	names, _ = t.changedSince(1)
	require.Equal(t, []string{"a", "b", "c"}, names)
	names, _ = t.changedSince(1 << 60)
	require.Subset(t, []string{"a", "b", "c"}, names, "the place of another database")
}

// A change that is committed late is found, though later ones were found before.
func flowsChangedOrder(t *test) {
	a, b := t.flow("a"), t.flow("b")
	_, place := t.changedSince(0)
	var names []string
	require.NoError(t, inTx(t.Context(), t.store, func(ctx context.Context, q dataflow.Queries) error {
		if _, err := q.FlowSetState(ctx, &dataflow.FlowStateParams{ID: a.ID, State: dataflow.FlowInactive}); err != nil {
			return err
		}
		t.setState(b.ID, dataflow.FlowInactive) //nolint:contextcheck // not in this transaction
		names, place = t.changedSince(place)    //nolint:contextcheck // as above
		require.Contains(t, names, "b")
		return nil
	}))
	names, _ = t.changedSince(place)
	require.Contains(t, names, "a")
}

func flowRules() []rule {
	return []rule{
		{name: "New", run: flowNew},
		{name: "AgainUnchanged", run: flowAgainUnchanged},
		{name: "AgainChanged", run: flowAgainChanged},
		{name: "AgainKeepsOutcome", run: flowAgainKeepsOutcome},
		{name: "NewAtOnce", run: flowNewAtOnce},
		{name: "Many", run: flowMany},
		{name: "ManyAtOnce", run: flowManyAtOnce},
		{name: "ByName", run: flowsByName},
		{name: "Changed", run: flowsChanged},
		{name: "ChangedInAnyOrder", run: flowsChangedOrder, needs: concurrentWriters},
		{name: "NotFound", run: flowNotFound},
		{name: "Names", run: flowNames},
		{name: "NameTooLong", run: flowNameTooLong},
		{name: "JSON", run: flowJSON},
		{name: "SetRuntime", run: flowSetRuntime},
		{name: "SetState", run: flowSetState},
		{name: "SetStateAgain", run: flowSetStateAgain},
		{name: "SetStateInvalid", run: flowSetStateInvalid},
	}
}

func flowNew(t *test) {
	f := t.flow("orders")
	t.requireNow(&f.CreatedAt)
	want := &dataflow.FlowRecord{
		ID: f.ID, Name: "orders", Source: f.Source, Sink: f.Sink, RuntimeJSON: f.RuntimeJSON,
		Guarantee: "exactly_once", State: dataflow.FlowActive, CodeVersion: "v1", DefinitionHash: "a1",
		CreatedAt: f.CreatedAt, UpdatedAt: f.CreatedAt, ScheduleJSON: raw(`{}`), ScheduleAt: f.CreatedAt,
	}
	require.Equal(t, want, f)
	require.Positive(t, f.ID)
	d := definition("orders")
	require.JSONEq(t, string(d.Source), string(f.Source))
	require.JSONEq(t, string(d.Sink), string(f.Sink))
	require.JSONEq(t, string(d.Runtime), string(f.RuntimeJSON))
	require.Equal(t, f, t.flowByID(f.ID))
	byName, err := t.store.FlowByName(t.Context(), "orders")
	require.NoError(t, err)
	require.Equal(t, f, byName)
}

// A new code version is stored, but does not change updated_at.
func flowAgainUnchanged(t *test) {
	c := t.clocked()
	f := t.flow("orders")
	t.setState(f.ID, dataflow.FlowInactive)
	want := t.flowByID(f.ID)
	c.advance(time.Hour)
	d := definition("orders")
	d.CodeVersion = "v2"
	got := t.upsert(d)
	want.CodeVersion = "v2"
	require.Equal(t, want, got)
	require.Equal(t, dataflow.FlowInactive, got.State)
}

func flowAgainChanged(t *test) {
	c := t.clocked()
	f := t.flow("orders")
	t.setState(f.ID, dataflow.FlowInactive)
	want := t.flowByID(f.ID)
	want.UpdatedAt = c.advance(time.Hour)
	d := definition("orders")
	d.Source, d.Sink, d.Runtime = raw(`{"type":"s2"}`), raw(`{"type":"t2"}`), raw(`{"type":"r2"}`)
	d.Hash, d.Guarantee = "a2", "at_least_once"
	got := t.upsert(d)
	require.JSONEq(t, `[{"type":"s2"},{"type":"t2"},{"type":"r2"}]`, string(raw("[%s,%s,%s]", got.Source, got.Sink, got.RuntimeJSON)))
	want.Source, want.Sink, want.RuntimeJSON = got.Source, got.Sink, got.RuntimeJSON
	want.DefinitionHash, want.Guarantee = "a2", "at_least_once"
	require.Equal(t, want, got)
	require.Equal(t, got, t.flowByID(f.ID))
	require.EqualValues(t, 1, t.number("select count(*) from dataflow_flow"))
}

func flowAgainKeepsOutcome(t *test) {
	f := t.flow("orders")
	t.finished(f.ID, dataflow.RunSuccess)
	t.end(failing(t.inProgress(f.ID), dataflow.RunFailed, "disk full"))
	want := t.flowByID(f.ID)
	require.Equal(t, 1, want.Failures)
	require.NotNil(t, want.LastSuccessAt)
	require.Equal(t, want, t.flow("orders"))
}

func flowNewAtOnce(t *test) {
	stores := []dataflow.Store{t.store, t.another()}
	flows, errs := make([]*dataflow.FlowRecord, 8), make([]error, 8)
	atOnce(8, func(i int) {
		recs, err := stores[i%2].FlowUpsert(t.Context(), definition("orders"))
		if errs[i] = err; err == nil {
			flows[i] = recs[0]
		}
	})
	require.NoError(t, errors.Join(errs...))
	for _, f := range flows {
		require.Equal(t, flows[0], f)
	}
}

func flowNotFound(t *test) {
	f := t.flow("orders")
	_, err := t.store.FlowByID(t.Context(), f.ID+1)
	require.ErrorIs(t, err, dataflow.ErrNotFound)
	for _, name := range []string{"Orders", "order", "orders ", "orders%", "", "order_"} {
		_, err = t.store.FlowByName(t.Context(), name)
		require.ErrorIs(t, err, dataflow.ErrNotFound, name)
	}
	_, err = t.store.FlowSetState(t.Context(), &dataflow.FlowStateParams{ID: f.ID + 1, State: dataflow.FlowInactive})
	require.ErrorIs(t, err, dataflow.ErrNotFound)
}

// oddNames are names that are all different to a database that compares bytes.
func oddNames() []string {
	return []string{
		"orders", "Orders", "ORDERS", "o", "Z", "a b", "a-b", "a_b", "a%b", `it's "quoted"`, `back\slash`, "$1 ?1 {s} {now}",
		"'; drop table dataflow_flow; --", "é", "e\u0301", "straße", "strasse", "日本語のフロー", "😀", "\ufffd", "ﬁ", "fi",
		"\u202eright to left", "1", "01", "null", strings.Repeat("x", 200), strings.Repeat("é", 100), strings.Repeat("😀", 50),
	}
}

func flowNames(t *test) {
	seen := make(map[int64]bool)
	for _, name := range oddNames() {
		f := t.flow(name)
		require.Equal(t, name, f.Name)
		byName, err := t.store.FlowByName(t.Context(), name)
		require.NoError(t, err, name)
		require.Equal(t, f, byName)
		require.False(t, seen[f.ID], name)
		seen[f.ID] = true
		require.Equal(t, name, t.pending(f.ID).FlowName)
		runs, err := t.store.RunList(t.Context(), &dataflow.RunListParams{Flow: name, Limit: 10})
		require.NoError(t, err)
		require.Len(t, runs, 1, name)
	}
}

func flowNameTooLong(t *test) {
	for _, name := range []string{"", strings.Repeat("x", 201)} {
		_, err := t.store.FlowUpsert(t.Context(), definition(name))
		require.Error(t, err)
	}
	require.Zero(t, t.number("select count(*) from dataflow_flow"))
}

// sameJSON compares JSON without rounding numbers.
func (t *test) sameJSON(want, got json.RawMessage) {
	t.Helper()
	decode := func(data []byte) (v any) {
		dec := json.NewDecoder(bytes.NewReader(data))
		dec.UseNumber()
		require.NoError(t, dec.Decode(&v), string(data))
		return v
	}
	require.Equal(t, decode(want), decode(got))
}

func flowJSON(t *test) {
	d := definition("orders")
	d.Source = raw(`{"b":[1,{"c":null}],"a":"é \"q\" \\ 日本 😀","big":9007199254740993,"f":1.0,"empty":{},"t":true}`)
	d.Sink = raw(`{"type":"x","options":{"sql":"select 'it''s' -- ? $1 {s}{now}","z":[[],[[]]]}}`)
	d.Runtime = raw(`{"type":"job_queue","queue":"etl","priority":null,"batch_size":1000,"enabled":true,"interval":0.5}`)
	f := t.upsert(d)
	t.sameJSON(d.Source, f.Source)
	t.sameJSON(d.Sink, f.Sink)
	t.sameJSON(d.Runtime, f.RuntimeJSON)
}

func flowSetState(t *test) {
	c := t.clocked()
	want, other := t.flow("orders"), t.flow("other")
	now := c.advance(time.Hour)
	got, err := t.store.FlowSetState(t.Context(), &dataflow.FlowStateParams{
		ID: want.ID, State: dataflow.FlowInactive, Actor: "ann@example.com", Reason: "émigration d'été",
	})
	require.NoError(t, err)
	want.State, want.StateBy, want.StateReason = dataflow.FlowInactive, "ann@example.com", "émigration d'été"
	want.StateAt, want.UpdatedAt = &now, now
	require.Equal(t, want, got)
	require.Equal(t, want, t.flowByID(want.ID))
	require.Equal(t, other, t.flowByID(other.ID))
}

func flowSetStateAgain(t *test) {
	c := t.clocked()
	f := t.flow("orders")
	for i, state := range []dataflow.FlowState{dataflow.FlowInactive, dataflow.FlowInactive, dataflow.FlowActive} {
		now := c.advance(time.Minute)
		actor := string(rune('a' + i))
		got, err := t.store.FlowSetState(t.Context(), &dataflow.FlowStateParams{ID: f.ID, State: state, Actor: actor})
		require.NoError(t, err)
		require.Equal(t, state, got.State)
		require.Equal(t, actor, got.StateBy)
		require.Empty(t, got.StateReason)
		t.requireTime(now, got.StateAt)
	}
}

func flowSetStateInvalid(t *test) {
	f := t.flow("orders")
	t.unchanged(func() {
		_, err := t.store.FlowSetState(t.Context(), &dataflow.FlowStateParams{ID: f.ID, State: "paused"})
		require.Error(t, err)
	})
}

// A Runtime that an operator has set stays until a definition replaces it.
func flowSetRuntime(t *test) {
	c := t.clocked()
	f, other := t.flow("orders"), t.flow("other")
	now := c.advance(time.Hour)
	queue := raw(`{"type":"job_queue","queue":"etl"}`)
	got, err := t.store.FlowSetRuntime(t.Context(), &dataflow.FlowRuntimeParams{ID: f.ID, Runtime: queue, MigratedFrom: f.RuntimeJSON})
	require.NoError(t, err)
	t.sameJSON(queue, got.RuntimeJSON)
	t.sameJSON(f.RuntimeJSON, got.MigratedFrom)
	want := *f
	want.RuntimeJSON, want.MigratedFrom, want.UpdatedAt = got.RuntimeJSON, got.MigratedFrom, now
	require.Equal(t, &want, got, "nothing else changes")
	require.Equal(t, got, t.flowByID(f.ID))
	require.Equal(t, other, t.flowByID(other.ID))

	d := definition("orders")
	d.Runtime, d.MigratedFrom = got.RuntimeJSON, got.MigratedFrom
	again := t.upsert(d)
	require.Equal(t, got, again)
	back := t.upsert(definition("orders"))
	t.sameJSON(f.RuntimeJSON, back.RuntimeJSON)
	require.Nil(t, back.MigratedFrom)
	_, err = t.store.FlowSetRuntime(t.Context(), &dataflow.FlowRuntimeParams{ID: other.ID + 1, Runtime: queue})
	require.ErrorIs(t, err, dataflow.ErrNotFound)
}
