package cli_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
	"github.com/activedataflow/dataflow/internal/cli"
)

func TestFlow(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *cliT) {
		t.migrated().golden("flow",
			"flow list",
			"flow show orders",
			"flow why orders",
			`flow pause orders --reason "the disk is full"`,
			"flow list --state paused",
			"flow show orders",
			"flow why orders",
			"enqueue orders",
			"flow resume orders --actor bob",
			"flow why orders",
			"flow list --state active -o json",
			"flow pause nightly -o json",
			"flow why nightly -o json",
			"flow show nightly",
			"flow show gid://dataflow/Flow/1 -o json",
			"flow show gid://dataflow/Flow/999",
			"flow show gid://elsewhere/Flow/1",
			"flow why missing",
		)
	})
}

func TestRun(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *cliT) {
		t.migrated().golden("run",
			"run list",
			"run list --trigger bogus",
			`enqueue orders --reason "a look" --wait`,
			"enqueue orders --at 2031-02-04T00:00:00Z",
			"run list --flow orders",
			"run show 1",
			"run cancel 2 --reason enough",
			"run cancel 2",
			"run cancel 1",
			"run show 2",
			"enqueue broken --wait",
			"run show 3",
			"run show 3 --follow",
			"run list --state failed,success --limit 5",
			"run list --state failed -o json",
			"run show 1 -o json",
			"run show 1 --follow -o json",
			"run list --flow broken --before 3",
			"run retry 3",
			"run retry 1",
			"run retry 77",
			"enqueue nightly",
			"enqueue nightly -o json", // uses up a number of Postgres's sequence
			"run cancel 4 -o json",
		)
	})
}

func TestRunDue(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *cliT) {
		t.migrated().golden("rundue",
			"run-due",
			"enqueue orders",
			"run-due",
			"enqueue orders",
			"run-due -o json",
			"enqueue broken",
			"run-due",
		)
		p := t.plain()
		p.golden("rundue_plain", "enqueue orders --at 2020-01-01T00:00:00Z", "run-due", "run list --state pending --limit 1 -o json")
	})
}

// A flow that follows another one says so where others have their next tick.
func TestStatus_After(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *cliT) {
		t.program.Configure = func(context.Context, cli.Database) (*dataflow.Config, error) {
			sink := memory.NewSink[int64]()
			return &dataflow.Config{ID: "here", Flows: []*dataflow.Flow{
				dataflow.NewFlow("orders", count{to: 1}, dataflow.Identity[int64](), sink.Target(), nil),
				dataflow.NewFlow("totals", count{to: 1}, dataflow.Identity[int64](), sink.Target(), &dataflow.FlowOptions{After: dataflow.After{Flow: "orders"}}),
			}}, nil
		}
		t.migrated()
		require.Regexp(t, `(?m)^totals +active +0 +0 +after orders `, t.ok("status"))
		require.Contains(t, t.ok("status", "-o", "json"), `"after": "orders"`)
		require.Regexp(t, `^shop .*; dataflow .*, River .*, go1`, t.ok("--version"))
	})
}

func TestEnqueueAll(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *cliT) {
		t.migrated().golden("enqueueall",
			"flow pause broken",
			"enqueue-all",
			"enqueue-all -o json",
		)
	})
}

func TestMigrateRuntime(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *cliT) {
		t.migrated().golden("migrateruntime",
			"enqueue orders",
			"flow pause broken",
			"migrate-runtime",
			"migrate-runtime --to sundial",
			"migrate-runtime orders missing --to job_queue --yes",
			"migrate-runtime nightly --to job_queue --dry-run",
			"migrate-runtime --to job_queue --dry-run",
			"migrate-runtime --to job_queue --dry-run -o json",
			"migrate-runtime --to job_queue",
			"migrate-runtime --to job_queue --queue etl --yes",
			"migrate-runtime --to job_queue --yes",
			"flow list",
			"run list --flow orders",
			"migrate-runtime --to job_queue --yes -o json",
		)
	})
}

