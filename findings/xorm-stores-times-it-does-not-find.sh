#!/usr/bin/env bash
# xorm.io/xorm v1.3.11, github.com/jackc/pgx/v5 v5.12.0, Postgres 18.4, in Berlin. Needs npm.
#
# A good guess: a time.Time that an ORM stores is read back as the same moment, at least to the microsecond that
# Postgres keeps, and a condition with that time finds the row. Seen, without an error, with xorm's defaults:
#   - A field makes a column of timestamp without time zone, and a row gets the wall clock of the process there, cut
#     to the second. So does a field with the tag "updated", by which others look for changed rows.
#   - In the hour that a change of the clocks repeats, one of two moments is read back an hour later.
#   - A condition takes the time as it is, here in UTC. So no row is found by its own time, and in Berlin none by a
#     condition for times before the next second.
# With the tag TIMESTAMPZ all of these are right.
set -euo pipefail
cd "$(dirname "$0")"
. lib/postgres.sh
start_postgres "$(mktemp -d)" 18.4.0-beta.17
mkdir "$dir/go" && cd "$dir/go"
cat >main.go <<'GO'
package main

import (
	"fmt"
	"os"
	"time"
	_ "time/tzdata"

	_ "github.com/jackc/pgx/v5/stdlib"
	"xorm.io/xorm"
)

type Event struct {
	ID    int64     `xorm:"pk 'id'"`
	Plain time.Time `xorm:"'plain'"`
	Zoned time.Time `xorm:"TIMESTAMPZ 'zoned'"`
}

func main() {
	engine, err := xorm.NewEngine("pgx", os.Getenv("URL"))
	check(err)
	check(engine.Sync(new(Event)))
	for i, at := range []time.Time{
		time.Date(2026, 6, 7, 10, 0, 0, 123456000, time.UTC),
		time.Date(2026, 10, 25, 0, 30, 0, 0, time.UTC), // 02:30 in Berlin
		time.Date(2026, 10, 25, 1, 30, 0, 0, time.UTC), // 02:30 again
	} {
		_, err := engine.Insert(&Event{ID: int64(i), Plain: at, Zoned: at})
		check(err)
		var got Event
		_, err = engine.ID(i).Get(&got)
		check(err)
		fmt.Println("stored ", at.Format(time.RFC3339Nano))
		for _, c := range []struct {
			column string
			read   time.Time
		}{{"plain", got.Plain}, {"zoned", got.Zoned}} {
			equal, err := engine.Where("id = ? and "+c.column+" = ?", i, at).Count(new(Event))
			check(err)
			before, err := engine.Where("id = ? and "+c.column+" < ?", i, at.Add(time.Second)).Count(new(Event))
			check(err)
			fmt.Printf("  %s: read %s, found by it %t, before the next second %t\n", c.column, c.read.UTC().Format(time.RFC3339Nano), equal == 1, before == 1)
		}
	}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
go mod init finding >/dev/null 2>&1
go get xorm.io/xorm@v1.3.11 github.com/jackc/pgx/v5@v5.12.0 >/dev/null 2>&1
go mod tidy >/dev/null 2>&1
got=$(TZ=Europe/Berlin URL="postgres://postgres@127.0.0.1:$PGPORT_FOUND/postgres" go run .)
echo "$got"
diff <(echo "$got") - <<'SEEN'
stored  2026-06-07T10:00:00.123456Z
  plain: read 2026-06-07T10:00:00Z, found by it false, before the next second false
  zoned: read 2026-06-07T10:00:00.123456Z, found by it true, before the next second true
stored  2026-10-25T00:30:00Z
  plain: read 2026-10-25T01:30:00Z, found by it false, before the next second false
  zoned: read 2026-10-25T00:30:00Z, found by it true, before the next second true
stored  2026-10-25T01:30:00Z
  plain: read 2026-10-25T01:30:00Z, found by it false, before the next second false
  zoned: read 2026-10-25T01:30:00Z, found by it true, before the next second true
SEEN
