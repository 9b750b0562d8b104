package pgtable_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/connector/reconcile"
	"github.com/activedataflow/dataflow/dataflowpgx"
)

// goneFlow is a flow that deletes what is gone, or does with it what the target says.
func goneFlow(c *reconcile.Comparison, to dataflow.Target[reconcile.Difference], opts *dataflow.FlowOptions) *dataflow.Flow {
	return dataflow.NewFlow("gone", c, dataflow.Identity[reconcile.Difference](), to, opts)
}

// startFlow starts a client with one flow.
func startFlow(t *testing.T, pool *pgxpool.Pool, flow *dataflow.Flow) *dataflow.Client {
	t.Helper()
	client, err := dataflow.NewClient(dataflowpgx.New(pool), &dataflow.Config{Flows: []*dataflow.Flow{flow}, Logger: slog.New(slog.DiscardHandler), PollInterval: 20 * time.Millisecond})
	require.NoError(t, err)
	require.NoError(t, client.Migrate(t.Context()))
	require.NoError(t, client.Start(t.Context()))
	t.Cleanup(func() { require.NoError(t, client.Stop(context.WithoutCancel(t.Context()))) })
	return client
}

// runFlow runs a flow once, to its end.
func runFlow(t *testing.T, client *dataflow.Client, name string) (*dataflow.Run, error) {
	t.Helper()
	flow, err := client.Flow(t.Context(), name)
	require.NoError(t, err)
	return flow.Runtime.Execute(t.Context(), flow)
}

// execAll executes statements.
func execAll(t *testing.T, pool *pgxpool.Pool, statements string) {
	t.Helper()
	_, err := pool.Exec(t.Context(), statements, pgx.QueryExecModeSimpleProtocol)
	require.NoError(t, err, statements)
}

func queryInt(t *testing.T, pool *pgxpool.Pool, query string) (n int64) {
	t.Helper()
	require.NoError(t, pool.QueryRow(t.Context(), query).Scan(&n), query)
	return n
}

func cursorOf(t *testing.T, client *dataflow.Client, name string) string {
	t.Helper()
	c, err := client.Cursor(t.Context(), name)
	require.NoError(t, err)
	return string(c.Cursor)
}

var ordersTable, copiesTable = reconcile.Table{Name: "orders", Key: []string{"id"}}, reconcile.Table{Name: "copies", Key: []string{"id"}} //nolint:gochecknoglobals // nothing changes them

// copied returns a database with n orders and as many copies.
func copied(t *testing.T, n int) *pgxpool.Pool {
	t.Helper()
	return setup(t, `create table orders (id bigint primary key)`, `create table copies (id bigint primary key, deleted_at timestamptz)`,
		fmt.Sprintf(`insert into orders select n from generate_series(1, %d) n`, n), `insert into copies select id from orders`)
}

func TestKeys_Delete(t *testing.T) {
	t.Parallel()
	pool := copied(t, 40_000)
	execAll(t, pool, `delete from orders where id % 1000 = 7 or id between 20001 and 20100 or id = 40000; insert into orders values (50000), (50001);
		delete from copies where id in (11, 20200); insert into copies values (-5), (60000)`)
	c := reconcile.New(pgtable.Keys(pool, ordersTable), pgtable.Keys(pool, copiesTable), nil)
	client := startFlow(t, pool, goneFlow(c, c.Delete(), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 20}}))
	run, err := runFlow(t, client, "gone")
	require.NoError(t, err)
	require.Equal(t, dataflow.Counters{Read: 142, Written: 142}, run.Counters, "39 of 1000, 100 in a row, the last, and 2 that never were")
	require.Zero(t, queryInt(t, pool, `select count(*) from copies where id not in (select id from orders)`))
	require.EqualValues(t, 4, queryInt(t, pool, `select count(*) from orders where id not in (select id from copies)`), "nothing is added")
	require.JSONEq(t, `{"pass": "done", "source_rows": 39862, "target_rows": 40000, "gone": 142, "missing": 4, "removed": 142}`, cursorOf(t, client, "gone"))

	run, err = runFlow(t, client, "gone")
	require.NoError(t, err)
	require.Zero(t, run.Counters, "nothing is gone")
}

