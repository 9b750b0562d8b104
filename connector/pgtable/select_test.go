package pgtable_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/dataflowpgx"
)

// selected reads a source to its end.
func selected[T any](t *testing.T, source dataflow.Source[T, dataflow.NoCursor]) ([]T, error) {
	t.Helper()
	var rows []T
	for item, err := range source.Read(t.Context(), dataflow.Request[dataflow.NoCursor]{}) {
		if err != nil {
			return rows, err
		}
		rows = append(rows, item.Value)
	}
	return rows, nil
}

// Any kind of select statement works, in each mode of executing queries.
func TestSelect_AnyStatement(t *testing.T) {
	t.Parallel()
	type sum struct {
		Who   string `db:"Who \"is\" it"`
		Total int64
		Last  *time.Time
	}
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			pool := setupMode(t, mode, nil, `create schema "My ""shop"""`,
				`create table "My ""shop""".order ("user" text, cents bigint, at timestamptz)`,
				`insert into "My ""shop""".order values ('a', 1, null), ('b', 5, '2026-01-02Z'), ('b', 6, '2026-01-03Z'), ('c', 2, null)`)
			got, err := selected(t, pgtable.Select[sum](pool, `
				with o as (select * from "My ""shop""".order where cents > $1)
				select max(at) as last, "user" as "Who ""is"" it", sum(cents)::bigint as total from o group by 2 order by 3 desc limit 2; -- and no more`, 1))
			require.NoError(t, err)
			at := time.Date(2026, 1, 3, 0, 0, 0, 0, time.UTC)
			require.Len(t, got, 2)
			require.True(t, at.Equal(*got[0].Last))
			got[0].Last = nil
			require.Equal(t, []sum{{Who: "b", Total: 11}, {Who: "c", Total: 2}}, got)
		})
	}
}

// Rows arrive while the statement still runs, and a reader that stops does not wait
// for the rest. This statement never ends.
func TestSelect_Streams(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	var got []int64
	for item, err := range pgtable.Select[number](pool, `select generate_series(1, 9e18::bigint) as n`).Read(t.Context(), dataflow.Request[dataflow.NoCursor]{}) {
		require.NoError(t, err)
		if got = append(got, item.Value.N); len(got) == 3 {
			break
		}
	}
	require.Equal(t, []int64{1, 2, 3}, got)
	require.Eventually(t, func() bool {
		var n int
		require.NoError(t, pool.QueryRow(t.Context(), `select count(*) from pg_stat_activity where datname = current_database() and state = 'active' and pid <> pg_backend_pid()`).Scan(&n))
		return n == 0
	}, 2*time.Minute, 10*time.Millisecond, "the statement still runs")
}

func TestSelect_Errors(t *testing.T) {
	t.Parallel()
	pool := setup(t, `create table numbers (n bigint)`)
	for query, want := range map[string][]string{
		`select n, n as m from numbers`:                       {`query "select n, n as m from numbers"`, "columns without a field: m"},
		`select 1 as "N"`:                                     {"columns without a field: N", "fields without a column: n (field N)"},
		`select n, n from numbers`:                            {`two columns named "n"`},
		`select n from figures`:                               {`"figures" does not exist`, "42P01"},
		`select 5 / (n - 3) as n from generate_series(1,9) n`: {"division by zero"},
	} {
		_, err := selected(t, pgtable.Select[number](pool, query))
		for _, part := range want {
			require.ErrorContains(t, err, part)
		}
	}
	for _, source := range []dataflow.Source[number, dataflow.NoCursor]{
		pgtable.Select[number](nil, `select 1 as n`), pgtable.Select[number](pool, " \n"),
		pgtable.Select[number](pool, `select $1 as n`, pgx.NamedArgs{"n": 1}),
	} {
		_, err := selected(t, source)
		var wrong *dataflow.ConfigError
		require.ErrorAs(t, err, &wrong)
		require.True(t, dataflow.IsPermanent(err))
	}
}

// A target that only appends, or that keeps a cursor, is refused. An upsert reads
// everything again and writes nothing new.
func TestSelect_Targets(t *testing.T) {
	t.Parallel()
	pool := setup(t, `create table numbers (n bigint primary key)`)
	flow := func(target dataflow.Target[number]) *dataflow.Flow {
		return dataflow.NewFlow("numbers", pgtable.Select[number](pool, `select n from generate_series(1, 5000) n`), dataflow.Identity[number](), target, nil)
	}
	client := func(target dataflow.Target[number]) (*dataflow.Client, error) {
		return dataflow.NewClient(dataflowpgx.New(pool), &dataflow.Config{Flows: []*dataflow.Flow{flow(target)}})
	}
	_, err := client(pgtable.Insert[number]("numbers"))
	require.ErrorContains(t, err, "it only appends, and the source has no cursor")
	_, err = client(pgtable.UpsertTo[number](pool, "numbers", "n"))
	require.ErrorContains(t, err, "it keeps the source's cursor, and the source has none")

	c, err := client(pgtable.Upsert[number]("numbers", "n"))
	require.NoError(t, err)
	require.NoError(t, c.Migrate(t.Context()))
	require.NoError(t, c.Register(t.Context()))
	for _, want := range []dataflow.Counters{{Read: 5000, Written: 5000}, {Read: 5000, Redundant: 5000}} {
		run, err := c.Trigger(t.Context(), "numbers", nil)
		require.NoError(t, err)
		require.Equal(t, want, run.Counters)
	}
}
