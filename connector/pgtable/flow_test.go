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

// A dead letter is resolved when its row is read again under the same key. A row whose key has
// changed with it is another record: its dead letter stays open, and a replay of it puts the old
// row over the new one, as docs/errors.md says.
func TestFlow_DeadLetterOfChangedKey(t *testing.T) {
	t.Parallel()
	pool := setup(t,
		`create table amount (id bigint primary key, cents bigint not null, at timestamptz not null)`, `create table total (id bigint primary key, cents bigint not null)`,
		`insert into amount values (1, -5, '2024-01-01'), (2, -7, '2024-01-02')`)
	strict := true
	check := dataflow.Map(func(_ context.Context, a amount) (amount, error) {
		if strict && a.Cents < 0 {
			return a, errors.New("it is negative")
		}
		return a, nil
	})
	source := pgtable.Keyset[amount](pool, pgtable.Query{SQL: `select id, cents, at from amount`, Key: []string{"at", "id"}})
	flow := dataflow.NewFlow("totals", source, check, pgtable.Upsert[amount]("total", "id"), &dataflow.FlowOptions{OnBadRecord: dataflow.DeadLetterUpTo(10)})
	client, err := dataflow.NewClient(dataflowpgx.New(pool), &dataflow.Config{Flows: []*dataflow.Flow{flow}})
	require.NoError(t, err)
	require.NoError(t, client.Migrate(t.Context()))
	require.NoError(t, client.Register(t.Context()))
	work := func(run *dataflow.Run, err error) {
		t.Helper()
		require.NoError(t, err)
		_, err = dataflow.NewFlowExecutor(client).Execute(t.Context(), run.ID)
		require.NoError(t, err)
	}
	open := func() []*dataflow.DeadLetterRecord {
		t.Helper()
		letters, err := client.DeadLetters(t.Context(), &dataflow.DeadLetterListParams{Open: true})
		require.NoError(t, err)
		return letters
	}
	work(client.Enqueue(t.Context(), "totals", nil))
	require.Len(t, open(), 2)
	exec(t, pool, `update amount set cents = 5, at = now() where id = 1`)
	exec(t, pool, `update amount set cents = 7 where id = 2`)
	work(client.Enqueue(t.Context(), "totals", nil))
	require.Len(t, open(), 2, "the first row has another key now, and the second is before the cursor")
	work(client.Backfill(t.Context(), "totals", nil))
	letters := open()
	require.Len(t, letters, 1)
	require.Contains(t, letters[0].Key, "2024-01-01")

	first := func() (cents int64) {
		require.NoError(t, pool.QueryRow(t.Context(), `select cents from total where id = 1`).Scan(&cents))
		return cents
	}
	require.EqualValues(t, 5, first())
	strict = false
	_, err = client.Replay(t.Context(), "totals", nil)
	require.NoError(t, err)
	require.EqualValues(t, -5, first())
}
