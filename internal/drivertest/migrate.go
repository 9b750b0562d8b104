package drivertest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

func migrateRules() []rule {
	return []rule{
		{name: "FromNothing", run: migrateFromNothing},
		{name: "Twice", run: migrateTwice},
		{name: "AtOnce", run: migrateAtOnce},
		{name: "AtOnceOnOnePool", run: migrateAtOnceOnOnePool},
		{name: "Newer", run: migrateNewer},
		{name: "Cancelled", run: migrateCancelled},
		{name: "DownAndUp", run: migrateDownAndUp},
		{name: "ScheduleKeepsRows", run: migrateSchedule},
		{name: "DownTwice", run: migrateDownTwice},
		{name: "DownFromNothing", run: migrateDownFromNothing},
		{name: "DownOutOfRange", run: migrateDownOutOfRange},
		{name: "Status", run: migrateStatus},
		{name: "StatusAsSQL", run: migrateStatusSQL},
		{name: "DownKeepsWhatFails", run: migrateDownKeepsWhatFails},
	}
}

const (
	migrationTable = "dataflow_migration"
	sqlCheckpoints = "select flow_id, scope, partition, cursor, seq, read, written, done from dataflow_checkpoint"
	sqlMigrations  = "select version, name, created_at from dataflow_migration order by version"
)

// tables are the names of our tables in the newest version.
func tables() []string {
	return []string{"dataflow_after", "dataflow_audit", "dataflow_checkpoint", "dataflow_cursor_change", "dataflow_dead_letter", "dataflow_flow", "dataflow_group", migrationTable, "dataflow_process", "dataflow_run", "dataflow_tick", "dataflow_total", "dataflow_upkeep"}
}

// tables returns the sorted names of our tables and of River's in a schema.
func (t *test) tables(schema string) (ours, rivers []string) {
	t.Helper()
	all, err := t.db.Tables(t.Context(), schema)
	require.NoError(t, err)
	slices.Sort(all)
	for _, name := range all {
		if strings.HasPrefix(name, "river_") {
			rivers = append(rivers, name)
		} else if !strings.HasPrefix(name, "sqlite_") {
			ours = append(ours, name)
		}
	}
	return ours, rivers
}

func (t *test) migrate() {
	t.Helper()
	require.NoError(t, t.store.Migrate(t.Context()))
	require.NoError(t, t.store.CheckSchema(t.Context()))
}

func migrateFromNothing(t *test) {
	t.migrate()
	ours, rivers := t.tables("")
	require.Equal(t, tables(), ours)
	require.Contains(t, rivers, "river_job")
	for i, row := range t.rows("select version from dataflow_migration order by version") {
		require.EqualValues(t, i+1, row[0])
	}
}

func migrateTwice(t *test) {
	t.migrate()
	f, applied := t.flow("orders"), t.rows(sqlMigrations)
	t.migrate()
	require.NoError(t, t.another().Migrate(t.Context()))
	require.Equal(t, applied, t.rows(sqlMigrations))
	require.Equal(t, f, t.flowByID(f.ID))
}

// requireMigratedOnce requires that Migrate succeeds for each store, and that each step is
// applied once.
func (t *test) requireMigratedOnce(stores []dataflow.Store) {
	t.Helper()
	errs := make([]error, len(stores))
	atOnce(len(stores), func(i int) { errs[i] = stores[i].Migrate(t.Context()) })
	require.NoError(t, errors.Join(errs...))
	for _, s := range stores {
		require.NoError(t, s.CheckSchema(t.Context()))
	}
	require.Equal(t, t.number("select max(version) from dataflow_migration"), t.number("select count(*) from dataflow_migration"))
	_, err := stores[0].FlowUpsert(t.Context(), definition("orders"))
	require.NoError(t, err)
}

func migrateAtOnce(t *test) {
	stores := []dataflow.Store{t.store, t.another(), t.another(), t.another()}
	t.requireMigratedOnce(stores)
}

// A store that waits for another's migration must not keep the connections that it needs.
func migrateAtOnceOnOnePool(t *test) {
	stores := make([]dataflow.Store, 40)
	for i := range stores {
		stores[i] = t.open(t.db.Driver(), dataflow.StoreOptions{})
	}
	t.requireMigratedOnce(stores)
}

// A program that is older than the tables leaves them as they are.
func migrateNewer(t *test) {
	t.migrate()
	t.exec("insert into dataflow_migration (version, name) values (99, 'future')")
	require.NoError(t, t.store.Migrate(t.Context()))
	require.Error(t, t.store.MigrateDown(t.Context(), 0))
	ours, _ := t.tables("")
	require.Equal(t, tables(), ours)
}

func migrateCancelled(t *test) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, t.store.Migrate(ctx), context.Canceled)
	ours, rivers := t.tables("")
	require.Empty(t, ours)
	require.Empty(t, rivers)
	t.migrate()
}

func migrateDownAndUp(t *test) {
	t.migrate()
	t.finished(t.flow("orders").ID, dataflow.RunSuccess)
	_, err := t.insertJob(t.river())
	require.NoError(t, err)
	require.NoError(t, t.store.MigrateDown(t.Context(), 0))

	ours, rivers := t.tables("")
	require.Equal(t, []string{migrationTable}, ours)
	require.Contains(t, rivers, "river_job")
	require.Empty(t, t.rows(sqlMigrations))

	t.migrate()
	_, err = t.store.FlowByName(t.Context(), "orders")
	require.ErrorIs(t, err, dataflow.ErrNotFound)
	require.EqualValues(t, 1, t.number("select count(*) from river_job"), "River's tables are the user's too")
	t.finished(t.flow("orders").ID, dataflow.RunSuccess)
}

