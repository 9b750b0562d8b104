#!/usr/bin/env bash
# github.com/thedatashed/xlsxreader v1.2.8, github.com/tealeg/xlsx/v3 v3.3.13, beside
# github.com/xuri/excelize/v2 v2.11.1, which writes the file.
#
# A good guess: a reader of XLSX returns the time of a cell as it was entered, at least to the second. A cell
# holds a time as a count of days, a float64, which is some nanoseconds off for most seconds. Seen, without an
# error, with a sheet of all 86,400 seconds of a day:
#   - xlsxreader cuts that count to seconds: half of the times are one second earlier. Midnight is a date alone.
#   - tealeg/xlsx returns the nanoseconds too, in GetTime. Of 86,400 times, 256 equal the one that was written,
#     and half are earlier than it: cut to seconds, they are one second earlier.
# excelize rounds: with ExcelDateToTime each time is right. Who uses such a time as a key, or compares it with a
# cursor, meets another row or none.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"fmt"
	"strconv"
	"time"

	"github.com/tealeg/xlsx/v3"
	"github.com/thedatashed/xlsxreader"
	"github.com/xuri/excelize/v2"
)

const seconds = 86_400

func second(i int) time.Time {
	return time.Date(2026, 6, 7, 0, 0, 0, 0, time.UTC).Add(time.Duration(i) * time.Second)
}

// counts says how the times that were read compare with those that were written.
type counts struct{ equal, later, earlier, secondEarlier, dates int }

func (c *counts) add(i int, got time.Time) {
	switch want := second(i); {
	case got.Equal(want):
		c.equal++
	case got.After(want):
		c.later++
	default:
		c.earlier++
		if got.Truncate(time.Second).Equal(want.Add(-time.Second)) {
			c.secondEarlier++
		}
	}
}

func main() {
	f := excelize.NewFile()
	style, err := f.NewStyle(&excelize.Style{NumFmt: 22}) // a date and a time
	check(err)
	for i := range seconds {
		cell := "A" + strconv.Itoa(i+1)
		check(f.SetCellValue("Sheet1", cell, second(i)))
		check(f.SetCellStyle("Sheet1", cell, cell, style))
	}
	check(f.SaveAs("day.xlsx"))

	var byReader, byTealeg, byExcelize counts
	r, err := xlsxreader.OpenFile("day.xlsx")
	check(err)
	i := 0
	for row := range r.ReadRows("Sheet1") {
		check(row.Error)
		text := row.Cells[0].Value
		if i < 3 {
			fmt.Println("xlsxreader:", text)
		}
		if got, err := time.Parse(time.RFC3339, text); err == nil {
			byReader.add(i, got)
		} else {
			byReader.dates++
		}
		i++
	}
	fmt.Printf("xlsxreader: %d %+v\n", i, byReader)

	t, err := xlsx.OpenFile("day.xlsx")
	check(err)
	i = 0
	check(t.Sheets[0].ForEachRow(func(row *xlsx.Row) error {
		got, err := row.GetCell(0).GetTime(false)
		if i < 3 {
			fmt.Println("tealeg:", got.Format(time.RFC3339Nano))
		}
		byTealeg.add(i, got)
		i++
		return err
	}))
	fmt.Printf("tealeg: %d %+v\n", i, byTealeg)

	e, err := excelize.OpenFile("day.xlsx")
	check(err)
	rows, err := e.GetRows("Sheet1", excelize.Options{RawCellValue: true})
	check(err)
	for i, row := range rows {
		days, err := strconv.ParseFloat(row[0], 64)
		check(err)
		got, err := excelize.ExcelDateToTime(days, false)
		check(err)
		byExcelize.add(i, got)
	}
	fmt.Printf("excelize: %d %+v\n", len(rows), byExcelize)
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
go mod init finding >/dev/null 2>&1
go get github.com/thedatashed/xlsxreader@v1.2.8 github.com/tealeg/xlsx/v3@v3.3.13 github.com/xuri/excelize/v2@v2.11.1 >/dev/null 2>&1
go mod tidy >/dev/null 2>&1
got=$(go run .)
echo "$got"
diff <(echo "$got") - <<'SEEN'
xlsxreader: 2026-06-07
xlsxreader: 2026-06-07T00:00:01Z
xlsxreader: 2026-06-07T00:00:01Z
xlsxreader: 86400 {equal:43263 later:0 earlier:43136 secondEarlier:43136 dates:1}
tealeg: 2026-06-07T00:00:00Z
tealeg: 2026-06-07T00:00:01.000000233Z
tealeg: 2026-06-07T00:00:01.999999838Z
tealeg: 86400 {equal:256 later:43008 earlier:43136 secondEarlier:43136 dates:0}
excelize: 86400 {equal:86400 later:0 earlier:0 secondEarlier:0 dates:0}
SEEN
