// Heartbeat serves an endpoint that cron calls each minute. A call works the flows that are due,
// so that no process need stay alive between the calls. See README.md.
package main

import (
	"context"
	"database/sql"
	"errors"
	"log"
	"net/http"
	"os"
	"os/signal"
	"time"

	_ "modernc.org/sqlite"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/sqltable"
	"github.com/activedataflow/dataflow/dataflowhttp"
	"github.com/activedataflow/dataflow/dataflowsqlite"
)

const tables = `
create table if not exists orders (id integer primary key autoincrement, cents integer not null);
create table if not exists totals (order_id integer primary key, euros real not null);
insert into orders (cents) values (250), (990), (400)`

type Order struct {
	ID    int64 `db:"id"`
	Cents int64 `db:"cents"`
}

type Total struct {
	OrderID int64   `db:"order_id"`
	Euros   float64 `db:"euros"`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	token := os.Getenv("HEARTBEAT_TOKEN")
	if token == "" {
		log.Fatal("set HEARTBEAT_TOKEN, as by export HEARTBEAT_TOKEN=$(openssl rand -hex 16)")
	}
	db, err := sql.Open("sqlite", "file:heartbeat.db?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)")
	check(err)
	db.SetMaxOpenConns(1) // SQLite has one writer
	_, err = db.ExecContext(ctx, tables)
	check(err)

	totals := dataflow.NewFlow("totals",
		sqltable.Keyset[Order](db, sqltable.Query{SQL: `select id, cents from orders`, Key: []string{"id"}}),
		dataflow.Map(func(_ context.Context, o Order) (Total, error) { return Total{o.ID, float64(o.Cents) / 100}, nil }),
		sqltable.Upsert[Total]("totals", "order_id"),
		&dataflow.FlowOptions{Runtime: dataflow.Heartbeat{Interval: time.Second}}) // due each second; a call works it once
	client, err := dataflow.NewClient(dataflowsqlite.New(db), &dataflow.Config{Flows: []*dataflow.Flow{totals}})
	check(err)
	check(client.Migrate(ctx))
	check(client.Register(ctx)) // and no Start: only calls work the flow

	heartbeat, err := dataflowhttp.Heartbeat(client, &dataflowhttp.HeartbeatOptions{Tokens: []string{token}})
	check(err)
	mux := http.NewServeMux()
	mux.Handle("POST /heartbeat", heartbeat)
	address := "localhost:8080"
	if port := os.Getenv("PORT"); port != "" {
		address = "localhost:" + port
	}
	server := &http.Server{Addr: address, Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	log.Printf("POST http://%s/heartbeat", address)
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		log.Print(err)
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	check(client.Stop(stopping))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