// Flows and runs from before the migration "schedule" are unchanged, and go on.
func migrateSchedule(t *test) {
	t.migrate()
	id := t.tripping("orders", 2, time.Hour)
	t.finished(id, dataflow.RunSuccess)
	t.tick(id, tickAt(0))
	t.requireTripped(id, 2)
	t.plan(id, time.Now().Add(-time.Hour), time.Time{})
	working := t.inProgress(id)
	t.checkpoint(working, `7`, dataflow.Counters{Read: 1, Written: 1})
	before, runs, checkpoints := t.flowByID(id), t.rows("select * from dataflow_run order by id"), t.rows(sqlCheckpoints)

	require.NoError(t, t.store.MigrateDown(t.Context(), 1))
	ours, _ := t.tables("")
	require.NotContains(t, ours, "dataflow_process")
	require.ErrorContains(t, t.store.CheckSchema(t.Context()), "call client.Migrate")
	require.EqualValues(t, 2, t.number("select failures from dataflow_flow"))
	t.migrate()

	require.Equal(t, runs, t.rows("select * from dataflow_run order by id"))
	require.Equal(t, checkpoints, t.rows(sqlCheckpoints))
	got := t.flowByID(id)
	require.False(t, got.ScheduleAt.After(time.Now().Add(time.Minute)))
	want := *before
	want.ScheduleAt, want.TrippedAt, want.TrippedReason, want.ProbeAt = got.ScheduleAt, nil, "", nil
	want.DefinitionHash = "" // so that the next registration stores the flow's definition anew
	require.Equal(t, &want, got)

	t.requireCoalesced(t.tick(id, tickAt(1)))
	t.requireFlowDue(id, id)
	tripped, _ := t.failClaimed(working, "disk full")
	require.False(t, tripped, "until it is registered again, nothing trips it")
	t.tripping("orders", 2, time.Hour)
	t.requireTripped(id, 1)
}

func migrateDownTwice(t *test) {
	t.migrate()
	newest := int(t.number("select max(version) from dataflow_migration"))
	require.NoError(t, t.store.MigrateDown(t.Context(), newest), "nothing to undo")
	ours, _ := t.tables("")
	require.Equal(t, tables(), ours)
	require.NoError(t, t.store.MigrateDown(t.Context(), 0))
	require.NoError(t, t.store.MigrateDown(t.Context(), 0))
}

func migrateDownFromNothing(t *test) {
	require.NoError(t, t.store.MigrateDown(t.Context(), 0))
	ours, rivers := t.tables("")
	require.Empty(t, ours)
	require.Empty(t, rivers)
}

func migrateDownOutOfRange(t *test) {
	for _, state := range []string{"empty", "migrated"} {
		for _, to := range []int{-1, 1000} {
			require.ErrorContains(t, t.store.MigrateDown(t.Context(), to), "this program knows 0 to", "%s, down to %d", state, to)
		}
		t.migrate()
	}
	ours, _ := t.tables("")
	require.Equal(t, tables(), ours)
}

// A step that fails is undone as a whole.
func migrateDownKeepsWhatFails(t *test) {
	t.migrate()
	f := t.flow("orders")
	t.exec("create view own_view as select read_again from dataflow_run") // so that the step down from 18 fails
	require.Error(t, t.store.MigrateDown(t.Context(), 0))
	t.exec("select read_again from dataflow_total") // which that step drops first
	t.exec("drop view own_view")
	t.migrate()
	require.NoError(t, t.store.CheckSchema(t.Context()))
	require.Equal(t, f, t.flowByID(f.ID))
}

func migrateStatus(t *test) {
	empty, err := t.store.Migrations(t.Context())
	require.NoError(t, err)
	require.Zero(t, empty.Version)
	require.Zero(t, empty.RiverVersion)
	require.NotEmpty(t, empty.Migrations)
	ours, rivers := t.tables("")
	require.Empty(t, ours)
	require.Empty(t, rivers)

	t.migrate()
	newest := len(empty.Migrations)
	full, err := t.store.Migrations(t.Context())
	require.NoError(t, err)
	require.Equal(t, newest, full.Version)
	require.Equal(t, full.RiverNewest, full.RiverVersion)
	require.Positive(t, full.RiverNewest)
	for i, m := range full.Migrations {
		require.Nil(t, empty.Migrations[i].AppliedAt)
		require.Equal(t, i+1, m.Version)
		t.requireNow(m.AppliedAt)
	}

	require.NoError(t, t.store.MigrateDown(t.Context(), newest-1))
	partly, err := t.store.Migrations(t.Context())
	require.NoError(t, err)
	require.Equal(t, newest-1, partly.Version)
	require.Nil(t, partly.Migrations[newest-1].AppliedAt)
	require.NotNil(t, partly.Migrations[newest-2].AppliedAt)
	t.exec("insert into dataflow_migration (version, name) values (99, 'future')")
	newer, err := t.store.Migrations(t.Context())
	require.NoError(t, err)
	require.Equal(t, 99, newer.Version)
}

// The SQL that Migrations returns does the whole migration, except for River's tables.
func migrateStatusSQL(t *test) {
	t.migrate()
	require.NoError(t, t.store.MigrateDown(t.Context(), 0))
	t.exec("drop table " + migrationTable)
	status, err := t.store.Migrations(t.Context())
	require.NoError(t, err)
	for range 2 {
		for _, m := range status.Migrations {
			t.exec(m.Up)
		}
		require.NoError(t, t.store.CheckSchema(t.Context()))
		t.finished(t.flow("orders").ID, dataflow.RunSuccess)
		for _, m := range slices.Backward(status.Migrations) {
			t.exec(m.Down)
		}
		require.Empty(t, t.rows(sqlMigrations))
		ours, _ := t.tables("")
		require.Equal(t, []string{migrationTable}, ours)
	}
}
