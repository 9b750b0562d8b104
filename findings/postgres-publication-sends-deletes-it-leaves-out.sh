#!/usr/bin/env bash
# PostgreSQL 18.4: logical replication. Needs npm, which also brings pg 8.23.1.
#
# A good guess: a publication with publish = 'insert, update' sends no delete. So its subscriber can be an archive, which
# keeps what was deleted, and each of its rows has been a row of the publisher's table once.
# Seen, without an error or a line in the log:
#   - With a row filter, an update after which a row does not pass the filter any more is sent as a delete. So the archive
#     keeps the deleted order, and deletes the one that was closed, which is still in the publisher's table.
#   - An update that moves a row to another partition is an insert and a delete for the publication. The insert is sent,
#     the delete is not. So the order is there twice, if the key has the partition's column, as a primary key of
#     a partitioned table must. With publish = 'update' alone, nothing of that update is sent.
# The manual (18, 29.4.3) says that an update becomes a delete so. It does not say there that "publish" does not hold for
# that delete.
set -euo pipefail
cd "$(dirname "$0")"
. lib/postgres.sh
start_postgres "$(mktemp -d)" 18.4.0-beta.17 wal_level=logical
cd "$dir"
npm install --no-audit --no-fund pg@8.23.1 >>npm.log 2>&1 || { cat npm.log; exit 1; }
cat >main.mjs <<'JS'
import pg from "pg";

const address = { host: "127.0.0.1", port: process.env.PGPORT, user: "postgres" };

async function connect(database) {
  const client = new pg.Client({ ...address, database });
  await client.connect();
  return client;
}

const shop = await connect("postgres");
const tables = `
  create table orders (id int primary key, state text);
  alter table orders replica identity full;
  create table parcels (id int, depot text, primary key (id, depot)) partition by list (depot);
  create table parcels_a partition of parcels for values in ('a');
  create table parcels_b partition of parcels for values in ('b');`;
await shop.query(tables);
const archives = {};
for (const [name, publish] of [["archive", "insert, update"], ["updates", "update"]]) {
  await shop.query(`create database ${name}`);
  await shop.query(`create publication ${name} for table orders where (state <> 'closed'), parcels
    with (publish = '${publish}', publish_via_partition_root)`);
  await shop.query("select pg_create_logical_replication_slot($1, 'pgoutput')", [name]);
  archives[name] = await connect(name);
  await archives[name].query(tables);
}
await shop.query("insert into orders values (1, 'open'), (2, 'open'), (3, 'open')");
await shop.query("insert into parcels values (1, 'a'), (2, 'a')");
for (const [name, archive] of Object.entries(archives)) {
  await archive.query(`create subscription ${name} connection 'host=127.0.0.1 port=${address.port} user=postgres dbname=postgres'
    publication ${name} with (create_slot = false, slot_name = ${name})`);
  await until(archive, "select count(*) = 0 and (select count(*) from orders) = 3 from pg_subscription_rel where srsubstate <> 'r'");
}

await shop.query("delete from orders where id = 1");
await shop.query("update orders set state = 'closed' where id = 2");
await shop.query("update parcels set depot = 'b' where id = 1");
const { rows: [{ end }] } = await shop.query("select pg_current_wal_lsn() as end");
await until(shop, `select bool_and(confirmed_flush_lsn >= '${end}') from pg_replication_slots`);

await show("shop", shop);
for (const [name, archive] of Object.entries(archives)) await show(name, archive);
for (const [name, archive] of Object.entries(archives)) {
  await archive.query(`drop subscription ${name}`);
  await archive.end();
}
await shop.end();

async function until(client, question) {
  for (;;) {
    const { rows: [row] } = await client.query({ text: question, rowMode: "array" });
    if (row[0]) return;
    await new Promise((done) => setTimeout(done, 100));
  }
}

async function show(name, client) {
  const { rows: [row] } = await client.query(`select
    (select string_agg(id || ' ' || state, ', ' order by id) from orders) as orders,
    (select string_agg(id || ' in ' || depot, ', ' order by id, depot) from parcels) as parcels`);
  console.log(`${name}: orders ${row.orders}; parcels ${row.parcels}`);
}
JS
seen=$(PGPORT=$PGPORT_FOUND timeout 120 node main.mjs)
seen+=$'\n'"errors in the log: $(grep -c 'ERROR\|WARNING' "$dir/pg/log" || true)"
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
shop: orders 2 closed, 3 open; parcels 1 in b, 2 in a
archive: orders 1 open, 3 open; parcels 1 in a, 1 in b, 2 in a
updates: orders 1 open, 3 open; parcels 1 in a, 2 in a
errors in the log: 0
SEEN
