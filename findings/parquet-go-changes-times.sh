#!/usr/bin/env bash
# github.com/parquet-go/parquet-go v0.32.0.
#
# A good guess: a time.Time that a column can hold is read as it was written, or refused. Seen, without
# an error:
#   - In a time.Time the zero time, which stands for "none" in Go, is read as a moment of 1754, and 2300
#     as one of 1715. The file holds the right number of milliseconds, as an int64 shows. So it is with
#     any time before 1678 or after 2262: as nanoseconds they do not fit into 64 bits.
#   - With the tag date, another number than that of the day is written: 3 February 2026 should be 20487.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"bytes"
	"fmt"
	"time"

	"github.com/parquet-go/parquet-go"
)

type row struct {
	Milli time.Time `parquet:"milli,timestamp(millisecond)"`
	Micro time.Time `parquet:"micro,timestamp(microsecond)"`
	Day   time.Time `parquet:"day,date"`
}

type raw struct {
	Milli int64 `parquet:"milli,timestamp(millisecond)"`
	Day   int32 `parquet:"day,date"`
}

func main() {
	var rows []row
	for _, at := range []time.Time{
		time.Date(2026, 2, 3, 4, 5, 6, 789e6, time.UTC), {}, time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC),
	} {
		rows = append(rows, row{at, at, at.Truncate(24 * time.Hour)})
	}
	var file bytes.Buffer
	w := parquet.NewGenericWriter[row](&file)
	_, err := w.Write(rows)
	check(err)
	check(w.Close())
	read, err := parquet.Read[row](bytes.NewReader(file.Bytes()), int64(file.Len()))
	check(err)
	numbers, err := parquet.Read[raw](bytes.NewReader(file.Bytes()), int64(file.Len()))
	check(err)
	const layout = "2006-01-02T15:04:05.000"
	for i, was := range rows {
		fmt.Printf("%s: milliseconds %s (%s), microseconds %s\n", was.Milli.Format(layout), read[i].Milli.UTC().Format(layout),
			time.UnixMilli(numbers[i].Milli).UTC().Format(layout), read[i].Micro.UTC().Format(layout))
		fmt.Printf("%s as a date: %s (%d)\n", was.Day.Format(time.DateOnly), read[i].Day.UTC().Format(time.DateOnly), numbers[i].Day)
	}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
go mod init finding >/dev/null 2>&1
go get github.com/parquet-go/parquet-go@v0.32.0 >/dev/null 2>&1
got=$(go run .)
echo "$got"
diff <(echo "$got") - <<'SEEN'
2026-02-03T04:05:06.789: milliseconds 2026-02-03T04:05:06.789 (2026-02-03T04:05:06.789), microseconds 2026-02-03T04:05:06.789
2026-02-03 as a date: -3986972-11-29 (-1456930816)
0001-01-01T00:00:00.000: milliseconds 1754-08-30T22:43:41.128 (0001-01-01T00:00:00.000), microseconds 1754-08-30T22:43:41.128
0001-01-01 as a date: 2808637-02-10 (1025114112)
2300-01-01T00:00:00.000: milliseconds 1715-06-13T00:25:26.290 (2300-01-01T00:00:00.000), microseconds 1715-06-13T00:25:26.290
2300-01-01 as a date: 2795000-04-27 (1020133376)
SEEN
