package pgtable_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/connector/reconcile"
	"github.com/activedataflow/dataflow/dataflowpgx"
	"github.com/activedataflow/dataflow/dataflowtest"
	"github.com/activedataflow/dataflow/internal/keyrange"
)

// In the client's own database, and with a process that dies twice.
func TestKeys_Delete(t *testing.T) {
	t.Parallel()
	c := ordersOf(t, setup(t), "shop", 40_000)
	c.exec(`delete from orders where id % 1000 = 7 or id between 20001 and 20100 or id = 40000; insert into orders values (50000), (50001);
		delete from copies where id in (11, 20200); insert into copies values (-5), (60000)`)
	of := c.compare(nil)
	kit := dataflowtest.NewOn(t, dataflowpgx.New(c.pool), &dataflow.Config{Flows: []*dataflow.Flow{goneFlow(c.schema, of, of.Delete(), dataflow.FlowOptions{})}})
	kit.CrashAt(dataflowtest.AfterWrite, 3)
	run := kit.Work(c.schema)
	require.Equal(t, dataflow.RunSuccess, run.State, run.Error)
	require.Equal(t, dataflow.Counters{Read: 142, Written: 142}, run.Counters, "39 of 1000, 100 in a row, the last, and 2 that never were")
	require.Zero(t, c.int(`select count(*) from copies where id not in (select id from orders)`))
	require.EqualValues(t, 4, c.int(`select count(*) from orders where id not in (select id from copies)`), "nothing is added")
	require.JSONEq(t, `{"pass": "done", "source_rows": 39862, "target_rows": 40000, "gone": 142, "missing": 4, "removed": 142}`, cursorOf(t, kit, c.schema))
	require.Zero(t, kit.Work(c.schema).Counters, "nothing is gone")
}

func TestKeys_Limit(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	for name, test := range map[string]struct {
		statement string
		limit     float64
		refused   string
		left      int64
	}{
		"few":           {`delete from orders where id <= 50`, 0, "", 950},
		"too many":      {`delete from orders where id <= 51`, 0, "51 of the 1000 rows of too_many.copies (target) are gone from too_many.orders (source), which has 949 rows; at most 50 may be: nothing was removed", 1000},
		"allowed":       {`delete from orders where id <= 51`, 0.06, "", 949},
		"empty source":  {`truncate orders`, 0.999, "1000 of the 1000 rows", 1000},
		"empty allowed": {`truncate orders`, 1, "", 0},
		"one of few":    {`delete from copies where id > 3; delete from orders where id <> 1 and id <> 2`, 0, "", 2},
		"the only one":  {`delete from copies where id > 1; truncate orders`, 0, "1 of the 1 rows", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := ordersOf(t, pool, strings.ReplaceAll(name, " ", "_"), 1000)
			c.exec(test.statement)
			of := c.compare(&reconcile.Options{MaxGone: test.limit})
			kit := dataflowtest.New(t, goneFlow(c.schema, of, of.Delete(), dataflow.FlowOptions{MaxAttempts: 1}))
			for range 2 { // the next run compares anew
				require.Contains(t, kit.Work(c.schema).Error, test.refused)
			}
			require.Equal(t, test.left, c.int(`select count(*) from copies`))
		})
	}
}

// A row comes back after it was found to be gone. It stays.
func TestKeys_ComesBack(t *testing.T) {
	t.Parallel()
	c := ordersOf(t, setup(t), "shop", 3000)
	c.exec(`delete from orders where id in (5, 6)`)
	var calls atomic.Int64
	of := c.compare(nil)
	kit := dataflowtest.New(t, dataflow.NewFlow(c.schema, of, dataflow.Map(func(_ context.Context, d reconcile.Difference) (reconcile.Difference, error) {
		if calls.Add(1) == 1 {
			c.exec(`insert into orders values (6)`) //nolint:contextcheck // the test's context
		}
		return d, nil
	}), of.Delete(), nil))
	require.Empty(t, kit.Work(c.schema).Error)
	require.EqualValues(t, 2, calls.Load(), "6 was found to be gone")
	require.Equal(t, []int64{2999, 1}, []int64{c.int(`select count(*) from copies`), c.int(`select count(*) from copies where id = 6`)})
}

