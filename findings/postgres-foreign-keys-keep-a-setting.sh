#!/usr/bin/env bash
# PostgreSQL 18.4 (the same in 14.23 and 15.18; not in 13.23), asked by npm's pg 8.16.3.
#
# A good guess: what `set local` says ends with its transaction. So a batch that sets enable_seqscan = off and
# plan_cache_mode = force_generic_plan, as one does to keep a plan from reading whole tables, leaves nothing
# behind in a pooled connection.
# Seen: if the transaction deletes a row that a foreign key refers to, the plan of the key's own check is made under
# the settings, and stays in the session. The check goes by the index, which Postgres believes to be dearer than
# planning anew and reading the other table, which was empty when it was analysed. So each later delete in the
# session plans the check for each row: 1,000 rows, 1,000 plans. Without that transaction there are five or six. The
# statements are named by pg_stat_statements, which no EXPLAIN of the delete shows: it only says that the trigger is slow.
set -euo pipefail
cd "$(dirname "$0")"
. lib/postgres.sh
start_postgres "$(mktemp -d)" 18.4.0-beta.17 shared_preload_libraries=pg_stat_statements pg_stat_statements.track=all pg_stat_statements.track_planning=on autovacuum=off
cd "$dir"
npm install --no-audit --no-fund pg@8.16.3 >>npm.log 2>&1 || { cat npm.log; exit 1; }
cat >main.mjs <<'JS'
import pg from 'pg'

const session = async () => {
  const c = new pg.Client({ host: '127.0.0.1', port: +process.env.PGPORT_FOUND, user: 'postgres', database: 'postgres' })
  await c.connect()
  return c
}
const admin = await session()
await admin.query(`create extension pg_stat_statements;
  create table parent (id int primary key);
  create table child (parent_id int references parent on delete cascade);
  create index on child (parent_id);
  insert into parent select generate_series(1, 10000);
  analyze`)

// Deletes 1,000 parents in a new session, after a transaction of it, and returns how often the check was planned.
const plans = async (what, from, settings) => {
  const c = await session()
  await c.query(`begin; ${settings}; delete from parent where id = ${from}; commit`)
  const kept = (await c.query('show enable_seqscan')).rows[0].enable_seqscan + ' ' + (await c.query('show plan_cache_mode')).rows[0].plan_cache_mode
  await admin.query('select pg_stat_statements_reset()')
  const deleted = await c.query('delete from parent where id > $1 and id <= $1 + 1000', [from])
  const check = (await admin.query(`select plans, calls from pg_stat_statements where query like 'DELETE FROM ONLY%child%'`)).rows[0]
  console.log(`${what}: settings after it: ${kept}; ${deleted.rowCount} rows deleted, checks: ${check.calls}, plans made for them: ${check.plans}`)
  await c.end()
  return +check.plans
}
const plain = await plans('after a plain transaction', 1, `set local work_mem = '4MB'`)
const set = await plans('after one with two settings', 5000, 'set local enable_seqscan = off; set local plan_cache_mode = force_generic_plan')
await admin.end()
process.exit(plain <= 6 && set === 1000 ? 0 : 1)
JS
PGPORT_FOUND=$PGPORT_FOUND node main.mjs || { echo "not as described"; exit 1; }
