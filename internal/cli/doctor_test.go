package cli_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/cli"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// The doctor looks only at the indexes in the schema of the tables. It finds the schema however
// it was configured and spelled.
func TestDoctor_Schema(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		schema string
		config dataflow.Config
		flags  []string
	}{
		"Config":        {"Shop", dataflow.Config{Schema: "Shop"}, nil},
		"RiversConfig":  {"Shop", dataflow.Config{River: &river.Config{Schema: "Shop"}}, nil},
		"Flag":          {"Shop", dataflow.Config{}, []string{"--schema", "Shop"}},
		"FlagGoesFirst": {"shop", dataflow.Config{Schema: "Shop"}, []string{"--schema", "shop"}},
		"OddName":       {"My Shop", dataflow.Config{Schema: "My Shop"}, nil},
		"Quotes":        {`My "Shop".x`, dataflow.Config{Schema: `My "Shop".x`}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			other := newCLI(t, dbtest.PostgresURL(t)).migrated() // complete, in the schema public
			shop := *other
			shop.program.Configure = func(context.Context, cli.Database) (*dataflow.Config, error) {
				config := c.config
				config.Flows = testFlows()
				return &config, nil
			}
			doctor := append([]string{"doctor"}, c.flags...)
			schema := pgx.Identifier{c.schema}.Sanitize()
			shop.exec("create schema " + schema)
			require.Contains(t, shop.fails(5, doctor...), "shop migrate up")
			shop.ok(append([]string{"migrate", "up"}, c.flags...)...)
			require.Regexp(t, `(?m)^indexes +ok +all indexes exist$`, shop.ok(doctor...))
			shop.exec("drop index " + schema + ".dataflow_run_due, " + schema + ".river_job_kind")
			require.Regexp(t, `(?m)^indexes +warning +missing or not valid: dataflow_run_due, river_job_kind;`, shop.ok(doctor...))
			require.Regexp(t, `(?m)^indexes +ok +all indexes exist$`, other.ok("doctor"))
		})
	}
}

// A missing table, and a missing index that prevents duplicate runs, are problems.
func TestDoctor_Damage(t *testing.T) {
	t.Parallel()
	onBoth(t, func(c *cliT) {
		c.migrated()
		c.exec("drop index dataflow_run_slot")
		require.Contains(c, c.fails(5, "doctor"), "nothing else prevents duplicate runs: dataflow_run_slot;")
		c.exec("drop table dataflow_tick")
		c.exec("drop table river_job")
		require.Contains(c, c.fails(5, "doctor"), "tables are missing: dataflow_tick, river_job;")
	})
}

// examined is a source that finds something.
type examined struct {
	count
	found []dataflow.Finding
}

func (e *examined) Examine(context.Context) ([]dataflow.Finding, error) {
	return e.found, errors.New("the table is locked")
}

// The doctor asks the parts of the program's flows.
func TestDoctor_Parts(t *testing.T) {
	t.Parallel()
	c := newCLI(t, dbtest.SQLitePath(t))
	source := &examined{found: []dataflow.Finding{{Level: dataflow.FindingOK, Text: "the slot is there"}, {Level: dataflow.FindingWarning, Text: "the slot keeps 3 GiB"}}}
	c.program.Configure = func(context.Context, cli.Database) (*dataflow.Config, error) {
		return &dataflow.Config{Flows: []*dataflow.Flow{dataflow.NewFlow("copy", source, dataflow.Identity[int64](), dataflow.ToTx(discard{}), nil)}}, nil
	}
	c.ok("migrate", "up")
	said := c.ok("doctor")
	for _, want := range []string{`flow copy +ok +the slot is there`, `flow copy +warning +the slot keeps 3 GiB`, `flow copy +warning +examine the source: the table is locked`} {
		require.Regexp(t, "(?m)^"+want+"$", said)
	}
	source.found = append(source.found, dataflow.Finding{Level: dataflow.FindingProblem, Text: "wal_level is replica"})
	require.Contains(t, c.fails(5, "doctor"), "flow copy: wal_level is replica")
}