// The source loses more rows after they were counted. The read stops at the limit.
func TestKeys_LosesMore(t *testing.T) {
	t.Parallel()
	c := ordersOf(t, setup(t), "shop", 10_000)
	c.exec(`delete from orders where id <= 400`)
	found := 0
	var end error
	var at reconcile.Cursor
	for item, err := range c.compare(nil).Read(t.Context(), dataflow.Request[reconcile.Cursor]{}) {
		switch {
		case err != nil:
			end = err
		case item.Mark:
			at = item.Cursor
		default:
			if found++; found == 1 {
				c.exec(`truncate orders`)
			}
		}
	}
	require.ErrorContains(t, end, "more rows of shop.copies are gone than the 400 that were counted at first, and more than the 500 that may be: the run stops after 400")
	require.True(t, dataflow.IsPermanent(end))
	require.Equal(t, 400, found)
	require.Equal(t, "done", at.Pass, "the next run compares anew")
}

func TestKeys_Mark(t *testing.T) {
	t.Parallel()
	c := ordersOf(t, setup(t), "shop", 3000)
	c.exec(`update copies set deleted_at = '2020-01-01' where id <= 2900; delete from orders where id <= 2900 or id in (2998, 2999)`)
	of := c.compare(nil)
	kit := dataflowtest.New(t, goneFlow(c.schema, of, of.Mark("deleted_at"), dataflow.FlowOptions{}))
	for _, written := range []int64{2, 0} {
		require.Equal(t, written, kit.Work(c.schema).Counters.Written, "those that were marked before count as removed")
		require.EqualValues(t, 2902, c.int(`select count(*) from copies where deleted_at is not null`))
		require.EqualValues(t, 2900, c.int(`select count(*) from copies where deleted_at = '2020-01-01'`))
	}
	of.Mark("")
	require.ErrorContains(t, of.Validate(), "name the column that gets the time")
}

// Other flows write to the target too. Where keeps their rows, on both sides.
func TestKeys_Where(t *testing.T) {
	t.Parallel()
	c := newCopied(t, setup(t), "shop", `create table orders (id bigint primary key, region text)`, `create table copies (region text, id bigint, primary key (region, id))`,
		`insert into orders select n, case when n % 2 = 0 then 'eu' else 'us' end from generate_series(1, 2000) n`, `insert into copies select region, id from orders`,
		`insert into copies select 'asia', n from generate_series(1, 50) n`, `delete from orders where id <= 20`)
	c.orders.Where, c.copies.Where = "region = 'eu' -- ours", "region = 'eu' -- ours"
	require.Empty(t, c.deletes(dataflow.FlowOptions{}).Work(c.schema).Error)
	require.Equal(t, []int64{50, 990, 1000}, []int64{
		c.int(`select count(*) from copies where region = 'asia'`), c.int(`select count(*) from copies where region = 'eu'`), c.int(`select count(*) from copies where region = 'us'`),
	})
}

// The differences are rows like any other: they can be reported instead.
func TestKeys_Report(t *testing.T) {
	t.Parallel()
	c := ordersOf(t, setup(t), "shop", 3000)
	c.exec(`delete from orders where id = 7; delete from copies where id in (8, 2999); create table report (kind text, key text, primary key (kind, key))`)
	kit := dataflowtest.New(t, goneFlow(c.schema, c.compare(&reconcile.Options{Missing: true}), pgtable.UpsertTo[reconcile.Difference](c.pool, "shop.report", "kind", "key"), dataflow.FlowOptions{}))
	require.Equal(t, dataflow.Counters{Read: 3, Written: 3}, kit.Work(c.schema).Counters)
	var report string
	require.NoError(t, c.pool.QueryRow(t.Context(), `select string_agg(kind || ' ' || key, ', ' order by key) from shop.report`).Scan(&report))
	require.Equal(t, "missing 2999, gone 7, missing 8", report)
	require.EqualValues(t, 2998, c.int(`select count(*) from copies`))
}

