#!/usr/bin/env bash
# github.com/robfig/cron/v3 v3.0.1 (also the parser and clock of Kubernetes CronJobs).
#
# A good guess: a change of the clocks can skip a job only if the job's own time is in the gap, as
# its documentation says. Seen: a job at noon is skipped too, hours away from the gap.
#   - Egypt moves its clocks at midnight on a Friday: a weekly job of Friday noon is silent for
#     two weeks. A daily one at noon runs.
#   - Lord Howe Island moves its clocks by 30 minutes: the daily job at noon is skipped on that
#     Sunday, and @daily on the Monday after it.
# The times left out exist, once, in these zones. The program gives the zone data itself, so that
# the machine's own does not matter.
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

	"github.com/robfig/cron/v3"
)

func main() {
	for _, c := range []struct{ zone, spec, after string }{
		{"Africa/Cairo", "0 12 * * 5", "2025-04-18 13:00"},
		{"Africa/Cairo", "0 12 * * *", "2025-04-24 13:00"},
		{"Australia/Lord_Howe", "0 12 * * *", "2025-10-04 11:00"},
		{"Australia/Lord_Howe", "@daily", "2025-10-04 11:00"},
	} {
		zone, err := time.LoadLocation(c.zone)
		check(err)
		t, err := time.ParseInLocation("2006-01-02 15:04", c.after, zone)
		check(err)
		schedule, err := cron.ParseStandard(c.spec)
		check(err)
		fmt.Printf("%s %q:", c.zone, c.spec)
		for range 2 {
			t = schedule.Next(t)
			fmt.Print(t.Format(" Mon 01-02 15:04"))
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
go get github.com/robfig/cron/v3@v3.0.1 >/dev/null 2>&1
got=$(ZONEINFO=/nonexistent go run .)
echo "$got"
diff <(echo "$got") - <<'SEEN'
Africa/Cairo "0 12 * * 5": Fri 05-02 12:00 Fri 05-09 12:00
Africa/Cairo "0 12 * * *": Fri 04-25 12:00 Sat 04-26 12:00
Australia/Lord_Howe "0 12 * * *": Sat 10-04 12:00 Mon 10-06 12:00
Australia/Lord_Howe "@daily": Sun 10-05 00:00 Tue 10-07 00:00
SEEN
