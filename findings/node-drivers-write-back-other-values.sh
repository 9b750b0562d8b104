#!/usr/bin/env bash
# npm's postgres 3.4.9 (Postgres.js), alone and below drizzle-orm 0.45.4, and pg 8.23.1 (node-postgres), with PostgreSQL 18.4.
# In New York. Needs npm.
#
# A good guess: a value that a driver has read, and writes back, is the same in the database afterwards, or is refused.
# Seen, without an error:
#   - Postgres.js takes the NULL in a list for a text. It reads an integer as NaN, a boolean as false, a text as the four
#     letters NULL, and a date as an Invalid Date; pg reads null. It writes the text back so, and with drizzle-orm above
#     it the boolean too: false, and 'NULL', for what was not known.
#   - Postgres.js writes a Date into a timestamp in UTC, and reads it in the zone of the process. So each
#     time that a row is read and written moves it by 4 hours.
#   - pg reads a numeric as text, and the numbers of a numeric[] as floats. So 12345678901234567.89 is rounded.
#   - pg writes a list for Postgres' arrays. In a column of jsonb it is refused, as the guides say, but for the empty one: []
#     is read, and {} stored. So a program that works on test rows changes those without entries.
set -euo pipefail
cd "$(dirname "$0")"
. lib/postgres.sh
start_postgres "$(mktemp -d)" 18.4.0-beta.17
cd "$dir"
npm install --no-audit --no-fund postgres@3.4.9 drizzle-orm@0.45.4 pg@8.23.1 >>npm.log 2>&1 || { cat npm.log; exit 1; }
cat >main.mjs <<'JS'
import { inspect } from "node:util";
import { drizzle } from "drizzle-orm/postgres-js";
import { boolean, integer, pgTable, text } from "drizzle-orm/pg-core";
import pg from "pg";
import postgres from "postgres";

const address = `postgres://postgres@127.0.0.1:${process.env.PGPORT}/postgres`;
const client = new pg.Client(address);
await client.connect();
const sql = postgres(address, { max: 1 });

const drivers = {
  "Postgres.js": {
    read: async (table) => (await sql`select v from ${sql(table)}`)[0].v,
    write: (table, v) => sql`update ${sql(table)} set v = ${v}`,
  },
  pg: {
    read: async (table) => (await client.query(`select v from ${table}`)).rows[0].v,
    write: (table, v) => client.query(`update ${table} set v = $1`, [v]),
  },
};

let n = 0;
for (const [type, value] of [
  ["int[]", "{1,NULL}"], ["boolean[]", "{t,NULL}"], ["text[]", "{a,NULL}"], ["date[]", "{2026-07-01,NULL}"],
  ["timestamp", "2026-07-01 10:00:00"], ["numeric[]", "{12345678901234567.89}"],
  ["jsonb", '["a"]'], ["jsonb", "[]"],
]) {
  for (const [name, driver] of Object.entries(drivers)) {
    const table = `t${n++}`;
    await client.query(`create table ${table} as select '${value}'::${type} as v`);
    const read = await driver.read(table);
    const stored = await driver.write(table, read).then(
      async () => (await client.query(`select v::text from ${table}`)).rows[0].v,
      () => "refused",
    );
    console.log(`${type} ${value}: ${name} reads ${inspect(read)}, and writes ${stored}`);
  }
}

await client.query("create table copied (a int[], b boolean[], c text[])");
await client.query("insert into copied values ('{1,NULL}', '{t,NULL}', '{a,NULL}')");
const copied = pgTable("copied", { a: integer().array(), b: boolean().array(), c: text().array() });
const db = drizzle(sql);
const [row] = await db.select().from(copied);
console.log("drizzle-orm reads", inspect(row));
await db.update(copied).set({ b: row.b, c: row.c });
console.log("and writes", (await client.query("select b::text || ' ' || c::text as v from copied")).rows[0].v);
await sql.end();
await client.end();
JS
seen=$(TZ=America/New_York PGPORT=$PGPORT_FOUND node main.mjs)
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
int[] {1,NULL}: Postgres.js reads [ 1, NaN ], and writes refused
int[] {1,NULL}: pg reads [ 1, null ], and writes {1,NULL}
boolean[] {t,NULL}: Postgres.js reads [ true, false ], and writes refused
boolean[] {t,NULL}: pg reads [ true, null ], and writes {t,NULL}
text[] {a,NULL}: Postgres.js reads [ 'a', 'NULL' ], and writes {a,"NULL"}
text[] {a,NULL}: pg reads [ 'a', null ], and writes {a,NULL}
date[] {2026-07-01,NULL}: Postgres.js reads [ 2026-07-01T00:00:00.000Z, Invalid Date ], and writes refused
date[] {2026-07-01,NULL}: pg reads [ 2026-07-01T04:00:00.000Z, null ], and writes {2026-07-01,NULL}
timestamp 2026-07-01 10:00:00: Postgres.js reads 2026-07-01T14:00:00.000Z, and writes 2026-07-01 14:00:00
timestamp 2026-07-01 10:00:00: pg reads 2026-07-01T14:00:00.000Z, and writes 2026-07-01 10:00:00
numeric[] {12345678901234567.89}: Postgres.js reads [ '12345678901234567.89' ], and writes {12345678901234567.89}
numeric[] {12345678901234567.89}: pg reads [ 12345678901234568 ], and writes {12345678901234568}
jsonb ["a"]: Postgres.js reads [ 'a' ], and writes ["a"]
jsonb ["a"]: pg reads [ 'a' ], and writes refused
jsonb []: Postgres.js reads [], and writes []
jsonb []: pg reads [], and writes {}
drizzle-orm reads { a: [ 1, NaN ], b: [ true, false ], c: [ 'a', 'NULL' ] }
and writes {t,f} {a,"NULL"}
SEEN
