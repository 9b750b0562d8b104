#!/usr/bin/env bash
# PgBouncer 1.18.0 (Debian 12) in transaction mode, pgx v5.12.0, Postgres 18.4. x86-64, Debian 12.
#
# A good guess: in transaction mode, a prepared statement that was prepared on another server process
# does not exist, so that its use is an error (26000). Seen: if another client has prepared a statement
# of the same name on that server process, that statement is executed, without an error. Libraries
# that number their statements make the same names in every client. (PgBouncer 1.21 and later can
# keep the statements of clients apart: max_prepared_statements.)
set -euo pipefail
cd "$(dirname "$0")"
. lib/postgres.sh
start_postgres "$(mktemp -d)" 18.4.0-beta.17

mkdir "$dir/debs" "$dir/bouncer"
(cd "$dir/debs" && apt-get download pgbouncer libevent-2.1-7 libc-ares2 >download.log 2>&1) || { cat "$dir/debs/download.log"; exit 1; }
for deb in "$dir"/debs/*.deb; do dpkg -x "$deb" "$dir/bouncer"; done
bouncer_port=$(node -e 'const s = require("net").createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close() })')
cat >"$dir/bouncer/pgbouncer.ini" <<INI
[databases]
postgres = host=127.0.0.1 port=$PGPORT_FOUND
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $bouncer_port
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 2
server_round_robin = 0
INI
sed -i 's/^postgres = .*/& user=postgres/' "$dir/bouncer/pgbouncer.ini"
chmod -R a+rX "$dir"
LD_LIBRARY_PATH="$dir/bouncer/usr/lib/x86_64-linux-gnu" "${as_nobody[@]}" "$dir/bouncer/usr/sbin/pgbouncer" -q "$dir/bouncer/pgbouncer.ini" >"$dir/bouncer.log" 2>&1 &
bouncer=$!
trap 'kill $bouncer 2>/dev/null || true; stop_postgres' EXIT
LD_LIBRARY_PATH="$dir/bouncer/usr/lib/x86_64-linux-gnu" "$dir/bouncer/usr/sbin/pgbouncer" --version | head -n 1

mkdir "$dir/go" && cd "$dir/go"
cat >main.go <<'GO'
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

var ctx = context.Background()

func main() {
	ann, bob, other := connect(), connect(), connect()
	begin := func(c *pgconn.PgConn) { exec(c, "begin") }
	end := func(c *pgconn.PgConn) { exec(c, "commit") }

	// Ann prepares her statement on one server process, Bob his on another.
	begin(ann)
	prepare(ann, "s1", "select 'of Ann'")
	begin(bob)
	prepare(bob, "s1", "select 'of Bob'")
	// Now only Bob's server process is free, so that Ann gets it.
	end(ann)
	begin(other)
	end(bob)
	r := ann.ExecPrepared(ctx, "s1", nil, nil, nil).Read()
	check(r.Err)
	fmt.Printf("Ann executes her s1, and reads: %s\n", r.Rows[0][0])
}

func connect() *pgconn.PgConn {
	var err error
	for range 50 { // until PgBouncer has started
		var c *pgconn.PgConn
		if c, err = pgconn.Connect(ctx, os.Getenv("URL")); err == nil {
			return c
		}
		time.Sleep(100 * time.Millisecond)
	}
	panic(err)
}

func prepare(c *pgconn.PgConn, name, sql string) {
	_, err := c.Prepare(ctx, name, sql, nil)
	check(err)
}

func exec(c *pgconn.PgConn, sql string) {
	_, err := c.Exec(ctx, sql).ReadAll()
	check(err)
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
go mod init finding >/dev/null 2>&1
go get github.com/jackc/pgx/v5@v5.12.0 >/dev/null 2>&1
seen=$(URL="postgres://postgres@127.0.0.1:$bouncer_port/postgres?sslmode=disable" go run .)
echo "$seen"
[ "$seen" = "Ann executes her s1, and reads: of Bob" ] || { echo "This has changed."; exit 1; }
