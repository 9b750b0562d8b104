#!/usr/bin/env bash
# PostgreSQL 17.10 and 18.4, npm's pg 8.16.3. Needs npm.
#
# A good guess: a text with a time and the abbreviation of its zone, such as "2026-01-02 10:00 CST", is one moment, on each
# version and in each session: what an abbreviation stands for is a setting, timezone_abbreviations, which nobody has
# changed here. Seen, without an error or a notice:
#   - Since Postgres 18 the zone of the session comes first. In Asia/Shanghai, CST was America's time up to 17, and is
#     China's: an upgrade moves what is loaded by 14 hours. In Asia/Kolkata IST moves by 3½ hours, in Manila PST by 16.
#   - So two sessions of one server of version 18 read one text as two moments. A worker whose role or DSN
#     has another zone stores other times.
#   - In exchange, what a session writes with to_char's TZ it reads back as the same moment. Up to 17 it is 14 hours off.
# An offset in the place of the abbreviation, such as +08, is the same everywhere. The notes of the release name the change.
set -euo pipefail
cd "$(dirname "$0")"
. lib/postgres.sh

for version in 17.10.0-beta.17 18.4.0-beta.17; do
  start_postgres "$(mktemp -d)" "$version"
  (cd "$dir" && npm install --no-audit --no-fund pg@8.16.3 >>npm.log 2>&1) || { cat "$dir/npm.log"; exit 1; }
  cat >"$dir/read.js" <<'JS'
const { Client } = require("pg");

async function main() {
  const c = new Client({ database: "postgres" });
  await c.connect();
  const one = async (sql, ...args) => Object.values((await c.query(sql, args)).rows[0])[0];
  const utc = "at time zone 'UTC', 'YYYY-MM-DD HH24:MI')";
  for (const [zone, abbreviation] of [["UTC", "CST"], ["Asia/Shanghai", "CST"], ["UTC", "IST"], ["Asia/Kolkata", "IST"],
    ["UTC", "PST"], ["Asia/Manila", "PST"], ["Asia/Shanghai", "+08"]]) {
    await c.query(`set timezone = '${zone}'`);
    const read = await one(`select to_char($1::timestamptz ${utc}`, `2026-01-02 10:00 ${abbreviation}`);
    console.log(`10:00 ${abbreviation} in a session of ${zone}: ${read} UTC`);
  }
  await c.query("set timezone = 'Asia/Shanghai'");
  const text = await one("select to_char('2026-01-02 02:00+00'::timestamptz, 'YYYY-MM-DD HH24:MI TZ')");
  console.log(`02:00 UTC, written as ${text}, is read back as ${await one(`select to_char($1::timestamptz ${utc}`, text)} UTC`);
  await c.end();
}

main();
JS
  seen=$(PGHOST=127.0.0.1 PGPORT=$PGPORT_FOUND PGUSER=postgres node "$dir/read.js")
  echo "Postgres $version"
  echo "$seen"
  case $version in
    17*) shanghai='2026-01-02 16:00' kolkata='2026-01-02 08:00' manila='2026-01-02 18:00' ;;
    *) shanghai='2026-01-02 02:00' kolkata='2026-01-02 04:30' manila='2026-01-02 02:00' ;;
  esac
  diff <(echo "$seen") - <<SEEN
10:00 CST in a session of UTC: 2026-01-02 16:00 UTC
10:00 CST in a session of Asia/Shanghai: $shanghai UTC
10:00 IST in a session of UTC: 2026-01-02 08:00 UTC
10:00 IST in a session of Asia/Kolkata: $kolkata UTC
10:00 PST in a session of UTC: 2026-01-02 18:00 UTC
10:00 PST in a session of Asia/Manila: $manila UTC
10:00 +08 in a session of Asia/Shanghai: 2026-01-02 02:00 UTC
02:00 UTC, written as 2026-01-02 10:00 CST, is read back as $shanghai UTC
SEEN
done
