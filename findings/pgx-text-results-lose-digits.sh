#!/usr/bin/env bash
# pgx v5.12.0, Postgres 18.4: with extra_float_digits = 0 (a role's or a database's setting, which
# tools of before Postgres 12 had as their default) the mode of executing queries decides which
# number a program reads.
#
# A good guess: since Postgres 12 floating-point numbers always travel exactly. Seen: in the modes
# exec and simple_protocol, which one sets for a pooler, results come as text, rounded to 15
# digits; 6 digits for real. No error. The default modes read the stored number. And there is no
# way to ask for the binary format: pgx ignores QueryResultFormats in mode exec.
set -euo pipefail
cd "$(dirname "$0")"
. lib/postgres.sh
start_postgres "$(mktemp -d)" 18.4.0-beta.17 extra_float_digits=0
mkdir "$dir/go" && cd "$dir/go"
cat >main.go <<'GO'
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/jackc/pgx/v5"
)

func main() {
	ctx := context.Background()
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
		config, err := pgx.ParseConfig(os.Getenv("URL"))
		check(err)
		config.DefaultQueryExecMode = mode
		conn, err := pgx.ConnectConfig(ctx, config)
		check(err)
		var stored float64
		var price float32
		const query = `select 0.1::float8 + 0.2::float8, 1234567.0::float4`
		check(conn.QueryRow(ctx, query, pgx.QueryResultFormats{pgx.BinaryFormatCode, pgx.BinaryFormatCode}).Scan(&stored, &price))
		fmt.Printf("%-16s %v %.0f\n", mode, stored, price)
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
cache statement  0.30000000000000004 1234567
cache describe   0.30000000000000004 1234567
exec             0.3 1234570
simple protocol  0.3 1234570
SEEN
