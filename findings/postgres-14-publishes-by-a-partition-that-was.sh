#!/usr/bin/env bash
# PostgreSQL 14.23, beside 18.4: logical replication by pgoutput. Needs npm, which also brings pg 8.23.1.
#
# A good guess: with publish_via_partition_root, what is written to a partition is sent while it is attached to the
# published table, and is not sent while it is detached. So a month that is detached, filled in peace and attached again is
# followed from then on.
# Seen in 14, and in 13.23, without an error or a line in the log: what the sender has found when it first met the
# partition holds for as long as it is connected.
#   - If it met the partition attached, rows that are written to the detached table are sent as rows of the published one.
#   - If it met it detached, as after a restart, the rows that are written after it was attached again are never sent. The
#     slot moves past them, so they are lost.
# In 18, and in 16.14, both are right.
set -euo pipefail
cd "$(dirname "$0")"
. lib/postgres.sh
cat_main() {
  cat <<'JS'
import pg from "pg";

const client = new pg.Client({ host: "127.0.0.1", port: process.env.PGPORT, user: "postgres" });
await client.connect();
const { rows: [{ v }] } = await client.query("select current_setting('server_version') as v");

async function follow(name, first) {
  const run = (sql) => client.query(sql.replaceAll("orders", name));
  await run("create table orders (id int, state text, primary key (id)) partition by range (id)");
  await run("create table orders_may partition of orders for values from (0) to (100)");
  await run("create publication orders for table orders with (publish_via_partition_root)");
  await run("select pg_create_logical_replication_slot('orders', 'pgoutput')");
  if (first) await run(`insert into orders values (1, '${first}')`);
  await run("alter table orders detach partition orders_may");
  await run("insert into orders_may values (2, 'detached')");
  await run("alter table orders attach partition orders_may for values from (0) to (100)");
  await run("insert into orders values (3, 'attached'), (4, 'attached')");
  const { rows } = await run(`select data from pg_logical_slot_get_binary_changes('orders', null, null,
    'proto_version', '1', 'publication_names', 'orders') where get_byte(data, 0) = ascii('I')`);
  const sent = rows.map(({ data }) => data.toString("latin1").match(/before|detached|attached/)[0]);
  const { rows: [{ count }] } = await run("select count(*) from orders");
  console.log(`${v}, met ${first ? "attached" : "detached"}: ${count} rows, sent: ${sent.join(", ") || "none"}`);
}

await follow("met", "before");
await follow("unmet");
await client.end();
JS
}
seen=
for version in 14.23.0-beta.17 18.4.0-beta.17; do
  start_postgres "$(mktemp -d)" "$version" wal_level=logical
  cd "$dir"
  npm install --no-audit --no-fund pg@8.23.1 >>npm.log 2>&1 || { cat npm.log; exit 1; }
  cat_main >main.mjs
  seen+=$(PGPORT=$PGPORT_FOUND node main.mjs)$'\n'
  cd "$OLDPWD"
done
echo -n "$seen"
diff <(echo -n "$seen") - <<'SEEN'
14.23, met attached: 4 rows, sent: before, detached, attached, attached
14.23, met detached: 3 rows, sent: none
18.4, met attached: 4 rows, sent: before, attached, attached
18.4, met detached: 3 rows, sent: attached, attached
SEEN
