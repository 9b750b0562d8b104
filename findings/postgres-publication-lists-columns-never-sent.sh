#!/usr/bin/env bash
# Postgres 15.18 and 18.4, through pgx v5.12.0.
#
# A good guess: pg_publication_tables.attnames names the columns that the publication sends. Seen: on
# Postgres 15 it also names a stored generated column, which logical replication never sends: neither
# the description of the table nor a row has it. Who makes the target's columns, or checks that all have
# arrived, by that view waits for one that does not come. On 18 the view leaves it out.
set -euo pipefail
. "$(dirname "$0")/lib/postgres.sh"
program=$(mktemp -d)
postgres_dirs+=("$program")
cat >"$program/main.go" <<'GO'
package main

import (
	"bytes"
	"context"
	"fmt"
	"os"

	"github.com/jackc/pgx/v5"
)

var ctx = context.Background()

func main() {
	conn, err := pgx.Connect(ctx, "postgres://postgres@127.0.0.1:"+os.Args[1]+"/postgres?sslmode=disable")
	check(err)
	for _, sql := range []string{
		"create table item (id int primary key, net int, gross int generated always as (net * 2) stored)",
		"create publication p for table item",
		"select pg_create_logical_replication_slot('s', 'pgoutput')",
		"insert into item values (1, 100)",
	} {
		_, err := conn.Exec(ctx, sql)
		check(err)
	}
	fmt.Println(one[string](conn, "select current_setting('server_version_num')::int / 10000 || ''"))
	fmt.Println("  in the view:", one[[]string](conn, "select attnames::text[] from pg_publication_tables"))
	rows, err := conn.Query(ctx, "select data from pg_logical_slot_get_binary_changes('s', null, null, 'proto_version', '1', 'publication_names', 'p')")
	check(err)
	messages, err := pgx.CollectRows(rows, pgx.RowTo[[]byte])
	check(err)
	for _, m := range messages {
		if m[0] != 'R' { // the description of the table
			continue
		}
		var sent []string
		for _, name := range []string{"id", "net", "gross"} {
			if bytes.Contains(m, []byte(name+"\x00")) {
				sent = append(sent, name)
			}
		}
		fmt.Println("  sent:       ", sent)
	}
}

func one[T any](c *pgx.Conn, sql string) (v T) {
	check(c.QueryRow(ctx, sql).Scan(&v))
	return v
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
(cd "$program" && go mod init finding && go get github.com/jackc/pgx/v5@v5.12.0) >/dev/null 2>&1
got=
for version in 15.18.0-beta.17 18.4.0-beta.17; do
  start_postgres "$(mktemp -d)" "$version" wal_level=logical
  got+=$(cd "$program" && go run . "$PGPORT_FOUND")$'\n'
done
echo "$got"
diff <(echo "$got") - <<'SEEN'
15
  in the view: [id net gross]
  sent:        [id net]
18
  in the view: [id net]
  sent:        [id net]

SEEN
