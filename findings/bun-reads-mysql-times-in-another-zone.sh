#!/usr/bin/env bash
# github.com/uptrace/bun v1.3.0 and its mysqldialect, github.com/go-sql-driver/mysql v1.9.3, MariaDB 10.11.19.
# Needs Debian 12, whose packages of MariaDB it runs from a temporary folder.
#
# A good guess: a time that an ORM stores is the same when it reads it back, whatever the time zone of the
# connection. Seen: bun puts times into the statement itself, in UTC. The driver reads them by "loc" of the DSN. With
# loc=Europe/Berlin, 12:00 UTC is stored, and 10:00 UTC is read, without an error. The same condition finds the row by
# bun, and finds none by database/sql on the same pool. mysqldialect.WithTimeLocation makes the two agree.
set -euo pipefail
cd "$(dirname "$0")"
. lib/mariadb.sh
start_mariadb "$(mktemp -d)"
cd "$mariadb_dir"

ask -e 'create database d'
mkdir go && cd go
cat >main.go <<'GO'
package main

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"time"

	_ "github.com/go-sql-driver/mysql"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/mysqldialect"
)

type Order struct {
	ID int64 `bun:",pk"`
	At time.Time
}

func main() {
	ctx := context.Background()
	at := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	for id, loc := range []string{"UTC", "Europe/Berlin"} {
		pool, err := sql.Open("mysql", "root@unix("+os.Getenv("SOCKET")+")/d?parseTime=true&loc="+url.QueryEscape(loc))
		check(err)
		db := bun.NewDB(pool, mysqldialect.New())
		_, err = db.NewCreateTable().Model((*Order)(nil)).IfNotExists().Exec(ctx)
		check(err)
		_, err = db.NewInsert().Model(&Order{ID: int64(id), At: at}).Exec(ctx)
		check(err)
		var o Order
		check(db.NewSelect().Model(&o).Where("id = ?", id).Scan(ctx))
		byBun, err := db.NewSelect().Model((*Order)(nil)).Where("id = ?", id).Where("at = ?", at).Count(ctx)
		check(err)
		var byDriver int
		check(pool.QueryRow("select count(*) from orders where id = ? and at = ?", id, at).Scan(&byDriver))
		fmt.Printf("%s: stored 12:00 UTC, read %s UTC; found by bun: %d, by database/sql: %d\n", loc, o.At.UTC().Format("15:04"), byBun, byDriver)
	}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
printf 'module finding\n\ngo 1.24\n' >go.mod
{ go get github.com/uptrace/bun@v1.3.0 github.com/uptrace/bun/dialect/mysqldialect@v1.3.0 github.com/go-sql-driver/mysql@v1.9.3 && go mod tidy; } >get.log 2>&1 || { cat get.log; exit 1; }
seen=$(go run .)
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
UTC: stored 12:00 UTC, read 12:00 UTC; found by bun: 1, by database/sql: 1
Europe/Berlin: stored 12:00 UTC, read 10:00 UTC; found by bun: 1, by database/sql: 0
SEEN
