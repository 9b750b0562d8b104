#!/usr/bin/env bash
# github.com/golang-migrate/migrate/v4 v4.20.1, beside github.com/pressly/goose/v3 v3.30.1. SQLite.
#
# A good guess: Up applies every migration that was not applied yet, or says which it did not. Seen: it
# remembers the highest version alone. A migration with a lower one, as a branch that was merged late
# brings it, is never applied: Up answers "no change" at first, and nil after the next migration. goose
# refuses such a file by name.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing/fstest"

	"github.com/golang-migrate/migrate/v4"
	"github.com/golang-migrate/migrate/v4/database/sqlite"
	"github.com/golang-migrate/migrate/v4/source/iofs"
	"github.com/pressly/goose/v3"
)

func main() {
	for _, merged := range [][]string{{"1", "3"}, {"1", "2", "3"}, {"1", "2", "3", "4"}} {
		files := fstest.MapFS{}
		for _, n := range merged {
			files[n+"_t.up.sql"] = &fstest.MapFile{Data: []byte("create table t" + n + " (id int);")}
		}
		db := open("migrate.db")
		source, err := iofs.New(files, ".")
		check(err)
		driver, err := sqlite.WithInstance(db, &sqlite.Config{})
		check(err)
		m, err := migrate.NewWithInstance("files", source, "sqlite", driver)
		check(err)
		fmt.Printf("golang-migrate, files %v: %v; tables %s\n", merged, m.Up(), tables(db))
		check(db.Close())
	}
	for _, merged := range [][]string{{"1", "3"}, {"1", "2", "3"}} {
		files := fstest.MapFS{}
		for _, n := range merged {
			files["0000"+n+"_t.sql"] = &fstest.MapFile{Data: []byte("-- +goose Up\ncreate table t" + n + " (id int);")}
		}
		db := open("goose.db")
		p, err := goose.NewProvider(goose.DialectSQLite3, db, files)
		check(err)
		_, err = p.Up(context.Background())
		fmt.Printf("goose, files %v: refused %v; tables %s\n", merged, err != nil, tables(db))
		check(db.Close())
	}
}

func open(path string) *sql.DB {
	db, err := sql.Open("sqlite", path)
	check(err)
	return db
}

// tables lists the tables t1, t2, …
func tables(db *sql.DB) string {
	rows, err := db.Query("select name from sqlite_master where type = 'table' and name glob 't[0-9]' order by name")
	check(err)
	var names []string
	for rows.Next() {
		var name string
		check(rows.Scan(&name))
		names = append(names, name)
	}
	check(rows.Err())
	return strings.Join(names, " ")
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
printf 'module finding\n\ngo 1.26\n' >go.mod
go get github.com/golang-migrate/migrate/v4/database/sqlite@v4.20.1 github.com/golang-migrate/migrate/v4@v4.20.1 github.com/pressly/goose/v3@v3.30.1 >get.log 2>&1 || { cat get.log; exit 1; }
seen=$(go run .)
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
golang-migrate, files [1 3]: <nil>; tables t1 t3
golang-migrate, files [1 2 3]: no change; tables t1 t3
golang-migrate, files [1 2 3 4]: <nil>; tables t1 t3 t4
goose, files [1 3]: refused false; tables t1 t3
goose, files [1 2 3]: refused true; tables t1 t3
SEEN