// The doctor names the ends of runs that Config.OnRunEnded was not told.
func TestDoctor_Callbacks(t *testing.T) {
	t.Parallel()
	onBoth(t, func(c *cliT) {
		configure := c.program.Configure
		c.program.Configure = func(ctx context.Context, db cli.Database) (*dataflow.Config, error) {
			config, err := configure(ctx, db)
			config.OnRunEnded = func(context.Context, *dataflow.Run) error { return nil }
			return config, err
		}
		c.migrated()
		for id := range 3 {
			c.ok("enqueue", "orders")
			c.ok("run", "cancel", strconv.Itoa(id+1))
		}
		require.NotContains(c, c.ok("doctor"), "callbacks")
		c.exec("update dataflow_run set ended_at = '2031-02-03 12:03:00.000' where callback_at is not null")
		require.Regexp(c, `(?m)^callbacks +warning +the end of 3 runs is not told yet; run 1 of flow orders: no started client that has Config.OnRunEnded and the flow has called it$`, c.ok("doctor"))
		c.exec("update dataflow_run set callback_at = '9999-12-31 00:00:00.000', callback_tries = 20, callback_error = '503' where id = 2")
		require.Regexp(c, `(?m)^callbacks +warning +the end of 1 run was never told; run 2 of flow orders: Config.OnRunEnded was given up after try 20, which failed with: 503$`, c.ok("doctor"))
	})
}

// The doctor names paused River queues, with the flows that wait for them.
func TestDoctor_PausedQueues(t *testing.T) {
	t.Parallel()
	onBoth(t, func(c *cliT) {
		c.migrated()
		insert := "insert into river_queue (name, created_at, metadata, paused_at, updated_at) values ('%s', '2031-02-03 12:00:00', '{}', %s, '2031-02-03 12:00:00')"
		c.exec(fmt.Sprintf(insert, "etl", "null"))
		c.exec(fmt.Sprintf(insert, "mail", "'2031-02-03 12:00:00'"))
		require.NotContains(c, c.ok("doctor"), "paused")
		c.exec("update river_queue set paused_at = '2031-02-03 12:01:00' where name = 'etl'")
		require.Regexp(c, `(?m)^queues +warning +the River queue etl has been paused since 2031-02-03T12:01:00Z, and so no run starts of: \w+: resume it in River UI, or by QueueResume of River's client$`, c.ok("doctor"))
	})
}

// A process with the River client of its service does not say which queues it works. River knows.
func TestDoctor_QueuesOfJoinedRiver(t *testing.T) {
	t.Parallel()
	onBoth(t, func(c *cliT) {
		c.migrated()
		none := "[]"
		if strings.HasPrefix(c.url, "postgres") {
			none = "{}"
		}
		c.exec("insert into dataflow_process (id, code_version, flows, queues, polls, started_at, seen_at, until) values ('web', '', '" + none + "', null, '', '2031-02-03 12:00:00.000', '2031-02-03 12:05:00.000', '2031-02-03 13:00:00.000')")
		require.Regexp(c, `(?m)^queues +warning +no live process works the River queues: etl: `, c.ok("doctor"))
		require.Contains(c, c.ok("status"), "Process web: 0 flows, the queues of its service's River client\n")
		c.exec("insert into river_queue (name, created_at, metadata, updated_at) values ('etl', '2031-02-03 12:00:00', '{}', '2031-02-03 12:00:00')")
		require.Regexp(c, `(?m)^queues +ok `, c.ok("doctor"))
	})
}

// The doctor shows the groups, and names the limits that differ.
func TestDoctor_Groups(t *testing.T) {
	t.Parallel()
	onBoth(t, func(c *cliT) {
		configure, limit := c.program.Configure, 2
		c.program.Configure = func(ctx context.Context, db cli.Database) (*dataflow.Config, error) {
			config, err := configure(ctx, db)
			config.Groups = map[string]int{"shopify": limit}
			return config, err
		}
		c.migrated()
		require.Regexp(c, `(?m)^groups +ok +group shopify: 0 of 2 runs in progress$`, c.ok("doctor"))
		limit = 3
		require.Regexp(c, `(?m)^groups +warning +group shopify: this program declares the limit 3, and 2 holds, which here set at 2031-02-03T12:05:00Z, as the last one to be registered: give all programs the same limit, and register the right one by shop migrate up$`, c.ok("doctor"))
	})
}

