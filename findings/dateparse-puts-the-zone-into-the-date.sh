#!/usr/bin/env bash
# github.com/araddon/dateparse v0.0.0-20210429162001-6b43995a97de.
#
# A good guess: ParseStrict reads a text as the moment that it says, or fails; it refuses 02/03/2026,
# whose order is not sure. Seen, without an error: in some forms the number of the zone, or what comes
# last, takes the place of another part:
#   - "2026-06-07 10:20:30.5 +02:00" is the 2nd of June, as with +02; with +0200 it is right.
#   - "2026-01-02 10:20:30 -3" is 03:20:30, and with UTC-5 the seconds become 5.
#   - "2026-06-07Z", a date of XML with its zone, is 1 June, at 7 hours west of Greenwich.
#   - "2026-032", the 32nd day of a year in ISO 8601, is 2 January, 3 hours.
# With UTC+0300 the zone is ignored, while GMT+0300 is read.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"fmt"
	"time"

	"github.com/araddon/dateparse"
)

func main() {
	for _, text := range []string{
		"2026-06-07 10:20:30.5 +02:00", "2026-06-07 10:20:30.5 +0200", "2026-06-07 10:20:30.5 +02",
		"2026-01-02 10:20:30 -0300", "2026-01-02 10:20:30 -3", "2026-01-02T10:20:30.5+3", "2026-01-02 10:20:30 UTC-5",
		"2026-06-07Z", "2026-032", "2026-01-02 10:00:00 GMT+0300", "2026-01-02 10:00:00 UTC+0300", "02/03/2026",
	} {
		t, err := dateparse.ParseStrict(text)
		if err != nil {
			fmt.Printf("%-28s refused\n", text)
			continue
		}
		fmt.Printf("%-28s %s\n", text, t.UTC().Format(time.RFC3339Nano))
	}
}
GO
printf 'module finding\n\ngo 1.24\n' >go.mod
go get github.com/araddon/dateparse@v0.0.0-20210429162001-6b43995a97de >get.log 2>&1 || { cat get.log; exit 1; }
seen=$(TZ=UTC go run .)
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
2026-06-07 10:20:30.5 +02:00 2026-06-02T10:20:30.5Z
2026-06-07 10:20:30.5 +0200  2026-06-07T08:20:30.5Z
2026-06-07 10:20:30.5 +02    2026-06-02T10:20:30.5Z
2026-01-02 10:20:30 -0300    2026-01-02T13:20:30Z
2026-01-02 10:20:30 -3       2026-01-02T03:20:30Z
2026-01-02T10:20:30.5+3      2026-01-02T03:20:30.5Z
2026-01-02 10:20:30 UTC-5    2026-01-02T10:20:05Z
2026-06-07Z                  2026-06-01T07:00:00Z
2026-032                     2026-01-02T03:00:00Z
2026-01-02 10:00:00 GMT+0300 2026-01-02T07:00:00Z
2026-01-02 10:00:00 UTC+0300 2026-01-02T10:00:00Z
02/03/2026                   refused
SEEN
