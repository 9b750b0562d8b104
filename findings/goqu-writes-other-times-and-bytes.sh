#!/usr/bin/env bash
# github.com/doug-martin/goqu/v9 v9.19.0, with go-sql-driver/mysql v1.10.0 and MariaDB 10.11, and with pgx v5.12.0 and PostgreSQL 18.4. Needs npm, and
# Debian 12, whose packages of MariaDB it runs from a temporary folder.
#
# A good guess: a query builder writes a time and bytes into its SQL so that the database has what the program had, and Prepared(true)
# changes only how they get there. Seen, without an error, as long as Prepared(true) is not said:
#   - For MySQL a time is written without its fraction, also for a datetime(6). So "later than the last one that was read" finds that row
#     again each time, and a reader of pages never ends.
#   - For Postgres bytes are written as a text in quotes, which bytea reads with its escapes. So C:\101 becomes C:A, and two backslashes
#     become one.
set -euo pipefail
cd "$(dirname "$0")"
. lib/postgres.sh
. lib/mariadb.sh
trap 'stop_mariadb; stop_postgres' EXIT
start_mariadb "$(mktemp -d)"
start_postgres "$(mktemp -d)" 18.4.0-beta.17
export URL="postgres://postgres@127.0.0.1:$PGPORT_FOUND/postgres"
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"database/sql"
	"fmt"
	"os"
	"time"

	"github.com/doug-martin/goqu/v9"
	_ "github.com/doug-martin/goqu/v9/dialect/mysql"
	_ "github.com/doug-martin/goqu/v9/dialect/postgres"
	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
)

func main() {
	maria, err := sql.Open("mysql", "root@unix("+os.Getenv("SOCKET")+")/?parseTime=true")
	check(err)
	exec(maria, "create database d")
	exec(maria, "create table d.orders (id int primary key, at datetime(6))")
	exec(maria, "insert into d.orders values (1, '2026-11-28 10:00:00.123456')")
	var last time.Time
	check(maria.QueryRow("select at from d.orders").Scan(&last))
	for _, prepared := range []bool{true, false} {
		query, args, err := goqu.Dialect("mysql").From("d.orders").Prepared(prepared).Select(goqu.COUNT("*")).Where(goqu.C("at").Gt(last)).ToSQL()
		check(err)
		var n int
		check(maria.QueryRow(query, args...).Scan(&n))
		fmt.Printf("prepared %t: rows after the last one: %d\n", prepared, n)
	}

	postgres, err := sql.Open("pgx", os.Getenv("URL"))
	check(err)
	exec(postgres, "create table files (path bytea)")
	for _, prepared := range []bool{true, false} {
		query, args, err := goqu.Dialect("postgres").Insert("files").Prepared(prepared).Rows(goqu.Record{"path": []byte(`C:\101`)}, goqu.Record{"path": []byte(`\\host`)}).ToSQL()
		check(err)
		exec(postgres, query, args...)
		rows, err := postgres.Query("delete from files returning path")
		check(err)
		for rows.Next() {
			var path []byte
			check(rows.Scan(&path))
			fmt.Printf("prepared %t: the bytes %s\n", prepared, path)
		}
		check(rows.Err())
	}
}

func exec(db *sql.DB, query string, args ...any) {
	_, err := db.Exec(query, args...)
	check(err)
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
go mod init finding >/dev/null 2>&1
go get github.com/doug-martin/goqu/v9@v9.19.0 github.com/go-sql-driver/mysql@v1.10.0 github.com/jackc/pgx/v5@v5.12.0 >/dev/null 2>&1
go mod tidy >/dev/null 2>&1
got=$(go run .)
echo "$got"
diff <(echo "$got") - <<'SEEN'
prepared true: rows after the last one: 0
prepared false: rows after the last one: 1
prepared true: the bytes C:\101
prepared true: the bytes \\host
prepared false: the bytes C:A
prepared false: the bytes \host
SEEN