// Each type of key, with rows that are alike, gone and missing. The target's types may be others.
func TestKeys_Types(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	pool = open(t, pool.Config().ConnString(), pgx.QueryExecModeCacheStatement, map[string]string{"DateStyle": "SQL, DMY", "TimeZone": "Asia/Tokyo", "bytea_output": "escape"})
	const texts = "case n % 4 when 0 then 'Ä' when 1 then 'a' when 2 then 'B' else '' end || n || chr(39)"
	for name, test := range map[string]struct{ source, target, value string }{
		"int":         {"integer", "bigint", "n"},
		"numeric":     {"numeric(20,4)", "numeric", "n / 8.0 - 100"},
		"text":        {`text collate "C"`, `varchar(40) collate "POSIX"`, texts},
		"orders":      {`text collate "C"`, `varchar(40) collate "en-x-icu"`, texts}, // Ä1, a1, B1 are in other orders
		"locale":      {`text collate "en-x-icu"`, `text collate "en-x-icu"`, texts},
		"uuid":        {"uuid", "uuid", "md5(n::text)::uuid"},
		"uuids":       {"uuid", `text collate "en-x-icu"`, "md5(n::text)::uuid"},
		"bytea":       {"bytea", "bytea", "decode(md5(n::text), 'hex')"},
		"date":        {"date", "date", "date '2030-01-01' - (n * 300)::integer"},
		"timestamp":   {"timestamp", "timestamp(6)", "timestamp '2000-01-02' - n * interval '1 day 1 microsecond'"},
		"timestamptz": {"timestamptz", "timestamptz", "case when n = 1500 then 'infinity' when n = 1 then '-infinity' else timestamptz '2000-01-02' - n * interval '1 day 1 microsecond' end"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			value := "(" + test.value + ")"
			c := newCopied(t, pool, "types_"+name, fmt.Sprintf(`create table orders (part smallint, id %s, primary key (part, id))`, test.source), fmt.Sprintf(`create table copies (part bigint, id %s, primary key (part, id))`, test.target),
				`insert into orders select n % 3, `+value+` from generate_series(1, 3000) n where n % 1499 <> 0`, `insert into copies select n % 3, `+value+` from generate_series(1, 3000) n where n not in (77, 78)`)
			c.orders.Key, c.copies.Key = []string{"part", "id"}, []string{"part", "id"}
			all, end := differences(t, c.compare(&reconcile.Options{Missing: true}), reconcile.Cursor{}, -1)
			require.Len(t, all, 4)
			require.Equal(t, reconcile.Cursor{Pass: "done", Pages: name == "orders" || name == "uuids", SourceRows: 2998, TargetRows: 2998, Gone: 2, Missing: 2, Removed: 2}, end)
			var found []string
			for at := (reconcile.Cursor{}); at.Pass != "done"; {
				var more []string
				more, at = differences(t, c.compare(&reconcile.Options{Missing: true}), at, 1)
				found = append(found, more...)
			}
			require.Equal(t, all, found, "it goes on at each resume point")
			kit := c.deletes(dataflow.FlowOptions{})
			require.Equal(t, dataflow.Counters{Read: 2, Written: 2}, kit.Work(c.schema).Counters)
			require.EqualValues(t, 2996, c.int(`select count(*) from copies`))
			require.Zero(t, kit.Work(c.schema).Counters)
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
		require.Equal(t, uint64(one), keyrange.Jenkins.Of(keyrange.Key{text}), text)
		require.Equal(t, uint64(two), keyrange.Jenkins.Of(keyrange.Key{"17", text}), text)
		require.Equal(t, uint64(digest), keyrange.MD5.Of(keyrange.Key{"17", text}), text)
	}
}

// Postgres' hash of a bigint alone is the same for these two.
func TestKeys_FoldedIntegers(t *testing.T) {
	t.Parallel()
	c := newCopied(t, setup(t), "shop", `create table orders (id bigint primary key)`, `create table copies (id bigint primary key)`, `insert into orders values (4)`, `insert into copies values (4294967301)`)
	require.EqualValues(t, 1, c.int(`select count(*) from orders o, copies c where hashint8extended(o.id, 0) = hashint8extended(c.id, 0)`))
	found, _ := differences(t, c.compare(&reconcile.Options{Missing: true}), reconcile.Cursor{}, -1)
	require.Equal(t, []string{"gone 4294967301", "missing 4"}, found)
}

func TestKeys_Refused(t *testing.T) {
	t.Parallel()
	pool := setup(t, `create collation folding (provider = icu, locale = 'und-u-ks-level2', deterministic = false)`)
	for name, test := range map[string]struct{ source, target, refused string }{
		"float":   {"float8", "float8", `key column "id" is double precision, which cannot be compared`},
		"other":   {"bigint", "text", `key column "id" of the source is bigint, and "id" of the target is text: they cannot be compared`},
		"numeric": {"bigint", "numeric", `of the target is numeric`},
		"zone":    {"timestamp", "timestamptz", `of the source is timestamp without time zone, and "id" of the target is timestamp with time zone`},
		"char":    {"text", "char(5)", `differ in trailing blanks, so that its row may stand for a key of the source that is spelled otherwise: if both sides write each key alike, set SameSpelling`},
		"folding": {"text", "text collate public.folding", `its collation is nondeterministic`},
		"uuid":    {"text", "uuid", `it is uuid, and the source's is text`},
		"array":   {"bigint[]", "bigint[]", `is bigint[], which cannot be compared`},
		"scale":   {"numeric", "numeric(20,2)", `it keeps 2 digits after the point, and the source's more`},
		"seconds": {"timestamptz", "timestamptz(0)", `it keeps 0 digits after the point`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCopied(t, pool, "refused_"+name, `create table orders (id `+test.source+`)`, `create table copies (id `+test.target+`)`)
			for _, err := range c.compare(nil).Read(t.Context(), dataflow.Request[reconcile.Cursor]{}) {
				require.ErrorContains(t, err, test.refused)
				require.True(t, dataflow.IsPermanent(err))
			}
		})
	}
	orders := reconcile.Table{Name: "orders", Key: []string{"id"}}
	for _, err := range reconcile.New(pgtable.Keys(pool, orders), pgtable.Keys(pool, orders), nil).Read(t.Context(), dataflow.Request[reconcile.Cursor]{}) {
		require.ErrorContains(t, err, `source: table orders: `)
		require.ErrorContains(t, err, `"orders" does not exist`)
	}
	c := reconcile.New(pgtable.Keys(nil, orders), pgtable.Keys(pool, reconcile.Table{Name: "copies", Key: []string{"a", "b"}}), &reconcile.Options{MaxGone: 2})
	err := c.Validate()
	for _, text := range []string{"create it with pgxpool.New", "the source's has 1 columns, and the target's 2", "MaxGone"} {
		require.ErrorContains(t, err, text)
	}
}

// Rows that another table refers to are dead letters.
func TestKeys_BadRecord(t *testing.T) {
	t.Parallel()
	c := ordersOf(t, setup(t), "shop", 3000)
	c.exec(`create table lines (order_id bigint references copies (id)); insert into lines values (6); delete from orders where id in (5, 6, 7)`)
	kit := c.deletes(dataflow.FlowOptions{OnBadRecord: dataflow.DeadLetterUpTo(10)})
	require.Equal(t, dataflow.Counters{Read: 3, Written: 2, DeadLettered: 1}, kit.Work(c.schema).Counters)
	letters, err := kit.Client().DeadLetters(t.Context(), nil)
	require.NoError(t, err)
	require.Len(t, letters, 1)
	require.Contains(t, letters[0].Error, "lines_order_id_fkey")
	c.exec(`delete from lines`)
	require.Empty(t, kit.Work(c.schema).Error)
	require.EqualValues(t, 2997, c.int(`select count(*) from copies`))
}
