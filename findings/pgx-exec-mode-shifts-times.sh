#!/usr/bin/env bash
# pgx v5.12.0, Postgres 18.4: the mode of executing queries decides which value is written.
#
# A good guess: QueryExecModeExec and QueryExecModeSimpleProtocol, which one sets for a pooler,
# differ from the default in round trips alone. Seen: they write other values, without an error.
#   - A time.Time with an offset, for a timestamp or date column: the default modes write its
#     wall clock; exec and simple_protocol convert it to UTC first. So 03:00+05:00 becomes
#     22:00 of the day before, and its date the day before.
#   - A []byte for a text column: the default modes write its bytes; exec and simple_protocol
#     write the text \x6162.
#   - A float32 0.1 for a double precision column: 0.10000000149011612, or 0.1.
set -euo pipefail
cd "$(dirname "$0")"
. lib/postgres.sh
start_postgres "$(mktemp -d)" 18.4.0-beta.17
mkdir "$dir/go" && cd "$dir/go"
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
	at := time.Date(2026, 11, 28, 3, 0, 0, 0, time.FixedZone("", 5*60*60))
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
		config, err := pgx.ParseConfig(os.Getenv("URL"))
		check(err)
		config.DefaultQueryExecMode = mode
		conn, err := pgx.ConnectConfig(ctx, config)
		check(err)
		_, err = conn.Exec(ctx, `create temp table t (at timestamp, day date, name text, amount double precision)`)
		check(err)
		_, err = conn.Exec(ctx, `insert into t values ($1, $2, $3, $4)`, at, at, []byte("ab"), float32(0.1))
		check(err)
		var row string
		check(conn.QueryRow(ctx, `select concat_ws(' | ', at, day, name, amount) from t`).Scan(&row))
		fmt.Printf("%-16s %s\n", mode, row)
		check(conn.Close(ctx))
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
got=$(URL="postgres://postgres@127.0.0.1:$PGPORT_FOUND/postgres" go run .)
echo "$got"
diff <(echo "$got") - <<'SEEN'
cache statement  2026-11-28 03:00:00 | 2026-11-28 | ab | 0.10000000149011612
cache describe   2026-11-28 03:00:00 | 2026-11-28 | ab | 0.10000000149011612
describe exec    2026-11-28 03:00:00 | 2026-11-28 | ab | 0.10000000149011612
exec             2026-11-27 22:00:00 | 2026-11-27 | \x6162 | 0.1
simple protocol  2026-11-27 22:00:00 | 2026-11-27 | \x6162 | 0.1
SEEN
