#!/usr/bin/env bash
# mysql_fdw 2.8.0 (Debian 12), Postgres 15.18, MariaDB 10.11.19. x86-64, Debian 12.
#
# A good guess: a query of Postgres on a foreign table finds the rows for which its condition is true in
# Postgres, as with postgres_fdw, which sends a condition on texts only if both sides compare alike. Seen:
# mysql_fdw sends conditions on texts, and the order too, and MariaDB answers by its own collation. Of rows
# found by name = 'abc', Postgres says that two are not equal to it. A delete by that condition deletes them too.
# The condition name <> 'abc' finds none. A merge join with a local table fails, as its input is out of order.
set -euo pipefail
. "$(dirname "$0")/lib/postgres.sh"
work=$(mktemp -d)
pid=
stop() {
  [ -z "$pid" ] || { kill "$pid" && wait "$pid"; } 2>/dev/null || true
  stop_postgres
  rm -rf "$work"
}
trap stop EXIT
mkdir "$work/debs" "$work/root" "$work/data"
(cd "$work/debs" && apt-get download postgresql-15-mysql-fdw=2.8.0-4 mariadb-server-core mariadb-client-core libaio1 liburing2 libnuma1 libedit2 libncurses6 libtinfo6 libmariadb3 >download.log 2>&1) ||
  { cat "$work/debs/download.log"; exit 1; }
for deb in "$work"/debs/*.deb; do dpkg -x "$deb" "$work/root"; done
libraries=$work/root/usr/lib/x86_64-linux-gnu
ln -s libmariadb.so.3 "$libraries/libmysqlclient.so" # the name that mysql_fdw opens
[ "$(id -u)" != 0 ] || chown nobody "$work/data"
chmod -R a+rX "$work"
export LD_LIBRARY_PATH=$libraries:$work/root/lib/x86_64-linux-gnu

port=$(node -e 'const s = require("net").createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close() })')
cd "$work"
"${as_nobody[@]}" "$work/root/usr/sbin/mariadbd" --no-defaults --datadir="$work/data" --lc-messages-dir="$work/root/usr/share/mysql" \
  --character-sets-dir="$work/root/usr/share/mysql/charsets" --skip-grant-tables --bind-address=127.0.0.1 --port="$port" --socket="$work/data/s" >"$work/log" 2>&1 &
pid=$!
maria() { "$work/root/usr/bin/mariadb" --no-defaults --socket="$work/data/s" --batch --skip-column-names "$@"; }
for _ in $(seq 100); do maria -e 'select 1' >/dev/null 2>&1 && break || sleep 0.1; done
maria -e 'select version()' >&2

start_postgres "$work" 15.18.0-beta.17
installed=$(dirname "$(find "$work/node_modules" -name plpgsql.so)")
cp "$work/root/usr/lib/postgresql/15/lib/mysql_fdw.so" "$installed/"
cp "$work"/root/usr/share/postgresql/15/extension/mysql_fdw* "$(dirname "$(find "$work/node_modules" -name plpgsql.control)")/"

maria <<'SQL'
create database d default character set utf8mb4;
use d;
create table person (id int primary key, name varchar(20));
insert into person values (1, 'abc'), (2, 'ABC'), (3, 'abc ');
create table code (code varchar(20) primary key);
insert into code values ('a'), ('B'), ('c'), ('D'), ('e'), ('_x');
SQL
mkdir "$work/go" && cd "$work/go"
cat >main.go <<'GO'
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/jackc/pgx/v5"
)

func main() {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, "host=127.0.0.1 port="+os.Getenv("PORT")+" user=postgres database=postgres sslmode=disable")
	check(err)
	defer conn.Close(ctx)
	for _, statement := range []string{
		`create extension mysql_fdw`,
		`create server m foreign data wrapper mysql_fdw options (host '127.0.0.1', port '` + os.Getenv("MARIA") + `')`,
		`create user mapping for postgres server m options (username 'root', password '')`,
		`import foreign schema d from server m into public`,
		`create table own (code text primary key)`,
		`insert into own values ('a'), ('B'), ('c'), ('D'), ('e'), ('_x')`,
		`analyze own`,
	} {
		_, err = conn.Exec(ctx, statement)
		check(err)
	}
	rows, err := conn.Query(ctx, `select format('%s %s: %s', id, quote_literal(name), name = 'abc') from person where name = 'abc' order by id`)
	check(err)
	texts, err := pgx.CollectRows(rows, pgx.RowTo[string])
	check(err)
	for _, text := range texts {
		fmt.Println("found by name = 'abc':", text)
	}
	var n int
	check(conn.QueryRow(ctx, `select count(*) from person where name <> 'abc'`).Scan(&n))
	fmt.Println("found by name <> 'abc':", n)
	check(conn.QueryRow(ctx, `select count(*) from own join code using (code)`).Scan(&n))
	fmt.Println("join:", n)
	_, err = conn.Exec(ctx, `set enable_hashjoin = off; set enable_nestloop = off; set enable_sort = off`)
	check(err)
	err = conn.QueryRow(ctx, `select count(*) from code join own using (code)`).Scan(&n) // another text, planned anew
	fmt.Println("merge join:", err)
	tag, err := conn.Exec(ctx, `delete from person where name = 'abc'`)
	fmt.Println("deleted:", tag.RowsAffected(), err)
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
printf 'module finding\n\ngo 1.24\n' >go.mod
go get github.com/jackc/pgx/v5@v5.7.6 >get.log 2>&1 || { cat get.log; exit 1; }
seen=$(PORT=$PGPORT_FOUND MARIA=$port go run .)
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
found by name = 'abc': 1 'abc': t
found by name = 'abc': 2 'ABC': f
found by name = 'abc': 3 'abc ': f
found by name <> 'abc': 0
join: 6
merge join: ERROR: mergejoin input data is out of order (SQLSTATE XX000)
deleted: 3 <nil>
SEEN
