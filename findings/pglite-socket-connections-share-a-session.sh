#!/usr/bin/env bash
# @electric-sql/pglite-socket 0.2.17, @electric-sql/pglite 0.5.14 (PostgreSQL 18.6), with
# github.com/jackc/pgx/v5 v5.12.0. Needs npm.
#
# A good guess: a server that takes ten connections gives each a session, as every Postgres does. Its
# README says that there is one connection inside, and a multiplexer. Seen, without an error or a notice:
#   - What one connection sets, all have: the time zone, the search path.
#   - Two connections get the same advisory lock. So code that must run once runs twice.
#   - NOTIFY reaches no connection that listens.
#   - While one connection is in a transaction, the statements of all others wait.
# A driver that prepares statements, as pgx does, fails sooner: the names are shared too.
set -euo pipefail
dir=$(mktemp -d)
pid=
stop() {
  [ -z "$pid" ] || { kill "$pid" && wait "$pid"; } 2>/dev/null || true
  rm -rf "$dir"
}
trap stop EXIT
cd "$dir"
npm init -y >npm.log 2>&1
npm install --no-audit --no-fund @electric-sql/pglite@0.5.14 @electric-sql/pglite-socket@0.2.17 >>npm.log 2>&1 || { cat npm.log; exit 1; }
cat >server.mjs <<'JS'
import { PGlite } from '@electric-sql/pglite'
import { PGLiteSocketServer } from '@electric-sql/pglite-socket'
const db = await PGlite.create()
await new PGLiteSocketServer({ db, port: Number(process.argv[2]), host: '127.0.0.1', maxConnections: 10 }).start()
JS
port=$(node -e 'const s = require("net").createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close() })')
node server.mjs "$port" >server.log 2>&1 &
pid=$!
mkdir go && cd go
cat >main.go <<'GO'
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
)

var ctx = context.Background()

func main() {
	a, b := connect(), connect()
	fmt.Println("the zone of b at first:", ask(b, "select set_config('timezone', 'UTC', false)"))
	ask(a, "select set_config('timezone', 'Asia/Tokyo', false)")
	fmt.Println("the zone of b, after a has set its own:", ask(b, "show timezone"))
	lock := "select pg_try_advisory_lock(7)::text"
	fmt.Println("a gets the lock:", ask(a, lock), "- b gets it too:", ask(b, lock))
	_, err := a.Exec(ctx, "listen news")
	check(err)
	_, err = b.Exec(ctx, "notify news, 'hello'")
	check(err)
	soon, cancel := context.WithTimeout(ctx, 2*time.Second)
	_, err = a.WaitForNotification(soon)
	cancel()
	fmt.Println("a is told:", err == nil)

	a = connect()
	_, err = a.Exec(ctx, "begin")
	check(err)
	done := make(chan string)
	go func() { done <- ask(b, "select 'b has its answer'") }()
	select {
	case answer := <-done:
		fmt.Println("beside the transaction of a:", answer)
	case <-time.After(2 * time.Second):
		fmt.Println("beside the transaction of a: b waits")
	}
	_, err = a.Exec(ctx, "rollback")
	check(err)
	fmt.Println("after it:", <-done)
}

// connect waits until the server has started. No statement is prepared.
func connect() *pgx.Conn {
	config, err := pgx.ParseConfig("postgres://postgres:postgres@127.0.0.1:" + os.Getenv("PORT") + "/postgres?sslmode=disable&default_query_exec_mode=simple_protocol")
	check(err)
	for range 600 {
		var conn *pgx.Conn
		if conn, err = pgx.ConnectConfig(ctx, config); err == nil {
			return conn
		}
		time.Sleep(200 * time.Millisecond)
	}
	panic(err)
}

func ask(conn *pgx.Conn, query string) (answer string) {
	check(conn.QueryRow(ctx, query).Scan(&answer))
	return answer
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
printf 'module finding\n\ngo 1.25\n' >go.mod
go get github.com/jackc/pgx/v5@v5.12.0 >get.log 2>&1 || { cat get.log; exit 1; }
seen=$(PORT=$port go run .)
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
the zone of b at first: UTC
the zone of b, after a has set its own: Asia/Tokyo
a gets the lock: true - b gets it too: true
a is told: false
beside the transaction of a: b waits
after it: b has its answer
SEEN
