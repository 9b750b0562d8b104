package drivertest

import (
	"github.com/stretchr/testify/require"
)

func checkRules() []rule {
	return []rule{
		{name: "BeforeMigrate", run: checkBefore},
		{name: "AfterDown", run: checkAfterDown},
		{name: "Newer", run: checkNewer},
		{name: "ChangesNothing", run: checkChangesNothing},
		{name: "RiverMissing", run: checkRiverMissing},
		{name: "RiverOutdated", run: checkRiverOutdated},
		{name: "RiverNewer", run: checkRiverNewer},
	}
}

func (t *test) requireCheck(parts ...string) {
	t.Helper()
	err := t.store.CheckSchema(t.Context())
	for _, part := range parts {
		require.ErrorContains(t, err, part)
	}
}

func checkBefore(t *test) {
	t.requireCheck("dataflow's tables are not in the database", "call client.Migrate")
	t.migrate()
}

func checkAfterDown(t *test) {
	t.migrate()
	require.NoError(t, t.store.MigrateDown(t.Context(), 0))
	t.requireCheck("dataflow's tables are not in the database", "call client.Migrate")
}

func checkNewer(t *test) {
	t.migrate()
	t.exec("insert into dataflow_migration (version, name) values (99, 'future')")
	t.requireCheck("dataflow's tables", "version 99, newer than", "run a newer program")
}

func checkChangesNothing(t *test) {
	t.requireCheck("call client.Migrate")
	ours, rivers := t.tables("")
	require.Empty(t, ours)
	require.Empty(t, rivers)
}

func checkRiverMissing(t *test) {
	t.migrate()
	t.exec("drop table river_migration")
	t.requireCheck("River's tables are not in the database", "call client.Migrate")
}

func checkRiverOutdated(t *test) {
	t.migrate()
	t.exec("delete from river_migration where version = (select max(version) from river_migration)")
	t.requireCheck("River's tables", "this program needs", "call client.Migrate")
}

func checkRiverNewer(t *test) {
	t.migrate()
	t.exec("insert into river_migration (line, version) values ('main', 999)")
	t.requireCheck("River's tables", "newer", "run a newer program")
}
