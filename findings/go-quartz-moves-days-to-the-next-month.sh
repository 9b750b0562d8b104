#!/usr/bin/env bash
# github.com/reugn/go-quartz v0.15.2.
#
# A good guess: a date that a month does not have is passed over. Seen: it becomes a day of the next
# month. A trigger of 29 February fires each year, on 1 March unless it is a leap year. A trigger of
# the 31st fires on 3 March, if it is asked on 31 January after the time of day; it does pass over
# the other short months.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"fmt"
	"time"

	"github.com/reugn/go-quartz/quartz"
)

func main() {
	for _, expression := range []string{"0 0 0 29 2 *", "0 0 0 31 * *"} {
		trigger, err := quartz.NewCronTrigger(expression)
		check(err)
		at := time.Date(2025, 1, 31, 12, 0, 0, 0, time.UTC).UnixNano()
		fmt.Print(expression, ":")
		for range 4 {
			at, err = trigger.NextFireTime(at)
			check(err)
			fmt.Print(" ", time.Unix(0, at).UTC().Format(time.DateOnly))
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
printf 'module finding\n\ngo 1.24\n' >go.mod
go get github.com/reugn/go-quartz@v0.15.2 >get.log 2>&1 || { cat get.log; exit 1; }
seen=$(go run .)
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
0 0 0 29 2 *: 2025-03-01 2026-03-01 2027-03-01 2028-02-29
0 0 0 31 * *: 2025-03-03 2025-03-31 2025-05-31 2025-07-31
SEEN
