#!/usr/bin/env bash
# Postgres 13.23 and 18.4, default settings.
#
# A good guess: "update … where state = 'available' and id in (select id … limit 5 for update skip
# locked)" claims five jobs at most. Seen: it claims all of them, once the planner expects few
# jobs, as it does if the queue was empty when its table was analysed. The plan is then a nested
# loop that runs the subquery again for each job. Each time, "skip locked" passes over the jobs that
# the same statement has claimed, so that the limit begins anew. With "id = any(array(select …))"
# in the place of "id in (select …)", the subquery runs once, and the limit holds.
set -euo pipefail
cd "$(dirname "$0")"
. lib/postgres.sh

claims() {
  PGHOST=127.0.0.1 PGPORT=$PGPORT_FOUND PGUSER=postgres node "$dir/claims.js"
}

for version in 13.23.0-beta.16 18.4.0-beta.17; do
  start_postgres "$(mktemp -d)" "$version"
  (cd "$dir" && npm install --no-audit --no-fund pg@8.16.3 >>npm.log 2>&1) || { cat "$dir/npm.log"; exit 1; }
  cat >"$dir/claims.js" <<'JS'
const { Client } = require("pg");

async function main() {
  const c = new Client({ database: "postgres" });
  await c.connect();
  await c.query("create table job (id bigint generated always as identity primary key, state text not null default 'available')");
  await c.query("create index on job (state, id)");
  await c.query("insert into job (state) select 'done' from generate_series(1, 1000)");
  await c.query("analyze job");
  await c.query("insert into job (state) select 'available' from generate_series(1, 20)");
  const five = "select id from job where state = 'available' order by id limit 5 for update skip locked";
  const claim = async (where) => {
    await c.query("begin");
    const r = await c.query(`update job set state = 'running' where state = 'available' and id ${where} returning id`);
    await c.query("rollback");
    return r.rowCount;
  };
  console.log("in (select … limit 5):", await claim(`in (${five})`));
  console.log("= any(array(select … limit 5)):", await claim(`= any(array(${five}))`));
  await c.end();
}

main();
JS
  seen=$(claims)
  echo "Postgres $version"
  echo "$seen"
  [ "$seen" = "in (select … limit 5): 20
= any(array(select … limit 5)): 5" ] || { echo "This has changed."; exit 1; }
done
