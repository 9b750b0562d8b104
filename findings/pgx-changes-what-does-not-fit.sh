#!/usr/bin/env bash
# pgx v5.12.0, Postgres 18.4, in pgx's default mode.
#
# A good guess: a column that does not fit a Go type is an error, and a value that was read is
# written back as it was. Seen:
#   - The text 'abc' is read into a pgtype.Bits as 000.
#   - NULL of a type that does not fit is read by the plan of any type that fits, found by the order
#     of a map: NULL of varbit into a string is "" or an error, by chance.
#   - The numeric 0.00 is read into a string, and into a pgtype.Numeric, as 0.
#   - An empty "char" is read into a string as a zero byte, which no text may hold.
#   - A citext read into a []byte is written back as \x6142.
#   - A jsonb read into a *json.RawMessage loses its spaces in a json column.
#   - After one good [][]int32 on a connection, {{1}, {2, 3}} is written to an int[] as {{1},{2}}.
#     Before, it is an error. (Other shapes panic in the encoder.)
set -euo pipefail
cd "$(dirname "$0")"
. lib/postgres.sh
start_postgres "$(mktemp -d)" 18.4.0-beta.17
mkdir "$dir/go" && cd "$dir/go"
cat >main.go <<'GO'
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

func main() {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, os.Getenv("URL"))
	check(err)
	var bits pgtype.Bits
	check(conn.QueryRow(ctx, `select 'abc'::text`).Scan(&bits))
	fmt.Println("text abc as pgtype.Bits, in length:", bits.Len)
	empty, failed := 0, 0
	for range 300 {
		var s string
		if conn.QueryRow(ctx, `select null::varbit`).Scan(&s) == nil {
			empty++
		} else {
			failed++
		}
	}
	fmt.Println("NULL of varbit as string: both an error and empty:", empty > 0 && failed > 0)
	var zero string
	check(conn.QueryRow(ctx, `select 0.00::numeric`).Scan(&zero))
	fmt.Println("numeric 0.00 as string:", zero)
	var char string
	check(conn.QueryRow(ctx, `select ''::"char"`).Scan(&char))
	fmt.Printf("empty char as string: %q\n", char)
	_, err = conn.Exec(ctx, `create extension citext`)
	check(err)
	var word []byte
	check(conn.QueryRow(ctx, `select 'aB'::citext`).Scan(&word))
	check(conn.QueryRow(ctx, `select $1::citext::text`, word).Scan(&zero))
	fmt.Println("citext aB through []byte:", zero)
	raw := new(json.RawMessage)
	check(conn.QueryRow(ctx, `select '[1,  2]'::json`).Scan(&raw))
	check(conn.QueryRow(ctx, `select $1::json::text`, raw).Scan(&zero))
	fmt.Println("json [1,  2] through *json.RawMessage:", zero)
	_, err = conn.Exec(ctx, `select $1::int[]`, [][]int32{{1}, {2, 3}})
	fmt.Println("{{1}, {2, 3}} at first, error:", err != nil)
	check(conn.QueryRow(ctx, `select $1::int[]::text`, [][]int32{{1, 2}, {3, 4}}).Scan(&zero))
	check(conn.QueryRow(ctx, `select $1::int[]::text`, [][]int32{{1}, {2, 3}}).Scan(&zero))
	fmt.Println("{{1}, {2, 3}} later:", zero)
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
text abc as pgtype.Bits, in length: 3
NULL of varbit as string: both an error and empty: true
numeric 0.00 as string: 0
empty char as string: "\x00"
citext aB through []byte: \x6142
json [1,  2] through *json.RawMessage: [1,2]
{{1}, {2, 3}} at first, error: true
{{1}, {2, 3}} later: {{1},{2}}
SEEN
