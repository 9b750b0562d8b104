#!/usr/bin/env bash
# github.com/Masterminds/squirrel v1.5.4, github.com/doug-martin/goqu/v9 v9.19.0, github.com/huandu/go-sqlbuilder v1.44.1,
# gorm.io/gorm v1.31.2; npm's knex 3.3.0, kysely 0.28.19, drizzle-orm 0.45.4, typeorm 1.1.1. Beside them
# github.com/uptrace/bun v1.3.0 and github.com/gocraft/dbr/v2 v2.7.6. SQLite. Needs npm.
#
# A good guess: two conditions that are given to a query one after the other both hold for each row that it finds or
# deletes, so that the condition of a month keeps the query within that month, whatever the other one says. Seen, without
# an error, with "state = 'done' or state = 'void'" as the other one, in SQL:
#   - squirrel, goqu, go-sqlbuilder, knex, kysely, drizzle and typeorm join the texts with AND as they are, and AND binds
#     more closely than OR. So the order of another month is deleted too. The same is so within sq.And and
#     drizzle's and(), which do write brackets, but around the whole.
#   - gorm writes the brackets if OR stands between two spaces. If a line break or a tab is beside it, as in SQL of
#     several lines, it does not. So a condition that was laid out anew deletes other rows than before.
# bun and dbr always write them. The READMEs of squirrel, goqu, gorm, kysely and typeorm do not mention it.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"database/sql"
	"fmt"

	sq "github.com/Masterminds/squirrel"
	"github.com/doug-martin/goqu/v9"
	"github.com/glebarez/sqlite"
	"github.com/gocraft/dbr/v2"
	"github.com/gocraft/dbr/v2/dialect"
	"github.com/huandu/go-sqlbuilder"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/sqlitedialect"
	"gorm.io/gorm"
)

const (
	finished = "state = 'done' or state = 'void'"
	twoLines = "state = 'done'\n\tor state = 'void'"
)

type Order struct {
	bun.BaseModel `bun:"orders"`
	ID, Month      int
	State         string
}

var db *sql.DB

func main() {
	g, err := gorm.Open(sqlite.Open(":memory:"), &gorm.Config{})
	check(err)
	db, err = g.DB()
	check(err)
	db.SetMaxOpenConns(1)

	deletes("squirrel", func() {
		_, err := sq.Delete("orders").Where(finished).Where("month = ?", 1).RunWith(db).Exec()
		check(err)
	})
	deletes("squirrel's sq.And", func() {
		_, err := sq.Delete("orders").Where(sq.And{sq.Expr(finished), sq.Eq{"month": 1}}).RunWith(db).Exec()
		check(err)
	})
	deletes("goqu", func() {
		text, _, err := goqu.Delete("orders").Where(goqu.L(finished), goqu.Ex{"month": 1}).ToSQL()
		check(err)
		run(text)
	})
	deletes("go-sqlbuilder", func() {
		b := sqlbuilder.DeleteFrom("orders")
		text, args := b.Where(finished, b.Equal("month", 1)).Build()
		run(text, args...)
	})
	deletes("gorm, one line", func() {
		check(g.Where(finished).Where("month = ?", 1).Delete(&Order{}).Error)
	})
	deletes("gorm, two lines", func() {
		check(g.Where(twoLines).Where("month = ?", 1).Delete(&Order{}).Error)
	})
	deletes("dbr", func() {
		text := dbr.NewBuffer()
		check(dbr.DeleteFrom("orders").Where(finished).Where("month = ?", 1).Build(dialect.SQLite3, text))
		run(text.String(), text.Value()...)
	})
	deletes("bun", func() {
		run(bun.NewDB(db, sqlitedialect.New()).NewDelete().Model((*Order)(nil)).Where(finished).Where("month = ?", 1).String())
	})
}

