#!/usr/bin/env bash
# npm's dayjs 1.11.23 with its plugins utc and timezone; beside it luxon 3.7.2. Needs npm.
#
# A good guess: a date that has a time zone, as dayjs.tz(text, zone) makes it, is calculated with in that zone: a day later
# it is the same time there, and the day and the month begin at midnight there. The zone of the process does not matter.
# Seen, without an error:
#   - In a process in UTC, 10:00 in Berlin in January and six months is 11:00 there. Written, it is
#     "10:00:00+01:00", an offset that Berlin does not have in July. The 4th of October begins an hour too early in Sydney.
#   - In a process in New York it goes by New York's changes of the clocks too. In India, which has none, 10:00 and
#     a day is 09:00 on 8 March. The month of November begins at 01:00, and October ends as late, in Berlin and in India.
#   - There, 15 January and nine months is 1 October.
# So a loop over days, or a query for a day or a month, takes records of an hour for another day, or leaves them out.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
{ npm init -y && npm install --no-audit --no-fund dayjs@1.11.23 luxon@3.7.2; } >npm.log 2>&1 || { cat npm.log; exit 1; }
cat >main.mjs <<'JS'
import dayjs from "dayjs";
import timezone from "dayjs/plugin/timezone.js";
import utc from "dayjs/plugin/utc.js";
import { DateTime } from "luxon";

dayjs.extend(utc);
dayjs.extend(timezone);

console.log(`a process in ${process.env.TZ}`);
const [berlin, india, sydney] = ["Europe/Berlin", "Asia/Kolkata", "Australia/Sydney"];
const day = ["a day later", (d) => d.add(1, "day"), (d) => d.plus({ days: 1 })];
const months = (n) => [`${n} months later`, (d) => d.add(n, "month"), (d) => d.plus({ months: n })];
const start = (of) => [`start of the ${of}`, (d) => d.startOf(of), (d) => d.startOf(of)];
const end = (of) => [`end of the ${of}`, (d) => d.endOf(of), (d) => d.endOf(of)];
for (const [text, zone, [what, byDayjs, byLuxon]] of [
  ["2026-03-28T10:00", berlin, day], ["2026-01-15T10:00", berlin, months(6)], ["2026-10-04T10:00", sydney, start("day")],
  ["2026-03-07T10:00", india, day], ["2026-11-05T10:00", berlin, start("month")], ["2026-10-05T10:00", india, end("month")],
  ["2026-01-15T10:00", berlin, months(9)],
]) {
  const seen = byDayjs(dayjs.tz(text, zone));
  const right = byLuxon(DateTime.fromISO(text, { zone }));
  if (seen.valueOf() === right.toMillis()) continue;
  const there = (ms) => DateTime.fromMillis(ms, { zone }).toFormat("yyyy-MM-dd HH:mm");
  console.log(`${text} ${zone}, ${what}: dayjs ${there(seen.valueOf())}, written as ${seen.format()}; luxon ${there(right.toMillis())}`);
}
JS
seen=$(TZ=UTC node main.mjs && TZ=America/New_York node main.mjs)
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
a process in UTC
2026-03-28T10:00 Europe/Berlin, a day later: dayjs 2026-03-29 11:00, written as 2026-03-29T10:00:00+01:00; luxon 2026-03-29 10:00
2026-01-15T10:00 Europe/Berlin, 6 months later: dayjs 2026-07-15 11:00, written as 2026-07-15T10:00:00+01:00; luxon 2026-07-15 10:00
2026-10-04T10:00 Australia/Sydney, start of the day: dayjs 2026-10-03 23:00, written as 2026-10-04T00:00:00+11:00; luxon 2026-10-04 00:00
2026-01-15T10:00 Europe/Berlin, 9 months later: dayjs 2026-10-15 11:00, written as 2026-10-15T10:00:00+01:00; luxon 2026-10-15 10:00
a process in America/New_York
2026-03-28T10:00 Europe/Berlin, a day later: dayjs 2026-03-29 11:00, written as 2026-03-29T10:00:00+01:00; luxon 2026-03-29 10:00
2026-10-04T10:00 Australia/Sydney, start of the day: dayjs 2026-10-03 23:00, written as 2026-10-04T00:00:00+11:00; luxon 2026-10-04 00:00
2026-03-07T10:00 Asia/Kolkata, a day later: dayjs 2026-03-08 09:00, written as 2026-03-08T10:00:00+05:30; luxon 2026-03-08 10:00
2026-11-05T10:00 Europe/Berlin, start of the month: dayjs 2026-11-01 01:00, written as 2026-11-01T01:00:00+01:00; luxon 2026-11-01 00:00
2026-10-05T10:00 Asia/Kolkata, end of the month: dayjs 2026-11-01 00:59, written as 2026-11-01T00:59:59+05:30; luxon 2026-10-31 23:59
2026-01-15T10:00 Europe/Berlin, 9 months later: dayjs 2026-10-01 10:00, written as 2026-10-01T10:00:00+01:00; luxon 2026-10-15 10:00
SEEN
