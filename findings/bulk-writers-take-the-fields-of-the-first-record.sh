#!/usr/bin/env bash
# npm's papaparse 5.7.1, csv-stringify 6.9.0, fast-csv 5.0.8, json-2-csv 5.6.0, beside d3-dsv 3.0.2; npm's
# postgres 3.4.9 (Postgres.js) and knex 3.3.0 with pg 8.23.1, with PostgreSQL 18.4. Needs npm.
#
# A good guess: what writes a list of records writes each field of each, and leaves out what a record does not
# have; or it refuses records with different fields. Seen, without an error, with a field that the first record lacks:
#   - papaparse, csv-stringify and fast-csv write the columns of the first record. What later ones have beside
#     them is lost: here a refund. So is it in an insert of Postgres.js. If the first record has it, and another one
#     does not, Postgres.js fails instead. d3-dsv writes all columns.
#   - json-2-csv writes all columns, and the word "undefined" for a field that a record lacks.
#   - An upsert of knex (onConflict().merge()) writes the column's default for it: the stored value is lost.
#     The same records one by one keep it.
# So it depends on where a batch is cut. The manuals of csv-stringify and fast-csv say that the first record's keys are
# the header; the README of Postgres.js says that the objects' keys are the columns.
set -euo pipefail
cd "$(dirname "$0")"
. lib/postgres.sh
start_postgres "$(mktemp -d)" 18.4.0-beta.17
cd "$dir"
npm install --no-audit --no-fund papaparse@5.7.1 csv-stringify@6.9.0 fast-csv@5.0.8 json-2-csv@5.6.0 d3-dsv@3.0.2 \
  postgres@3.4.9 knex@3.3.0 pg@8.23.1 >>npm.log 2>&1 || { cat npm.log; exit 1; }
cat >main.mjs <<'JS'
import Papa from "papaparse";
import { stringify } from "csv-stringify/sync";
import { writeToString } from "fast-csv";
import { json2csv } from "json-2-csv";
import { csvFormat } from "d3-dsv";
import postgres from "postgres";
import connect from "knex";

const orders = [{ id: 1 }, { id: 2, refund: 500 }];
const csv = (name, text) => console.log(`${name}: ${text.trim().split(/\r?\n/).join(" | ")}`);
csv("papaparse", Papa.unparse(orders));
csv("csv-stringify", stringify(orders, { header: true }));
csv("fast-csv", await writeToString(orders, { headers: true }));
csv("d3-dsv", csvFormat(orders));
csv("json-2-csv", json2csv(orders));

const server = { host: "127.0.0.1", port: Number(process.env.PGPORT), user: "postgres", database: "postgres" };
const sql = postgres({ ...server, max: 1 });
const knex = connect({ client: "pg", connection: server });
await sql`create table orders (id int primary key, refund int, note text default 'new')`;
const rows = async () => (await sql`select * from orders order by id`).map((o) => `${o.id} ${o.refund} ${o.note}`).join(" | ");

await sql`insert into orders ${sql(orders)}`;
console.log("Postgres.js, insert:", await rows());
await sql`truncate orders`;
await sql`insert into orders ${sql(orders.toReversed())}`.catch((e) => console.log("Postgres.js, the other order:", e.code));

const changes = [{ id: 1, note: "paid" }, { id: 2, refund: 500 }];
const stored = async () => {
  await sql`truncate orders`;
  await sql`insert into orders values (1, 100, 'seen'), (2, 100, 'seen')`;
};
await stored();
for (const c of changes) await knex("orders").insert(c).onConflict("id").merge();
console.log("knex, upserts of one:", await rows());
await stored();
await knex("orders").insert(changes).onConflict("id").merge();
console.log("knex, upsert of both:", await rows());
await knex.destroy();
await sql.end();
JS
seen=$(PGPORT=$PGPORT_FOUND node main.mjs)
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
papaparse: id | 1 | 2
csv-stringify: id | 1 | 2
fast-csv: id | 1 | 2
d3-dsv: id,refund | 1, | 2,500
json-2-csv: id,refund | 1,undefined | 2,500
Postgres.js, insert: 1 null new | 2 null new
Postgres.js, the other order: UNDEFINED_VALUE
knex, upserts of one: 1 100 paid | 2 500 seen
knex, upsert of both: 1 null paid | 2 500 new
SEEN
