#!/usr/bin/env bash
# github.com/gorhill/cronexpr (88b0669f7d75), and the copy of it in github.com/aptible/supercronic
# v0.2.48. Zone data of Go 1.26.
#
# A good guess: Next(t) is later than t. Seen: where the clocks skip midnight, as they do in Chile
# each September, Next of a daily expression at midnight is 23:00 of the evening before, which is
# not a time of the expression at all. From there, Next is 23:00 of that evening again. So a loop
# that sleeps until Next, and then asks for the next one, never gets past that evening, and does not
# sleep any more. Where another hour is skipped, as in Berlin, both are right.
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

	"github.com/aptible/supercronic/cronexpr"
	original "github.com/gorhill/cronexpr"
)

func main() {
	for _, c := range []struct{ expression, zone, from string }{
		{"0 0 * * *", "America/Santiago", "2025-09-06 12:00"},
		{"30 2 * * *", "Europe/Berlin", "2025-03-29 12:00"},
	} {
		zone, err := time.LoadLocation(c.zone)
		check(err)
		from, err := time.ParseInLocation("2006-01-02 15:04", c.from, zone)
		check(err)
		ours, err := cronexpr.Parse(c.expression)
		check(err)
		for name, next := range map[string]func(time.Time) time.Time{
			"gorhill/cronexpr": original.MustParse(c.expression).Next, "supercronic": ours.Next,
		} {
			first := next(from)
			second := next(first)
			fmt.Printf("%s, %s %s after %s: %s, then %s\n", name, c.expression, c.zone, c.from, first.Format("02 Jan 15:04"), second.Format("02 Jan 15:04"))
		}
	}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
printf 'module finding\n\ngo 1.24\n' >go.mod
go get github.com/gorhill/cronexpr@v0.0.0-20180427100037-88b0669f7d75 github.com/aptible/supercronic@v0.2.48 >get.log 2>&1 || { cat get.log; exit 1; }
go version
seen=$(go run . | sort)
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
gorhill/cronexpr, 0 0 * * * America/Santiago after 2025-09-06 12:00: 06 Sep 23:00, then 06 Sep 23:00
gorhill/cronexpr, 30 2 * * * Europe/Berlin after 2025-03-29 12:00: 30 Mar 03:30, then 31 Mar 02:30
supercronic, 0 0 * * * America/Santiago after 2025-09-06 12:00: 06 Sep 23:00, then 06 Sep 23:00
supercronic, 30 2 * * * Europe/Berlin after 2025-03-29 12:00: 30 Mar 03:30, then 31 Mar 02:30
SEEN
