#!/usr/bin/env bash
# MariaDB 10.11.19 (Debian 12), beside PostgreSQL 18.4; npm's mysql2 3.15.3 and pg 8.23.1. Needs npm, and Debian 12, whose
# packages of MariaDB it runs from a temporary folder.
#
# A good guess: "select … where state = 'new' order by prio desc, id limit 5 for update skip locked" locks five jobs, so that
# the next worker gets the next five, as in Postgres. An empty answer says that no job is left to do. Seen, without an error
# or a warning, with 100 new jobs:
#   - If MariaDB sorts for the order, it locks each new job before it takes five. The second worker gets none of the other 95, and
#     takes the queue for empty. So workers stand still while one of them is busy, and one that stops at the end stops too early.
#   - So it is with READ COMMITTED, and with indexes on state, on (state, prio) and on (prio, id), which a reader would expect
#     to help. With an index in exactly that order, (state, prio desc, id), or without an order, the second worker gets five.
# The documentation says that SKIP LOCKED leaves out rows that are locked. It does not say that more are locked than are returned.
set -euo pipefail
cd "$(dirname "$0")"
. lib/mariadb.sh
. lib/postgres.sh
trap 'stop_mariadb; stop_postgres' EXIT
start_postgres "$(mktemp -d)" 18.4.0-beta.17
start_mariadb "$(mktemp -d)"
ask -e 'create database d'
cd "$dir"
npm install --no-audit --no-fund --ignore-scripts mysql2@3.15.3 pg@8.23.1 >>npm.log 2>&1 || { cat npm.log; exit 1; }
cat >main.mjs <<'JS'
import mysql from "mysql2/promise";
import pg from "pg";

async function workers(connect) {
  const both = [await connect(), await connect()];
  return async function claim(order) {
    const got = [];
    for (const query of both) {
      await query("begin");
      got.push((await query(`select id from jobs where state = 'new' ${order} limit 5 for update skip locked`)).length);
    }
    for (const query of both) await query("rollback");
    return got.join(" and ");
  };
}
const maria = async () => {
  const conn = await mysql.createConnection({ socketPath: process.env.SOCKET, user: "root", database: "d" });
  return async (sql) => (await conn.query(sql))[0];
};
const postgres = async () => {
  const conn = new pg.Client({ host: "127.0.0.1", port: process.env.PGPORT, user: "postgres", database: "postgres" });
  await conn.connect();
  return async (sql) => (await conn.query(sql)).rows;
};
const jobs = (sequence) => `insert into jobs select n, case when n <= 900 then 'done' else 'new' end, n % 3 from ${sequence}`;
const table = "create table jobs (id int primary key, state varchar(9), prio int)";
const byPrio = "order by prio desc, id";

const p = await postgres();
await p(table);
await p(jobs("generate_series(1, 1000) n"));
console.log(`Postgres, ${byPrio}: ${await (await workers(postgres))(byPrio)}`);

const m = await maria();
await m(table);
await m(jobs("(select seq as n from seq_1_to_1000) s"));
for (const index of ["", "(state)", "(state, prio)", "(prio, id)", "(state, prio desc, id)"]) {
  if (index) await m(`create index i on jobs ${index}`);
  await m("analyze table jobs");
  console.log(`MariaDB, ${byPrio}, ${index ? `index on ${index}` : "without an index"}: ${await (await workers(maria))(byPrio)}`);
  if (index) await m("drop index i on jobs");
}
await m("set global transaction isolation level read committed");
console.log(`MariaDB, ${byPrio}, READ COMMITTED: ${await (await workers(maria))(byPrio)}`);
console.log(`MariaDB, without an order: ${await (await workers(maria))("")}`);
process.exit();
JS
seen=$(PGPORT=$PGPORT_FOUND node main.mjs)
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
Postgres, order by prio desc, id: 5 and 5
MariaDB, order by prio desc, id, without an index: 5 and 0
MariaDB, order by prio desc, id, index on (state): 5 and 0
MariaDB, order by prio desc, id, index on (state, prio): 5 and 0
MariaDB, order by prio desc, id, index on (prio, id): 5 and 0
MariaDB, order by prio desc, id, index on (state, prio desc, id): 5 and 5
MariaDB, order by prio desc, id, READ COMMITTED: 5 and 0
MariaDB, without an order: 5 and 5
SEEN
