#!/usr/bin/env bash
# gorm.io/gorm v1.31.2, github.com/uptrace/bun v1.3.0, github.com/Masterminds/squirrel v1.5.4,
# github.com/doug-martin/goqu/v9 v9.19.0, with github.com/glebarez/sqlite v1.11.0.
#
# A good guess: "id not in" an empty list, such as that of the ids which are done, finds all rows, or is an error, as it
# is in sqlx. And what a library finds or deletes by an empty list of ids is nothing.
# Seen, without an error:
#   - gorm and bun write NOT IN (NULL), which is never true. So a flow that leaves out what is done finds nothing to
#     do, until something is done. squirrel and goqu find all.
#   - gorm's Not with a map writes IS NOT NULL, and its Find with an empty list of ids leaves the condition out. Both find
#     all rows, also where the list was of the rows to be done.
#   - gorm's Delete with an empty list is refused (ErrMissingWhereClause), so that a test of it passes. Beside another
#     condition, such as that of a shop, the list is left out: all rows of the shop are deleted.
# The manual of gorm shows Find and Delete with lists of ids; it does not say what an empty one does.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"context"
	"fmt"

	"github.com/Masterminds/squirrel"
	"github.com/doug-martin/goqu/v9"
	_ "github.com/doug-martin/goqu/v9/dialect/sqlite3"
	"github.com/glebarez/sqlite"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/sqlitedialect"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"
)

type Item struct {
	ID   int64 `bun:",pk"`
	Shop int64
}

func main() {
	orm, err := gorm.Open(sqlite.Open(":memory:"), &gorm.Config{Logger: logger.Discard})
	check(err)
	db, err := orm.DB()
	check(err)
	db.SetMaxOpenConns(1)
	check(orm.AutoMigrate(&Item{}))
	check(orm.Create([]Item{{1, 7}, {2, 7}, {3, 8}}).Error)
	none := []int64{}

	found := func(name string, query *gorm.DB) {
		var items []Item
		check(query.Find(&items).Error)
		fmt.Println(name, len(items))
	}
	found(`gorm, Where("id not in ?"):`, orm.Where("id not in ?", none))
	found(`gorm, Not(map):`, orm.Not(map[string]any{"id": none}))
	found(`gorm, Where(map):`, orm.Where(map[string]any{"id": none}))
	var items []Item
	check(orm.Find(&items, none).Error)
	fmt.Println("gorm, Find with a list:", len(items))

	items = nil
	check(bun.NewDB(db, sqlitedialect.New()).NewSelect().Model(&items).Where("id not in (?)", bun.List(none)).Scan(context.Background()))
	fmt.Println(`bun, Where("id not in (?)"):`, len(items))

	count := func(name, query string, args []any, err error) {
		check(err)
		n := 0
		check(db.QueryRow(query, args...).Scan(&n))
		fmt.Println(name, n)
	}
	query, args, err := squirrel.Select("count(*)").From("items").Where(squirrel.NotEq{"id": none}).ToSql()
	count("squirrel, NotEq:", query, args, err)
	query, args, err = goqu.Dialect("sqlite3").From("items").Select(goqu.COUNT("*")).Where(goqu.C("id").NotIn(none)).ToSQL()
	count("goqu, NotIn:", query, args, err)

	fmt.Println("gorm, Delete with a list:", orm.Delete(&Item{}, none).Error)
	deleted := orm.Where("shop = ?", 7).Delete(&Item{}, none)
	fmt.Println("gorm, Where(shop).Delete with a list: error", deleted.Error, "- deleted", deleted.RowsAffected)
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
printf 'module finding\n\ngo 1.26\n' >go.mod
(go get gorm.io/gorm@v1.31.2 github.com/glebarez/sqlite@v1.11.0 github.com/uptrace/bun@v1.3.0 github.com/uptrace/bun/dialect/sqlitedialect@v1.3.0 \
  github.com/Masterminds/squirrel@v1.5.4 github.com/doug-martin/goqu/v9@v9.19.0 && go mod tidy) >get.log 2>&1 || { cat get.log; exit 1; }
got=$(go run .)
echo "$got"
diff <(echo "$got") - <<'SEEN'
gorm, Where("id not in ?"): 0
gorm, Not(map): 3
gorm, Where(map): 0
gorm, Find with a list: 3
bun, Where("id not in (?)"): 0
squirrel, NotEq: 3
goqu, NotIn: 3
gorm, Delete with a list: WHERE conditions required
gorm, Where(shop).Delete with a list: error <nil> - deleted 2
SEEN
