#!/usr/bin/env bash
# Shows which time zone data Go, this system, Postgres and Node have on this machine, and the zones
# whose offsets differ within a year. It changes nothing. Programs that are missing are left out.
#
#   scripts/zonedata.sh
#
# ZONES is a directory of zone files to use as the system's; default: /usr/share/zoneinfo.
# PSQL is a command that runs psql, to ask a server that is not the default. GO is the go command.
set -euo pipefail
go=${GO:-go}
dir=${ZONES:-/usr/share/zoneinfo}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# A line for each zone and moment, a quarter of a day apart: "zone seconds-since-1970 offset".
start=$(($(date +%s) / 21600 * 21600))
zones=$(awk '$1 == "Z" { print $2 }' "$dir/tzdata.zi")

cat >"$work/main.go" <<'GO'
package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"time"
)

func main() {
	start, _ := strconv.ParseInt(os.Args[1], 10, 64)
	for names := bufio.NewScanner(os.Stdin); names.Scan(); {
		zone, err := time.LoadLocation(names.Text())
		if err != nil {
			continue
		}
		for n := range int64(1465) {
			_, offset := time.Unix(start+n*21600, 0).In(zone).Zone()
			fmt.Println(names.Text(), start+n*21600, offset)
		}
	}
}
GO
(cd "$work" && "$go" mod init zonedata >/dev/null 2>&1 && "$go" build -o zones main.go)
root=$("$go" env GOROOT)
echo "$zones" | ZONEINFO=$root/lib/time/zoneinfo.zip "$work/zones" "$start" >"$work/go"
echo "$zones" | ZONEINFO=$dir "$work/zones" "$start" >"$work/system"

printf '%-10s %s\n' go "$("$go" env GOVERSION): $(sed -n 's/^CODE=//p' "$root/lib/time/update.bash")"
printf '%-10s %s\n' system "$(sed -n '1s/^# version //p' "$dir/tzdata.zi") ($dir)"

psql=${PSQL:-psql -X}
if server=$($psql -Atc 'show server_version' 2>/dev/null); then
	printf '%-10s %s\n' postgres "$server: tells no version; it reads the system's files if it was built so, as on Debian"
	$psql -AtF ' ' >"$work/postgres" <<SQL
select name, at, extract(epoch from (to_timestamp(at) at time zone name) - (to_timestamp(at) at time zone 'UTC'))::int
from unnest(string_to_array('$(echo "$zones" | paste -sd,)', ',')) as name, generate_series(0, 1464) as n, lateral (select $start + n * 21600::bigint as at) as moment
where name in (select name from pg_timezone_names) order by name, at;
SQL
fi
if command -v node >/dev/null; then
	printf '%-10s %s\n' node "$(node -p 'process.version + ": " + process.versions.tz')"
	echo "$zones" | node -e '
		const start = Number(process.argv[1]);
		for (const name of require("fs").readFileSync(0, "utf8").trim().split("\n")) {
			let format;
			try {
				format = new Intl.DateTimeFormat("en-US", { timeZone: name, hourCycle: "h23", year: "numeric", month: "numeric", day: "numeric", hour: "numeric", minute: "numeric", second: "numeric" });
			} catch { continue; }
			const lines = [];
			for (let n = 0; n < 1465; n++) {
				const at = start + n * 21600, p = {};
				for (const part of format.formatToParts(new Date(at * 1000))) p[part.type] = Number(part.value);
				lines.push(`${name} ${at} ${Date.UTC(p.year, p.month - 1, p.day, p.hour, p.minute, p.second) / 1000 - at}`);
			}
			console.log(lines.join("\n"));
		}' "$start" >"$work/node"
fi

echo
echo "Zones whose offsets differ from the system's within a year, and about when first:"
for who in go postgres node; do
	[ -s "$work/$who" ] || continue
	echo "  $who:"
	awk 'NR == FNR { system_has[$1, $2] = $3; next }
		($1, $2) in system_has && system_has[$1, $2] != $3 && !($1 in told) {
			told[$1] = 1; found++
			printf "    %-28s %s  %+.2f h, the system has %+.2f h\n", $1, strftime("%Y-%m-%d", $2, 1), $3 / 3600, system_has[$1, $2] / 3600
		}
		END { if (!found) print "    none" }' "$work/system" "$work/$who"
done
