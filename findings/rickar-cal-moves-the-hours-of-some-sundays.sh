#!/usr/bin/env bash
# github.com/rickar/cal/v2 v2.1.13.
#
# A good guess: for a calendar whose working hours are 09:00 to 17:00 each day, WorkdayStart is 09:00 by the clock. NextWorkdayStart
# leaves out no working day, and all functions agree on which times are working hours. Seen, without an error, for a business
# that works on Sundays:
#   - On the Sunday on which the clocks change, in New York, the day is 10:00 to 18:00 in March and 08:00 to 16:00 in November. IsWorkTime
#     says that the start of that November day is none. Days are counted as 24 hours from midnight.
#   - From 23:30 on the Saturday in March, the next working day begins on Monday: the Sunday is left out.
#   - With hours from 0 to 24, WorkHours of a day are 0, noon is no working time, and a week has 168 working hours.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"fmt"
	"time"

	"github.com/rickar/cal/v2"
)

func main() {
	zone, err := time.LoadLocation("America/New_York")
	if err != nil {
		panic(err)
	}
	at := func(month time.Month, day, hour, minute int) time.Time { return time.Date(2026, month, day, hour, minute, 0, 0, zone) }
	const form = "Mon 2 Jan 15:04"

	c := cal.NewBusinessCalendar() // 09:00 to 17:00, Monday to Friday
	c.SetWorkday(time.Saturday, true)
	c.SetWorkday(time.Sunday, true)
	for _, day := range []time.Time{at(3, 7, 12, 0), at(3, 8, 12, 0), at(11, 1, 12, 0)} {
		start, end := c.WorkdayStart(day), c.WorkdayEnd(day)
		fmt.Printf("%s to %s; its start is working time: %t\n", start.Format(form), end.Format(form), c.IsWorkTime(start))
	}
	for _, evening := range []time.Time{at(3, 6, 23, 30), at(3, 7, 23, 30)} {
		fmt.Printf("after %s comes %s\n", evening.Format(form), c.NextWorkdayStart(evening).Format(form))
	}
	c.SetWorkHours(0, 24*time.Hour)
	fmt.Println("from 0 to 24: hours of a day", c.WorkHours(at(6, 1, 12, 0)), "- noon", c.IsWorkTime(at(6, 1, 12, 0)), "- hours of a week", c.WorkHoursInRange(at(6, 1, 0, 0), at(6, 8, 0, 0)))
}
GO
go mod init finding >/dev/null 2>&1
go get github.com/rickar/cal/v2@v2.1.13 >/dev/null 2>&1
got=$(go run .)
echo "$got"
diff <(echo "$got") - <<'SEEN'
Sat 7 Mar 09:00 to Sat 7 Mar 17:00; its start is working time: true
Sun 8 Mar 10:00 to Sun 8 Mar 18:00; its start is working time: true
Sun 1 Nov 08:00 to Sun 1 Nov 16:00; its start is working time: false
after Fri 6 Mar 23:30 comes Sat 7 Mar 09:00
after Sat 7 Mar 23:30 comes Mon 9 Mar 09:00
from 0 to 24: hours of a day 0s - noon false - hours of a week 168h0m0s
SEEN
