#!/usr/bin/env bash
# Postgres 18.4, 15.18 and 13.23. x86-64, npm.
#
# A good guess: a reader that leaves out the rows of open transactions by
# pg_snapshot_xmin(pg_current_snapshot()), as outbox tables and queues do, waits for those that write to
# its tables, or at least to its database. Seen: a transaction in any other database of the server holds it back as
# long as it is open. So does one that has only locked a row, filled a temporary table, called
# pg_current_xact_id(), or been the first to call nextval. One that reads, takes an advisory lock, or
# has sent a NOTIFY does not.
set -euo pipefail
. "$(dirname "$0")/lib/postgres.sh"
work=$(mktemp -d)
cd "$work"
cat >main.go <<'GO'
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/jackc/pgx/v5"
)

var ctx = context.Background()

func main() {
	here, other := connect("here"), connect("other")
	run(here, `create table outbox (id int generated always as identity, txid xid8 not null default pg_current_xact_id())`)
	run(other, `create table t (id int)`, `insert into t values (1)`, `create sequence s`) // its first number writes to the log
	for _, held := range []string{
		`insert into t values (2)`,
		`select from t for share`,
		`create temporary table own as select 1 as n`,
		`select pg_current_xact_id()`,
		`select nextval('s')`,
		`select from t`,
		`select pg_advisory_xact_lock(1)`,
		`notify n`,
	} {
		run(other, `begin`, held)
		run(here, `insert into outbox default values`)
		var n int
		check(here.QueryRow(ctx, `select count(*) from outbox where txid < pg_snapshot_xmin(pg_current_snapshot())`).Scan(&n))
		fmt.Printf("while another database has %q open: %d of 1\n", held, n)
		run(other, `rollback`)
		run(here, `delete from outbox`)
	}
}

func connect(database string) *pgx.Conn {
	conn, err := pgx.Connect(ctx, "host=127.0.0.1 port="+os.Getenv("PORT")+" user=postgres sslmode=disable database=postgres")
	check(err)
	run(conn, `create database `+database)
	check(conn.Close(ctx))
	conn, err = pgx.Connect(ctx, "host=127.0.0.1 port="+os.Getenv("PORT")+" user=postgres sslmode=disable database="+database)
	check(err)
	return conn
}

func run(conn *pgx.Conn, statements ...string) {
	for _, s := range statements {
		_, err := conn.Exec(ctx, s)
		check(err)
	}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
printf 'module finding\n\ngo 1.24\n' >go.mod
go get github.com/jackc/pgx/v5@v5.7.6 >get.log 2>&1 || { cat get.log; exit 1; }
go build -o finding .
for version in 18.4.0-beta.17 15.18.0-beta.17 13.23.0-beta.16; do
  start_postgres "$(mktemp -d)" "$version" autovacuum=off
  seen=$(PORT=$PGPORT_FOUND ./finding)
  echo "$seen"
  diff <(echo "$seen") - <<'SEEN'
while another database has "insert into t values (2)" open: 0 of 1
while another database has "select from t for share" open: 0 of 1
while another database has "create temporary table own as select 1 as n" open: 0 of 1
while another database has "select pg_current_xact_id()" open: 0 of 1
while another database has "select nextval('s')" open: 0 of 1
while another database has "select from t" open: 1 of 1
while another database has "select pg_advisory_xact_lock(1)" open: 1 of 1
while another database has "notify n" open: 1 of 1
SEEN
done
cd / && rm -rf "$work"
