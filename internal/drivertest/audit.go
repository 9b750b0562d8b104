package drivertest

import (
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

func auditRules() []rule {
	return []rule{
		{name: "Insert", run: auditInsert},
		{name: "List", run: auditList},
		{name: "Prune", run: auditPrune},
		{name: "UnknownFlow", run: auditUnknownFlow},
	}
}

// audited returns the audit log.
func (t *test) audited(p dataflow.AuditListParams) []*dataflow.AuditEntry {
	t.Helper()
	if p.Limit == 0 {
		p.Limit = 100
	}
	all, err := t.store.AuditList(t.Context(), &p)
	require.NoError(t, err)
	return all
}

// Each field of an entry is kept, and what was not given is none.
func auditInsert(t *test) {
	clock := t.clocked()
	f := t.flow("orders")
	full := &dataflow.AuditEntry{FlowID: f.ID, RunID: 7, Action: dataflow.AuditCancel, Actor: "ann", Reason: "two were wrong", Before: raw(`{"state":"pending"}`), After: raw(`{"n":1e2}`)}
	require.NoError(t, t.store.AuditInsert(t.Context(), full, &dataflow.AuditEntry{FlowID: f.ID, Action: dataflow.AuditPause}))
	all := t.audited(dataflow.AuditListParams{})
	require.Len(t, all, 2)
	require.Equal(t, &dataflow.AuditEntry{ID: all[0].ID, At: clock.Now(), FlowID: f.ID, FlowName: "orders", Action: dataflow.AuditPause}, all[0])
	full.ID, full.At, full.FlowName = all[1].ID, clock.Now(), "orders"
	require.Equal(t, full, all[1])
}

func auditList(t *test) {
	f, g := t.flow("orders"), t.flow("other")
	for _, e := range []dataflow.AuditEntry{
		{FlowID: f.ID, Actor: "ann", Reason: "1"},
		{FlowID: g.ID, Actor: "ann", Reason: "2"},
		{FlowID: f.ID, Actor: "bob", Reason: "3"},
		{FlowID: f.ID, Actor: "ann", Reason: "4"},
		{FlowID: f.ID, Reason: "5"},
	} {
		e.Action = dataflow.AuditResume
		require.NoError(t, t.store.AuditInsert(t.Context(), &e))
	}
	list := func(p dataflow.AuditListParams) (reasons string) {
		for _, e := range t.audited(p) {
			reasons += e.Reason
		}
		return reasons
	}
	require.Equal(t, "54321", list(dataflow.AuditListParams{}))
	require.Equal(t, "5431", list(dataflow.AuditListParams{Flow: "orders"}))
	require.Equal(t, "421", list(dataflow.AuditListParams{Actor: "ann"}))
	require.Equal(t, "41", list(dataflow.AuditListParams{Actor: "ann", Flow: "orders"}))
	require.Empty(t, list(dataflow.AuditListParams{Flow: "none"}))
	first := t.audited(dataflow.AuditListParams{Flow: "orders", Limit: 2})
	require.Len(t, first, 2)
	require.Equal(t, "31", list(dataflow.AuditListParams{Flow: "orders", Before: first[1].ID}))
}

func auditPrune(t *test) {
	clock := t.clocked()
	f := t.flow("orders")
	for range 3 {
		require.NoError(t, t.store.AuditInsert(t.Context(), &dataflow.AuditEntry{FlowID: f.ID, Action: dataflow.AuditPause}))
		clock.advance(time.Hour)
	}
	clock.advance(month - 90*time.Minute)
	p := &dataflow.PruneParams{Age: month, Limit: 1, DryRun: true}
	n, err := t.store.AuditPrune(t.Context(), p)
	require.NoError(t, err)
	require.EqualValues(t, 2, n)
	p.DryRun = false
	for _, want := range []int64{1, 1, 0} {
		n, err := t.store.AuditPrune(t.Context(), p)
		require.NoError(t, err)
		require.Equal(t, want, n)
	}
	require.Len(t, t.audited(dataflow.AuditListParams{}), 1)
}

func auditUnknownFlow(t *test) {
	require.Error(t, t.store.AuditInsert(t.Context(), &dataflow.AuditEntry{FlowID: 7, Action: dataflow.AuditPause}))
}
