#!/usr/bin/env bash
# Postgres 17.10 and 18.4, through pgx v5.12.0's CopyFrom of a stream of CSV.
#
# A good guess: COPY … FROM STDIN (FORMAT csv) loads every line, or fails. Seen: up to Postgres
# 17, a line that holds \. alone ends the data: what comes after it is thrown away, and COPY
# reports success. Since Postgres 18 it is a value. So one file of a column in which somebody
# wrote \. gives 1 row on one server and 3 on the other.
set -euo pipefail
cd "$(dirname "$0")"
. lib/postgres.sh
start_postgres "$(mktemp -d)" 17.10.0-beta.17
old=$PGPORT_FOUND
start_postgres "$(mktemp -d)" 18.4.0-beta.17
mkdir "$dir/go" && cd "$dir/go"
cat >main.go <<'GO'
package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/jackc/pgx/v5"
)

func main() {
	ctx := context.Background()
	for _, url := range os.Args[1:] {
		conn, err := pgx.Connect(ctx, url)
		check(err)
		_, err = conn.Exec(ctx, `create table t (v text)`)
		check(err)
		tag, err := conn.PgConn().CopyFrom(ctx, strings.NewReader("first\n\\.\nlast\n"), `copy t from stdin (format csv)`)
		check(err)
		var version, rows string
		check(conn.QueryRow(ctx, `select split_part(current_setting('server_version'), '.', 1), string_agg(v, ' ') from t`).Scan(&version, &rows))
		fmt.Printf("Postgres %s: %s: %s\n", version, tag, rows)
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
got=$(go run . "postgres://postgres@127.0.0.1:$old/postgres" "postgres://postgres@127.0.0.1:$PGPORT_FOUND/postgres")
echo "$got"
diff <(echo "$got") - <<'SEEN'
Postgres 17: COPY 1: first
Postgres 18: COPY 3: first \. last
SEEN