func TestKeys_Limit(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		statement string
		limit     float64
		refused   string
		left      int64
	}{
		"few":           {`delete from orders where id <= 50`, 0, "", 950},
		"too many":      {`delete from orders where id <= 51`, 0, "51 of the 1000 rows of copies (target) are gone from orders (source), which has 949 rows; at most 50 may be: nothing was removed", 1000},
		"allowed":       {`delete from orders where id <= 51`, 0.06, "", 949},
		"empty source":  {`truncate orders`, 0.999, "1000 of the 1000 rows", 1000},
		"empty allowed": {`truncate orders`, 1, "", 0},
		"one of few":    {`delete from copies where id > 3; delete from orders where id <> 1 and id <> 2`, 0, "", 2},
		"the only one":  {`delete from copies where id > 1; truncate orders`, 0, "1 of the 1 rows", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := copied(t, 1000)
			execAll(t, pool, test.statement)
			c := reconcile.New(pgtable.Keys(pool, ordersTable), pgtable.Keys(pool, copiesTable), &reconcile.Options{MaxGone: test.limit})
			client := startFlow(t, pool, goneFlow(c, c.Delete(), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 7}, MaxAttempts: 1}))
			_, err := runFlow(t, client, "gone")
			if test.refused == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, test.refused)
				_, err = runFlow(t, client, "gone")
				require.ErrorContains(t, err, test.refused, "the next run compares anew")
			}
			require.Equal(t, test.left, queryInt(t, pool, `select count(*) from copies`))
		})
	}
}

// The source loses more rows after they were counted. The run stops when the limit is reached.
func TestKeys_LimitLater(t *testing.T) {
	t.Parallel()
	pool := copied(t, 10_000)
	exec(t, pool, `delete from orders where id <= 400`)
	var once atomic.Bool
	c := reconcile.New(pgtable.Keys(pool, ordersTable), pgtable.Keys(pool, copiesTable), nil)
	flow := dataflow.NewFlow("gone", c, dataflow.Map(func(ctx context.Context, d reconcile.Difference) (reconcile.Difference, error) {
		if once.CompareAndSwap(false, true) {
			_, err := pool.Exec(ctx, `truncate orders`)
			return d, err
		}
		return d, nil
	}), c.Delete(), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 10}, MaxAttempts: 1})
	client := startFlow(t, pool, flow)
	_, err := runFlow(t, client, "gone")
	require.ErrorContains(t, err, "more than the 500 that may be")
	require.GreaterOrEqual(t, queryInt(t, pool, `select count(*) from copies`), int64(9500))
}

func TestKeys_Mark(t *testing.T) {
	t.Parallel()
	pool := copied(t, 3000)
	exec(t, pool, `update copies set deleted_at = '2020-01-01' where id = 1`)
	exec(t, pool, `delete from orders where id in (1, 2, 3)`)
	target := copiesTable
	target.Where = "deleted_at is null"
	c := reconcile.New(pgtable.Keys(pool, ordersTable), pgtable.Keys(pool, target), nil)
	client := startFlow(t, pool, goneFlow(c, c.Mark("deleted_at"), nil))
	for range 2 {
		run, err := runFlow(t, client, "gone")
		require.NoError(t, err)
		require.Contains(t, []int64{0, 2}, run.Counters.Written)
		require.EqualValues(t, 3, queryInt(t, pool, `select count(*) from copies where deleted_at is not null`))
		require.EqualValues(t, 1, queryInt(t, pool, `select id from copies where deleted_at = '2020-01-01'`))
	}
}

// Other flows write to the target too. Where keeps their rows, on both sides.
func TestKeys_Where(t *testing.T) {
	t.Parallel()
	pool := setup(t, `create table orders (id bigint primary key, region text)`, `create table copies (region text, id bigint, primary key (region, id))`,
		`insert into orders select n, case when n % 2 = 0 then 'eu' else 'us' end from generate_series(1, 2000) n`, `insert into copies select region, id from orders`,
		`insert into copies select 'asia', n from generate_series(1, 50) n`, `delete from orders where id <= 20`)
	where := "region = 'eu' -- ours"
	c := reconcile.New(pgtable.Keys(pool, reconcile.Table{Name: "orders", Key: []string{"id"}, Where: where}), pgtable.Keys(pool, reconcile.Table{Name: "public.copies", Key: []string{"id"}, Where: where}), nil)
	client := startFlow(t, pool, goneFlow(c, c.Delete(), nil))
	_, err := runFlow(t, client, "gone")
	require.NoError(t, err)
	require.Equal(t, []int64{50, 990, 1000}, []int64{queryInt(t, pool, `select count(*) from copies where region = 'asia'`),
		queryInt(t, pool, `select count(*) from copies where region = 'eu'`), queryInt(t, pool, `select count(*) from copies where region = 'us'`)})
}

