// Upsert copies orders of one table into another, insert or update by their id, and keeps the
// rows that it cannot take as dead letters. See README.md.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/dataflowpgx"
)

const tables = `
create table if not exists orders (id bigint primary key, email text not null, cents bigint not null, updated_at timestamptz not null default now());
create index if not exists orders_updated_at on orders (updated_at, id);
create table if not exists order_facts (order_id bigint primary key, email text not null, euros numeric not null);
insert into orders (id, email, cents) values (1, 'ada@example.com', 1250), (2, 'no address', 990), (3, 'grace@example.com', 400) on conflict do nothing`

type Order struct {
	ID        int64     `db:"id"`
	Email     string    `db:"email"`
	Cents     int64     `db:"cents"`
	UpdatedAt time.Time `db:"updated_at"`
}

type Fact struct {
	OrderID int64   `db:"order_id"`
	Email   string  `db:"email"`
	Euros   float64 `db:"euros"`
}

func toFact(_ context.Context, o Order) (Fact, error) {
	if len(o.Email) < 3 || o.Email[:3] == "no " {
		return Fact{}, errors.New("the email address is missing") // this record alone is bad
	}
	return Fact{OrderID: o.ID, Email: o.Email, Euros: float64(o.Cents) / 100}, nil
}

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

	orders := dataflow.NewFlow("orders",
		pgtable.Keyset[Order](pool, pgtable.Query{SQL: `select id, email, cents, updated_at from orders`, Key: []string{"updated_at", "id"}}),
		dataflow.Map(toFact),
		pgtable.Upsert[Fact]("order_facts", "order_id"),
		&dataflow.FlowOptions{Runtime: dataflow.Heartbeat{}, OnBadRecord: dataflow.DeadLetterUpTo(100)})
	client, err := dataflow.NewClient(dataflowpgx.New(pool), &dataflow.Config{Flows: []*dataflow.Flow{orders}})
	check(err)
	check(client.Migrate(ctx))
	check(client.Register(ctx))

	run, err := client.Trigger(ctx, "orders", nil) // works it here; a started client would work it by itself
	check(err)
	fmt.Printf("run %d: %s, %d read, %d written, %d kept as dead letters\n", run.ID, run.State, run.Counters.Read, run.Counters.Written, run.Counters.DeadLettered)

	// What dead-letter list, edit and replay do on the command line:
	letters, err := client.DeadLetters(ctx, &dataflow.DeadLetterListParams{Flow: "orders", Open: true})
	check(err)
	for _, l := range letters {
		fmt.Printf("dead letter %d: %s: %s\n", l.ID, l.Payload, l.Error)
		mended := bytes.ReplaceAll(l.Payload, []byte("no address"), []byte("brian@example.com"))
		_, err := client.EditDeadLetter(ctx, l.ID, mended, "ann")
		check(err)
	}
	report, err := client.Replay(ctx, "orders", nil)
	check(err)
	fmt.Printf("%d replayed, %d failed\n", len(report.Replayed), len(report.Failed))

	rows, err := pool.Query(ctx, `select order_id, email, euros from order_facts order by order_id`)
	check(err)
	facts, err := pgx.CollectRows(rows, pgx.RowToStructByName[Fact])
	check(err)
	for _, f := range facts {
		fmt.Printf("order %d of %s\n", f.OrderID, f.Email)
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
