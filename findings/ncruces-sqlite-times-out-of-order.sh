#!/usr/bin/env bash
# github.com/ncruces/go-sqlite3 v0.37.0 through database/sql.
#
# A good guess: times in UTC that one driver writes to SQLite sort and compare as times. Seen: the
# driver writes a fraction of a second without trailing zeros, and none for a whole second. As text
# "10:00:00.5Z" comes before "10:00:00Z". So "order by at" gives the half second before the whole
# one, and "at > 10:00:00" leaves it out. A reader that goes on after the last time never sees it.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"database/sql"
	"fmt"
	"time"

	_ "github.com/ncruces/go-sqlite3/driver"
)

func main() {
	db, err := sql.Open("sqlite3", ":memory:")
	check(err)
	db.SetMaxOpenConns(1)
	_, err = db.Exec(`create table t (id integer primary key, at datetime)`)
	check(err)
	whole := time.Date(2026, 11, 28, 10, 0, 0, 0, time.UTC)
	for _, after := range []time.Duration{0, 500 * time.Millisecond, time.Second} {
		_, err := db.Exec(`insert into t (at) values (?)`, whole.Add(after))
		check(err)
	}
	rows, err := db.Query(`select id, cast(at as text) from t order by at`)
	check(err)
	for rows.Next() {
		var id int
		var text string
		check(rows.Scan(&id, &text))
		fmt.Println(id, text)
	}
	check(rows.Err())
	var n int
	check(db.QueryRow(`select count(*) from t where at > ?`, whole).Scan(&n))
	fmt.Println("later than 10:00:00:", n)
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
go mod init finding >/dev/null 2>&1
go get github.com/ncruces/go-sqlite3@v0.37.0 >/dev/null 2>&1
go mod tidy >/dev/null 2>&1
got=$(go run .)
echo "$got"
diff <(echo "$got") - <<'SEEN'
2 2026-11-28T10:00:00.5Z
1 2026-11-28T10:00:00Z
3 2026-11-28T10:00:01Z
later than 10:00:00: 1
SEEN
