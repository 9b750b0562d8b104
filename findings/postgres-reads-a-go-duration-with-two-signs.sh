#!/usr/bin/env bash
# Go's time.Duration as a text, as an interval of PostgreSQL 18.4 (15 answers the same), by github.com/jackc/pgx/v5 v5.12.0. Needs npm.
#
# A good guess: Postgres reads "1h30m0s" as an interval of 90 minutes, so that it reads "-1h30m0s" as minus 90 minutes. Both are what
# String of a Duration returns, and so what a query such as "now() + $1::interval" is often given. Seen, without an error: the sign is
# that of the hours alone, so that it is minus 30 minutes. A lookback of 90 minutes is one of 30. With
# intervalstyle = sql_standard the sign is that of all. A Duration that pgx is given as such arrives as it is.
set -euo pipefail
cd "$(dirname "$0")"
. lib/postgres.sh
start_postgres "$(mktemp -d)" 18.4.0-beta.17
export URL="postgres://postgres@127.0.0.1:$PGPORT_FOUND/postgres"
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
)

func main() {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, os.Getenv("URL"))
	check(err)
	minutes := func(value any) (n float64) {
		check(conn.QueryRow(ctx, "select extract(epoch from $1::interval) / 60", value).Scan(&n))
		return n
	}
	for _, style := range []string{"postgres", "sql_standard"} {
		_, err := conn.Exec(ctx, "set intervalstyle = "+style)
		check(err)
		for _, d := range []time.Duration{90 * time.Minute, -60 * time.Minute, -90 * time.Minute, -(24*time.Hour + 30*time.Minute)} {
			fmt.Printf("%s: %s is %g minutes; as text %g, as a Duration %g\n", style, d, d.Minutes(), minutes(d.String()), minutes(d))
		}
	}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
go mod init finding >/dev/null 2>&1
go get github.com/jackc/pgx/v5@v5.12.0 >/dev/null 2>&1
go mod tidy >/dev/null 2>&1
got=$(go run .)
echo "$got"
diff <(echo "$got") - <<'SEEN'
postgres: 1h30m0s is 90 minutes; as text 90, as a Duration 90
postgres: -1h0m0s is -60 minutes; as text -60, as a Duration -60
postgres: -1h30m0s is -90 minutes; as text -30, as a Duration -90
postgres: -24h30m0s is -1470 minutes; as text -1410, as a Duration -1470
sql_standard: 1h30m0s is 90 minutes; as text 90, as a Duration 90
sql_standard: -1h0m0s is -60 minutes; as text -60, as a Duration -60
sql_standard: -1h30m0s is -90 minutes; as text -90, as a Duration -90
sql_standard: -24h30m0s is -1470 minutes; as text -1470, as a Duration -1470
SEEN
