#!/usr/bin/env bash
# npm's @dsnp/parquetjs 1.8.8; beside it hyparquet-writer 0.17.0. npm's hyparquet 1.33.0 reads. Needs npm.
#
# A good guess: a writer of Parquet stores the value that it is given, or refuses it, as this one refuses 5,000,000,000 for an
# INT32, and the text "12abc". What JSON.parse makes of an API's record is numbers, and times as texts. Seen, without an error:
#   - The amount 19.99 as decimal(9, 2) is 19.98, and 0.29 is 0.28: the float is multiplied by 100, and cut. Of the
#     amounts from 0.00 to 999.99, 4,586 lose a cent. It does not look at the precision: 123456789 passes as decimal(6, 2).
#   - A text of a time is read by parseInt: "2026-01-02T10:00:00Z" is 2,026 milliseconds after 1970 began, and the date
#     "2026-01-02" the 2,026th day of it, in 1975. A moment before 1970 is the day after, as a date.
#   - 1.9 in an INT32 is 1, "false" in a BOOLEAN is true, and "n/a" in a DOUBLE is NaN.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
{ npm init -y && npm install --no-audit --no-fund --ignore-scripts @dsnp/parquetjs@1.8.8 hyparquet@1.33.0 hyparquet-writer@0.17.0; } >npm.log 2>&1 || { cat npm.log; exit 1; }
cat >main.mjs <<'JS'
import parquet from "@dsnp/parquetjs";
import { asyncBufferFromFile, parquetReadObjects } from "hyparquet";
import { parquetWriteFile } from "hyparquet-writer";

const read = async () => (await parquetReadObjects({ file: await asyncBufferFromFile("f.parquet") })).map((row) => row.v);

async function dsnp(column, values) {
  const writer = await parquet.ParquetWriter.openFile(new parquet.ParquetSchema({ v: column }), "f.parquet");
  for (const v of values) await writer.appendRow({ v });
  await writer.close();
  return read();
}

const text = (v) => (v instanceof Date ? v.toISOString() : typeof v === "bigint" ? v.toString() : JSON.stringify(v) + (Number.isNaN(v) ? " (NaN)" : ""));
async function show(what, column, ...values) {
  for (const v of values) {
    const got = await dsnp(column, [v]).then(([x]) => text(x), (err) => err.message);
    console.log(`${what} ${text(v)}: ${got}`);
  }
}

const money = { type: "DECIMAL", precision: 9, scale: 2 };
await show("decimal(9, 2)", money, 19.99, 0.29, 8.29);
const cents = Array.from({ length: 100_000 }, (_, i) => i);
const amounts = cents.map((c) => c / 100);
const lost = (got) => got.filter((v, i) => Math.round(v * 100) !== cents[i]).length;
console.log("of 100000 amounts another one:", lost(await dsnp(money, amounts)));
parquetWriteFile({
  filename: "f.parquet",
  schema: [{ name: "root", num_children: 1 }, { name: "v", type: "INT32", converted_type: "DECIMAL", precision: 9, scale: 2, repetition_type: "REQUIRED" }],
  columnData: [{ name: "v", data: amounts }],
});
console.log("with hyparquet-writer:", lost(await read()));
await show("decimal(6, 2)", { type: "DECIMAL", precision: 6, scale: 2 }, 123456789);
await show("TIMESTAMP_MILLIS", { type: "TIMESTAMP_MILLIS" }, new Date("2026-01-02T10:00:00Z"), "2026-01-02T10:00:00Z");
await show("DATE", { type: "DATE" }, new Date("2026-01-02T10:00:00Z"), "2026-01-02", new Date("1969-06-01T10:00:00Z"));
await show("INT32", { type: "INT32" }, 1.9, 5_000_000_000, "12abc");
await show("BOOLEAN", { type: "BOOLEAN" }, "false");
await show("DOUBLE", { type: "DOUBLE" }, "n/a");
JS
seen=$(node main.mjs)
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
decimal(9, 2) 19.99: 19.98
decimal(9, 2) 0.29: 0.28
decimal(9, 2) 8.29: 8.28
of 100000 amounts another one: 4586
with hyparquet-writer: 0
decimal(6, 2) 123456789: 123456789
TIMESTAMP_MILLIS 2026-01-02T10:00:00.000Z: 2026-01-02T10:00:00.000Z
TIMESTAMP_MILLIS "2026-01-02T10:00:00Z": 1970-01-01T00:00:02.026Z
DATE 2026-01-02T10:00:00.000Z: 2026-01-02T00:00:00.000Z
DATE "2026-01-02": 1975-07-20T00:00:00.000Z
DATE 1969-06-01T10:00:00.000Z: 1969-06-02T00:00:00.000Z
INT32 1.9: 1
INT32 5000000000: invalid value for INT32: 5000000000
INT32 "12abc": invalid value for INT32: 12abc
BOOLEAN "false": true
DOUBLE "n/a": null (NaN)
SEEN
