#!/usr/bin/env bash
# github.com/Masterminds/squirrel v1.5.4 and github.com/jmoiron/sqlx v1.4.0, beside github.com/doug-martin/goqu/v9 v9.19.0 and
# gorm.io/gorm v1.31.2 with gorm.io/driver/postgres v1.6.0; github.com/jackc/pgx/v5 v5.12.0, PostgreSQL 18.4. Needs npm.
#
# A good guess: what writes a statement's question marks as $1, $2 … leaves those alone that stand in a text between quotes, as
# a database does, which takes none of them for an argument. Seen, without an error, if the text comes after the arguments:
#   - squirrel with Dollar and sqlx.Rebind write the regular expression 'colou?r' as 'colou$2r'. So the query of new orders
#     with that colour finds none, an update of them changes none, and a link is stored with "$2" in the place of its "?".
#   - If the text comes first, Postgres refuses the statement; a query without arguments is changed as well.
# squirrel has "??" for a question mark, of which its documentation speaks for the operators of JSON. goqu and gorm leave such
# texts alone.
set -euo pipefail
cd "$(dirname "$0")"
. lib/postgres.sh
start_postgres "$(mktemp -d)" 18.4.0-beta.17
mkdir "$dir/go" && cd "$dir/go"
cat >main.go <<'GO'
package main

import (
	"database/sql"
	"fmt"
	"os"

	sq "github.com/Masterminds/squirrel"
	"github.com/doug-martin/goqu/v9"
	_ "github.com/doug-martin/goqu/v9/dialect/postgres"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/jmoiron/sqlx"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
)

func main() {
	db, err := sql.Open("pgx", "host=127.0.0.1 port="+os.Getenv("PORT")+" user=postgres database=postgres sslmode=disable")
	check(err)
	db.SetMaxOpenConns(1)
	_, err = db.Exec(`create table orders (id int primary key, state text, colour text, link text)`)
	check(err)
	_, err = db.Exec(`insert into orders values (1, 'new', 'colour', ''), (2, 'new', 'color', ''), (3, 'old', 'color', '')`)
	check(err)
	gormDB, err := gorm.Open(postgres.New(postgres.Config{Conn: db}))
	check(err)

	query := `select count(*) from orders where state = ? and colour ~ 'colou?r'`
	var n int
	check(gormDB.Raw(query, "new").Scan(&n).Error)
	fmt.Println("gorm:", n)
	text, args, err := goqu.Dialect("postgres").From("orders").Prepared(true).Select(goqu.COUNT("*")).
		Where(goqu.L("state = ?", "new"), goqu.L("colour ~ 'colou?r'")).ToSQL()
	check(err)
	show(db, "goqu", text, args)
	show(db, "sqlx.Rebind", sqlx.Rebind(sqlx.DOLLAR, query), []any{"new"})
	dollar := sq.StatementBuilder.PlaceholderFormat(sq.Dollar)
	text, args, err = dollar.Select("count(*)").From("orders").Where("state = ?", "new").Where("colour ~ 'colou?r'").ToSql()
	check(err)
	show(db, "squirrel", text, args)

	result, err := dollar.Update("orders").Set("state", "done").Where("colour ~ 'colou?r'").RunWith(db).Exec()
	check(err)
	changed, err := result.RowsAffected()
	check(err)
	fmt.Println("squirrel, updated:", changed)

	_, err = db.Exec(sqlx.Rebind(sqlx.DOLLAR, `update orders set state = ?, link = 'https://shop.example/?id=' || id`), "sent")
	check(err)
	var link string
	check(db.QueryRow(`select link from orders where id = 1`).Scan(&link))
	fmt.Println("sqlx.Rebind, the link of order 1:", link)
	_, err = db.Exec(sqlx.Rebind(sqlx.DOLLAR, `update orders set link = 'https://shop.example/?id=' || id where state = ?`), "sent")
	fmt.Println("sqlx.Rebind, the text first:", err != nil)
	check(db.QueryRow(sqlx.Rebind(sqlx.DOLLAR, `select 'Why?'`)).Scan(&link))
	fmt.Println("sqlx.Rebind, without arguments:", link)
}

func show(db *sql.DB, name, query string, args []any) {
	var n int
	check(db.QueryRow(query, args...).Scan(&n))
	fmt.Printf("%s: %d, by %s\n", name, n, query)
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
printf 'module finding\n\ngo 1.24\n' >go.mod
{ go get github.com/Masterminds/squirrel@v1.5.4 github.com/jmoiron/sqlx@v1.4.0 github.com/doug-martin/goqu/v9@v9.19.0 gorm.io/gorm@v1.31.2 gorm.io/driver/postgres@v1.6.0 github.com/jackc/pgx/v5@v5.12.0 &&
  go mod tidy; } >get.log 2>&1 || { cat get.log; exit 1; }
seen=$(PORT=$PGPORT_FOUND go run .)
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
gorm: 2
goqu: 2, by SELECT COUNT(*) FROM "orders" WHERE (state = $1 AND colour ~ 'colou?r')
sqlx.Rebind: 0, by select count(*) from orders where state = $1 and colour ~ 'colou$2r'
squirrel: 0, by SELECT count(*) FROM orders WHERE state = $1 AND colour ~ 'colou$2r'
squirrel, updated: 0
sqlx.Rebind, the link of order 1: https://shop.example/$2id=1
sqlx.Rebind, the text first: true
sqlx.Rebind, without arguments: Why$1
SEEN
