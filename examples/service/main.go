// A service on Postgres: each minute it takes the orders that were added or changed into
// order_facts. Start as many of it as you like, and kill any of them at any time.
//
//	DATABASE_URL=postgres://… go run ./examples/service
package main

import (
	"context"
	"log"
	"os"
	"os/signal"
	"syscall"
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

type Fact struct {
	OrderID int64 `db:"order_id"`
	Euros   int64 `db:"euros"`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	pool, err := pgxpool.New(ctx, os.Getenv("DATABASE_URL"))
	check(err)
	defer pool.Close()

	orders := dataflow.NewFlow("orders",
		pgtable.Keyset[Order](pool, pgtable.Query{
			SQL: `select id, cents, updated_at from orders`,
			Key: []string{"updated_at", "id"}, // unique: every row is a resume point
		}),
		dataflow.Map(func(_ context.Context, o Order) (Fact, error) { return Fact{OrderID: o.ID, Euros: o.Cents / 100}, nil }),
		pgtable.Upsert[Fact]("order_facts", "order_id"), // commits rows and cursor together
		&dataflow.FlowOptions{Runtime: dataflow.JobQueue{Interval: time.Minute}, OnBadRecord: dataflow.DeadLetterUpTo(100)})

	client, err := dataflow.NewClient(dataflowpgx.New(pool), &dataflow.Config{Flows: []*dataflow.Flow{orders}})
	check(err)
	check(client.Migrate(ctx)) // River's tables and ours
	check(client.Start(ctx))   // works runs until Stop
	<-ctx.Done()
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	check(client.Stop(stopping)) // hands unfinished runs to another process
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
