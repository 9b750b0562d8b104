#!/usr/bin/env bash
# PostgreSQL 18.4: logical replication. Needs npm.
#
# A good guess: a table that is taken out of a publication for a while, and added again, is copied
# anew, or its subscriber is told. Seen: if the subscriber did not refresh meanwhile, rows that were
# written while the table was out never arrive. ALTER SUBSCRIPTION … REFRESH PUBLICATION afterwards does
# not fetch them. pg_subscription_rel says "r" (ready) all the time, and no log has a word of it.
set -euo pipefail
cd "$(dirname "$0")"
. lib/postgres.sh
start_postgres "$(mktemp -d)" 18.4.0-beta.17 wal_level=logical
program=$dir/program
mkdir "$program"
cat >"$program/main.go" <<'GO'
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
)

var ctx = context.Background()

func main() {
	server := "postgres://postgres@127.0.0.1:" + os.Args[1]
	admin := connect(server + "/postgres")
	do(admin, "create database source")
	do(admin, "create database target")
	source, target := connect(server+"/source"), connect(server+"/target")
	do(source, "create table t (id int primary key)")
	do(target, "create table t (id int primary key)")
	do(source, "create publication p for table t")
	do(source, "select pg_create_logical_replication_slot('s', 'pgoutput')")
	do(source, "insert into t values (1)")
	do(target, "create subscription s connection 'dbname=source user=postgres host=127.0.0.1 port="+os.Args[1]+"' publication p with (create_slot = false)")
	until(target, "select exists (select from t where id = 1) and (select srsubstate = 'r' from pg_subscription_rel)")

	do(source, "alter publication p drop table t")
	do(source, "insert into t values (2)")
	do(source, "alter publication p add table t")
	do(source, "insert into t values (3)")
	do(target, "alter subscription s refresh publication")
	until(target, "select exists (select from t where id = 3)")
	do(source, "insert into t values (4)")
	until(target, "select exists (select from t where id = 4)")
	ids := "select string_agg(id::text, ' ' order by id) from t"
	fmt.Println("source:", one[string](source, ids))
	fmt.Println("target:", one[string](target, ids))
	fmt.Println("state: ", one[string](target, "select srsubstate::text from pg_subscription_rel"))
	do(target, "alter subscription s disable")
	do(target, "drop subscription s")
}

func connect(url string) *pgx.Conn {
	c, err := pgx.Connect(ctx, url+"?sslmode=disable")
	check(err)
	return c
}

func do(c *pgx.Conn, sql string) {
	_, err := c.Exec(ctx, sql)
	check(err)
}

func until(c *pgx.Conn, sql string) {
	for !one[bool](c, sql) {
		time.Sleep(50 * time.Millisecond)
	}
}

func one[T any](c *pgx.Conn, sql string) (v T) {
	check(c.QueryRow(ctx, sql).Scan(&v))
	return v
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
(cd "$program" && go mod init finding && go get github.com/jackc/pgx/v5@v5.12.0) >/dev/null 2>&1
got=$(cd "$program" && timeout 120 go run . "$PGPORT_FOUND")
echo "$got"
diff <(echo "$got") - <<'SEEN'
source: 1 2 3 4
target: 1 3 4
state:  r
SEEN
