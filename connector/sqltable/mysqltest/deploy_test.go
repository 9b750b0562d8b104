//go:build unix

package mysqltest

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
	"github.com/activedataflow/dataflow/connector/sqltable"
	"github.com/activedataflow/dataflow/dataflowsqlite"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// deploys are what a deploy breaks for a while, and how it ends.
func deploys() map[string]struct{ breaks, mends, says string } {
	return map[string]struct{ breaks, mends, says string }{
		"table missing":  {"rename table numbers to numbers_old", "rename table numbers_old to numbers", "does not exist|doesn't exist"},
		"column missing": {"alter table numbers drop index n, change n m bigint", "alter table numbers change m n bigint, add unique index n (n)", "has no column|Unknown column|fields without a column: n|key column"},
		"index missing":  {"alter table numbers drop index n", "alter table numbers add unique index n (n)", "no unique index"},
	}
}

// A table, a column or an index that a deploy takes away for a while ends an attempt, at the
// first batch and in the middle. It blames no record, fails no run for good, and writes no row
// twice.
func TestUpsertTo_Deploys(t *testing.T) {
	t.Parallel()
	for name, deploy := range deploys() {
		for _, at := range []int64{0, 150} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				other := setup(t, "create table numbers (n bigint, unique index n (n))")
				do := func(sql string) {
					_, err := other.ExecContext(t.Context(), sql)
					require.NoError(t, err, sql)
				}
				rows := make([]number, 300)
				for i := range rows {
					rows[i].N = int64(i + 1)
				}
				broken := at == 0
				if broken {
					do(deploy.breaks)
				}
				breaks := dataflow.Map(func(_ context.Context, n number) (number, error) {
					if n.N == at && !broken {
						broken = true
						do(deploy.breaks)
					}
					return n, nil
				})
				flow := dataflow.NewFlow("f", memory.Slice(rows), breaks, sqltable.UpsertTo[number](other, "numbers", "n"), &dataflow.FlowOptions{
					Runtime: dataflow.Heartbeat{BatchSize: 10}, OnBadRecord: dataflow.SkipUpTo(1000), MaxAttempts: 1,
				})
				client := clientOf(t, dataflowsqlite.New(dbtest.SQLite(t)), flow)
				_, err := client.Trigger(t.Context(), "f", nil)
				require.Error(t, err)
				require.Regexp(t, deploy.says, err.Error())
				require.False(t, dataflow.IsPermanent(err), "%v", err)
				do(deploy.mends)
				run, err := client.Trigger(t.Context(), "f", nil)
				require.NoError(t, err)
				require.Zero(t, run.Counters.Dropped)
				var n, distinct int
				require.NoError(t, other.QueryRowContext(t.Context(), "select count(*), count(distinct n) from numbers").Scan(&n, &distinct))
				require.Equal(t, []int{300, 300}, []int{n, distinct})
			})
		}
	}
}

// A source whose table or column a deploy takes away for a while ends an attempt, too.
func TestSources_Deploys(t *testing.T) {
	t.Parallel()
	for name, deploy := range deploys() {
		if name == "index missing" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			other := setup(t, "create table numbers (n bigint, unique index n (n))", "insert into numbers values (1), (2)")
			for _, query := range []string{"select n from numbers", "select * from numbers"} {
				read := func() error {
					_, err := readRequest(t, sqltable.Keyset[number](other, sqltable.Query{SQL: query, Key: []string{"n"}}), dataflow.Request[sqltable.Cursor]{})
					for _, selectErr := range sqltable.Select[number](other, query).Read(t.Context(), dataflow.Request[dataflow.NoCursor]{}) {
						require.Equal(t, err == nil, selectErr == nil, "%v", selectErr)
						require.False(t, dataflow.IsPermanent(selectErr), "%v", selectErr)
					}
					return err
				}
				require.NoError(t, read())
				_, err := other.ExecContext(t.Context(), deploy.breaks)
				require.NoError(t, err)
				err = read()
				require.Error(t, err)
				require.Regexp(t, deploy.says, err.Error())
				require.False(t, dataflow.IsPermanent(err), "%v", err)
				_, err = other.ExecContext(t.Context(), deploy.mends)
				require.NoError(t, err)
				require.NoError(t, read())
			}
		})
	}
}

// A column that was altered between two runs of a process refuses what MySQL would change in its type of now.
func TestUpsertTo_Retyped(t *testing.T) {
	t.Parallel()
	type record struct {
		N int64
		V string
	}
	for _, c := range []struct {
		typ, value, newType string
		values              [2]string
		dropped             int64
		stored              string
	}{
		{"varchar(40)", "2024-01-01 10:00:00", "datetime", [2]string{"2024-01-01 10:00:00.7", "2024-01-01 10:00:01"}, 1, "1,3"},
		{"decimal(10,2)", "1.50", "decimal(10,1)", [2]string{"1.25", "1.5"}, 1, "1,3"},
		{"decimal(10,1)", "1.5", "decimal(10,2)", [2]string{"1.25", "1.5"}, 0, "1,2,3"},
	} {
		t.Run(c.newType, func(t *testing.T) {
			t.Parallel()
			other := setup(t, "create table numbers (n bigint primary key, v "+c.typ+")")
			target := sqltable.UpsertTo[record](other, "numbers", "n")
			run := func(name string, rows ...record) *dataflow.Run {
				flow := dataflow.NewFlow(name, memory.Slice(rows), dataflow.Identity[record](), target, &dataflow.FlowOptions{OnBadRecord: dataflow.SkipUpTo(9), MaxAttempts: 1})
				run, err := clientOf(t, dataflowsqlite.New(dbtest.SQLite(t)), flow).Trigger(t.Context(), name, nil)
				require.NoError(t, err)
				return run
			}
			require.Zero(t, run("before", record{1, c.value}).Counters.Dropped)
			_, err := other.ExecContext(t.Context(), "alter table numbers modify v "+c.newType)
			require.NoError(t, err)
			require.Equal(t, c.dropped, run("after", record{2, c.values[0]}, record{3, c.values[1]}).Counters.Dropped)
			var ids string
			require.NoError(t, other.QueryRowContext(t.Context(), "select group_concat(n order by n) from numbers").Scan(&ids))
			require.Equal(t, c.stored, ids)
		})
	}
}
