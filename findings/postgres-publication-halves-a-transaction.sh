#!/usr/bin/env bash
# PostgreSQL 18.4: logical decoding by pgoutput. Needs npm.
#
# A good guess: a transaction is sent as a whole or not at all. Seen: one that was open while its table
# was added to a publication is sent from there on. What it did to the table before is never sent, without
# a notice. A copy of the table that is read at once does not have it either, because it was not committed.
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

	"github.com/jackc/pgx/v5"
)

var ctx = context.Background()

func main() {
	writer, admin := connect(), connect()
	do(admin, "create table t (id text primary key)")
	do(admin, "create publication p")
	do(admin, "select pg_create_logical_replication_slot('s', 'pgoutput')")
	do(writer, "begin")
	do(writer, "insert into t values ('five')")
	do(admin, "alter publication p add table t")
	fmt.Println("a copy of the table, read then:", one(admin, "select coalesce(string_agg(id, ' '), 'no row') from t"))
	do(writer, "insert into t values ('six')")
	do(writer, "commit")
	fmt.Println("the table: ", one(admin, "select string_agg(id, ' ' order by id) from t"))
	// An insert begins with an I, and has the value as text.
	fmt.Println("sent rows: ", one(admin, `select string_agg(substring(encode(data, 'escape') from '(five|six)$'), ' ')
		from pg_logical_slot_get_binary_changes('s', null, null, 'proto_version', '1', 'publication_names', 'p') where get_byte(data, 0) = ascii('I')`))
}

func connect() *pgx.Conn {
	c, err := pgx.Connect(ctx, "postgres://postgres@127.0.0.1:"+os.Args[1]+"/postgres?sslmode=disable")
	check(err)
	return c
}

func do(c *pgx.Conn, sql string) {
	_, err := c.Exec(ctx, sql)
	check(err)
}

func one(c *pgx.Conn, sql string) (text string) {
	check(c.QueryRow(ctx, sql).Scan(&text))
	return text
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
a copy of the table, read then: no row
the table:  five six
sent rows:  six
SEEN
