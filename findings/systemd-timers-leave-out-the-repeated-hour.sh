#!/usr/bin/env bash
# systemd 252.38 and 252.39 (Debian 12): systemd-analyze calendar, which computes by the code of OnCalendar.
#
# A good guess: a timer "each 15 minutes" elapses each 15 minutes, whatever the clocks do, as a job of cron does.
# Seen, on a machine in Europe/Berlin: when the clocks go back, it does not elapse at 01:00, 01:15, 01:30 and 01:45 UTC, the
# second time that the clocks show 02:00 to 02:45. "hourly" leaves out an hour too. When the clocks go forward, a
# timer for 02:30 does not elapse on that day. Timers with UTC in their text have neither. So work that takes "the
# last hour" leaves out an hour of records, and a nightly export has no file for a day.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
apt-get download systemd libsystemd-shared >download.log 2>&1 || { cat download.log; exit 1; }
for deb in *.deb; do dpkg -x "$deb" root; done
analyze() {
  LC_ALL=C TZ=Europe/Berlin LD_LIBRARY_PATH=$dir/root/usr/lib/x86_64-linux-gnu/systemd:$dir/root/lib/x86_64-linux-gnu/systemd \
    "$dir/root/usr/bin/systemd-analyze" "$@"
}
analyze --version | head -1 >&2
# The first column is UTC.
elapses() {
  echo "$3"
  analyze calendar --base-time="$1" --iterations="$2" "$3" | sed -n 's/.*(in UTC): \(.*\) UTC/  \1/p'
}
seen=$(
  elapses "2026-10-25 01:40:00" 7 "*:00/15"
  elapses "2026-10-25 01:40:00" 3 hourly
  elapses "2026-03-28 01:40:00" 2 "02:30"
  elapses "2026-10-24 23:40:00 UTC" 7 "*:00/15 UTC"
)
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
*:00/15
  Sat 2026-10-24 23:45:00
  Sun 2026-10-25 00:00:00
  Sun 2026-10-25 00:15:00
  Sun 2026-10-25 00:30:00
  Sun 2026-10-25 00:45:00
  Sun 2026-10-25 02:00:00
  Sun 2026-10-25 02:15:00
hourly
  Sun 2026-10-25 00:00:00
  Sun 2026-10-25 02:00:00
  Sun 2026-10-25 03:00:00
02:30
  Sat 2026-03-28 01:30:00
  Mon 2026-03-30 00:30:00
*:00/15 UTC
  Sat 2026-10-24 23:45:00
  Sun 2026-10-25 00:00:00
  Sun 2026-10-25 00:15:00
  Sun 2026-10-25 00:30:00
  Sun 2026-10-25 00:45:00
  Sun 2026-10-25 01:00:00
  Sun 2026-10-25 01:15:00
SEEN
