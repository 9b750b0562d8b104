#!/usr/bin/env bash
# pg_partman 4.7.2 (Debian 12), Postgres 15.18.
#
# A good guess: daily partitions of a timestamptz column follow each other without a gap, as each begins where the one before
# ends. Seen: the first begin at midnight in the TimeZone of the session that makes them. Maintenance takes the time of the
# last one from its name, in the TimeZone of its own session. Made in UTC, and maintained once from America/New_York, as by
# psql or a job with other settings, the table has no partition for a whole day. The partition with that day in its name
# has the rows of the next day. Nothing says so, until the rows of the day are in the default partition. Then the missing
# partition cannot be made any more.
set -euo pipefail
. "$(dirname "$0")/lib/postgres.sh"
work=$(mktemp -d)
trap 'stop_postgres; rm -rf "$work"' EXIT
mkdir "$work/debs"
(cd "$work/debs" && apt-get download postgresql-15-partman=4.7.2-1 >download.log 2>&1) || { cat "$work/debs/download.log"; exit 1; }
dpkg -x "$work"/debs/*.deb "$work/root"
start_postgres "$work" 15.18.0-beta.17
cp "$work"/root/usr/share/postgresql/15/extension/pg_partman* "$(dirname "$(find "$work/node_modules" -name plpgsql.control)")/"
chmod -R a+rX "$work/node_modules"
(cd "$work" && npm install --no-audit --no-fund pg@8.16.3 >>npm.log 2>&1) || { cat "$work/npm.log"; exit 1; }
cat >"$work/main.js" <<'JS'
const { Client } = require('pg')
const main = async () => {
  const c = new Client({ host: '127.0.0.1', port: process.env.PORT, user: 'postgres', database: 'postgres' })
  await c.connect()
  const run = async (...statements) => { for (const s of statements) await c.query(s) }
  await run(
    'create extension pg_partman',
    'create table ev (at timestamptz not null) partition by range (at)',
    "set timezone = 'UTC'",
    "select create_parent('public.ev', 'at', 'native', 'daily', p_premake := 2, p_start_partition := '2031-06-01')",
    "insert into ev values ('2031-06-01 12:00Z')",
    "set timezone = 'America/New_York'",
    "select run_maintenance('public.ev')",
    "set timezone = 'UTC'")
  const empty = await c.query('select count(*)::int as n from check_default(true)')
  console.log('tables with rows in their default partition:', empty.rows[0].n)
  await run("insert into ev select t from generate_series(timestamptz '2031-06-02 12:00Z', '2031-06-03 12:00Z', '1 day') t")
  const days = await c.query("select at::date::text as day, tableoid::regclass::text as partition from ev order by at")
  for (const d of days.rows) console.log(`a row of ${d.day} is in ${d.partition}`)
  await c.query("create table ev_missing partition of ev for values from ('2031-06-02') to ('2031-06-03')").catch((e) => console.log(e.message))
  await c.end()
}
main()
JS
seen=$(cd "$work" && PORT=$PGPORT_FOUND node main.js)
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
tables with rows in their default partition: 0
a row of 2031-06-01 is in ev_p2031_06_01
a row of 2031-06-02 is in ev_default
a row of 2031-06-03 is in ev_p2031_06_02
updated partition constraint for default partition "ev_default" would be violated by some row
SEEN
