#!/usr/bin/env bash
# github.com/channelmeter/iso8601duration v0.0.0-20150204201828-8da3af7a2a61, github.com/sosodev/duration v1.4.0.
#
# A good guess: a parser of ISO 8601 durations returns the length that was written, or refuses what it
# does not know; and a formatter writes a length that others read as the same. Seen, without an error:
#   - iso8601duration reads PT0.5S and PT1.5H as 0, so that a loop which waits that long does not wait
#     at all; -PT1H30M as 1½ hours forward; P1W2D as 7 days; P1H, which lacks its T, as 0.
#   - duration.Format writes 45 days as P1M2WT14H, and 400 days as P1Y1M4DT14H: it counts a month as 730
#     hours. Only its own parser reads that as the same. For Postgres, or any calendar, the first is 42.6
#     to 45.6 days, by the month.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"fmt"
	"time"

	iso "github.com/channelmeter/iso8601duration"
	"github.com/sosodev/duration"
)

func main() {
	for _, text := range []string{"PT90M", "PT0.5S", "PT1.5H", "-PT1H30M", "P1W2D", "P1H", "P1M"} {
		if d, err := iso.FromString(text); err != nil {
			fmt.Println("iso8601duration", text, "refused")
		} else {
			fmt.Println("iso8601duration", text, d.ToDuration())
		}
	}
	for _, days := range []time.Duration{6, 45, 400} {
		text := duration.Format(days * 24 * time.Hour)
		back, err := duration.Parse(text)
		if err != nil {
			panic(err)
		}
		fmt.Println("duration:", int(days), "days are", text, "- by its own parser", back.ToTimeDuration().Hours()/24)
	}
}
GO
printf 'module finding\n\ngo 1.24\n' >go.mod
go get github.com/channelmeter/iso8601duration@v0.0.0-20150204201828-8da3af7a2a61 github.com/sosodev/duration@v1.4.0 >get.log 2>&1 || { cat get.log; exit 1; }
seen=$(go run .)
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
iso8601duration PT90M 1h30m0s
iso8601duration PT0.5S 0s
iso8601duration PT1.5H 0s
iso8601duration -PT1H30M 1h30m0s
iso8601duration P1W2D 168h0m0s
iso8601duration P1H 0s
iso8601duration P1M refused
duration: 6 days are P6D - by its own parser 6
duration: 45 days are P1M2WT14H - by its own parser 45
duration: 400 days are P1Y1M4DT14H - by its own parser 400
SEEN
