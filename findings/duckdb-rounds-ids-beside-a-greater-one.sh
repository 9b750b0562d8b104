#!/usr/bin/env bash
# DuckDB 1.5.6, as @duckdb/node-api 1.5.6-r.1. Needs npm.
#
# A good guess: a query of a CSV or JSON file reads an integer as it is written, in a type that holds all of the
# column, or fails. Seen, without an error:
#   - In CSV, one id above 9223372036854775807, such as an unsigned 64-bit hash, makes the column a DOUBLE. Then
#     all other ids above 2^53 are rounded too: of four ids two are equal. Without that one, the same ids are right.
#     In JSON the column is a HUGEINT, and all are right.
#   - In both, one number that is written as 1.0 does the same to the integers of its column.
#   - In both, an amount with many digits is a DOUBLE.
# Where the types are given, such as by types={'id': 'HUGEINT'}, all are right.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
npm init -y >npm.log 2>&1 && npm install --no-audit --no-fund @duckdb/node-api@1.5.6-r.1 >>npm.log 2>&1 || { cat npm.log; exit 1; }
cat >main.mjs <<'JS'
import { DuckDBInstance } from "@duckdb/node-api";
import { writeFileSync } from "node:fs";

const connection = await (await DuckDBInstance.create(":memory:")).connect();

async function show(name, from) {
  const all = await connection.runAndReadAll(
    `select any_value(typeof(id)), list(id::varchar), count(distinct id) from ${from}`);
  const [type, ids, different] = all.getRowsJson()[0];
  console.log(`${name}: ${type} ${ids.join(" ")}, different: ${different}`);
}

const csv = (name, ...ids) => writeFileSync(name, ["id", ...ids, ""].join("\n"));
const json = (name, ...ids) => writeFileSync(name, ids.map((id) => `{"id":${id}}\n`).join(""));
const ids = ["9007199254740992", "9007199254740993", "9007199254740995"];
const hash = "12297829382473034411";

csv("ids.csv", ...ids);
csv("hash.csv", ...ids, hash);
csv("point.csv", ...ids, "1.0");
csv("amount.csv", "12345678901234567.89");
json("hash.json", ...ids, hash);
json("point.json", ...ids, "1.0");
json("amount.json", "12345678901234567.89");

for (const name of ["ids.csv", "hash.csv", "point.csv", "amount.csv", "hash.json", "point.json", "amount.json"]) {
  await show(name, `'${name}'`);
}
await show("hash.csv with types", `read_csv('hash.csv', types={'id': 'HUGEINT'})`);
JS
got=$(node main.mjs)
echo "$got"
diff <(echo "$got") - <<'SEEN'
ids.csv: BIGINT 9007199254740992 9007199254740993 9007199254740995, different: 3
hash.csv: DOUBLE 9007199254740992.0 9007199254740992.0 9007199254740996.0 1.2297829382473034e+19, different: 3
point.csv: DOUBLE 9007199254740992.0 9007199254740992.0 9007199254740996.0 1.0, different: 3
amount.csv: DOUBLE 1.2345678901234568e+16, different: 1
hash.json: HUGEINT 9007199254740992 9007199254740993 9007199254740995 12297829382473034411, different: 4
point.json: DOUBLE 9007199254740992.0 9007199254740992.0 9007199254740996.0 1.0, different: 3
amount.json: DOUBLE 1.2345678901234568e+16, different: 1
hash.csv with types: HUGEINT 9007199254740992 9007199254740993 9007199254740995 12297829382473034411, different: 4
SEEN
