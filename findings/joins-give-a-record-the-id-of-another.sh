#!/usr/bin/env bash
# github.com/jmoiron/sqlx v1.4.0, gorm.io/gorm v1.31.2 and github.com/uptrace/bun v1.3.0, beside github.com/georgysavva/scany/v2 v2.1.4 and
# github.com/jackc/pgx/v5 v5.12.0, with PostgreSQL 18.4. Needs npm, for the server.
#
# A good guess: a result with two columns of one name, as "select o.*, c.*" of a join has it, is an error for a library that fills structs
# by names. Or the first column counts, which is the order's. Seen: scany says which column is there twice, and pgx
# refuses the rows with another reason. sqlx, gorm and bun fill the field twice, so that the last column stays: order 1 has become number 7,
# which is its customer's. What is then updated, sent or upserted by that id is another order. A map of pgx has
# the last column too.
set -euo pipefail
cd "$(dirname "$0")"
. lib/postgres.sh
start_postgres "$(mktemp -d)" 18.4.0-beta.17
export URL="postgres://postgres@127.0.0.1:$PGPORT_FOUND/postgres"
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"context"
	"database/sql"
	"fmt"
	"os"

	"github.com/georgysavva/scany/v2/pgxscan"
	"github.com/jackc/pgx/v5"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/jmoiron/sqlx"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"
)

type order struct {
	ID       int    `db:"id"`
	Name     string `db:"name"`
	Customer int    `db:"customer"`
}

const join = "select o.*, c.* from orders o join customers c on c.id = o.customer"

func main() {
	ctx, url := context.Background(), os.Getenv("URL")
	conn, err := pgx.Connect(ctx, url)
	check(err)
	for _, statement := range []string{
		"create table customers (id int, name text)", "insert into customers values (7, 'Ann')",
		"create table orders (id int, name text, customer int)", "insert into orders values (1, 'shoes', 7)",
	} {
		_, err := conn.Exec(ctx, statement)
		check(err)
	}
	db, err := sql.Open("pgx", url)
	check(err)
	g, err := gorm.Open(postgres.Open(url), &gorm.Config{Logger: logger.Discard})
	check(err)

	show := func(name string, fill func(to *[]order) error) {
		var orders []order
		if err := fill(&orders); err != nil {
			fmt.Printf("%s: %v\n", name, err)
			return
		}
		fmt.Printf("%s: %+v\n", name, orders)
	}
	show("sqlx", func(to *[]order) error { return sqlx.NewDb(db, "pgx").Select(to, join) })
	show("gorm", func(to *[]order) error { return g.Raw(join).Scan(to).Error })
	show("bun", func(to *[]order) error { return bun.NewDB(db, pgdialect.New()).NewRaw(join).Scan(ctx, to) })
	show("scany", func(to *[]order) error { return pgxscan.Select(ctx, conn, to, join) })
	show("pgx", func(to *[]order) error {
		rows, err := conn.Query(ctx, join)
		check(err)
		*to, err = pgx.CollectRows(rows, pgx.RowToStructByName[order])
		return err
	})
	rows, err := conn.Query(ctx, join)
	check(err)
	maps, err := pgx.CollectRows(rows, pgx.RowToMap)
	check(err)
	fmt.Println("pgx, a map:", maps)
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
go mod init finding >/dev/null 2>&1
go get github.com/jmoiron/sqlx@v1.4.0 gorm.io/gorm@v1.31.2 gorm.io/driver/postgres@v1.6.3 github.com/uptrace/bun@v1.3.0 github.com/uptrace/bun/dialect/pgdialect@v1.3.0 \
  github.com/georgysavva/scany/v2@v2.1.4 github.com/jackc/pgx/v5@v5.12.0 >/dev/null 2>&1
go mod tidy >/dev/null 2>&1
got=$(go run .)
echo "$got"
diff <(echo "$got") - <<'SEEN'
sqlx: [{ID:7 Name:Ann Customer:7}]
gorm: [{ID:7 Name:Ann Customer:7}]
bun: [{ID:7 Name:Ann Customer:7}]
scany: scanning all: scanning: scanning: doing scan: starting: duplicate columns: scany: rows contain a duplicate column 'id'
pgx: struct doesn't have corresponding row field id
pgx, a map: [map[customer:7 id:7 name:Ann]]
SEEN
