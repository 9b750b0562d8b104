// Transaction starts a run in the transaction of the service's own rows: the order and the run
// that works it are there together, or neither is. See README.md.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/dataflowpgx"
)

const tables = `
create table if not exists orders (id bigint generated always as identity primary key, customer text not null);
create table if not exists invoices (order_id bigint primary key, customer text not null)`

type Order struct {
	ID       int64  `db:"id"`
	Customer string `db:"customer"`
}

type Invoice struct {
	OrderID  int64  `db:"order_id"`
	Customer string `db:"customer"`
}

// ofOrder are the parameters of a run: it works one order.
type ofOrder struct{ ID int64 }

func main() {
	url := os.Getenv("DATABASE_URL")
	if url == "" {
		log.Fatal("set DATABASE_URL, such as postgres://user:password@localhost:5432/name")
	}
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, url)
	check(err)
	defer pool.Close()
	_, err = pool.Exec(ctx, tables)
	check(err)

	invoices := dataflow.NewFlow("invoices",
		dataflow.Parametric(func(p ofOrder) (dataflow.Source[Order, dataflow.NoCursor], error) {
			return pgtable.Select[Order](pool, `select id, customer from orders where id = $1`, p.ID), nil
		}),
		dataflow.Map(func(_ context.Context, o Order) (Invoice, error) {
			return Invoice{OrderID: o.ID, Customer: o.Customer}, nil
		}),
		pgtable.Upsert[Invoice]("invoices", "order_id"),
		&dataflow.FlowOptions{Runtime: dataflow.JobQueue{}})
	client, err := dataflow.NewClient(dataflowpgx.New(pool), &dataflow.Config{Flows: []*dataflow.Flow{invoices}})
	check(err)
	check(client.Migrate(ctx))
	check(client.Start(ctx))
	defer func() { check(client.Stop(ctx)) }()

	order(ctx, pool, client, "ada", nil)
	order(ctx, pool, client, "eve", errors.New("her card was refused"))
	var invoiced string
	check(pool.QueryRow(ctx, `select coalesce(string_agg(customer, ', '), 'nobody') from invoices`).Scan(&invoiced))
	fmt.Println("invoices:", invoiced)
}

// order adds an order and starts the run of its invoice, in one transaction. With a refusal, it
// takes both back.
func order(ctx context.Context, pool *pgxpool.Pool, client *dataflow.Client, customer string, refused error) {
	var run *dataflow.Run
	err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		var id int64
		if err := tx.QueryRow(ctx, `insert into orders (customer) values ($1) returning id`, customer).Scan(&id); err != nil {
			return err
		}
		params, err := json.Marshal(ofOrder{ID: id})
		if err != nil {
			return err
		}
		run, err = client.TriggerTx(ctx, dataflowpgx.Tx(tx), "invoices", &dataflow.TriggerOptions{Params: params, Actor: customer})
		return errors.Join(err, refused)
	})
	if err != nil {
		fmt.Printf("%s: nothing was stored, and no run was started: %v\n", customer, err)
		return
	}
	run, err = client.Wait(ctx, run.ID)
	check(err)
	fmt.Printf("%s: run %d: %s, %d written\n", customer, run.ID, run.State, run.Counters.Written)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
