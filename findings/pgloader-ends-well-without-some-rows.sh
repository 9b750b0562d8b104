#!/usr/bin/env bash
# pgloader 3.6.9 (Debian 12) into PostgreSQL 15.18. Needs npm, and Debian 12, whose packages it runs from a temporary folder.
#
# A good guess: pgloader's exit status says whether the load has succeeded, and its report how many rows are there. And a load from SQLite
# keeps the numbers, whose type real has 8 bytes there. Seen, with the exit status 0 each time:
#   - Of a CSV file, rows that Postgres refuses are left out, into a file of rejected rows. The report counts four errors for two rows.
#   - Of a table of SQLite with a word in a column of numbers, which SQLite allows, the rows after it are left out too. They are in no
#     file. The report says that no row was loaded, while those before it are there.
#   - A column real of SQLite becomes a real of Postgres, which has 4 bytes: 1234567.891 arrives as 1234567.9, and is no error.
set -euo pipefail
cd "$(dirname "$0")"
. lib/postgres.sh
start_postgres "$(mktemp -d)" 15.18.0-beta.17
mkdir "$dir/debs" "$dir/root"
(cd "$dir/debs" && apt-get download pgloader sqlite3 libsqlite3-0 libssl3 libzstd1 libedit2 libtinfo6 libbsd0 libmd0 >download.log 2>&1) || { cat "$dir/debs/download.log"; exit 1; }
for deb in "$dir"/debs/*.deb; do dpkg -x "$deb" "$dir/root"; done
with() { env LD_LIBRARY_PATH="$dir/root/usr/lib/x86_64-linux-gnu:$dir/root/lib/x86_64-linux-gnu" "$dir/root/usr/bin/$1" "${@:2}"; }
cd "$dir"
npm install --no-audit --no-fund pg@8.23.1 >>npm.log 2>&1 || { cat npm.log; exit 1; }
cat >query.js <<'JS'
const { Client } = require("pg");
(async () => {
  const client = new Client(process.argv[2]);
  await client.connect();
  const { rows } = await client.query({ text: process.argv[3], rowMode: "array" });
  for (const row of rows) console.log(row.join(" "));
  await client.end();
})();
JS
url="postgresql://postgres@127.0.0.1:$PGPORT_FOUND/postgres"
query() { node query.js "$url" "$1"; }
load() { # a name, a table, and what to load; shows the status and the table's line of the report
  local status=0
  with pgloader --root-dir "$dir/rejected" "${@:3}" >"$1.log" 2>&1 || status=$?
  echo "$1: status $status; $(grep -E "^ *\"?[a-z.\"]*$2\"? " "$1.log" | awk '{print "errors " $2 ", rows " $3}')"
}

query "create table orders (id int primary key, cents int not null, day date)"
printf '%s\n' 1,100,2026-11-27 2,ten,2026-11-27 3,300,2026-02-30 4,400,2026-11-27 >orders.csv
echo "load csv from '$dir/orders.csv' (id, cents, day) into $url target table orders (id, cents, day) with fields terminated by ',';" >orders.load
with sqlite3 words.db "create table words (id integer primary key, n integer); insert into words values (1, 10), (2, 'seven'), (3, 30)"
with sqlite3 prices.db "create table prices (id integer primary key, price real); insert into prices values (1, 1234567.891)"
got=$(
  load csv orders orders.load
  query "select 'in the table:', count(*) from orders"
  load words words "sqlite://$dir/words.db" "$url"
  query "select 'in the table:', string_agg(id::text, ', ') from words"
  load prices prices "sqlite://$dir/prices.db" "$url"
  query "select 'in the table:', pg_typeof(price), price from prices"
)
echo "$got"
diff <(echo "$got") - <<'SEEN'
csv: status 0; errors 4, rows 2
in the table: 2
words: status 0; errors 2, rows 0
in the table: 1
prices: status 0; errors 0, rows 1
in the table: real 1234567.9
SEEN
