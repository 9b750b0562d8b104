#!/usr/bin/env bash
# pg_repack 1.4.8 (Debian 12), Postgres 15.18.
#
# A good guess: pg_repack takes the place of "vacuum full" without locks, so that nobody who reads the table notices, and a
# subscription goes on. Seen: its temporary table and its log table are ordinary tables of the schema "repack". A publication
# "for all tables" publishes them. The subscriber has no such table, so its worker ends with an error, begins again at the same
# place, and ends again, each time. No table of the subscription gets a change any more, while the publisher keeps its log for
# it. "vacuum full" of the same table is not noticed.
set -euo pipefail
. "$(dirname "$0")/lib/postgres.sh"
work=$(mktemp -d)
trap 'stop_postgres; rm -rf "$work"' EXIT
mkdir "$work/debs"
(cd "$work/debs" && apt-get download postgresql-15-repack=1.4.8-1+deb12u1 libpq5 libreadline8 >download.log 2>&1) || { cat "$work/debs/download.log"; exit 1; }
for deb in "$work"/debs/*.deb; do dpkg -x "$deb" "$work/root"; done
start_postgres "$work" 15.18.0-beta.17 wal_level=logical
cp "$work/root/usr/lib/postgresql/15/lib/pg_repack.so" "$(dirname "$(find "$work/node_modules" -name plpgsql.so)")/"
cp "$work"/root/usr/share/postgresql/15/extension/pg_repack* "$(dirname "$(find "$work/node_modules" -name plpgsql.control)")/"
chmod -R a+rX "$work/node_modules" "$work/root"
(cd "$work" && npm install --no-audit --no-fund pg@8.16.3 >>npm.log 2>&1) || { cat "$work/npm.log"; exit 1; }
cat >"$work/main.js" <<'JS'
const { execFileSync } = require('child_process')
const { Client } = require('pg')
const connect = async (database) => {
  const c = new Client({ host: '127.0.0.1', port: process.env.PORT, user: 'postgres', database })
  await c.connect()
  return c
}
const run = async (c, ...statements) => { for (const s of statements) await c.query(s) }
const until = async (what) => {
  for (let i = 0; i < 300; i++) {
    if (await what()) return true
    await new Promise((r) => setTimeout(r, 100))
  }
  return false
}
const main = async () => {
  const admin = await connect('postgres')
  await run(admin, 'create database a', 'create database b')
  const a = await connect('a'), b = await connect('b')
  await run(a, 'create extension pg_repack', 'create table t (id int primary key)', 'create table other (id int primary key)',
    'insert into t select generate_series(1, 100)', 'create publication p for all tables', "select pg_create_logical_replication_slot('s', 'pgoutput')")
  await run(b, 'create table t (id int primary key)', 'create table other (id int primary key)',
    `create subscription s connection 'host=127.0.0.1 port=${process.env.PORT} user=postgres dbname=a' publication p with (create_slot = false)`)
  const has = (table, id) => async () => (await b.query(`select from ${table} where id = ${id}`)).rowCount > 0
  await until(has('t', 100))
  await run(a, 'vacuum full t', 'insert into t values (101)')
  console.log('after vacuum full, a new row comes:', await until(has('t', 101)))
  execFileSync(process.env.REPACK, ['-h', '127.0.0.1', '-p', process.env.PORT, '-U', 'postgres', '-d', 'a', '-t', 't'])
  await run(a, 'insert into t values (102)', 'insert into other values (1)')
  const errors = async () => (await b.query('select apply_error_count::int as n from pg_stat_subscription_stats')).rows[0].n
  console.log('after pg_repack, the worker ends with an error again and again:', await until(async () => (await errors()) > 2))
  console.log('a new row comes:', await has('t', 102)(), 'in another table:', await has('other', 1)())
  await run(b, 'alter subscription s disable', 'alter subscription s set (slot_name = none)', 'drop subscription s')
  for (const c of [a, b, admin]) await c.end()
}
main()
JS
seen=$(cd "$work" && PORT=$PGPORT_FOUND REPACK=$work/root/usr/lib/postgresql/15/bin/pg_repack LD_LIBRARY_PATH=$work/root/usr/lib/x86_64-linux-gnu node main.js
  grep -o 'target relation "repack.*' "$work/pg/log" | sed 's/_[0-9]*/_…/' | sort -u)
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
after vacuum full, a new row comes: true
after pg_repack, the worker ends with an error again and again: true
a new row comes: false in another table: false
target relation "repack.table_…" does not exist
SEEN
