#!/usr/bin/env bash
# github.com/xuri/excelize/v2 v2.11.1.
#
# A good guess: GetRows returns what the cells hold, and SetCellValue stores what it is given. Seen,
# without an error:
#   - GetRows returns what a cell shows: 1.239 as "1.24", 0.999 as "100%", a date without its time, an
#     integer of 16 digits as another one that ends in 0. RawCellValue returns what is stored.
#   - SetCellValue stores a float64 with 15 digits. So the integer 1234567890123456, as a float64 which
#     holds it exactly, becomes 1234567890123450. As an int64 it is stored as it is.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"fmt"
	"time"

	"github.com/xuri/excelize/v2"
)

func main() {
	f := excelize.NewFile()
	const general = 0
	for i, cell := range []struct {
		value  any
		format int // a number format of Excel, as in the list of its built-in ones
	}{
		{1.239, 2},   // 0.00
		{0.999, 9},   // 0%
		{time.Date(2026, 2, 1, 13, 14, 0, 0, time.UTC), 14}, // a date
		{int64(9007199254740993), general},
		{1234567890123456.0, general},
		{int64(1234567890123456), 1}, // 0
	} {
		at := fmt.Sprintf("A%d", i+1)
		check(f.SetCellValue("Sheet1", at, cell.value))
		style, err := f.NewStyle(&excelize.Style{NumFmt: cell.format})
		check(err)
		check(f.SetCellStyle("Sheet1", at, at, style))
	}
	file, err := f.WriteToBuffer()
	check(err)
	read, err := excelize.OpenReader(file)
	check(err)
	rows, err := read.GetRows("Sheet1")
	check(err)
	raw, err := read.GetRows("Sheet1", excelize.Options{RawCellValue: true})
	check(err)
	for i := range rows {
		fmt.Printf("%s (stored: %s)\n", rows[i][0], raw[i][0])
	}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
go mod init finding >/dev/null 2>&1
go get github.com/xuri/excelize/v2@v2.11.1 >/dev/null 2>&1
got=$(go run .)
echo "$got"
diff <(echo "$got") - <<'SEEN'
1.24 (stored: 1.239)
100% (stored: 0.999)
02-01-26 (stored: 46054.55138888889)
9.00719925474099E+15 (stored: 9007199254740993)
1234567890123450 (stored: 1234567890123450)
1234567890123460 (stored: 1234567890123456)
SEEN
