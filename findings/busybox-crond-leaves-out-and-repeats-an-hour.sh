#!/usr/bin/env bash
# crond of BusyBox 1.35.0 (busybox-static of Debian 12), as in images of Alpine. Needs root, and Debian 12, whose package it runs from a
# temporary folder. It takes five minutes, because crond takes the time from the clock.
#
# A good guess: a cron job of each day runs once on each day, also on the two on which the clocks change: the manual of Debian's cron promises
# it for changes of less than three hours. Seen, without a line in the log: BusyBox compares each minute with the clock. A job in the hour that
# the clocks leave out does not run on that day, and one in the time that they repeat runs twice. Here the rule of the zone is
# such that the clocks change two minutes from now: forward by an hour in one process, and back by three minutes in another.
set -euo pipefail
dir=$(mktemp -d)
spring= autumn=
trap 'kill $spring $autumn 2>/dev/null || true; rm -rf "$dir"' EXIT
mkdir "$dir/debs" "$dir/root" "$dir/spring" "$dir/autumn"
(cd "$dir/debs" && apt-get download busybox-static >download.log 2>&1) || { cat "$dir/debs/download.log"; exit 1; }
dpkg -x "$dir"/debs/*.deb "$dir/root"
busybox=$dir/root/bin/busybox
"$busybox" | head -n 1 >&2

sleep $((61 - 10#$(date +%S))) # to the beginning of a minute
now=$(date +%s)
now=$((now - now % 60))
# A zone in which it is noon now, so that no date changes meanwhile. POSIX counts offsets to the west, and days from 1 without 29 February.
west=$((10#$(date -u -d "@$now" +%H) * 60 - 12 * 60))
offset() { echo "$([ "$1" -ge 0 ] || echo -)$((${1#-} / 60)):$(printf %02d $((${1#-} % 60)))"; }
local_time() { date -u -d "@$(($1 - west * 60))" "+$2"; } # in its standard time
day=$((10#$(local_time "$now" %j)))
if [ "$day" -gt 59 ] && date -u -d "$(local_time "$now" %Y)-02-29" >/dev/null 2>&1; then day=$((day - 1)); fi
change=$((now + 120))
spring_zone="AAA$(offset $west)BBB$(offset $((west - 60))),J$day/$(local_time $change %H:%M),J$day/23:59"
autumn_zone="AAA$(offset $west)BBB$(offset $((west - 3))),J1/0,J$day/$(local_time $((change + 180)) %H:%M)"
{
  local_time $((change + 1800)) "%M %H * * * echo left out >>$dir/spring.out"
  echo "* * * * * echo a minute >>$dir/spring.out"
} >"$dir/spring/$(id -un)"
local_time $((change + 180 - 60)) "%M %H * * * echo in the repeated time >>$dir/autumn.out" >"$dir/autumn/$(id -un)"
TZ=$spring_zone "$busybox" crond -f -l 0 -c "$dir/spring" >"$dir/spring.log" 2>&1 &
spring=$!
TZ=$autumn_zone "$busybox" crond -f -l 0 -c "$dir/autumn" >"$dir/autumn.log" 2>&1 &
autumn=$!
clock() { TZ=$1 date -d "@$2" +%H:%M; }
sleep 270
got="clocks go forward, from $(clock "$spring_zone" $((change - 60))) to $(clock "$spring_zone" $change): $(grep -c "left out" "$dir/spring.out" || true) runs of the job at $(local_time $((change + 1800)) %H:%M), $(grep -c "a minute" "$dir/spring.out") of the one of each minute
clocks go back, from $(clock "$autumn_zone" $((change - 60))) to $(clock "$autumn_zone" $change): $(grep -c "in the repeated time" "$dir/autumn.out") runs of the job at $(local_time $((change + 120)) %H:%M)"
echo "$got"
sed 's/[0-9][0-9]:[0-9][0-9]/hh:mm/g' <<<"$got" | diff - <(cat <<'SEEN'
clocks go forward, from hh:mm to hh:mm: 0 runs of the job at hh:mm, 4 of the one of each minute
clocks go back, from hh:mm to hh:mm: 2 runs of the job at hh:mm
SEEN
)
