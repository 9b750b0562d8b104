package sqltable_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/sqltable"
	"github.com/activedataflow/dataflow/dataflowsqlite"
)

type amount struct {
	ID    int64
	Cents int64
}

// TestFlow runs a flow from one table to another. Its batches do not end where
// pages do. The second run resumes.
func TestFlow(t *testing.T) {
	t.Parallel()
	db := setup(t,
		`create table amount (id integer primary key, cents integer not null, at text not null default '2024-01-01')`,
		`create table total (id integer primary key, cents integer not null)`, `create table log (id integer, cents integer)`,
		`with recursive s (n) as (select 1 union all select n + 1 from s where n < 1000) insert into amount (id, cents) select n, n from s`)
	source := sqltable.Keyset[amount](db, sqltable.Query{SQL: `select id, cents, at from amount`, Key: []string{"at", "id"}, PageSize: 70})
	failAt := int64(500)
	check := dataflow.Map(func(_ context.Context, a amount) (amount, error) {
		if a.ID == failAt {
			return a, errors.New("not yet")
		}
		return a, nil
	})
	flows := []*dataflow.Flow{
		dataflow.NewFlow("totals", source, check, sqltable.Upsert[amount]("total", "id"), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 100}, MaxAttempts: 1}),
		dataflow.NewFlow("log", source, dataflow.Identity[amount](), sqltable.Insert[amount]("log"), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 33}}),
	}
	client, err := dataflow.NewClient(dataflowsqlite.New(db), &dataflow.Config{Flows: flows})
	require.NoError(t, err)
	require.NoError(t, client.Migrate(t.Context()))
	require.NoError(t, client.Start(t.Context()))
	t.Cleanup(func() { require.NoError(t, client.Stop(context.WithoutCancel(t.Context()))) })
	count := func(table string) (n, sum int64) {
		require.NoError(t, db.QueryRowContext(t.Context(), `select count(*), sum(cents) from `+table).Scan(&n, &sum))
		return n, sum
	}
	execute := func(name string) (*dataflow.Run, error) {
		flow, err := client.Flow(t.Context(), name)
		require.NoError(t, err)
		return flow.Runtime.Execute(t.Context(), flow)
	}

	_, err = execute("totals")
	require.ErrorContains(t, err, "not yet")
	require.ErrorContains(t, err, "', 500)", "the error names the record")
	n, _ := count("total")
	require.EqualValues(t, 400, n)
	failAt = 0
	run, err := execute("totals")
	require.NoError(t, err)
	require.Equal(t, dataflow.RunSuccess, run.State)
	require.EqualValues(t, 600, run.Counters.Written)
	require.EqualValues(t, 600, *run.Total)
	n, sum := count("total")
	require.EqualValues(t, 1000, n)
	require.EqualValues(t, 500_500, sum)

	_, err = db.ExecContext(t.Context(), `update amount set cents = 0, at = '2024-01-02' where id <= 10`)
	require.NoError(t, err)
	for _, name := range []string{"totals", "log", "log"} {
		_, err = execute(name)
		require.NoError(t, err)
	}
	n, sum = count("total")
	require.EqualValues(t, 1000, n)
	require.EqualValues(t, 500_500-55, sum)
	n, _ = count("log")
	require.EqualValues(t, 1000, n)

	// Of the rows that are read again, 10 have changed, and the others are redundant.
	_, err = db.ExecContext(t.Context(), `update amount set at = '2024-01-03' where id <= 30`)
	require.NoError(t, err)
	_, err = db.ExecContext(t.Context(), `update amount set cents = 7 where id <= 10`)
	require.NoError(t, err)
	run, err = execute("totals")
	require.NoError(t, err)
	require.Equal(t, dataflow.Counters{Read: 30, Written: 10, Redundant: 20, Updated: 10}, run.Counters)
}
