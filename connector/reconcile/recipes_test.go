package reconcile_test

import (
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/connector/reconcile"
	"github.com/activedataflow/dataflow/dataflowtest"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// Each Go block of docs/deletes.md is in this file.

func goneFlow(shop, warehouse *pgxpool.Pool) (*dataflow.Flow, *reconcile.Comparison) {
	gone := reconcile.New(
		pgtable.Keys(shop, reconcile.Table{Name: "orders", Key: []string{"id"}}),
		pgtable.Keys(warehouse, reconcile.Table{Name: "order_facts", Key: []string{"order_id"}}),
		nil)
	flow := dataflow.NewFlow("orders_gone", gone, dataflow.Identity[reconcile.Difference](), gone.Delete(), &dataflow.FlowOptions{
		Runtime: dataflow.Heartbeat{Schedule: dataflow.Schedule{Cron: "15 3 * * *", TimeZone: "UTC"}},
	})
	return flow, gone
}

func markFlow(gone *reconcile.Comparison) *dataflow.Flow {
	target := gone.Mark("deleted_at") // sets the time; rows that have one are left out of the comparison
	return dataflow.NewFlow("orders_marked", gone, dataflow.Identity[reconcile.Difference](), target, nil)
}

func reportFlow(warehouse *pgxpool.Pool, source, target reconcile.Side) *dataflow.Flow {
	both := reconcile.New(source, target, &reconcile.Options{Missing: true}) // also the keys that the target lacks
	report := dataflow.NewFlow("orders_report", both, dataflow.Identity[reconcile.Difference](),
		pgtable.UpsertTo[reconcile.Difference](warehouse, "order_report", "kind", "key"), nil)
	return report
}

func TestRecipes(t *testing.T) {
	t.Parallel()
	shop, warehouse := dbtest.Postgres(t), dbtest.Postgres(t)
	_, err := shop.Exec(t.Context(), `create table orders (id bigint primary key); insert into orders select generate_series(11, 100)`)
	require.NoError(t, err)
	_, err = warehouse.Exec(t.Context(), `create table order_facts (order_id bigint primary key, deleted_at timestamptz); insert into order_facts select generate_series(7, 99);
		create table order_report (kind text, key text, primary key (kind, key))`)
	require.NoError(t, err)
	count := func(query string) (n int) {
		require.NoError(t, warehouse.QueryRow(t.Context(), query).Scan(&n))
		return n
	}
	source, target := pgtable.Keys(shop, reconcile.Table{Name: "orders", Key: []string{"id"}}), pgtable.Keys(warehouse, reconcile.Table{Name: "order_facts", Key: []string{"order_id"}})
	flow, _ := goneFlow(shop, warehouse)
	kit := dataflowtest.New(t, flow, markFlow(reconcile.New(source, target, nil)), reportFlow(warehouse, source, target))
	require.Equal(t, dataflow.Counters{Read: 5, Written: 5}, kit.Work("orders_report").Counters)
	require.Equal(t, 4, count(`select count(*) from order_report where kind = 'gone' and key::int < 11`))
	require.Equal(t, dataflow.Counters{Read: 4, Written: 4}, kit.Work("orders_marked").Counters)
	require.Equal(t, 4, count(`select count(*) from order_facts where deleted_at is not null`))
	require.Equal(t, dataflow.Counters{Read: 4, Written: 4}, kit.Work("orders_gone").Counters)
	require.Equal(t, 89, count(`select count(*) from order_facts`))
	why, err := kit.Client().Why(t.Context(), "orders_gone")
	require.NoError(t, err)
	require.Contains(t, why.String(), "in the last comparison, order_facts lacked 1 of the 90 keys of orders")
}