// An entry of the audit log is removed by the hourly clean-up after its time, and so it may be there for
// a while longer.
func TestDoctor_Audit(t *testing.T) {
	t.Parallel()
	onBoth(t, func(c *cliT) {
		c.migrated()
		c.ok("flow", "pause", "orders")
		c.exec("update dataflow_audit set at = '2030-02-03 11:05:00.000'") // 365 days and an hour ago
		require.Regexp(c, `(?m)^retention +ok `, c.ok("doctor"))
		c.exec("update dataflow_audit set at = '2030-02-02 11:05:00.000'")
		require.Regexp(c, `(?m)^retention +warning +1 runs, dead letters, and entries of skipped ticks and of the audit log should have been removed`, c.ok("doctor"))
	})
}

// Open dead letters are kept, so the doctor says when many of them are old.
func TestDoctor_Letters(t *testing.T) {
	t.Parallel()
	onBoth(t, func(c *cliT) {
		c.migrated()
		c.ok("enqueue", "orders")
		letters := func(n int) {
			c.exec(fmt.Sprintf(`with recursive s (n) as (select 1 union all select n + 1 from s where n < %d)
				insert into dataflow_dead_letter (flow_id, run_id, stage, key, error, created_at)
				select flow_id, id, 'read', '', 'e', cast('2030-12-01 00:00:00.000' as %s) from dataflow_run, s`, n, c.timeType()))
		}
		require.Regexp(c, `(?m)^letters +ok +no dead letter has been open for more than 30 days$`, c.ok("doctor"))
		letters(99)
		require.Regexp(c, `(?m)^letters +ok +99 dead letters have been open for more than 30 days: shop dead-letter list --open$`, c.ok("doctor"))
		letters(1)
		require.Regexp(c, `(?m)^letters +warning +100 dead letters have been open for more than 30 days, and are kept until somebody closes them: see shop dead-letter list --open,`, c.ok("doctor"))
		require.Contains(c, c.ok("cleanup", "--dry-run"), "0 closed and 0 open dead letters")
		require.Contains(c, c.ok("cleanup", "--open-dead-letters", "30d", "--yes"), "0 closed and 100 open dead letters")
		require.Regexp(c, `(?m)^letters +ok +no dead letter`, c.ok("doctor"))
	})
}

// timeType is a type of the database that holds times.
func (t *cliT) timeType() string {
	if strings.HasPrefix(t.url, "postgres") {
		return "timestamptz"
	}
	return "text"
}

// A database that cannot be reached is a problem in JSON, too.
func TestDoctor_JSONWithoutDatabase(t *testing.T) {
	t.Parallel()
	for name, url := range map[string]string{"Postgres": "postgres://ann:hush-hush@127.0.0.1:1/shop", "SQLite": filepath.Join(t.TempDir(), "none", "shop.db")} {
		r := newCLI(t, url).run("doctor", "--json")
		require.Equal(t, 5, r.code, name)
		var found []struct{ Check, State, Text string }
		require.NoError(t, json.Unmarshal([]byte(r.out), &found), r.out)
		require.Len(t, found, 1)
		require.Equal(t, []string{"database", "problem"}, []string{found[0].Check, found[0].State})
		require.Contains(t, strings.Join(strings.Fields(r.err), " "), found[0].Text)
		require.NotContains(t, r.out, "hush")
	}
}

// A flow that is declared and not registered is told from one that nobody knows, and one that fails
// is found.
func TestDoctor_FailingFlow(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *cliT) {
		t.plain().ok("migrate", "up")
		require.Contains(t, t.fails(3, "flow", "why", "orders"), `flow "orders": not found: this program has it, and has not registered it: run shop migrate up`)
		t.migrated()
		require.NotContains(t, t.run("doctor").out, "flow broken")
		t.fails(1, "enqueue", "broken", "--wait")
		require.Regexp(t, `flow broken +warning .*failed.*the shop is`, t.run("doctor").out)
	})
}
