#!/usr/bin/env bash
# postgres-decoderbufs 2.1.2 (Debian 12), the plugin of logical decoding that came from Debezium, with PostgreSQL 15.18; npm's
# pg 8.23.1 and protobufjs 8.8.1 read it. x86-64, Debian 12, npm.
#
# A good guess: a plugin of logical decoding sends each change of the tables, as test_decoding does, or says what it leaves out;
# and a value that its type does not hold is refused, or has a mark of its own, as "infinity" of a timestamp has here: the
# greatest number of 64 bits. Seen, without an error or a line in the log:
#   - A TRUNCATE is a transaction without a change. So a copy keeps all rows of a table that was emptied, as a nightly load
#     does that begins with it. What it inserts then meets the old rows.
#   - A date "infinity", such as the end of a contract without one, arrives as a day 5.9 million years ago: the number of days
#     since 2000 is made one since 1970, and wraps. It is a day earlier than what "-infinity" becomes.
# The README has neither of the two.
set -euo pipefail
cd "$(dirname "$0")"
. lib/postgres.sh
work=$(mktemp -d)
mkdir "$work/debs" "$work/plugin"
(cd "$work/debs" && apt-get download postgresql-15-decoderbufs libprotobuf-c1 >download.log 2>&1) || { cat "$work/debs/download.log"; exit 1; }
for deb in "$work"/debs/*.deb; do dpkg -x "$deb" "$work/plugin"; done
export LD_LIBRARY_PATH=$work/plugin/usr/lib/x86_64-linux-gnu
chmod a+rx "$work"
start_postgres "$work" 15.18.0-beta.17 wal_level=logical "dynamic_library_path=$work/plugin/usr/lib/postgresql/15/lib:$(postgres_bin "$work")/../lib/postgresql"
cd "$dir"
npm install --no-audit --no-fund --ignore-scripts pg@8.23.1 protobufjs@8.8.1 >>npm.log 2>&1 || { cat npm.log; exit 1; }
cat >main.cjs <<'JS'
const { Client } = require("pg");
const { parse } = require("protobufjs");

// The fields that are read here.
const Row = parse(`
  syntax = "proto3";
  message Datum { string name = 1; oneof value { int32 number = 3; int64 large = 4; } }
  message Row { string table = 3; int32 op = 4; repeated Datum after = 5; }
`).root.lookupType("Row");
const operations = ["insert", "update", "delete", "begin", "commit"];

(async () => {
  const db = new Client({ host: "127.0.0.1", port: process.env.PGPORT, user: "postgres", database: "postgres" });
  await db.connect();
  await db.query("create table contract (id int primary key, until date, seen timestamptz)");
  await db.query("select pg_create_logical_replication_slot('d', 'decoderbufs'), pg_create_logical_replication_slot('t', 'test_decoding')");
  await db.query("insert into contract values (1, '2026-01-02', '2026-01-02 10:00Z'), (2, 'infinity', 'infinity'), (3, '-infinity', '-infinity')");
  await db.query("truncate contract");
  await db.query("insert into contract values (4, '1970-01-02', null)");

  for (const { data } of (await db.query("select data from pg_logical_slot_get_binary_changes('d', null, null)")).rows) {
    const row = Row.decode(data);
    const values = row.after.map((d) => `${d.name} ${d.value ? d[d.value] : "NULL"}`);
    console.log("decoderbufs:", operations[row.op], row.table, values.join(", "));
  }
  for (const { data } of (await db.query("select data from pg_logical_slot_get_changes('t', null, null) where data ~ 'TRUNCATE'")).rows) console.log("test_decoding:", data);
  await db.end();
})();
JS
seen=$(PGPORT=$PGPORT_FOUND node main.cjs | sed 's/ *$//')
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
decoderbufs: begin
decoderbufs: insert public.contract id 1, until 20455, seen 1767348000000000
decoderbufs: insert public.contract id 2, until -2147472692, seen 9223372036854775807
decoderbufs: insert public.contract id 3, until -2147472691, seen -9223372036854775808
decoderbufs: commit
decoderbufs: begin
decoderbufs: commit
decoderbufs: begin
decoderbufs: insert public.contract id 4, until 1, seen NULL
decoderbufs: commit
test_decoding: table public.contract: TRUNCATE: (no-flags)
SEEN
