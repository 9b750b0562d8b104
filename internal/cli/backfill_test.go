package cli_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/internal/cli"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

func TestBackfill(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *cliT) {
		t.migrated().golden("backfill",
			"enqueue orders --wait",
			`backfill orders --from 1 --until 4 --params 7 --reason "two were wrong" --wait`,
			"run show 2",
			"run show 2 -o json",
			"cursor show orders",
			"backfill nightly",
			"run list --trigger backfill",
			"run show 3",
			"run cancel 3",
			"run retry 3",
			"run show 4",
			"backfill orders --until x",
			"backfill orders --until [4]",
			"backfill orders --params {}",
			"backfill orders --at noon",
			"backfill missing",
			"enqueue orders --params {}",
			"enqueue orders --params 8 -o json",
		)
		t.plain().golden("backfill_plain", "backfill orders")
	})
}

// Dates and times are looked up by the source, and what they mean is said.
func TestBackfill_Times(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *cliT) {
		configure := t.program.Configure
		t.program.Configure = func(ctx context.Context, db cli.Database) (*dataflow.Config, error) {
			config, err := configure(ctx, db)
			undated := dataflow.NewFlow("undated", memory.Slice([]int64{1}), dataflow.Identity[int64](), dataflow.ToTx(discard{}), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{}})
			config.Flows = append(config.Flows, undated)
			return config, err
		}
		t.migrated().golden("backfill_times",
			"backfill orders --from 2031-02-02 --until 2031-02-03 --wait",
			"run show 1",
			"backfill orders --from 2031-02-03 --zone Europe/Berlin",
			"run cancel 2",
			"backfill orders --from 2031-02-02T12:00:00Z --until \"2031-02-04 12:00\" --ranges 2",
			"backfill orders --until 2030-12-31",
			"backfill orders --from 2031-03-01 --until 2031-03-02",
			"backfill orders --from 2031-02-04 --until 2031-02-03",
			"backfill orders --from 2031-02-30",
			"backfill orders --from 2031-02-03T25:00",
			"backfill orders --from 2031-02-03 --zone Berlin",
			"backfill orders --from 2 --zone Europe/Berlin",
			"backfill undated --from 2031-02-03",
		)
	})
}

func TestBackfill_Ranges(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *cliT) {
		t.migrated().golden("backfill_ranges",
			"backfill orders --ranges 2",
			"backfill orders --ranges 3",
			"backfill orders --ranges 3 -o json",
			"run cancel 1",
			"run cancel 2",
			"backfill orders --from 1 --until 4 --ranges 9 --wait",
			"run list --trigger backfill",
			"run show 4",
			"backfill orders --ranges 0",
			"backfill nightly --ranges 1",
		)
	})
}

// A backfill in progress shows how much is left.
func TestBackfill_Progress(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *cliT) {
		t.migrated()
		t.ok("backfill", "orders")
		t.exec(`update dataflow_run set state = 'in_progress', slot = 0, lease_until = created_at, worker = 'there', attempt = 1,
			started_at = '2031-02-03 12:04:00.000', read = 2, written = 2, total = 5`)
		t.golden("backfill_progress", "run show 1")
	})
}

// Whoever waits for a backfill, or for a run that reads nothing, is told what the source holds back.
func TestBackfill_HeldBack(t *testing.T) {
	t.Parallel()
	c := newCLI(t, dbtest.PostgresURL(t))
	c.exec("create table source (at timestamptz, n bigint, primary key (at, n))")
	c.exec("insert into source values ('2024-01-01', 1), ('2100-01-01', 2)")
	c.with(func(db cli.Database) []*dataflow.Flow {
		source := pgtable.Keyset[numbered](db.Postgres, pgtable.Query{SQL: "select at, n from source", Key: []string{"at", "n"}})
		return []*dataflow.Flow{dataflow.NewFlow("read", source, dataflow.Identity[numbered](), memory.NewSink[numbered]().Target(), nil)}
	}).migrated()
	const held = `Its source notes: rows are left for later, because the time in their key column "at" has not come: the next of them is of 2100-01-01T00:00:00Z.`
	for _, args := range [][]string{
		{"backfill", "read", "--until", "2100-12-31", "--wait"},
		{"backfill", "read", "--ranges", "2", "--wait"},
	} {
		r := c.run(args...)
		require.Zero(t, r.code, r.err)
		require.Contains(t, r.out, "read, 1 written")
		require.Contains(t, r.err, held)
	}
	require.NotContains(t, c.run("enqueue", "read", "--wait").err, held, "it has read what there is")
	require.Contains(t, c.run("enqueue", "read", "--wait").err, held)
	require.Contains(t, c.ok("flow", "why", "read"), held)
}
