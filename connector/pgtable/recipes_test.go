package pgtable_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/dataflowpgx"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// Each Go block of docs/connectors/pgtable.md is in this file, so that it compiles, and a test
// runs it.

type ShopOrder struct {
	ID        int64
	Cents     int64
	Email     string
	UpdatedAt time.Time
}

type ShopEvent struct {
	ID        int64
	Kind      string
	CreatedAt time.Time
}

type ShopTotal struct {
	Shop  int64
	Cents int64
}

func orders(shop *pgxpool.Pool) dataflow.Source[ShopOrder, pgtable.Cursor] {
	return pgtable.Keyset[ShopOrder](shop, pgtable.Query{
		SQL:  `select o.id, o.cents, c.email, o.updated_at from orders o join customers c on c.id = o.customer_id where o.shop = $1`,
		Args: []any{7},
		Key:  []string{"updated_at", "id"}, // an index on (updated_at, id) makes each page quick
	})
}

func events(replica *pgxpool.Pool) dataflow.Source[ShopEvent, pgtable.Cursor] {
	return pgtable.Keyset[ShopEvent](replica, pgtable.Query{
		SQL:         `select id, kind, created_at from events`,
		Key:         []string{"created_at", "id"},
		LateCommits: pgtable.Lag{By: 5 * time.Minute}, // longer than any transaction that writes there
	})
}

func totals(client, warehouse *pgxpool.Pool) []*dataflow.Flow {
	report := pgtable.Select[ShopTotal](client, `select shop, sum(cents)::bigint as cents from sales group by shop`)
	return []*dataflow.Flow{
		dataflow.NewFlow("upsert", report, dataflow.Identity[ShopTotal](), pgtable.Upsert[ShopTotal]("totals", "shop"), nil),
		dataflow.NewFlow("replace", report, dataflow.Identity[ShopTotal](), pgtable.Replace[ShopTotal]("latest_totals"), nil),
		dataflow.NewFlow("elsewhere", orders(client), dataflow.Identity[ShopOrder](), pgtable.UpsertTo[ShopOrder](warehouse, "orders", "id"), nil),
	}
}

func TestRecipes(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	own, warehouse := dbtest.Postgres(t), dbtest.Postgres(t)
	_, err := own.Exec(ctx, `
		create table customers (id bigint primary key, email text not null);
		create table orders (id bigint primary key, shop bigint not null, customer_id bigint not null, cents bigint not null, updated_at timestamptz not null);
		create unique index on orders (updated_at, id);
		create table sales (shop bigint not null, cents bigint not null);
		create table totals (shop bigint primary key, cents bigint not null);
		create table latest_totals (shop bigint primary key, cents bigint not null);
		create table events (id bigint primary key, kind text not null, created_at timestamptz not null);
		create table seen (like events);
		insert into customers values (1, 'a@b');
		insert into orders select n, 7 + n % 2, 1, n, now() - interval '1 hour' from generate_series(1, 10) n;
		insert into sales values (7, 3), (8, 1), (7, 4);
		insert into events values (1, 'old', now() - interval '1 hour'), (2, 'new', now())`)
	require.NoError(t, err)
	_, err = warehouse.Exec(ctx, `create table orders (id bigint primary key, cents bigint not null, email text not null, updated_at timestamptz not null)`)
	require.NoError(t, err)
	flows := append(totals(own, warehouse), dataflow.NewFlow("events", events(own), dataflow.Identity[ShopEvent](), pgtable.Insert[ShopEvent]("seen"), nil))
	client, err := dataflow.NewClient(dataflowpgx.New(own), &dataflow.Config{Flows: flows, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	require.NoError(t, client.Migrate(ctx))
	require.NoError(t, client.Register(ctx))
	for name, read := range map[string]int64{"upsert": 2, "replace": 2, "elsewhere": 5, "events": 1} {
		run, err := client.Trigger(ctx, name, nil)
		require.NoError(t, err)
		require.Equal(t, read, run.Counters.Read, name)
		require.Equal(t, read, run.Counters.Written, name)
	}
}
