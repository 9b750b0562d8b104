#!/usr/bin/env bash
# github.com/teambition/rrule-go v1.8.2. Zone data of Go 1.26.
#
# A good guess: a rule "every hour" or "every 30 minutes" yields moments that are that far apart, each
# once, or at least in their order. Seen, on the days on which Berlin changes its clocks:
#   - In spring, every hour: 03:00 comes twice, as the same moment.
#   - In spring, every 30 minutes: 03:00 and 03:30, then 03:00 and 03:30 again. So the list goes back.
#   - In autumn, every hour or 30 minutes: the first of the two hours from 02:00 to 03:00 is left out.
# A rule in UTC yields each once. So does a rule "every day" in Berlin.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"fmt"
	"time"
	_ "time/tzdata"

	"github.com/teambition/rrule-go"
)

func main() {
	berlin, err := time.LoadLocation("Europe/Berlin")
	check(err)
	for _, o := range []rrule.ROption{
		{Freq: rrule.HOURLY, Dtstart: time.Date(2026, 3, 29, 0, 0, 0, 0, berlin)},
		{Freq: rrule.MINUTELY, Interval: 30, Dtstart: time.Date(2026, 3, 29, 1, 30, 0, 0, berlin)},
		{Freq: rrule.HOURLY, Dtstart: time.Date(2026, 10, 25, 0, 0, 0, 0, berlin)},
		{Freq: rrule.MINUTELY, Interval: 30, Dtstart: time.Date(2026, 10, 25, 1, 30, 0, 0, berlin)},
		{Freq: rrule.HOURLY, Dtstart: time.Date(2026, 3, 29, 0, 0, 0, 0, time.UTC)},
		{Freq: rrule.DAILY, Dtstart: time.Date(2026, 3, 28, 2, 30, 0, 0, berlin)},
	} {
		o.Count = 5
		r, err := rrule.NewRRule(o)
		check(err)
		fmt.Printf("%s from %s:", o.Freq, o.Dtstart.Format("2 Jan 15:04 MST"))
		for i, t := range r.All() {
			if i > 0 {
				fmt.Printf(" +%s", t.Sub(r.All()[i-1]))
			}
		}
		fmt.Println()
	}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
go mod init finding >/dev/null 2>&1
go get github.com/teambition/rrule-go@v1.8.2 >/dev/null 2>&1
got=$(go run .)
echo "$got"
diff <(echo "$got") - <<'SEEN'
HOURLY from 29 Mar 00:00 CET: +1h0m0s +1h0m0s +0s +1h0m0s
MINUTELY from 29 Mar 01:30 CET: +30m0s +30m0s +-30m0s +30m0s
HOURLY from 25 Oct 00:00 CEST: +1h0m0s +2h0m0s +1h0m0s +1h0m0s
MINUTELY from 25 Oct 01:30 CEST: +1h30m0s +30m0s +30m0s +30m0s
HOURLY from 29 Mar 00:00 UTC: +1h0m0s +1h0m0s +1h0m0s +1h0m0s
DAILY from 28 Mar 02:30 CET: +24h0m0s +23h0m0s +24h0m0s +24h0m0s
SEEN
