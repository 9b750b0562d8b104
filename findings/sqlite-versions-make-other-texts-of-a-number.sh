#!/usr/bin/env bash
# SQLite 3.51.2 (modernc.org/sqlite v1.46.1), then SQLite 3.54.1 (v1.62.0), two programs on one file.
#
# A good guess: a database file means the same to each version of SQLite, whose format is stable since 2004. So a unique index
# keeps its rows apart after an upgrade of the driver, and a query finds what it found.
# Seen: a real number becomes a text with 15 digits in the older version, and with 17 in the newer. So for an index over an
# expression with such a text, after the upgrade, and without an error:
#   - A query by the index does not find a row that the same query finds without it.
#   - The unique index lets the same row in a second time, and "on conflict do nothing" adds it.
#   - A stored generated column keeps the old text, so that equal numbers have two keys.
# Only integrity_check says that the index lacks the row.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/old" "$dir/new"
cat >"$dir/old/main.go" <<'GO'
package main

import (
	"database/sql"
	"fmt"
	"os"

	_ "modernc.org/sqlite"
)

func main() {
	db, err := sql.Open("sqlite", os.Args[1])
	check(err)
	db.SetMaxOpenConns(1)
	for _, statement := range os.Args[2:] {
		rows, err := db.Query(statement)
		check(err)
		for rows.Next() {
			var text string
			check(rows.Scan(&text))
			fmt.Println(text)
		}
		check(rows.Err())
	}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
cp "$dir/old/main.go" "$dir/new/"
build() {
	cd "$dir/$1"
	go mod init finding >/dev/null 2>&1
	go get "modernc.org/sqlite@$2" >/dev/null 2>&1
	go mod tidy >/dev/null 2>&1
	go build -o "$dir/$1/run" .
}
build old v1.46.1
build new v1.62.0
cd "$dir"
look=("select 'SQLite ' || sqlite_version()"
	"select 'by the index: ' || count(*) from prices where code || ' ' || price = 'A ' || (0.1 + 0.2)"
	"select 'without it: ' || count(*) from prices not indexed where code || ' ' || price = 'A ' || (0.1 + 0.2)")
got=$(
	old/run prices.db "create table prices (id integer primary key, code text, price real, key text generated always as (code || ' ' || price) stored)" \
		"create unique index prices_key on prices (code || ' ' || price)" \
		"insert into prices (code, price) values ('A', 0.1 + 0.2), ('B', 0.5)" "${look[@]}"
	new/run prices.db "${look[@]}" \
		"insert into prices (code, price) values ('A', 0.1 + 0.2), ('B', 0.5) on conflict do nothing" \
		"select 'rows: ' || count(*) from prices" \
		"select 'key ' || key || ' of a price that is equal: ' || (price = 0.1 + 0.2) from prices where code = 'A'" \
		"select 'integrity_check: ' || integrity_check from pragma_integrity_check"
)
echo "$got"
diff <(echo "$got") - <<'SEEN'
SQLite 3.51.2
by the index: 1
without it: 1
SQLite 3.54.1
by the index: 0
without it: 1
rows: 3
key A 0.3 of a price that is equal: 1
key A 0.30000000000000004 of a price that is equal: 1
integrity_check: row 1 missing from index prices_key
SEEN
