#!/usr/bin/env bash
# pgx v5.12.0, Postgres 18.4, in pgx's default mode.
#
# A good guess: a Go value that does not fit its column, or a column's value that does not fit its
# Go type, is an error. pgx keeps to that when it reads a 2.5 into an int64. Seen: it does not in
# these cases, without an error.
#   - It writes the float64 2.5 into an integer column as 2, and -2.9 as -2; also in an array, in a
#     sql.NullFloat64, and by CopyFrom. (Postgres itself would round 2.9 to 3, and pgx's exec mode
#     fails.)
#   - It writes the float64 1e300 into a real column as Infinity, and reads it into a float32 as
#     +Inf. Postgres answers such a cast by "out of range for type real".
#   - It reads an interval of 300 years into a time.Duration as a negative one.
set -euo pipefail
cd "$(dirname "$0")"
. lib/postgres.sh
start_postgres "$(mktemp -d)" 18.4.0-beta.17
mkdir "$dir/go" && cd "$dir/go"
cat >main.go <<'GO'
package main

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
)

func main() {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, os.Getenv("URL"))
	check(err)
	written := func(name, query string, args ...any) {
		var text string
		check(conn.QueryRow(ctx, query, args...).Scan(&text))
		fmt.Printf("%s: %s\n", name, text)
	}
	written("float64 2.5 as integer", `select $1::integer::text`, 2.5)
	written("float64 -2.9 as integer", `select $1::integer::text`, -2.9)
	written("sql.NullFloat64 2.5 as integer", `select $1::integer::text`, sql.NullFloat64{Float64: 2.5, Valid: true})
	written("[]float64{2.5} as integer[]", `select $1::integer[]::text`, []float64{2.5})
	_, err = conn.Exec(ctx, `create temp table t (n integer)`)
	check(err)
	_, err = conn.CopyFrom(ctx, pgx.Identifier{"t"}, []string{"n"}, pgx.CopyFromRows([][]any{{2.5}}))
	check(err)
	written("float64 2.5 by CopyFrom", `select n::text from t`)
	written("float64 1e300 as real", `select $1::real::text`, 1e300)

	var single float32
	check(conn.QueryRow(ctx, `select 1e300::double precision`).Scan(&single))
	fmt.Println("1e300 into float32:", single)
	var d time.Duration
	check(conn.QueryRow(ctx, `select interval '300 years'`).Scan(&d))
	fmt.Println("300 years into time.Duration:", d)
	var n int64
	fmt.Println("2.5 into int64:", conn.QueryRow(ctx, `select 2.5::double precision`).Scan(&n))
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
go mod init finding >/dev/null 2>&1
go get github.com/jackc/pgx/v5@v5.12.0 >/dev/null 2>&1
got=$(URL="postgres://postgres@127.0.0.1:$PGPORT_FOUND/postgres" go run .)
echo "$got"
diff <(echo "$got") - <<'SEEN'
float64 2.5 as integer: 2
float64 -2.9 as integer: -2
sql.NullFloat64 2.5 as integer: 2
[]float64{2.5} as integer[]: {2}
float64 2.5 by CopyFrom: 2
float64 1e300 as real: Infinity
1e300 into float32: +Inf
300 years into time.Duration: -2532095h34m33.709551616s
2.5 into int64: can't scan into dest[0] (col: float8): cannot losslessly convert 2.5 to int64
SEEN
