#!/usr/bin/env bash
# Go 1.26 (package time), Postgres 18.4.
#
# A good guess: Go and Postgres make the same moment of a local time that a change of the clocks
# repeats or leaves out, or at least each always chooses the same side. Seen: Postgres takes the
# offset of standard time each time. Go does so for zones east of Greenwich alone; west of it, it
# takes that of daylight time. So a service that reads a column of type timestamp in Go, and a
# statement with "at time zone", agree in Berlin, and differ by an hour in New York. (Go's
# documentation does not promise either.)
set -euo pipefail
cd "$(dirname "$0")"
. lib/postgres.sh
start_postgres "$(mktemp -d)" 18.4.0-beta.17
mkdir "$dir/go" && cd "$dir/go"
cat >main.go <<'GO'
package main

import (
	"context"
	"fmt"
	"os"
	"time"
	_ "time/tzdata"

	"github.com/jackc/pgx/v5"
)

func main() {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, os.Getenv("URL"))
	check(err)
	for _, c := range []struct{ what, zone, local string }{
		{"repeated", "Europe/Berlin", "2025-10-26 02:30:00"},
		{"left out", "Europe/Berlin", "2025-03-30 02:30:00"},
		{"repeated", "Australia/Sydney", "2025-04-06 02:30:00"},
		{"repeated", "America/New_York", "2025-11-02 01:30:00"},
		{"left out", "America/New_York", "2025-03-09 02:30:00"},
		{"repeated", "America/Santiago", "2025-04-05 23:30:00"},
	} {
		location, err := time.LoadLocation(c.zone)
		check(err)
		inGo, err := time.ParseInLocation(time.DateTime, c.local, location)
		check(err)
		var inPostgres time.Time
		check(conn.QueryRow(ctx, `select $1::text::timestamp at time zone $2`, c.local, c.zone).Scan(&inPostgres))
		fmt.Printf("%s %s (%s): Go %s, Postgres %s\n", c.zone, c.local, c.what, inGo.UTC().Format("15:04"), inPostgres.UTC().Format("15:04"))
	}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
cat >go.mod <<'MOD'
module finding

go 1.24

require github.com/jackc/pgx/v5 v5.12.0
MOD
go mod tidy >tidy.log 2>&1 || { cat tidy.log; exit 1; }
seen=$(URL="postgres://postgres@127.0.0.1:$PGPORT_FOUND/postgres" go run .)
go version
echo "$seen"
[ "$seen" = "Europe/Berlin 2025-10-26 02:30:00 (repeated): Go 01:30, Postgres 01:30
Europe/Berlin 2025-03-30 02:30:00 (left out): Go 01:30, Postgres 01:30
Australia/Sydney 2025-04-06 02:30:00 (repeated): Go 16:30, Postgres 16:30
America/New_York 2025-11-02 01:30:00 (repeated): Go 05:30, Postgres 06:30
America/New_York 2025-03-09 02:30:00 (left out): Go 06:30, Postgres 07:30
America/Santiago 2025-04-05 23:30:00 (repeated): Go 02:30, Postgres 03:30" ] || { echo "This has changed."; exit 1; }
