#!/usr/bin/env bash
# modernc.org/sqlite v1.62.0 and github.com/mattn/go-sqlite3 v1.14.53, two programs on one file.
# Needs a C compiler, for the second.
#
# A good guess: a time.Time that one of Go's SQLite drivers writes into a datetime column is read
# by the other, or is an error. Seen: mattn reads every time that modernc writes by default as
# 0001-01-01, without an error. And modernc does not read all that it writes itself: a time whose
# zone has an offset and no name, as time.Parse makes it of RFC 3339, comes back as a string,
# which does not scan into a time.Time.
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

	_ "github.com/mattn/go-sqlite3"
	_ "modernc.org/sqlite"
)

func main() {
	modernc, err := sql.Open("sqlite", "times.db")
	check(err)
	_, err = modernc.Exec(`create table t (id integer primary key, at datetime)`)
	check(err)
	parsed, err := time.Parse(time.RFC3339, "2026-11-28T10:00:00+05:45")
	check(err)
	_, err = modernc.Exec(`insert into t (at) values (?), (?)`, time.Date(2026, 11, 28, 10, 0, 0, 0, time.UTC), parsed)
	check(err)
	mattn, err := sql.Open("sqlite3", "times.db")
	check(err)
	for _, d := range []struct {
		name string
		db   *sql.DB
	}{{"modernc", modernc}, {"mattn", mattn}} {
		for id := 1; id <= 2; id++ {
			var text string
			check(d.db.QueryRow(`select cast(at as text) from t where id = ?`, id).Scan(&text))
			var at time.Time
			err := d.db.QueryRow(`select at from t where id = ?`, id).Scan(&at)
			fmt.Printf("%s: %q: %s, error: %t\n", d.name, text, at.Format(time.RFC3339), err != nil)
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
go get modernc.org/sqlite@v1.62.0 github.com/mattn/go-sqlite3@v1.14.53 >/dev/null 2>&1
go mod tidy >/dev/null 2>&1
got=$(CGO_ENABLED=1 go run .)
echo "$got"
diff <(echo "$got") - <<'SEEN'
modernc: "2026-11-28 10:00:00 +0000 UTC": 2026-11-28T10:00:00Z, error: false
modernc: "2026-11-28 10:00:00 +0545 +0545": 0001-01-01T00:00:00Z, error: true
mattn: "2026-11-28 10:00:00 +0000 UTC": 0001-01-01T00:00:00Z, error: false
mattn: "2026-11-28 10:00:00 +0545 +0545": 0001-01-01T00:00:00Z, error: false
SEEN
