package pgtable_test

import (
	"context"
	"iter"
	"log/slog"
	"testing"

	"github.com/jackc/pgx/v5"
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

// places is a source whose cursor is a text that LATIN1 lacks.
type places struct{ from *[]string }

func (p places) Read(_ context.Context, r dataflow.Request[string]) iter.Seq2[dataflow.Item[number, string], error] {
	return func(yield func(dataflow.Item[number, string], error) bool) {
		*p.from = append(*p.from, r.From)
		yield(dataflow.Item[number, string]{Value: number{1}, Cursor: "中😀", Resume: true}, nil)
	}
}

// The target's database keeps a cursor with characters that its encoding lacks.
func TestInsertTo_EncodingLacksCursor(t *testing.T) {
	t.Parallel()
	own := setup(t)
	other := open(t, inEncoding(t, "LATIN1"), pgx.QueryExecModeCacheStatement, map[string]string{"client_encoding": "UTF8"}, `create table numbers (n bigint)`)
	var from []string
	flow := dataflow.NewFlow("far", places{&from}, dataflow.Identity[number](), pgtable.InsertTo[number](other, "numbers"), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{}, MaxAttempts: 1})
	for range 2 {
		_, err := triggerFlow(t, own, flow)
		require.NoError(t, err)
	}
	require.Equal(t, []string{"", "中😀"}, from)
	require.Equal(t, []string{"2"}, texts(t, other, `select count(*)::text from numbers`))
}