// The differences are rows like any other: they can be reported instead.
func TestKeys_Report(t *testing.T) {
	t.Parallel()
	pool := copied(t, 3000)
	execAll(t, pool, `delete from orders where id = 7; delete from copies where id in (8, 2999)`)
	exec(t, pool, `create table report (kind text, key text, primary key (kind, key))`)
	c := reconcile.New(pgtable.Keys(pool, ordersTable), pgtable.Keys(pool, copiesTable), &reconcile.Options{Missing: true})
	client := startFlow(t, pool, goneFlow(c, pgtable.Upsert[reconcile.Difference]("report", "kind", "key"), nil))
	_, err := runFlow(t, client, "gone")
	require.NoError(t, err)
	var report string
	require.NoError(t, pool.QueryRow(t.Context(), `select string_agg(kind || ' ' || key, ', ' order by key) from report`).Scan(&report))
	require.Equal(t, "missing 2999, gone 7, missing 8", report)
	require.EqualValues(t, 2998, queryInt(t, pool, `select count(*) from copies`))
}

// Each type of key, with rows that are alike, gone and missing. The target's types may be others.
func TestKeys_Types(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ source, target, value string }{
		"int":         {"integer", "bigint", "n"},
		"numeric":     {"numeric(20,4)", "numeric", "n / 8.0 - 100"},
		"text":        {`text collate "C"`, `varchar(40) collate "en-x-icu"`, "case n % 4 when 0 then 'Ä' when 1 then 'a' when 2 then 'B' else '' end || n || chr(39)"},
		"uuid":        {"uuid", "uuid", "md5(n::text)::uuid"},
		"bytea":       {"bytea", "bytea", "decode(md5(n::text), 'hex')"},
		"date":        {"date", "date", "date '2030-01-01' - (n * 300)::integer"},
		"timestamp":   {"timestamp", "timestamp(6)", "timestamp '2000-01-02' - n * interval '1 day 1 microsecond'"},
		"timestamptz": {"timestamptz", "timestamptz", "case when n = 1500 then 'infinity' when n = 1 then '-infinity' else timestamptz '2000-01-02' - n * interval '1 day 1 microsecond' end"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			value := "(" + test.value + ")"
			pool := setup(t, fmt.Sprintf(`create table orders (part smallint, id %s, primary key (part, id))`, test.source), fmt.Sprintf(`create table copies (part bigint, id %s, primary key (part, id))`, test.target),
				`insert into orders select n % 3, `+value+` from generate_series(1, 3000) n where n % 1499 <> 0`, `insert into copies select n % 3, `+value+` from generate_series(1, 3000) n where n not in (77, 78)`)
			key := []string{"part", "id"}
			pool = open(t, pool.Config().ConnString(), pgx.QueryExecModeCacheStatement, map[string]string{"DateStyle": "SQL, DMY", "TimeZone": "Asia/Tokyo", "bytea_output": "escape"})
			c := reconcile.New(pgtable.Keys(pool, reconcile.Table{Name: "orders", Key: key}), pgtable.Keys(pool, reconcile.Table{Name: "copies", Key: key}), nil)
			client := startFlow(t, pool, goneFlow(c, c.Delete(), nil))
			run, err := runFlow(t, client, "gone")
			require.NoError(t, err)
			require.Equal(t, dataflow.Counters{Read: 2, Written: 2}, run.Counters)
			require.Contains(t, cursorOf(t, client, "gone"), `"missing":2`)
			require.EqualValues(t, 2996, queryInt(t, pool, `select count(*) from copies`))
			_, err = runFlow(t, client, "gone")
			require.NoError(t, err)
			require.EqualValues(t, 2996, queryInt(t, pool, `select count(*) from copies`))
		})
	}
}

// The hash that Go computes is that of Postgres, for one column and for several.
func TestKeys_Hash(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	for n := range 40 {
		text := strings.Repeat("aü0", n)[:n]
		text = strings.ToValidUTF8(text, "x")
		var one, two, digest int64
		require.NoError(t, pool.QueryRow(t.Context(), `select hashtextextended($1, 0), hashtextextended($1, hashtextextended('17', 0)), ('x' || left(md5(md5('17') || md5($1)), 16))::bit(64)::bigint`, text).Scan(&one, &two, &digest))
		require.Equal(t, uint64(one), reconcile.Jenkins.Of(reconcile.Key{text}), text)
		require.Equal(t, uint64(two), reconcile.Jenkins.Of(reconcile.Key{"17", text}), text)
		require.Equal(t, uint64(digest), reconcile.MD5.Of(reconcile.Key{"17", text}), text)
	}
}

