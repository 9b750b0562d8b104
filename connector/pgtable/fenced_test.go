package pgtable_test

import (
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/dataflowpgx"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

type number struct {
	N int64 `db:"n"`
}

func numberRows(n int) []number {
	rows := make([]number, n)
	for i := range rows {
		rows[i].N = int64(i + 1)
	}
	return rows
}

// The client and the sink use two databases.
func TestInsertTo_AnotherDatabase(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	own, other := dbtest.Postgres(t), dbtest.Postgres(t)
	_, err := other.Exec(ctx, `create table numbers (n bigint)`)
	require.NoError(t, err)

	rows := numberRows(100)
	flow := dataflow.NewFlow("far", memory.Slice(rows), dataflow.Identity[number](), pgtable.InsertTo[number](other, "numbers"),
		&dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 7}})
	client, err := dataflow.NewClient(dataflowpgx.New(own), &dataflow.Config{Flows: []*dataflow.Flow{flow}, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	require.NoError(t, client.Migrate(ctx))
	require.NoError(t, client.Register(ctx))
	for range 2 {
		_, err = client.Trigger(ctx, "far", nil)
		require.NoError(t, err)
	}
	count := func() (n, distinct int) {
		require.NoError(t, other.QueryRow(ctx, `select count(*), count(distinct n) from numbers`).Scan(&n, &distinct))
		return n, distinct
	}
	n, distinct := count()
	require.Equal(t, []int{100, 100}, []int{n, distinct})

	// As if the process had been killed between the sink's commit and the client's:
	// the client's checkpoint and counters lack the last batch.
	_, err = own.Exec(ctx, `update dataflow_checkpoint set cursor = '91'`)
	require.NoError(t, err)
	run, err := client.Trigger(ctx, "far", nil)
	require.NoError(t, err)
	require.JSONEq(t, `100`, string(run.ToCursor))
	n, distinct = count()
	require.Equal(t, []int{100, 100}, []int{n, distinct})
}

func TestInsertTo_NilPool(t *testing.T) {
	t.Parallel()
	flow := dataflow.NewFlow("far", memory.Slice(numberRows(1)), dataflow.Identity[number](), pgtable.InsertTo[number](nil, "numbers"), nil)
	_, err := dataflow.NewClient(dataflowpgx.New(dbtest.Postgres(t)), &dataflow.Config{Flows: []*dataflow.Flow{flow}})
	require.ErrorContains(t, err, `Flows["far"].Target.pool: it is nil`)
}
