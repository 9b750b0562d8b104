#!/usr/bin/env bash
# SQLite 3.54.1 (modernc.org/sqlite v1.62.0), its virtual tables rtree and rtree_i32.
#
# A good guess: an R-tree of ranges, such as the times in which a price holds, refuses a number that it cannot store, as strict tables do, or
# as rtree itself does where the end of a range is before its beginning. Seen, without an error:
#   - rtree_i32, which is for integers of 32 bits, stores 2147483647 in place of a greater one (3.40.1 stores the lowest 32 bits). So a price
#     that holds from 2065 to 2099, in seconds since 1970, holds for a second in 2038, and a query for 2070 does not find it.
#   - rtree stores floats of 4 bytes, and widens the range. A price from 09:00:00 to 09:01:00 of a day in 2026 holds from 08:59:44 to
#     09:01:52, so that a query for 09:01:30 finds it.
# The manual says so of rtree, and of rtree_i32 only what it is for.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"database/sql"
	"fmt"
	"time"

	_ "modernc.org/sqlite"
)

func main() {
	db, err := sql.Open("sqlite", ":memory:")
	check(err)
	db.SetMaxOpenConns(1)
	for _, kind := range []string{"rtree_i32", "rtree"} {
		_, err := db.Exec("create virtual table " + kind + "_prices using " + kind + "(id, from_s, to_s)")
		check(err)
	}
	at := func(text string) int64 {
		t, err := time.Parse(time.DateTime, text)
		check(err)
		return t.Unix()
	}
	for _, c := range []struct{ kind, from, to, ask string }{
		{"rtree_i32", "2026-11-28 09:00:00", "2026-11-28 09:01:00", "2026-11-28 09:00:30"},
		{"rtree_i32", "2065-01-24 05:20:00", "2099-01-01 00:00:00", "2070-01-01 00:00:00"},
		{"rtree", "2026-11-28 09:00:00", "2026-11-28 09:01:00", "2026-11-28 09:01:30"},
	} {
		_, err := db.Exec("delete from " + c.kind + "_prices")
		check(err)
		_, err = db.Exec("insert into "+c.kind+"_prices values (1, ?, ?)", at(c.from), at(c.to))
		if err != nil {
			fmt.Println(c.kind, c.from, "is refused:", err)
			continue
		}
		var from, to string
		check(db.QueryRow("select datetime(cast(from_s as integer), 'unixepoch'), datetime(cast(to_s as integer), 'unixepoch') from "+c.kind+"_prices").Scan(&from, &to))
		var found int
		check(db.QueryRow("select count(*) from "+c.kind+"_prices where from_s <= ?1 and to_s >= ?1", at(c.ask)).Scan(&found))
		fmt.Printf("%s: %s to %s is stored as %s to %s; found for %s: %d\n", c.kind, c.from, c.to, from, to, c.ask, found)
	}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
go mod init finding >/dev/null 2>&1
go get modernc.org/sqlite@v1.62.0 >/dev/null 2>&1
go mod tidy >/dev/null 2>&1
got=$(go run .)
echo "$got"
diff <(echo "$got") - <<'SEEN'
rtree_i32: 2026-11-28 09:00:00 to 2026-11-28 09:01:00 is stored as 2026-11-28 09:00:00 to 2026-11-28 09:01:00; found for 2026-11-28 09:00:30: 1
rtree_i32: 2065-01-24 05:20:00 to 2099-01-01 00:00:00 is stored as 2038-01-19 03:14:07 to 2038-01-19 03:14:07; found for 2070-01-01 00:00:00: 0
rtree: 2026-11-28 09:00:00 to 2026-11-28 09:01:00 is stored as 2026-11-28 08:59:44 to 2026-11-28 09:01:52; found for 2026-11-28 09:01:30: 1
SEEN
