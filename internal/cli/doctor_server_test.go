//go:build unix

package cli_test

import (
	"context"
	"encoding/json"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/connector/sqltable"
	"github.com/activedataflow/dataflow/dataflowpgx"
	"github.com/activedataflow/dataflow/internal/cli"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// with sets the flows of the program, and leaves its clock alone.
func (t *cliT) with(flows func(db cli.Database) []*dataflow.Flow) *cliT {
	t.program.Configure = func(_ context.Context, db cli.Database) (*dataflow.Config, error) {
		return &dataflow.Config{ID: "here", Flows: flows(db)}, nil
	}
	return t
}

type numbered struct{ N int64 }

func keysetFlow(db cli.Database) []*dataflow.Flow {
	return []*dataflow.Flow{dataflow.NewFlow("read", pgtable.Keyset[numbered](db.Postgres, pgtable.Query{SQL: "select n from source", Key: []string{"n"}}),
		dataflow.Identity[numbered](), memory.NewSink[numbered]().Target(), nil)}
}

// A standby and a read-only database are problems, whatever else is there.
func TestDoctor_ReadOnly(t *testing.T) {
	t.Parallel()
	primary := dbtest.StartServer(t)
	c := newCLI(t, primary.URL()).migrated()
	require.Regexp(t, `(?m)^server +ok `, c.ok("doctor"))
	standby := newCLI(t, primary.Standby(t).URL())
	require.Contains(t, standby.fails(5, "doctor"), "it is a standby, on which nothing can be written")
	c.exec("alter database postgres set default_transaction_read_only = on")
	require.Contains(t, c.fails(5, "doctor"), `alter database "postgres" reset default_transaction_read_only`)
}

// A slot that nobody reads keeps the log.
func TestDoctor_Slots(t *testing.T) {
	t.Parallel()
	c := newCLI(t, dbtest.StartServer(t).URL()).migrated()
	c.exec("select pg_create_physical_replication_slot('old', true)")
	require.NotContains(t, c.ok("doctor"), "slot")
	for range 17 { // of 16 MB each
		c.exec("select pg_logical_emit_message(false, 'test', 'x'), pg_switch_wal()")
	}
	require.Regexp(t, `(?m)^slots +warning +slot "old" is not read, and holds \d+ MB of the server's log, .* pg_drop_replication_slot\('old'\)$`, c.ok("doctor"))
}

// A role that may not see other transactions cannot use the default guard.
func TestDoctor_Role(t *testing.T) {
	t.Parallel()
	server := dbtest.StartServer(t)
	c := newCLI(t, server.URL())
	c.exec("create table source (n bigint)")
	c.with(keysetFlow).migrated()
	require.NotContains(t, c.ok("doctor"), "pg_read_all_stats")
	c.exec("create role reader login in role pg_read_all_data, pg_write_all_data")
	as, err := url.Parse(server.URL())
	require.NoError(t, err)
	as.User = url.User("reader")
	reader := newCLI(t, as.String()).with(keysetFlow)
	require.Regexp(t, `(?m)^role +warning +role "reader" may not see .*: run grant pg_read_all_stats to "reader"`, reader.ok("doctor"))
	c.exec("grant pg_read_all_stats to reader")
	require.NotContains(t, reader.ok("doctor"), "pg_read_all_stats")
}

// A key without a unique index is told by its source.
func TestDoctor_Sources(t *testing.T) {
	t.Parallel()
	c := newCLI(t, dbtest.PostgresURL(t))
	c.exec("create table source (n bigint)")
	c.with(keysetFlow).migrated()
	require.Regexp(t, `(?m)^sources +warning +flow "read": Its source notes: no unique index covers the key`, c.ok("doctor"))
	var found []struct{ Check, State, Text string }
	require.NoError(t, json.Unmarshal([]byte(c.ok("doctor", "--json")), &found))
	require.NotEmpty(t, found)
	require.Contains(t, c.fails(1, "doctor", "--strict"), "shop: clock: ", "the first of the warnings")
}

// A server, a database or a role without connections for another process is named.
func TestDoctor_Room(t *testing.T) {
	t.Parallel()
	server := dbtest.StartServer(t)
	as, err := url.Parse(server.URL())
	require.NoError(t, err)
	as.User = url.User("reader")
	q := as.Query()
	q.Set("pool_max_conns", "8")
	as.RawQuery = q.Encode()
	c := newCLI(t, server.URL()).with(keysetFlow)
	c.exec("create role reader login in role pg_read_all_data, pg_write_all_data, pg_read_all_stats")
	c.exec("create table source (n bigint)")
	c.migrated()
	reader := newCLI(t, as.String()).with(keysetFlow)
	require.NotContains(t, reader.ok("doctor"), "connections ")
	c.exec("alter role reader connection limit 10")
	require.Regexp(t, `(?m)^connections +warning +role reader takes 10 connections, and \d are open: another process of this program, as in a deploy, opens up to 11 \(its pool has 8, and 3 may be beside it\): run alter role reader connection limit -1, or let the pools be smaller \(pool_max_conns\)$`, reader.ok("doctor"))
	c.exec("alter role reader connection limit 30")
	c.exec("alter database postgres connection limit 9")
	require.Regexp(t, `(?m)^connections +warning +database postgres takes 9 connections`, reader.ok("doctor"))
	require.NotContains(t, c.ok("doctor"), "connections  ", "a superuser may have more")
	q.Set("pool_max_conns", "500")
	as.RawQuery = q.Encode()
	c.exec("alter database postgres connection limit -1")
	require.Regexp(t, `(?m)^connections +warning +the server takes 397 connections, .*: raise max_connections, or let`, newCLI(t, as.String()).with(keysetFlow).ok("doctor"))
}

// A pool that is too small for all flows of the program at once is named with what they need.
func TestDoctor_Pool(t *testing.T) {
	t.Parallel()
	u, err := url.Parse(dbtest.PostgresURL(t))
	require.NoError(t, err)
	q := u.Query()
	flows := func(db cli.Database) (list []*dataflow.Flow) {
		for _, name := range []string{"a", "b", "c"} {
			list = append(list, dataflow.NewFlow(name, pgtable.Select[numbered](db.Postgres, "select 1::bigint as n"), dataflow.Identity[numbered](), memory.NewSink[numbered]().Target(), nil))
		}
		return list
	}
	for size, want := range map[string]string{
		"4": `warning +a pool of 4 connections: its flows need 2 to run one at a time, and 5 to run all at once .*; some runs wait until others have ended: let the pool have 5 connections, or divide`,
		"5": `ok +a pool of 5 connections: its flows need 2 to run one at a time, and 5 to run all at once`,
	} {
		q.Set("pool_max_conns", size)
		u.RawQuery = q.Encode()
		require.Regexp(t, `(?m)^pool +`+want, newCLI(t, u.String()).with(flows).migrated().ok("doctor"))
	}
}

// A timeout of the server is named with the run that it has ended.
func TestDoctor_Timeout(t *testing.T) {
	t.Parallel()
	base := dbtest.PostgresURL(t)
	c := newCLI(t, base).with(func(cli.Database) []*dataflow.Flow {
		slow := dataflow.TxSinkFunc[int64](func(ctx context.Context, _ []int64) error {
			tx, _ := dataflowpgx.TxFrom(ctx)
			_, err := tx.Exec(ctx, "set local statement_timeout = 1; select pg_sleep(10)")
			return err
		})
		return []*dataflow.Flow{dataflow.NewFlow("slow", count{to: 1}, dataflow.Identity[int64](), dataflow.ToTx(slow), &dataflow.FlowOptions{MaxAttempts: 1})}
	}).migrated()
	require.NotContains(t, c.ok("doctor"), "statement_timeout")
	with := func(timeout string, also ...string) *cliT {
		u, err := url.Parse(base)
		require.NoError(t, err)
		q := u.Query()
		for _, name := range append(also, "statement_timeout") {
			q.Set(name, timeout)
		}
		u.RawQuery = q.Encode()
		limited := *c
		limited.env = map[string]string{"DATABASE_URL": u.String(), "USER": "ann"}
		return &limited
	}
	require.Regexp(t, `(?m)^timeout +warning +statement_timeout is 5s, which a batch may exceed: run alter role`, with("5s").ok("doctor"))
	require.Regexp(t, `(?m)^timeout +ok +statement_timeout is 1m0s`, with("60s").ok("doctor"))
	const idle = "idle_in_transaction_session_timeout"
	require.Regexp(t, `(?m)^timeout +warning +`+idle+` is 5s, which a batch may exceed: run alter role .* set `+idle+` = 0 `, with("5s", idle).ok("doctor"))
	c.fails(1, "enqueue", "slow", "--wait")
	require.Regexp(t, `(?m)^timeout +warning +statement_timeout is 1m0s, and has ended attempts, such as of run 1 of flow slow`, with("60s").ok("doctor"))
}

// Tables that are not analysed, or hold dead rows, and runs that were never removed.
func TestDoctor_Tables(t *testing.T) {
	t.Parallel()
	c := newCLI(t, dbtest.PostgresURL(t)).migrated()
	out := c.ok("doctor")
	require.Regexp(t, `(?m)^tables +ok `, out)
	require.Regexp(t, `(?m)^retention +ok `, out)
	c.exec("alter table dataflow_tick set (autovacuum_enabled = false)")
	c.exec(`insert into dataflow_tick (flow_id, first_at, last_at, reason)
		select (select min(id) from dataflow_flow), at, at, 'paused' from generate_series(1, 11000) n, cast('2031-01-01' as timestamptz) at`)
	waiting := func(pattern string) {
		t.Helper()
		require.Eventually(t, func() bool { return regexp.MustCompile(pattern).MatchString(c.ok("doctor")) }, 2*time.Minute, 100*time.Millisecond) // Postgres counts with a delay
	}
	waiting(`(?m)^tables +warning +dataflow_tick was never analysed, .* run analyze "dataflow_tick"$`)
	require.Regexp(t, `(?m)^retention +warning +11000 runs, dead letters, and entries of skipped ticks and of the audit log should have been removed .*; run shop cleanup$`, c.ok("doctor"))
	c.exec("delete from dataflow_tick")
	waiting(`(?m)^tables +warning +dataflow_tick has 11000 dead rows and 0 live ones, .* run vacuum analyze "dataflow_tick", and autovacuum is off for it: turn it on$`)
}

// An index of another version of its collation may miss rows.
func TestDoctor_Collations(t *testing.T) {
	t.Parallel()
	c := newCLI(t, dbtest.StartServer(t).URL()).migrated()
	c.exec(`create table names (name text collate "de-x-icu" primary key)`)
	require.NotContains(t, c.ok("doctor"), "collation")
	c.exec("update pg_collation set collversion = '1.2.3' where collname = 'de-x-icu'")
	require.Regexp(t, `(?m)^collation +warning +an index uses collation pg_catalog."de-x-icu" of version 1.2.3, and the server has `, c.ok("doctor"))
}

// A zone of a schedule that this machine does not know is named with its flow.
func TestDoctor_UnknownZone(t *testing.T) {
	t.Parallel()
	c := newCLI(t, dbtest.PostgresURL(t)).with(func(cli.Database) []*dataflow.Flow {
		return []*dataflow.Flow{dataflow.NewFlow("daily", count{to: 1}, dataflow.Identity[int64](), memory.NewSink[int64]().Target(), &dataflow.FlowOptions{
			Runtime: dataflow.Heartbeat{Schedule: dataflow.Schedule{Cron: "0 5 * * *", TimeZone: "Europe/Berlin"}},
		})}
	}).migrated()
	require.NotContains(t, c.ok("doctor"), "does not know the time zone")
	c.exec("update dataflow_flow set runtime = replace(runtime::text, 'Europe/Berlin', 'Mars/Olympus')::json, schedule = replace(schedule::text, 'Europe/Berlin', 'Mars/Olympus')::json")
	require.Regexp(t, `(?m)^zones +warning +this machine does not know the time zone "Mars/Olympus" of flow "daily"`, c.plain().ok("doctor"))
}

// The doctor looks at the keys of the program's own sources: no unique index, rows that share one,
// and NULL.
func TestDoctor_Keys(t *testing.T) {
	t.Parallel()
	onBoth(t, func(c *cliT) {
		noter := `no unique index covers the key \("n"\): .*create unique index concurrently on source \(n\)`
		if strings.HasPrefix(c.url, "postgres") {
			c.with(keysetFlow)
		} else {
			noter = `rows share a key \(n\), and one of them may never be read: add a column to the key that makes it unique, with a unique index`
			c.with(func(db cli.Database) []*dataflow.Flow {
				return []*dataflow.Flow{dataflow.NewFlow("read", sqltable.Keyset[numbered](db.SQLite, sqltable.Query{SQL: "select n from source", Key: []string{"n"}}),
					dataflow.Identity[numbered](), memory.NewSink[numbered]().Target(), nil)}
			})
		}
		c.migrated()
		c.exec("create table source (n bigint)")
		c.exec("insert into source values (1), (1)")
		require.Regexp(c, `(?m)^sources +warning +flow "read": Its source notes: `+noter, c.ok("doctor"))
		c.exec("insert into source values (null)")
		out := c.ok("doctor")
		require.Regexp(c, `(?m)^sources +warning +flow "read": Its source notes: .*key column "n" is NULL in the row \(NULL\), so the row has no place in the order: exclude such rows in the query`, out)
		require.Contains(c, out, "no started client is alive, and nothing runs by itself: run shop work, or start the service that has the flows")
	})
}
