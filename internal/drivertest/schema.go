package drivertest

import (
	"time"

	"github.com/riverqueue/river"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

func schemaRules() []rule {
	return []rule{
		{name: "Custom", run: schemaCustom, needs: schemas},
		{name: "OddName", run: schemaOddName, needs: schemas},
		{name: "SideBySide", run: schemaSideBySide, needs: schemas},
		{name: "Down", run: schemaDown, needs: schemas},
		{name: "Missing", run: schemaMissing, needs: schemas},
		{name: "Refused", run: schemaRefused},
	}
}

// inSchema creates a schema, and puts the test's store into it. identifier is the name in SQL.
func (t *test) inSchema(name, identifier string) {
	t.Helper()
	t.exec("create schema " + identifier)
	t.store = t.open(t.db.Driver(), dataflow.StoreOptions{Schema: name})
	t.migrate()
}

// lifecycle calls all queries about runs for one run.
func (t *test) lifecycle() {
	t.Helper()
	f := t.flow("orders")
	t.setState(f.ID, dataflow.FlowActive)
	due := t.insert(dataflow.RunInsertParams{FlowID: f.ID, UniqueKey: "now"})
	require.True(t, t.insert(dataflow.RunInsertParams{FlowID: f.ID, UniqueKey: "now"}).Coalesced)
	runs, err := t.store.RunDue(t.Context(), &dataflow.RunDueParams{FlowIDs: []int64{f.ID}, Limit: 10})
	require.NoError(t, err)
	require.Equal(t, []int64{due.ID}, ids(runs))
	c := t.claim(due.ID)
	t.checkpoint(c, `7`, dataflow.Counters{Read: 2, Written: 2})
	t.end(failing(c, dataflow.RunPending, "disk full"))
	c = t.claim(due.ID)
	t.requireCursor(`7`, c.Cursor)
	require.Equal(t, dataflow.RunSuccess, t.end(ending(c, dataflow.RunSuccess)).State)
	require.NoError(t, t.store.RunSetJob(t.Context(), due.ID, 9, "etl"))
	run, err := t.store.RunByJob(t.Context(), 9)
	require.NoError(t, err)
	runs, err = t.store.RunList(t.Context(), &dataflow.RunListParams{Limit: 10})
	require.NoError(t, err)
	require.Equal(t, []*dataflow.Run{run}, runs)
	flows, err := t.store.FlowList(t.Context(), &dataflow.FlowListParams{Limit: 10})
	require.NoError(t, err)
	require.Len(t, flows, 1)
	t.scheduling(f.ID)
}

// scheduling calls the queries about schedules for one flow.
func (t *test) scheduling(flowID int64) {
	t.Helper()
	at := time.Now().Add(-time.Hour)
	t.plan(flowID, at, time.Time{})
	f, _ := t.flowDue(t.Context(), flowID)
	require.Equal(t, t.flowByID(flowID), f)
	f, _ = t.lockFlow(flowID)
	t.requireTime(at, f.NextRunAt)
	d, ok, err := t.store.FlowNext(t.Context(), []int64{flowID}, time.Time{})
	require.NoError(t, err)
	require.True(t, ok)
	require.Negative(t, d)
	require.Equal(t, t.tick(flowID, at), uncoalesced(t.tick(flowID, at)))
	t.requireActivity(flowID, 0, 1, 1)
	t.skipN(flowID, 0, 0, dataflow.SkipMissed)
	t.skipN(flowID, 1, 1, dataflow.SkipMissed)
	require.Len(t, t.skipped(dataflow.TickListParams{}), 1)
	t.seen(dataflow.Process{ID: "a"}, time.Hour)
	t.requireAlive("a")
	require.NoError(t, t.store.ProcessGone(t.Context(), "a"))
	t.requireAlive()
}

// requireOnlyIn requires the tables in one schema, and none in the default schema.
func (t *test) requireOnlyIn(schema string) {
	t.Helper()
	ours, rivers := t.tables(schema)
	require.Equal(t, tables(), ours)
	require.Contains(t, rivers, "river_job")
	ours, rivers = t.tables("")
	require.Empty(t, ours)
	require.Empty(t, rivers)
}

func schemaCustom(t *test) {
	t.inSchema("etl", "etl")
	t.requireOnlyIn("etl")
	t.lifecycle()
	rc, err := t.store.River(&river.Config{Schema: "etl"})
	require.NoError(t, err)
	id, err := t.insertJob(rc)
	require.NoError(t, err)
	require.Equal(t, id, t.number("select id from etl.river_job"))
	require.NoError(t, t.store.Migrate(t.Context()))
}

// River's client refuses such a name, but its tables can be in that schema.
func schemaOddName(t *test) {
	t.inSchema(`my "odd" schema; drop`, `"my ""odd"" schema; drop"`)
	t.requireOnlyIn(`my "odd" schema; drop`)
	t.lifecycle()
}

func schemaSideBySide(t *test) {
	t.migrate()
	other := t.store
	t.flow("other")
	t.inSchema("etl", "etl")
	t.lifecycle()
	_, err := t.store.FlowByName(t.Context(), "other")
	require.ErrorIs(t, err, dataflow.ErrNotFound)
	flows, err := other.FlowList(t.Context(), &dataflow.FlowListParams{Limit: 10})
	require.NoError(t, err)
	require.Len(t, flows, 1)
	require.NoError(t, t.store.MigrateDown(t.Context(), 0))
	require.NoError(t, other.CheckSchema(t.Context()))
}

func schemaDown(t *test) {
	t.inSchema(`my "odd" schema`, `"my ""odd"" schema"`)
	require.NoError(t, t.store.MigrateDown(t.Context(), 0))
	ours, rivers := t.tables(`my "odd" schema`)
	require.Equal(t, []string{migrationTable}, ours)
	require.Contains(t, rivers, "river_job")
	t.requireCheck("call client.Migrate")
	t.migrate()
}

func schemaMissing(t *test) {
	t.store = t.open(t.db.Driver(), dataflow.StoreOptions{Schema: "nowhere"})
	err := t.store.Migrate(t.Context())
	require.ErrorContains(t, err, `schema "nowhere" does not exist`)
	require.ErrorContains(t, err, "create schema")
	require.Error(t, t.store.CheckSchema(t.Context()))
	require.NoError(t, t.store.MigrateDown(t.Context(), 0), "there is nothing to undo")
	t.exec("create schema nowhere")
	t.migrate()
}

// A driver without schemas refuses one with a clear error.
func schemaRefused(t *test) {
	_, err := t.db.Driver().Store(dataflow.StoreOptions{Schema: "etl"})
	if t.features.Schemas {
		require.NoError(t, err)
		return
	}
	var ce *dataflow.ConfigError
	require.ErrorAs(t, err, &ce)
	require.Equal(t, "Schema", ce.Field)
	require.ErrorContains(t, err, "etl")
}
