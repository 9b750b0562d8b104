package pgtable_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/dataflowpgx"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

type Person struct {
	ID   int64  `db:"id"`
	Name string `db:"name"`
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// runOnce works one run of a flow and prints its result.
func runOnce(pool *pgxpool.Pool, flow *dataflow.Flow) {
	ctx := context.Background()
	client, err := dataflow.NewClient(dataflowpgx.New(pool), &dataflow.Config{Flows: []*dataflow.Flow{flow}, Logger: slog.New(slog.DiscardHandler)})
	check(err)
	check(client.Migrate(ctx))
	check(client.Register(ctx))
	run, err := client.Trigger(ctx, flow.Name, nil)
	check(err)
	fmt.Println(run.State, run.Counters.Read, "read", run.Counters.Written, "written")
}

func show(pool *pgxpool.Pool, query string) {
	rows, err := pool.Query(context.Background(), query)
	check(err)
	defer rows.Close()
	for rows.Next() {
		values, err := rows.Values()
		check(err)
		fmt.Println(values...)
	}
	check(rows.Err())
}

// A flow from a table resumes after the last row that it has read.
func ExampleKeyset() {
	pool, end := dbtest.ExamplePostgres(
		`create table people (id bigint primary key, name text not null)`,
		`insert into people values (1, 'ada'), (2, 'grace')`)
	defer end()

	names := memory.NewSink[string]()
	flow := dataflow.NewFlow("names",
		pgtable.Keyset[Person](pool, pgtable.Query{SQL: `select id, name from people`, Key: []string{"id"}}),
		dataflow.Map(func(_ context.Context, p Person) (string, error) { return strings.ToUpper(p.Name), nil }),
		names.Target(), nil)
	runOnce(pool, flow)
	_, err := pool.Exec(context.Background(), `insert into people values (3, 'mary')`)
	check(err)
	runOnce(pool, flow)
	fmt.Println(names.Rows())
	// Output:
	// success 2 read 2 written
	// success 1 read 1 written
	// [ADA GRACE MARY]
}

// Each run reads a result without a key from its beginning.
func ExampleSelect() {
	pool, end := dbtest.ExamplePostgres(
		`create table sale (shop text, cents bigint)`,
		`insert into sale values ('Oslo', 5), ('Rome', 3), ('Oslo', 1)`,
		`create table total (shop text primary key, cents bigint)`)
	defer end()

	type total struct {
		Shop  string
		Cents int64
	}
	flow := dataflow.NewFlow("totals",
		pgtable.Select[total](pool, `select shop, sum(cents)::bigint as cents from sale group by shop`),
		dataflow.Identity[total](), pgtable.Upsert[total]("total", "shop"), nil)
	runOnce(pool, flow)
	show(pool, `select shop, cents from total order by shop`)
	// Output:
	// success 2 read 2 written
	// Oslo 6
	// Rome 3
}

// Rows are added in the transaction that moves the cursor.
func ExampleInsert() {
	pool, end := dbtest.ExamplePostgres(`create table people (id bigint, name text, added date default '2026-01-02')`)
	defer end()

	flow := dataflow.NewFlow("people", memory.Slice([]Person{{1, "ada"}, {2, "grace"}}), dataflow.Identity[Person](),
		pgtable.Insert[Person]("people"), nil)
	runOnce(pool, flow)
	runOnce(pool, flow)
	show(pool, `select id, name, added::text from people order by id`)
	// Output:
	// success 2 read 2 written
	// success 0 read 0 written
	// 1 ada 2026-01-02
	// 2 grace 2026-01-02
}

// Rows of the same key are replaced. Of several in one batch, the last counts.
func ExampleUpsert() {
	pool, end := dbtest.ExamplePostgres(
		`create table people (id bigint primary key, name text)`,
		`insert into people values (1, 'nobody')`)
	defer end()

	flow := dataflow.NewFlow("people", memory.Slice([]Person{{1, "ada"}, {2, "grace"}, {1, "Ada"}}), dataflow.Identity[Person](),
		pgtable.Upsert[Person]("people", "id"), nil)
	runOnce(pool, flow)
	show(pool, `select id, name from people order by id`)
	// Output:
	// success 3 read 3 written
	// 1 Ada
	// 2 grace
}

// Write has options. Here the records have their own values for a column that Postgres would
// number.
func ExampleWrite() {
	pool, end := dbtest.ExamplePostgres(`create table people (id bigint generated always as identity primary key, name text)`)
	defer end()

	flow := dataflow.NewFlow("people", memory.Slice([]Person{{7, "ada"}, {9, "grace"}}), dataflow.Identity[Person](),
		pgtable.Write[Person](pgtable.Table{Name: "people", Key: []string{"id"}, OverridingSystemValue: true}), nil)
	runOnce(pool, flow)
	show(pool, `select id, name from people order by id`)
	// Output:
	// success 2 read 2 written
	// 7 ada
	// 9 grace
}

// Replace removes the rows that the source no longer has.
func ExampleReplace() {
	pool, end := dbtest.ExamplePostgres(
		`create table sale (shop text, cents bigint)`,
		`insert into sale values ('Oslo', 5), ('Rome', 3), ('Oslo', 1)`,
		`create table total (shop text primary key, cents bigint)`)
	defer end()

	type total struct {
		Shop  string
		Cents int64
	}
	flow := dataflow.NewFlow("totals",
		pgtable.Select[total](pool, `select shop, sum(cents)::bigint as cents from sale group by shop`),
		dataflow.Identity[total](), pgtable.Replace[total]("total"), nil)
	runOnce(pool, flow)
	_, err := pool.Exec(context.Background(), `delete from sale where shop = 'Rome'`)
	check(err)
	runOnce(pool, flow)
	show(pool, `select shop, cents from total order by shop`)
	// Output:
	// success 2 read 2 written
	// success 1 read 1 written
	// Oslo 6
}

// Batch writes with statements that are neither an insert nor an upsert.
func ExampleBatch() {
	pool, end := dbtest.ExamplePostgres(`create table stock (item text primary key, pieces bigint)`, `insert into stock values ('pen', 10)`)
	defer end()

	type sale struct {
		Item   string
		Pieces int64
	}
	flow := dataflow.NewFlow("stock", memory.Slice([]sale{{"pen", 2}, {"ink", 1}, {"pen", 3}}), dataflow.Identity[sale](),
		pgtable.Batch(func(b *pgx.Batch, s sale) error {
			b.Queue(`insert into stock as t values ($1, -$2::bigint) on conflict (item) do update set pieces = t.pieces + excluded.pieces`, s.Item, s.Pieces)
			return nil
		}), nil)
	runOnce(pool, flow)
	runOnce(pool, flow) // reads nothing new
	show(pool, `select item, pieces from stock order by item`)
	// Output:
	// success 3 read 3 written
	// success 0 read 0 written
	// ink -1
	// pen 5
}

// The table may be in a database other than the client's.
func ExampleUpsertTo() {
	pool, end := dbtest.ExamplePostgres()
	defer end()
	warehouse, endWarehouse := dbtest.ExamplePostgres(`create table people (id bigint primary key, name text)`)
	defer endWarehouse()

	flow := dataflow.NewFlow("people", memory.Slice([]Person{{1, "ada"}, {2, "grace"}}), dataflow.Identity[Person](),
		pgtable.UpsertTo[Person](warehouse, "people", "id"), nil)
	runOnce(pool, flow)
	show(warehouse, `select id, name from people order by id`)
	show(warehouse, `select flow, state::json ->> 'cursor' from dataflow_sink_checkpoint`)
	// Output:
	// success 2 read 2 written
	// 1 ada
	// 2 grace
	// people 2
}

// Func writes a batch to several tables, in the transaction that moves the cursor.
func ExampleFunc() {
	pool, end := dbtest.ExamplePostgres(`create table people (id bigint primary key, name text)`, `create table batch (rows bigint)`)
	defer end()

	flow := dataflow.NewFlow("people", memory.Slice([]Person{{1, "ada"}, {2, "grace"}}), dataflow.Identity[Person](),
		pgtable.Func(func(ctx context.Context, tx pgx.Tx, rows []Person) error {
			for _, p := range rows {
				if _, err := tx.Exec(ctx, `insert into people (id, name) values ($1, $2)`, p.ID, p.Name); err != nil {
					return err
				}
			}
			_, err := tx.Exec(ctx, `insert into batch (rows) values ($1)`, len(rows))
			return err
		}), nil)
	runOnce(pool, flow)
	show(pool, `select id, name from people order by id`)
	show(pool, `select sum(rows)::bigint from batch`)
	// Output:
	// success 2 read 2 written
	// 1 ada
	// 2 grace
	// 2
}
