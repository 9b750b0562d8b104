package mysqltest

import (
	"context"
	"database/sql"
	"log"
	"time"

	_ "github.com/go-sql-driver/mysql"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/sqltable"
	"github.com/activedataflow/dataflow/dataflowsqlite"
)

type Order struct {
	ID        int64
	Email     string `db:"customer_email"`
	Cents     int64
	UpdatedAt time.Time
}

// A flow copies from one MySQL server to another. SQLite stores its runs.
func Example() {
	shop, err := sql.Open("mysql", "user:password@tcp(localhost:3306)/shop?parseTime=true&time_zone=%27%2B00%3A00%27")
	if err != nil {
		log.Fatal(err)
	}
	warehouse, err := sql.Open("mysql", "user:password@tcp(localhost:3307)/warehouse?parseTime=true&time_zone=%27%2B00%3A00%27")
	if err != nil {
		log.Fatal(err)
	}
	flow := dataflow.NewFlow("orders",
		sqltable.Keyset[Order](shop, sqltable.Query{
			SQL: `select id, customer_email, cents, updated_at from orders`,
			Key: []string{"updated_at", "id"},
		}),
		dataflow.Identity[Order](),
		sqltable.UpsertTo[Order](warehouse, "orders", "id"), nil)
	db, err := sql.Open("sqlite", "file:runs.db?_pragma=journal_mode(WAL)&_pragma=busy_timeout(10000)")
	if err != nil {
		log.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	client, err := dataflow.NewClient(dataflowsqlite.New(db), &dataflow.Config{Flows: []*dataflow.Flow{flow}})
	if err != nil {
		log.Fatal(err)
	}
	if err := client.Migrate(context.Background()); err != nil {
		log.Fatal(err)
	}
	if _, err := client.Trigger(context.Background(), "orders", nil); err != nil {
		log.Fatal(err)
	}
}
