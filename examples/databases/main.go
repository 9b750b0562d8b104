// Databases copies a table of one Postgres database into another. The second one holds the copy,
// the cursor and the runs, so that rows and cursor are committed together. See README.md.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/dataflowpgx"
)

type Order struct {
	ID        int64     `db:"id"`
	Cents     int64     `db:"cents"`
	UpdatedAt time.Time `db:"updated_at"`
}

func main() {
	ctx := context.Background()
	shop, warehouse := open(ctx, "SHOP_URL"), open(ctx, "DATABASE_URL")
	defer shop.Close()
	defer warehouse.Close()
	_, err := shop.Exec(ctx, `
		create table if not exists orders (id bigint generated always as identity primary key, cents bigint not null, updated_at timestamptz not null default now());
		create index if not exists orders_updated_at on orders (updated_at, id);
		insert into orders (cents) select 100 * n from generate_series(1, 1000) n`)
	check(err)
	_, err = warehouse.Exec(ctx, `create table if not exists orders_copy (id bigint primary key, cents bigint not null, updated_at timestamptz not null)`)
	check(err)

	orders := dataflow.NewFlow("orders",
		pgtable.Keyset[Order](shop, pgtable.Query{SQL: `select id, cents, updated_at from orders`, Key: []string{"updated_at", "id"}}), // reads the shop
		dataflow.Identity[Order](),
		pgtable.Upsert[Order]("orders_copy", "id"), // writes where the client is: the warehouse
		&dataflow.FlowOptions{Runtime: dataflow.Heartbeat{}})
	client, err := dataflow.NewClient(dataflowpgx.New(warehouse), &dataflow.Config{Flows: []*dataflow.Flow{orders}})
	check(err)
	check(client.Migrate(ctx))
	check(client.Register(ctx))

	for range 2 {
		run, err := client.Trigger(ctx, "orders", nil)
		check(err)
		fmt.Printf("run %d: %s, %d read, %d written\n", run.ID, run.State, run.Counters.Read, run.Counters.Written)
		_, err = shop.Exec(ctx, `update orders set cents = cents + 1, updated_at = clock_timestamp() where id % 100 = 0`)
		check(err)
	}
}

func open(ctx context.Context, variable string) *pgxpool.Pool {
	url := os.Getenv(variable)
	if url == "" {
		log.Fatalf("set %s, such as postgres://user:password@localhost:5432/name: SHOP_URL is the database to read, DATABASE_URL the one to write", variable)
	}
	pool, err := pgxpool.New(ctx, url)
	check(err)
	return pool
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
