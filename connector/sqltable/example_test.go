package sqltable_test

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
	"github.com/activedataflow/dataflow/connector/sqltable"
	"github.com/activedataflow/dataflow/dataflowsqlite"
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
func runOnce(db *sql.DB, flow *dataflow.Flow) {
	ctx := context.Background()
	client, err := dataflow.NewClient(dataflowsqlite.New(db), &dataflow.Config{Flows: []*dataflow.Flow{flow}, Logger: slog.New(slog.DiscardHandler)})
	check(err)
	check(client.Migrate(ctx))
	check(client.Register(ctx))
	run, err := client.Trigger(ctx, flow.Name, nil)
	check(err)
	fmt.Println(run.State, run.Counters.Read, "read", run.Counters.Written, "written")
}

func show(db *sql.DB, query string) {
	rows, err := db.QueryContext(context.Background(), query)
	check(err)
	defer func() { check(rows.Close()) }()
	for rows.Next() {
		var line string
		check(rows.Scan(&line))
		fmt.Println(line)
	}
	check(rows.Err())
}

// open opens a database in memory. An application would open a file.
func open(statements ...string) (db *sql.DB, end func()) {
	db, err := sql.Open("sqlite", ":memory:")
	check(err)
	db.SetMaxOpenConns(1)
	for _, statement := range statements {
		_, err := db.ExecContext(context.Background(), statement)
		check(err)
	}
	return db, func() { check(db.Close()) }
}

// A flow from a table resumes after the last row that it has read.
func ExampleKeyset() {
	db, end := open(
		`create table people (id bigint primary key, name text not null)`,
		`insert into people values (1, 'ada'), (2, 'grace')`)
	defer end()

	names := memory.NewSink[string]()
	flow := dataflow.NewFlow("names",
		sqltable.Keyset[Person](db, sqltable.Query{SQL: `select id, name from people`, Key: []string{"id"}}),
		dataflow.Map(func(_ context.Context, p Person) (string, error) { return strings.ToUpper(p.Name), nil }),
		names.Target(), nil)
	runOnce(db, flow)
	_, err := db.ExecContext(context.Background(), `insert into people values (3, 'mary')`)
	check(err)
	runOnce(db, flow)
	fmt.Println(names.Rows())
	// Output:
	// success 2 read 2 written
	// success 1 read 1 written
	// [ADA GRACE MARY]
}

// Each run reads a result without a key from its beginning, through a separate
// pool.
func ExampleSelect() {
	dir, err := os.MkdirTemp("", "sales")
	check(err)
	defer func() { check(os.RemoveAll(dir)) }()
	dsn := "file:" + filepath.ToSlash(filepath.Join(dir, "sales.db")) + "?_pragma=journal_mode(WAL)&_pragma=busy_timeout(10000)"
	db, err := sql.Open("sqlite", dsn)
	check(err)
	defer func() { check(db.Close()) }()
	db.SetMaxOpenConns(1) // SQLite has one writer at a time
	reading, err := sql.Open("sqlite", dsn)
	check(err)
	defer func() { check(reading.Close()) }()
	for _, statement := range []string{
		`create table sale (shop text, cents int)`, `insert into sale values ('Oslo', 5), ('Rome', 3), ('Oslo', 1)`,
		`create table total (shop text primary key, cents int)`,
	} {
		_, err := db.ExecContext(context.Background(), statement)
		check(err)
	}

	type total struct {
		Shop  string
		Cents int64
	}
	flow := dataflow.NewFlow("totals",
		sqltable.Select[total](reading, `select shop, sum(cents) as cents from sale group by shop`),
		dataflow.Identity[total](), sqltable.Upsert[total]("total", "shop"), nil)
	runOnce(db, flow)
	show(db, `select shop || ' ' || cents from total order by shop`)
	// Output:
	// success 2 read 2 written
	// Oslo 6
	// Rome 3
}

// Rows are added in the transaction that moves the cursor.
func ExampleInsert() {
	db, end := open(`create table people (id bigint, name text, added text default '2026-01-02')`)
	defer end()

	flow := dataflow.NewFlow("people", memory.Slice([]Person{{1, "ada"}, {2, "grace"}}), dataflow.Identity[Person](),
		sqltable.Insert[Person]("people"), nil)
	runOnce(db, flow)
	runOnce(db, flow)
	show(db, `select id || ' ' || name || ' ' || added from people order by id`)
	// Output:
	// success 2 read 2 written
	// success 0 read 0 written
	// 1 ada 2026-01-02
	// 2 grace 2026-01-02
}

// Rows of the same key are replaced. Of several in one batch, the last counts.
func ExampleUpsert() {
	db, end := open(
		`create table people (id bigint primary key, name text)`,
		`insert into people values (1, 'nobody')`)
	defer end()

	flow := dataflow.NewFlow("people", memory.Slice([]Person{{1, "ada"}, {2, "grace"}, {1, "Ada"}}), dataflow.Identity[Person](),
		sqltable.Upsert[Person]("people", "id"), nil)
	runOnce(db, flow)
	show(db, `select id || ' ' || name from people order by id`)
	// Output:
	// success 3 read 3 written
	// 1 Ada
	// 2 grace
}

// The table may be in a database other than the client's.
func ExampleUpsertTo() {
	db, end := open()
	defer end()
	warehouse, endWarehouse := open(`create table people (id bigint primary key, name text)`)
	defer endWarehouse()

	flow := dataflow.NewFlow("people", memory.Slice([]Person{{1, "ada"}, {2, "grace"}}), dataflow.Identity[Person](),
		sqltable.UpsertTo[Person](warehouse, "people", "id"), nil)
	runOnce(db, flow)
	show(warehouse, `select id || ' ' || name from people order by id`)
	show(warehouse, `select flow || ' ' || (state ->> 'cursor') from dataflow_sink_checkpoint`)
	// Output:
	// success 2 read 2 written
	// 1 ada
	// 2 grace
	// people 2
}

// The rows and the flow's checkpoint are committed together in the other database.
func ExampleInsertTo() {
	db, end := open()
	defer end()
	warehouse, endWarehouse := open(`create table people (id bigint, name text)`)
	defer endWarehouse()

	flow := dataflow.NewFlow("people", memory.Slice([]Person{{1, "ada"}, {2, "grace"}}), dataflow.Identity[Person](),
		sqltable.InsertTo[Person](warehouse, "people"), nil)
	runOnce(db, flow)
	runOnce(db, flow) // reads nothing new
	show(warehouse, `select id || ' ' || name from people order by id`)
	// Output:
	// success 2 read 2 written
	// success 0 read 0 written
	// 1 ada
	// 2 grace
}
