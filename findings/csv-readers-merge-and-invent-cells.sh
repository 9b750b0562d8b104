#!/usr/bin/env bash
# papaparse 5.7.1 and d3-dsv 3.0.2, on Node. Needs npm.
#
# A good guess: readers of CSV that take a damaged file either read what is there or report it.
# Seen, without an error:
#   - papaparse takes the line break that it meets first for all lines. A file with CRLF to which
#     somebody appended a line with LF loses a record: two become one, with a cell that holds the
#     line break.
#   - d3-dsv makes a third, empty cell of a space or a letter after a closing quote.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
npm init -y >npm.log 2>&1 && npm install --no-audit --no-fund papaparse@5.7.1 d3-dsv@3.0.2 >>npm.log 2>&1 || { cat npm.log; exit 1; }
cat >read.mjs <<'JS'
import Papa from 'papaparse'
import { csvParseRows } from 'd3-dsv'

const appended = 'id,n\r\n1,a\r\n2,b\n3,c\r\n'
const r = Papa.parse(appended, { skipEmptyLines: true })
console.log('papaparse', JSON.stringify(r.data), 'errors:', r.errors.length)
console.log('d3-dsv   ', JSON.stringify(csvParseRows(appended)))
const spaced = 'a,b\n1,"x" \n'
console.log('d3-dsv   ', JSON.stringify(csvParseRows(spaced)))
JS
got=$(node read.mjs)
echo "$got"
diff <(echo "$got") - <<'SEEN'
papaparse [["id","n"],["1","a"],["2","b\n3","c"]] errors: 0
d3-dsv    [["id","n"],["1","a"],["2","b"],["3","c"]]
d3-dsv    [["a","b"],["1","x",""]]
SEEN
