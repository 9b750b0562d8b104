package main

import (
	"context"
	"database/sql"
	"fmt"
	"os"

	"github.com/jackc/pgx/v5/pgxpool"
	_ "modernc.org/sqlite"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/connector/sqltable"
	"github.com/activedataflow/dataflow/dataflowpgx"
	"github.com/activedataflow/dataflow/dataflowsqlite"
)

// database holds what differs between SQLite and Postgres.
type database struct {
	name   string
	hint   string
	driver dataflow.Driver
	flows  []*dataflow.Flow
	print  func(ctx context.Context, query string) error
	close  func()
}

// The strikes have no key of their own, so the table numbers them.
const tables = `
create table if not exists strikes (
	%s,
	flight_date date not null,
	airport_name text not null,
	aircraft_make_model text not null,
	damage text not null,
	operator text not null,
	origin_state text not null,
	phase_of_flight text not null,
	wildlife_size text not null,
	wildlife_species text not null,
	time_of_day text not null,
	cost_other bigint not null,
	cost_repair bigint not null,
	cost_total bigint not null,
	speed_knots integer
);
create table if not exists species_costs (
	species text primary key,
	strikes bigint not null,
	cost bigint not null
);`

const storedStrikes = `select id, wildlife_species, cost_total from strikes`

const addCost = `
insert into species_costs as c (species, strikes, cost) values (%s, 1, %s)
on conflict (species) do update set strikes = c.strikes + 1, cost = c.cost + excluded.cost`

func open(ctx context.Context, file, path string) (*database, error) {
	if url := os.Getenv("DATABASE_URL"); url != "" {
		return openPostgres(ctx, file, url)
	}
	return openSQLite(ctx, file, path)
}

func openPostgres(ctx context.Context, file, url string) (*database, error) {
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return nil, err
	}
	if _, err := pool.Exec(ctx, fmt.Sprintf(tables, "id bigint generated always as identity primary key")); err != nil {
		pool.Close()
		return nil, err
	}
	stored := pgtable.Keyset[StoredStrike](pool, pgtable.Query{SQL: storedStrikes, Key: []string{"id"}})
	add := func(ctx context.Context, species string, cost int64) error {
		tx, _ := dataflowpgx.TxFrom(ctx)
		_, err := tx.Exec(ctx, fmt.Sprintf(addCost, "$1", "$2"), species, cost)
		return err
	}
	return &database{
		name:   "Postgres",
		hint:   "Run it again: it reads nothing twice.",
		driver: dataflowpgx.New(pool),
		flows:  flows(file, pgtable.Insert[Strike]("strikes"), stored, add),
		print:  func(ctx context.Context, query string) error { return printPostgres(ctx, pool, query) },
		close:  pool.Close,
	}, nil
}

func openSQLite(ctx context.Context, file, path string) (*database, error) {
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1) // SQLite has one writer at a time
	if _, err := db.ExecContext(ctx, fmt.Sprintf(tables, "id integer primary key autoincrement")); err != nil {
		_ = db.Close()
		return nil, err
	}
	stored := sqltable.Keyset[StoredStrike](db, sqltable.Query{SQL: storedStrikes, Key: []string{"id"}})
	add := func(ctx context.Context, species string, cost int64) error {
		tx, _ := dataflowsqlite.TxFrom(ctx)
		_, err := tx.ExecContext(ctx, fmt.Sprintf(addCost, "?", "?"), species, cost)
		return err
	}
	return &database{
		name: "SQLite, in " + path,
		hint: "Run it again: it reads nothing twice. The same on Postgres:\n\n" +
			"  DATABASE_URL=postgres://user:password@localhost:5432/name go run ./examples/quickstart",
		driver: dataflowsqlite.New(db),
		flows:  flows(file, sqltable.Insert[Strike]("strikes"), stored, add),
		print:  func(ctx context.Context, query string) error { return printSQLite(ctx, db, query) },
		close:  func() { _ = db.Close() },
	}, nil
}
