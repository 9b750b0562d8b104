package pgtable_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/dataflowpgx"
)

type amount struct {
	ID    int64
	Cents int64
}

// TestFlow runs a flow from one table to another. Its batches do not end where
// pages do. The second run resumes.
func TestFlow(t *testing.T) {
	t.Parallel()
	pool := setup(t,
		`create table amount (id bigint primary key, cents bigint not null, at timestamptz not null default now())`,
		`create table total (id bigint primary key, cents bigint not null)`, `create table log (id bigint, cents bigint)`,
		`insert into amount select n, n from generate_series(1, 1000) n`)
	source := pgtable.Keyset[amount](pool, pgtable.Query{SQL: `select id, cents, at from amount`, Key: []string{"at", "id"}, PageSize: 70, LateCommits: pgtable.Unguarded{}})
	failAt := int64(500)
	check := dataflow.Map(func(_ context.Context, a amount) (amount, error) {
		if a.ID == failAt {
			return a, errors.New("not yet")
		}
		return a, nil
	})
	flows := []*dataflow.Flow{
		dataflow.NewFlow("totals", source, check, pgtable.Upsert[amount]("total", "id"), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 100}, MaxAttempts: 1}),
		dataflow.NewFlow("log", source, dataflow.Identity[amount](), pgtable.Insert[amount]("log"), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 33}}),
	}
	client, err := dataflow.NewClient(dataflowpgx.New(pool), &dataflow.Config{Flows: flows})
	require.NoError(t, err)
	require.NoError(t, client.Migrate(t.Context()))
	require.NoError(t, client.Start(t.Context()))
	t.Cleanup(func() { require.NoError(t, client.Stop(context.WithoutCancel(t.Context()))) })
	count := func(table string) (n, sum int64) {
		require.NoError(t, pool.QueryRow(t.Context(), `select count(*), sum(cents) from `+table).Scan(&n, &sum))
		return n, sum
	}
	execute := func(name string) (*dataflow.Run, error) {
		flow, err := client.Flow(t.Context(), name)
		require.NoError(t, err)
		return flow.Runtime.Execute(t.Context(), flow)
	}

	_, err = execute("totals")
	require.ErrorContains(t, err, "not yet")
	require.ErrorContains(t, err, "Z, 500)", "the error names the record")
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

	_, err = pool.Exec(t.Context(), `update amount set cents = 0, at = clock_timestamp() where id <= 10`)
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
	_, err = pool.Exec(t.Context(), `update amount set at = clock_timestamp() where id <= 30`)
	require.NoError(t, err)
	_, err = pool.Exec(t.Context(), `update amount set cents = 7 where id <= 10`)
	require.NoError(t, err)
	run, err = execute("totals")
	require.NoError(t, err)
	require.Equal(t, dataflow.Counters{Read: 30, Written: 10, Redundant: 20, Updated: 10}, run.Counters)
}
