// Backfill reads a month again, in ranges that are worked at once, and shows how far they are.
// The flow's own cursor stays where it is. See README.md.
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

const tables = `
create table if not exists orders (id bigint generated always as identity primary key, cents bigint not null, updated_at timestamptz not null);
create index if not exists orders_updated_at on orders (updated_at, id);
create table if not exists order_facts (id bigint primary key, euros numeric not null);
insert into orders (cents, updated_at) select n, timestamptz '2025-10-01 00:00Z' + n * interval '1 minute' from generate_series(1, 100000) n`

type Order struct {
	ID        int64     `db:"id"`
	Cents     int64     `db:"cents"`
	UpdatedAt time.Time `db:"updated_at"`
}

type Fact struct {
	ID    int64   `db:"id"`
	Euros float64 `db:"euros"`
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

	facts := dataflow.NewFlow("facts",
		pgtable.Keyset[Order](pool, pgtable.Query{SQL: `select id, cents, updated_at from orders`, Key: []string{"updated_at", "id"}}),
		dataflow.Map(func(_ context.Context, o Order) (Fact, error) { return Fact{o.ID, float64(o.Cents) / 100}, nil }),
		pgtable.Upsert[Fact]("order_facts", "id"),
		&dataflow.FlowOptions{Runtime: dataflow.JobQueue{}, MaxBackfills: 4}) // how many ranges at once, over all processes
	client, err := dataflow.NewClient(dataflowpgx.New(pool), &dataflow.Config{Flows: []*dataflow.Flow{facts}})
	check(err)
	check(client.Migrate(ctx))
	check(client.Start(ctx)) // start more processes, and they work ranges too
	defer func() { check(client.Stop(ctx)) }()

	runs, err := client.BackfillRanges(ctx, "facts", 8, &dataflow.BackfillParams{
		FromTime:  time.Date(2025, time.November, 1, 0, 0, 0, 0, time.UTC),
		UntilTime: time.Date(2025, time.December, 1, 0, 0, 0, 0, time.UTC),
		Actor:     "ann", Reason: "November was priced wrongly",
	})
	check(err)
	for done := 0; done < len(runs); {
		var read, total int64
		done = 0
		for i := range runs {
			runs[i], err = client.Run(ctx, runs[i].ID)
			check(err)
			if runs[i].State.Finished() {
				done++
			}
			read += runs[i].Counters.Read
			if runs[i].Total != nil { // known once the range has begun
				total += *runs[i].Total
			}
		}
		fmt.Printf("%d of %d ranges done, %d of %d records read\n", done, len(runs), read, total)
		time.Sleep(100 * time.Millisecond)
	}
	for _, run := range runs {
		check(run.Err())
	}
	cursor, err := client.Cursor(ctx, "facts")
	check(err)
	fmt.Printf("the flow itself has read nothing: its cursor is at the beginning: %v\n", cursor.Cursor == nil)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
