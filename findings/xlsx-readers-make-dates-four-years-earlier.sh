#!/usr/bin/env bash
# github.com/thedatashed/xlsxreader v1.2.8; npm's xlsx 0.18.5 (SheetJS), xlsx-populate 1.21.0, exceljs 4.4.0 and
# read-excel-file 9.3.17. Beside them github.com/tealeg/xlsx/v3 v3.3.13 and github.com/xuri/excelize/v2 v2.11.1, which
# writes the files. Needs npm.
#
# A good guess: a reader of XLSX returns the date that the sheet shows. A cell holds a count of days, and the workbook says
# since when: 1900, or 1904 as in files that began in Excel for Mac (ECMA-376, date1904). Seen in those of 1904, without an
# error:
#   - xlsxreader, xlsx with cellDates and xlsx-populate do not look: each date is four years and a day earlier.
#     The CSV that xlsx makes of the same sheet is right. Its README shows how to ask for the system, and leaves it at that.
#   - exceljs and read-excel-file look for date1904="1" alone. If the file says "true", which is the same by the type that
#     ECMA-376 gives (xsd:boolean), and which excelize writes, each date is four years and a day earlier too.
#   - excelize and tealeg/xlsx are right.
# Such a date is in the past, or just expired, and looks like any other.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/tealeg/xlsx/v3"
	"github.com/thedatashed/xlsxreader"
	"github.com/xuri/excelize/v2"
)

func main() {
	write("1900.xlsx", false)
	write("true.xlsx", true)
	say1("true.xlsx", "1.xlsx")
	for _, file := range []string{"1900.xlsx", "true.xlsx", "1.xlsx"} {
		e, err := excelize.OpenFile(file)
		check(err)
		shown, err := e.GetCellValue("Sheet1", "A1")
		check(err)
		t, err := xlsx.OpenFile(file)
		check(err)
		cell, err := t.Sheets[0].Cell(0, 0)
		check(err)
		at, err := cell.GetTime(t.Date1904)
		check(err)
		r, err := xlsxreader.OpenFile(file)
		check(err)
		row := <-r.ReadRows(r.Sheets[0])
		check(row.Error)
		fmt.Printf("%s: excelize %s, tealeg/xlsx %s, xlsxreader %s\n", file, shown, at.Format(time.DateOnly), row.Cells[0].Value[:10])
	}
}

func write(file string, since1904 bool) {
	f := excelize.NewFile()
	check(f.SetWorkbookProps(&excelize.WorkbookPropsOptions{Date1904: &since1904}))
	format := "yyyy-mm-dd"
	style, err := f.NewStyle(&excelize.Style{CustomNumFmt: &format})
	check(err)
	check(f.SetCellValue("Sheet1", "A1", time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)))
	check(f.SetCellStyle("Sheet1", "A1", "A1", style))
	check(f.SaveAs(file))
}

// say1 copies a workbook with date1904="1", as Excel writes it, for "true".
func say1(from, to string) {
	in, err := zip.OpenReader(from)
	check(err)
	out, err := os.Create(to)
	check(err)
	w := zip.NewWriter(out)
	for _, part := range in.File {
		r, err := part.Open()
		check(err)
		text, err := io.ReadAll(r)
		check(err)
		target, err := w.Create(part.Name)
		check(err)
		_, err = target.Write(bytes.ReplaceAll(text, []byte(`date1904="true"`), []byte(`date1904="1"`)))
		check(err)
	}
	check(w.Close())
	check(out.Close())
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
printf 'module finding\n\ngo 1.25\n' >go.mod
{ go get github.com/thedatashed/xlsxreader@v1.2.8 github.com/tealeg/xlsx/v3@v3.3.13 github.com/xuri/excelize/v2@v2.11.1 && go mod tidy; } \
  >get.log 2>&1 || { cat get.log; exit 1; }
cat >main.mjs <<'JS'
import exceljs from "exceljs";
import readExcelFile from "read-excel-file/node";
import xlsx from "xlsx";
import populate from "xlsx-populate";

const day = (date) => date.toISOString().slice(0, 10);

for (const file of ["1900.xlsx", "true.xlsx", "1.xlsx"]) {
  const workbook = new exceljs.Workbook();
  await workbook.xlsx.readFile(file);
  const sheet = xlsx.readFile(file, { cellDates: true }).Sheets.Sheet1;
  const cell = (await populate.fromFileAsync(file)).sheet(0).cell("A1");
  const [{ data }] = await readExcelFile(file);
  console.log(`${file}: exceljs ${day(workbook.worksheets[0].getCell("A1").value)}, read-excel-file ${day(data[0][0])}, ` +
    `xlsx ${day(sheet.A1.v)}, its CSV ${xlsx.utils.sheet_to_csv(sheet)}, xlsx-populate ${day(populate.numberToDate(cell.value()))}`);
}
JS
{ npm init -y && npm install --no-audit --no-fund xlsx@0.18.5 xlsx-populate@1.21.0 exceljs@4.4.0 read-excel-file@9.3.17; } >npm.log 2>&1 || { cat npm.log; exit 1; }
seen=$(go run . && TZ=UTC node main.mjs)
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
1900.xlsx: excelize 2026-07-01, tealeg/xlsx 2026-07-01, xlsxreader 2026-07-01
true.xlsx: excelize 2026-07-01, tealeg/xlsx 2026-07-01, xlsxreader 2022-06-30
1.xlsx: excelize 2026-07-01, tealeg/xlsx 2026-07-01, xlsxreader 2022-06-30
1900.xlsx: exceljs 2026-07-01, read-excel-file 2026-07-01, xlsx 2026-07-01, its CSV 2026-07-01, xlsx-populate 2026-07-01
true.xlsx: exceljs 2022-06-30, read-excel-file 2022-06-30, xlsx 2022-06-30, its CSV 2026-07-01, xlsx-populate 2022-06-30
1.xlsx: exceljs 2026-07-01, read-excel-file 2026-07-01, xlsx 2022-06-30, its CSV 2026-07-01, xlsx-populate 2022-06-30
SEEN
