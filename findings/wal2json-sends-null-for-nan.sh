#!/usr/bin/env bash
# wal2json 2.5 (Debian 12), Postgres 15.18. x86-64, Debian 12.
#
# A good guess: the changes that a logical decoding plugin sends hold each column's value, as the
# plugins of Postgres itself do. Seen: wal2json sends the "null" of JSON for 'NaN', 'Infinity' and
# '-Infinity' in columns of type real, double precision and numeric, in both of its formats. Nothing
# tells it from a NULL: a replica that applies the changes stores NULL, or fails where the column is
# NOT NULL, as it is here. The same values in timestamps and dates arrive. pgoutput and test_decoding
# send them all.
set -euo pipefail
. "$(dirname "$0")/lib/postgres.sh"
work=$(mktemp -d)
mkdir "$work/debs" "$work/plugin"
(cd "$work/debs" && apt-get download postgresql-15-wal2json=2.5-1+b1 >download.log 2>&1) || { cat "$work/debs/download.log"; exit 1; }
dpkg -x "$work"/debs/*.deb "$work/plugin"
start_postgres "$work" 15.18.0-beta.17 wal_level=logical "dynamic_library_path=$work/plugin/usr/lib/postgresql/15/lib:$(postgres_bin "$work")/../lib/postgresql"
mkdir "$work/go" && cd "$work/go"
cat >main.go <<'GO'
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/jackc/pgx/v5"
)

func main() {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, "host=127.0.0.1 port="+os.Getenv("PORT")+" user=postgres database=postgres sslmode=disable")
	check(err)
	defer conn.Close(ctx)
	for _, statement := range []string{
		`create table t (id int primary key, f float8 not null, r float4 not null, n numeric not null, at timestamptz not null)`,
		`select pg_create_logical_replication_slot('w', 'wal2json'), pg_create_logical_replication_slot('t', 'test_decoding')`,
		`insert into t values (1, 'NaN', '-Infinity', 'Infinity', 'infinity')`,
	} {
		_, err = conn.Exec(ctx, statement)
		check(err)
	}

	rows, err := conn.Query(ctx, `select data from pg_logical_slot_peek_changes('w', null, null, 'format-version', '2')`)
	check(err)
	texts, err := pgx.CollectRows(rows, pgx.RowTo[string])
	check(err)
	for _, text := range texts {
		var change struct {
			Columns []struct {
				Name  string
				Value any
			}
		}
		check(json.Unmarshal([]byte(text), &change))
		for _, c := range change.Columns {
			fmt.Printf("wal2json: %s %v\n", c.Name, c.Value)
		}
	}
	var text string
	check(conn.QueryRow(ctx, `select string_agg(data, '') from pg_logical_slot_peek_changes('w', null, null)`).Scan(&text))
	_, values, _ := strings.Cut(text, `"columnvalues":`)
	values, _, _ = strings.Cut(values, "]")
	fmt.Println("wal2json, format 1:", values+"]")
	check(conn.QueryRow(ctx, `select data from pg_logical_slot_peek_changes('t', null, null) where data like 'table%'`).Scan(&text))
	fmt.Println("test_decoding:", text)
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
go mod init finding >/dev/null 2>&1
go get github.com/jackc/pgx/v5@v5.12.0 >/dev/null 2>&1
seen=$(PORT=$PGPORT_FOUND go run .)
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
wal2json: id 1
wal2json: f <nil>
wal2json: r <nil>
wal2json: n <nil>
wal2json: at infinity
wal2json, format 1: [1,null,null,null,"infinity"]
test_decoding: table public.t: INSERT: id[integer]:1 f[double precision]:NaN r[real]:-Infinity n[numeric]:Infinity at[timestamp with time zone]:'infinity'
SEEN
