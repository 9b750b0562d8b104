#!/usr/bin/env bash
# Pgpool-II 4.3.5 (Debian 12) in front of a primary and a streaming standby, with its default of load
# balancing by session; Postgres 15.18; pgx v5.12.0. x86-64, Debian 12.
#
# A good guess: with statement_level_load_balance off, one session reads from one server. Seen: in one
# session, outside a transaction, a query of a user's table is answered by the standby, and a query of
# the system catalogues or with a volatile function, such as pg_stat_activity or clock_timestamp(), by
# the primary. So "which transactions are open?" and "read the rows that are older" are about two
# servers. While the standby lags, the answer to the first says that row 1 may be read, the second
# has row 2 alone, and a reader that goes on after row 2 never sees row 1. And a row that the session
# has just written is not there.
set -euo pipefail
. "$(dirname "$0")/lib/postgres.sh"
start_postgres "$(mktemp -d)" 15.18.0-beta.17 wal_level=replica hot_standby=on
work=$dir primary=$PGPORT_FOUND
bin=$(postgres_bin "$work")
free_port() { node -e 'const s = require("net").createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close() })'; }

# The standby is a copy of the stopped primary.
options="-p $primary -k $work/pg -c listen_addresses=127.0.0.1 -c fsync=off -c wal_level=replica"
(cd / && "${as_nobody[@]}" "$bin/pg_ctl" -D "$work/pg/data" -m fast stop >/dev/null)
"${as_nobody[@]}" cp -r "$work/pg/data" "$work/pg/standby"
"${as_nobody[@]}" touch "$work/pg/standby/standby.signal"
standby=$(free_port)
(cd / && "${as_nobody[@]}" "$bin/pg_ctl" -D "$work/pg/data" -o "$options" -l "$work/pg/log" -w start >/dev/null)
(cd / && "${as_nobody[@]}" "$bin/pg_ctl" -D "$work/pg/standby" -o "-p $standby -k $work/pg -c listen_addresses=127.0.0.1 -c primary_conninfo=host=127.0.0.1\\ port=$primary\\ user=postgres" -l "$work/pg/standby.log" -w start >/dev/null)

mkdir "$work/debs" "$work/pgpool"
(cd "$work/debs" && apt-get download pgpool2 libpgpool2 libmemcached11 libhashkit2 libldap-2.5-0 >download.log 2>&1) || { cat "$work/debs/download.log"; exit 1; }
for deb in "$work"/debs/*.deb; do dpkg -x "$deb" "$work/pgpool"; done
pool=$(free_port) control=$(free_port)
cat >"$work/pgpool/pgpool.conf" <<CONF
backend_clustering_mode = 'streaming_replication'
listen_addresses = '127.0.0.1'
port = $pool
pcp_port = $control
socket_dir = '$work/pg'
pcp_socket_dir = '$work/pg'
logdir = '$work/pg'
pid_file_name = '$work/pg/pgpool.pid'
pool_passwd = ''
sr_check_user = 'postgres'
sr_check_database = 'postgres'
backend_hostname0 = '127.0.0.1'
backend_port0 = $primary
backend_weight0 = 0
backend_hostname1 = '127.0.0.1'
backend_port1 = $standby
backend_weight1 = 1
CONF
touch "$work/pgpool/pcp.conf" "$work/pgpool/pool_hba.conf"
chmod -R a+rX "$work/pgpool" "$work/debs"
libraries="$work/pgpool/usr/lib/x86_64-linux-gnu"
(cd / && LD_LIBRARY_PATH=$libraries "${as_nobody[@]}" "$work/pgpool/usr/sbin/pgpool" -n -f "$work/pgpool/pgpool.conf" -F "$work/pgpool/pcp.conf" -a "$work/pgpool/pool_hba.conf") >"$work/pgpool.log" 2>&1 &
stop_all() {
  "${as_nobody[@]}" kill -INT "$(head -n 1 "$work/pg/pgpool.pid" | tr -d '\0')" 2>/dev/null || true
  wait 2>/dev/null || true
  (cd / && "${as_nobody[@]}" "$bin/pg_ctl" -D "$work/pg/standby" -m immediate stop >/dev/null 2>&1) || true
  stop_postgres
}
trap stop_all EXIT
LD_LIBRARY_PATH=$libraries "$work/pgpool/usr/sbin/pgpool" --version

mkdir "$work/go" && cd "$work/go"
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
	primary, standby, pool := connect(os.Args[1]), connect(os.Args[2]), connect(os.Args[3])
	exec(primary, "create table ticket (id int primary key, at timestamptz not null default now())")
	early := connect(os.Args[1])
	exec(early, "begin")
	exec(early, "insert into ticket (id) values (1)")
	exec(primary, "insert into ticket (id) values (2)")
	for count(standby) != 1 {
		time.Sleep(20 * time.Millisecond)
	}
	exec(standby, "select pg_wal_replay_pause()") // the standby lags
	time.Sleep(time.Second)
	exec(early, "commit")

	server := map[int]string{}
	for _, c := range []*pgx.Conn{primary, standby} {
		server[one[int](c, "select inet_server_port()")] = map[bool]string{true: "standby", false: "primary"}[one[bool](c, "select pg_is_in_recovery()")]
	}
	ask := func(what, query string) {
		fmt.Printf("%-28s %s\n", what, server[one[int](pool, query)])
	}
	ask("a query of a table:", "select inet_server_port() from (select) one left join ticket on true limit 1")
	ask("of pg_stat_activity:", "select inet_server_port() from pg_stat_activity limit 1")
	ask("with clock_timestamp():", "select inet_server_port() from (select clock_timestamp()) t")
	ask("a query of a table:", "select inet_server_port() from (select) one left join ticket on true limit 1")
	fmt.Println("open transactions:          ", one[int](pool, "select count(*) from pg_stat_activity where datname = 'postgres' and backend_type = 'client backend' and state = 'idle in transaction'"))
	fmt.Println("rows read:                  ", one[[]int32](pool, "select array_agg(id order by id) from ticket"))
	exec(pool, "insert into ticket (id) values (3)")
	fmt.Println("after an insert of a third: ", one[[]int32](pool, "select array_agg(id order by id) from ticket"))
}

func connect(port string) *pgx.Conn {
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		c, err := pgx.Connect(ctx, "postgres://postgres@127.0.0.1:"+port+"/postgres?sslmode=disable")
		if err == nil {
			return c
		}
		if time.Now().After(deadline) {
			panic(err)
		}
	}
}

func exec(c *pgx.Conn, sql string) {
	_, err := c.Exec(ctx, sql)
	check(err)
}

func count(c *pgx.Conn) (n int) {
	_ = c.QueryRow(ctx, "select count(*) from ticket").Scan(&n)
	return n
}

func one[T any](c *pgx.Conn, sql string) (v T) {
	check(c.QueryRow(ctx, sql).Scan(&v))
	return v
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
go mod init finding >/dev/null 2>&1
go get github.com/jackc/pgx/v5@v5.12.0 >/dev/null 2>&1
got=$(go run . "$primary" "$standby" "$pool")
echo "$got"
diff <(echo "$got") - <<'SEEN'
a query of a table:          standby
of pg_stat_activity:         primary
with clock_timestamp():      primary
a query of a table:          standby
open transactions:           0
rows read:                   [2]
after an insert of a third:  [2]
SEEN