// deletes prints the orders that a deletion of the finished ones of month 1 leaves.
func deletes(name string, do func()) {
	run("drop table if exists orders")
	run("create table orders (id integer primary key, month int, state text)")
	run("insert into orders values (1, 1, 'done'), (2, 1, 'open'), (3, 2, 'done'), (4, 2, 'open')")
	do()
	var left string
	check(db.QueryRow("select group_concat(id, ' ') from orders").Scan(&left))
	fmt.Printf("%s leaves %s\n", name, left)
}

func run(text string, args ...any) {
	_, err := db.Exec(text, args...)
	check(err)
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
printf 'module finding\n\ngo 1.25\n' >go.mod
{ go get github.com/Masterminds/squirrel@v1.5.4 github.com/doug-martin/goqu/v9@v9.19.0 github.com/huandu/go-sqlbuilder@v1.44.1 gorm.io/gorm@v1.31.2 \
  github.com/glebarez/sqlite@v1.11.0 github.com/uptrace/bun@v1.3.0 github.com/uptrace/bun/dialect/sqlitedialect@v1.3.0 github.com/gocraft/dbr/v2@v2.7.6 &&
  go mod tidy; } >get.log 2>&1 || { cat get.log; exit 1; }
cat >main.mjs <<'JS'
import { and, eq, sql as text } from "drizzle-orm";
import { drizzle } from "drizzle-orm/sql-js";
import { integer, sqliteTable } from "drizzle-orm/sqlite-core";
import knex from "knex";
import { DummyDriver, Kysely, sql, SqliteAdapter, SqliteQueryCompiler } from "kysely";
import sqlite from "sql.js";
import { DataSource } from "typeorm";

const finished = "state = 'done' or state = 'void'";
const { Database } = await sqlite();

async function deletes(name, run) {
  const db = new Database();
  db.run(`create table orders (id integer primary key, month int, state text);
    insert into orders values (1, 1, 'done'), (2, 1, 'open'), (3, 2, 'done'), (4, 2, 'open')`);
  const result = (await run(db)) ?? db;
  console.log(name, "leaves", result.exec("select group_concat(id, ' ') from orders")[0].values[0][0]);
}

await deletes("knex", (db) => void db.run(knex({ client: "sqlite3", useNullAsDefault: true })("orders").whereRaw(finished).where("month", 1).del().toString()));
await deletes("kysely", (db) => {
  const parts = { createAdapter: () => new SqliteAdapter(), createDriver: () => new DummyDriver(), createQueryCompiler: () => new SqliteQueryCompiler() };
  const query = new Kysely({ dialect: parts }).deleteFrom("orders")
    .where(sql`state = 'done' or state = 'void'`).where("month", "=", 1).compile();
  db.run(query.sql, query.parameters);
});
await deletes("drizzle", (db) => {
  const orders = sqliteTable("orders", { month: integer("month") });
  drizzle(db).delete(orders).where(and(text`state = 'done' or state = 'void'`, eq(orders.month, 1))).run();
});
await deletes("typeorm", async (db) => {
  const source = await new DataSource({ type: "sqljs", database: db.export() }).initialize();
  await source.createQueryBuilder().delete().from("orders").where(finished).andWhere("month = :month", { month: 1 }).execute();
  return source.driver.databaseConnection;
});
JS
{ npm init -y && npm install --no-audit --no-fund sql.js@1.17.0 knex@3.3.0 kysely@0.28.19 drizzle-orm@0.45.4 typeorm@1.1.1 reflect-metadata@0.2.2; } \
  >npm.log 2>&1 || { cat npm.log; exit 1; }
seen=$(go run . && node main.mjs)
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
squirrel leaves 2 4
squirrel's sq.And leaves 2 4
goqu leaves 2 4
go-sqlbuilder leaves 2 4
gorm, one line leaves 2 3 4
gorm, two lines leaves 2 4
dbr leaves 2 3 4
bun leaves 2 3 4
knex leaves 2 4
kysely leaves 2 4
drizzle leaves 2 4
typeorm leaves 2 4
SEEN