func TestKeys_Refused(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ source, target, refused string }{
		"float":   {"float8", "float8", `key column "id" is double precision, which cannot be compared`},
		"other":   {"bigint", "text", `key column "id" of the source is bigint, and "id" of the target is text: they cannot be compared`},
		"numeric": {"bigint", "numeric", `of the target is numeric`},
		"zone":    {"timestamp", "timestamptz", `of the source is timestamp without time zone, and "id" of the target is timestamp with time zone`},
		"char":    {"text", "char(5)", `differ in trailing blanks, so that its row may stand for a key of the source that is spelled otherwise: if both sides write each key alike, set SameSpelling`},
		"folding": {"text", "text collate folding", `its collation is nondeterministic`},
		"uuid":    {"text", "uuid", `it is uuid, and the source's is text`},
		"array":   {"bigint[]", "bigint[]", `is bigint[], which cannot be compared`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := setup(t, `create collation folding (provider = icu, locale = 'und-u-ks-level2', deterministic = false)`, `create table orders (id `+test.source+`)`, `create table copies (id `+test.target+`)`)
			c := reconcile.New(pgtable.Keys(pool, ordersTable), pgtable.Keys(pool, copiesTable), nil)
			for _, err := range c.Read(t.Context(), dataflow.Request[reconcile.Cursor]{}) {
				require.ErrorContains(t, err, test.refused)
				require.True(t, dataflow.IsPermanent(err))
			}
		})
	}
	pool := setup(t)
	for _, err := range reconcile.New(pgtable.Keys(pool, ordersTable), pgtable.Keys(pool, copiesTable), nil).Read(t.Context(), dataflow.Request[reconcile.Cursor]{}) {
		require.ErrorContains(t, err, `source: table orders: `)
		require.ErrorContains(t, err, `"orders" does not exist`)
	}
	c := reconcile.New(pgtable.Keys(nil, ordersTable), pgtable.Keys(pool, reconcile.Table{Name: "copies", Key: []string{"a", "b"}}), &reconcile.Options{MaxGone: 2})
	err := c.Validate()
	for _, text := range []string{"create it with pgxpool.New", "the source's has 1 columns, and the target's 2", "MaxGone"} {
		require.ErrorContains(t, err, text)
	}
}

// A row comes back after it was found to be gone. It stays.
func TestKeys_ComesBack(t *testing.T) {
	t.Parallel()
	pool := copied(t, 3000)
	exec(t, pool, `delete from orders where id in (5, 6)`)
	c := reconcile.New(pgtable.Keys(pool, ordersTable), pgtable.Keys(pool, copiesTable), nil)
	flow := dataflow.NewFlow("gone", c, dataflow.Map(func(ctx context.Context, d reconcile.Difference) (reconcile.Difference, error) {
		_, err := pool.Exec(ctx, `insert into orders values (6) on conflict do nothing`)
		return d, err
	}), c.Delete(), nil)
	client := startFlow(t, pool, flow)
	_, err := runFlow(t, client, "gone")
	require.NoError(t, err)
	require.Equal(t, []int64{2999, 1}, []int64{queryInt(t, pool, `select count(*) from copies`), queryInt(t, pool, `select count(*) from copies where id = 6`)})
}

// Rows that another table refers to are dead letters.
func TestKeys_BadRecord(t *testing.T) {
	t.Parallel()
	pool := copied(t, 3000)
	execAll(t, pool, `create table lines (order_id bigint references copies (id)); insert into lines values (6); delete from orders where id in (5, 6, 7)`)
	c := reconcile.New(pgtable.Keys(pool, ordersTable), pgtable.Keys(pool, copiesTable), nil)
	client := startFlow(t, pool, goneFlow(c, c.Delete(), &dataflow.FlowOptions{OnBadRecord: dataflow.DeadLetterUpTo(10)}))
	run, err := runFlow(t, client, "gone")
	require.NoError(t, err)
	require.Equal(t, dataflow.Counters{Read: 3, Written: 2, DeadLettered: 1}, run.Counters)
	letters, err := client.DeadLetters(t.Context(), nil)
	require.NoError(t, err)
	require.Len(t, letters, 1)
	require.Contains(t, letters[0].Error, "lines_order_id_fkey")
	exec(t, pool, `delete from lines`)
	_, err = runFlow(t, client, "gone")
	require.NoError(t, err)
	require.EqualValues(t, 2997, queryInt(t, pool, `select count(*) from copies`))
}
