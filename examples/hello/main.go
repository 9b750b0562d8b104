// Hello takes the costly lines of a CSV file into a table.
package main

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"time"

	_ "modernc.org/sqlite"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/csvfile"
	"github.com/activedataflow/dataflow/connector/sqltable"
	"github.com/activedataflow/dataflow/dataflowsqlite"
)

type Strike struct {
	Date    time.Time `csv:"Flight Date" db:"date"`
	Species string    `csv:"Wildlife Species" db:"species"`
	Cost    int64     `csv:"Cost Total $" db:"cost"`
}

func main() {
	ctx := context.Background()
	db, err := sql.Open("sqlite", "file:hello.db?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)")
	check(err)
	db.SetMaxOpenConns(1) // SQLite has one writer
	_, err = db.ExecContext(ctx, `create table if not exists strikes (date date, species text, cost integer)`)
	check(err)

	strikes := dataflow.NewFlow("strikes",
		csvfile.Open[Strike]("testdata/birdstrikes.csv", nil),
		dataflow.Filter(func(s Strike) bool { return s.Cost > 0 }),
		sqltable.Insert[Strike]("strikes"), // commits rows and cursor together
		&dataflow.FlowOptions{Runtime: dataflow.JobQueue{}})

	client, err := dataflow.NewClient(dataflowsqlite.New(db), &dataflow.Config{Flows: []*dataflow.Flow{strikes}})
	check(err)
	check(client.Migrate(ctx)) // River's tables and ours
	check(client.Start(ctx))   // works runs from here on

	run, err := client.Trigger(ctx, "strikes", nil)
	check(err)
	run, err = client.Wait(ctx, run.ID)
	check(err)
	fmt.Printf("run %d: %s, %d read, %d written\n", run.ID, run.State, run.Counters.Read, run.Counters.Written)
	check(client.Stop(ctx))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
