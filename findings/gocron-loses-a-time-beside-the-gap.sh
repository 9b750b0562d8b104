#!/usr/bin/env bash
# github.com/go-co-op/gocron/v2 v2.21.2, with github.com/jonboulle/clockwork v0.5.0.
#
# A good guess: when clocks go forward, a daily job may do something odd with a time that does not exist
# on that day. Its other times exist, so the job runs at them. Seen: a job at 00:30, 02:30 and 03:10 does
# not run at 03:10 on that Sunday. It moves 02:30 to 03:30, and then looks for the next time after that.
# The other days have all three. The clock is its own fake one, and the job counts its real runs.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"context"
	"fmt"
	"time"
	_ "time/tzdata"

	"github.com/go-co-op/gocron/v2"
	"github.com/jonboulle/clockwork"
)

func main() {
	zone, err := time.LoadLocation("Europe/Berlin")
	check(err)
	for _, first := range []time.Time{
		time.Date(2026, 3, 28, 0, 0, 0, 0, zone), // clocks go forward on the 29th, from 02:00 to 03:00
		time.Date(2026, 6, 28, 0, 0, 0, 0, zone),
	} {
		clock := clockwork.NewFakeClockAt(first)
		scheduler, err := gocron.NewScheduler(gocron.WithClock(clock), gocron.WithLocation(zone))
		check(err)
		ran := make(chan time.Time)
		_, err = scheduler.NewJob(
			gocron.DailyJob(1, gocron.NewAtTimes(gocron.NewAtTime(0, 30, 0), gocron.NewAtTime(2, 30, 0), gocron.NewAtTime(3, 10, 0))),
			gocron.NewTask(func() { ran <- clock.Now() }))
		check(err)
		scheduler.Start()
		day := ""
		for clock.Now().Before(first.AddDate(0, 0, 3)) {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			check(clock.BlockUntilContext(ctx, 1)) // the scheduler has set its next timer
			cancel()
			step := 10 * time.Minute
			if clock.Now().In(zone).Hour() >= 4 {
				step = time.Hour
			}
			clock.Advance(step)
			select {
			case at := <-ran:
				if d := at.In(zone).Format("Mon 2006-01-02"); d != day {
					day = d
					fmt.Printf("\n%s:", day)
				}
				fmt.Print(at.In(zone).Format(" 15:04"))
			case <-time.After(100 * time.Millisecond):
			}
		}
		fmt.Println()
		check(scheduler.Shutdown())
	}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
printf 'module finding\n\ngo 1.26\n' >go.mod
(go get github.com/go-co-op/gocron/v2@v2.21.2 github.com/jonboulle/clockwork@v0.5.0 && go mod tidy) >get.log 2>&1 || { cat get.log; exit 1; }
got=$(ZONEINFO=/nonexistent go run .)
echo "$got"
diff <(echo "$got") - <<'SEEN'

Sat 2026-03-28: 00:30 02:30 03:10
Sun 2026-03-29: 00:30 03:30
Mon 2026-03-30: 00:30 02:30 03:10

Sun 2026-06-28: 00:30 02:30 03:10
Mon 2026-06-29: 00:30 02:30 03:10
Tue 2026-06-30: 00:30 02:30 03:10
SEEN