func TestCleanup(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *cliT) {
		t.migrated()
		t.ok("enqueue", "orders", "--wait")
		t.ok("enqueue", "orders", "--wait")
		t.ok("enqueue", "nightly")
		t.ok("run", "cancel", "3")
		t.exec(`update dataflow_run set ended_at = '2031-01-01 00:00:00.000' where id <= 2`)
		t.golden("cleanup",
			"cleanup --keep soon",
			"cleanup --keep 0d",
			"cleanup --dry-run",
			"cleanup --dry-run --keep 1h --success forever -o json",
			"cleanup",
			"cleanup --keep 60d",
			"cleanup --yes",
			"run list",
			"cleanup -o json",
		)
	})
}

func TestSchedule(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *cliT) {
		t.migrated().golden("schedule",
			"schedule next orders -n 3",
			"schedule next nightly --after 2031-03-29T00:00:00Z -n 3",
			"schedule next broken",
			"schedule next -n 1",
			"schedule next -n 1 -o json",
			"schedule sync --dry-run",
			"schedule sync",
			"flow pause orders --reason lunch",
			"schedule sync",
			"schedule sync --dry-run -o json",
			"schedule export",
			"schedule export -o json",
			"schedule next missing",
			"schedule next -n -1",
		)
	})
}

func TestStatus(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *cliT) {
		t.migrated()
		t.golden("status", "status", "status -o json", "doctor", "doctor -o json")
		t.ok("enqueue", "nightly")
		worker := t.client(&dataflow.Config{ID: "worker-1", Flows: testFlows()[:1], Clock: func() time.Time { return noon }, CodeVersion: "v8"})
		require.NoError(t, worker.Start(t.Context()))
		require.Eventually(t, func() bool {
			all, err := worker.Processes(t.Context())
			return err == nil && len(all) == 1
		}, 2*time.Minute, 10*time.Millisecond)
		t.golden("status_working", "status", "status -o json", "doctor", "flow why nightly", "enqueue nightly")
		require.NoError(t, worker.Stop(t.Context()))
	})
}

func TestMigrate(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *cliT) {
		t.empty()
		t.golden("migrate_empty", "status", "flow list", "doctor", "migrate status")
		t.migrated()
		t.golden("migrate", "migrate up", "migrate up -o json", "migrate sql", "migrate sql -o json", "migrate down --to 0", "migrate down", "migrate down --to 77",
			"migrate down --to 0 --yes", "status", "migrate down --to 0")
	})
}

// The SQL of migrate sql does the same as migrate up and migrate down.
func TestMigrate_SQL(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *cliT) {
		t.migrated()
		all := t.ok("migrate", "sql", "--all")
		down := t.ok("migrate", "sql", "--down")
		require.Contains(t, all, "create unique index dataflow_run_slot")
		require.Contains(t, t.ok("migrate", "sql"), "nothing to do")
		t.exec(down)
		require.Contains(t, t.fails(5, "status"), "run shop migrate up")
		require.Equal(t, all, t.ok("migrate", "sql"))
		t.exec(all)
		require.NotContains(t, t.ok("migrate", "status"), "pending")
		require.Contains(t, t.ok("doctor"), "all indexes exist")
		t.ok("status")
	})
}

func TestDoctor_Index(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *cliT) {
		t.migrated().exec(`drop index dataflow_run_due`)
		require.Regexp(t, `indexes +warning +missing or not valid: dataflow_run_due;`, t.ok("doctor"))
		t.exec(`drop index river_job_prioritized_fetching_index`)
		require.Regexp(t, `indexes +warning +missing or not valid: dataflow_run_due, river_job_prioritized_fetching_index;`, t.ok("doctor"))
	})
}

func TestDoctor_Clock(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *cliT) {
		t.migrated()
		t.program.Configure = nil // then it uses the database's own clock, years before this machine's
		require.Regexp(t, `clock +warning +the database's clock is -[0-9hms.]+ off this machine's`, t.ok("doctor"))
	})
}
