#!/usr/bin/env bash
# github.com/golang-module/carbon/v2 v2.3.12, the last version under that path. Zone data of Go 1.26.
#
# A good guess: the start of a moment's minute is at most a minute before it; so records are put into buckets. The difference of
# two dates in days, weeks or months counts those that are over, as in PHP's Carbon, after which the package is made, and a day
# of a zone is one that the zone's calendar has. Seen, without an error:
#   - In the hour that a change of the clocks repeats, StartOfSecond, StartOfMinute, StartOfHour and SetSecond move a moment of the
#     first pass to the second one: it is an hour later, so that one hour's records are counted in the next one.
#   - From 15 January to 14 March it is 2 months, as to 15 March, and a year lacks a day, but has 12 months and 0 years.
#   - In Berlin, the 29th of March to the 30th is 0 days, and the week around it 0 weeks.
#   - Where the clocks skip midnight, StartOfDay is at 23:00 of the day before, which is another date.
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

	"github.com/golang-module/carbon/v2"
)

func main() {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		panic(err)
	}
	first := carbon.CreateFromStdTime(time.Date(2026, 10, 25, 0, 30, 20, 0, time.UTC).In(berlin))
	fmt.Println("a moment:", first.StdTime())
	for _, c := range []struct {
		name string
		at   carbon.Carbon
	}{
		{"StartOfSecond", first.StartOfSecond()}, {"StartOfMinute", first.StartOfMinute()}, {"StartOfHour", first.StartOfHour()},
		{"SetSecond(0)", first.SetSecond(0)}, {"AddMinutes(1)", first.AddMinutes(1)},
	} {
		fmt.Printf("  %s: %s, %v after it\n", c.name, c.at.StdTime(), c.at.StdTime().Sub(first.StdTime()))
	}

	for _, days := range [][2]string{
		{"2026-01-15", "2026-03-15"}, {"2026-01-15", "2026-03-14"}, {"2026-01-31", "2026-03-01"}, {"2024-02-29", "2025-02-28"},
		{"2026-03-22", "2026-03-29"}, {"2026-03-23", "2026-03-30"}, {"2026-03-28", "2026-03-29"}, {"2026-03-29", "2026-03-30"},
	} {
		a, b := carbon.Parse(days[0], "Europe/Berlin"), carbon.Parse(days[1], "Europe/Berlin")
		fmt.Printf("%s to %s: %d years, %d months, %d weeks, %d days\n", days[0], days[1], a.DiffInYears(b), a.DiffInMonths(b), a.DiffInWeeks(b), a.DiffInDays(b))
	}

	noon := carbon.Parse("2026-09-06 12:00:00", "America/Santiago")
	fmt.Println("the day of", noon.StdTime(), "begins at", noon.StartOfDay().StdTime())
}
GO
printf 'module finding\n\ngo 1.24\n' >go.mod
{ go get github.com/golang-module/carbon/v2@v2.3.12 && go mod tidy; } >get.log 2>&1 || { cat get.log; exit 1; }
seen=$(go run .)
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
a moment: 2026-10-25 02:30:20 +0200 CEST
  StartOfSecond: 2026-10-25 02:30:20 +0100 CET, 1h0m0s after it
  StartOfMinute: 2026-10-25 02:30:00 +0100 CET, 59m40s after it
  StartOfHour: 2026-10-25 02:00:00 +0100 CET, 29m40s after it
  SetSecond(0): 2026-10-25 02:30:00 +0100 CET, 59m40s after it
  AddMinutes(1): 2026-10-25 02:31:20 +0200 CEST, 1m0s after it
2026-01-15 to 2026-03-15: 0 years, 2 months, 8 weeks, 59 days
2026-01-15 to 2026-03-14: 0 years, 2 months, 8 weeks, 58 days
2026-01-31 to 2026-03-01: 0 years, 2 months, 4 weeks, 29 days
2024-02-29 to 2025-02-28: 0 years, 12 months, 52 weeks, 365 days
2026-03-22 to 2026-03-29: 0 years, 0 months, 1 weeks, 7 days
2026-03-23 to 2026-03-30: 0 years, 0 months, 0 weeks, 6 days
2026-03-28 to 2026-03-29: 0 years, 0 months, 0 weeks, 1 days
2026-03-29 to 2026-03-30: 0 years, 0 months, 0 weeks, 0 days
the day of 2026-09-06 12:00:00 -0300 -03 begins at 2026-09-05 23:00:00 -0400 -04
SEEN
