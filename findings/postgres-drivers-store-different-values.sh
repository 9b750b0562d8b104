#!/usr/bin/env bash
# github.com/jackc/pgx/v5 v5.12.0, github.com/lib/pq v1.12.3, github.com/uptrace/bun/driver/pgdriver
# v1.2.18, all by database/sql, with PostgreSQL 18.4. Needs npm.
#
# A good guess: the same argument of the same statement is stored alike by each driver, or refused. So a
# service may change its driver, or have two of them, as many do that move from one to the next. Seen,
# without an error:
#   - A moment of 00:30 in Berlin in a column of type date: pgx and pq store its day there, bun the day in
#     UTC, which is the day before. In a column of type timestamp: 10:00 there or 08:00.
#   - A part of a microsecond is cut by pgx and bun, and rounded by pq. A cursor of one skips or repeats
#     a row of the other.
#   - A time.Duration as an interval: pgx stores 01:30:00, pq 1500000000:00:00 (nanoseconds taken for
#     seconds). bun leaves it to the server, which refuses.
#   - A text with a zero byte is refused by pgx and pq. bun leaves the byte out.
#   - Bytes in a column of type text: pgx and pq store abc, bun \x616263.
#   - The zero time: bun stores NULL.
set -euo pipefail
cd "$(dirname "$0")"
. lib/postgres.sh
start_postgres "$(mktemp -d)" 18.4.0-beta.17
program=$dir/program
mkdir "$program"
cat >"$program/main.go" <<'GO'
package main

import (
	"database/sql"
	"fmt"
	"os"
	"time"
	_ "time/tzdata"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "github.com/lib/pq"
	"github.com/uptrace/bun/driver/pgdriver"
)

func main() {
	dsn := "postgres://postgres@127.0.0.1:" + os.Args[1] + "/postgres?sslmode=disable&timezone=UTC"
	pgx, err := sql.Open("pgx", dsn)
	check(err)
	pq, err := sql.Open("postgres", dsn)
	check(err)
	bun := sql.OpenDB(pgdriver.NewConnector(pgdriver.WithDSN("postgres://postgres@127.0.0.1:" + os.Args[1] + "/postgres?sslmode=disable")))
	berlin, err := time.LoadLocation("Europe/Berlin")
	check(err)
	for _, c := range []struct {
		kind string
		arg  any
	}{
		{"date", time.Date(2026, 7, 1, 0, 30, 0, 0, berlin)},
		{"timestamp", time.Date(2026, 7, 1, 10, 0, 0, 0, berlin)},
		{"timestamp", time.Date(2026, 7, 1, 10, 0, 0, 1600, time.UTC)},
		{"timestamp", time.Time{}},
		{"interval", 90 * time.Minute},
		{"text", "a\x00b"},
		{"text", []byte("abc")},
	} {
		fmt.Printf("%s: pgx %s, pq %s, bun %s\n", c.kind, stored(pgx, c.kind, c.arg), stored(pq, c.kind, c.arg), stored(bun, c.kind, c.arg))
	}
}

func stored(db *sql.DB, kind string, arg any) string {
	var text sql.NullString
	switch err := db.QueryRow("select $1::"+kind+"::text", arg).Scan(&text); {
	case err != nil:
		return "refused"
	case !text.Valid:
		return "NULL"
	default:
		return text.String
	}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
printf 'module finding\n\ngo 1.25\n' >"$program/go.mod"
(cd "$program" && go get github.com/jackc/pgx/v5@v5.12.0 github.com/lib/pq@v1.12.3 github.com/uptrace/bun/driver/pgdriver@v1.2.18 && go mod tidy) >"$program/get.log" 2>&1 || { cat "$program/get.log"; exit 1; }
seen=$(cd "$program" && go run . "$PGPORT_FOUND")
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
date: pgx 2026-07-01, pq 2026-07-01, bun 2026-06-30
timestamp: pgx 2026-07-01 10:00:00, pq 2026-07-01 10:00:00, bun 2026-07-01 08:00:00
timestamp: pgx 2026-07-01 10:00:00.000001, pq 2026-07-01 10:00:00.000002, bun 2026-07-01 10:00:00.000001
timestamp: pgx 0001-01-01 00:00:00, pq 0001-01-01 00:00:00, bun NULL
interval: pgx 01:30:00, pq 1500000000:00:00, bun refused
text: pgx refused, pq refused, bun ab
text: pgx abc, pq abc, bun \x616263
SEEN
