#!/usr/bin/env bash
# jq 1.6 (Debian 12), github.com/itchyny/gojq v0.12.20, and jq 1.7.1 as npm's jq-wasm 1.0.1. Needs npm, and Debian 12, whose
# packages it runs from a temporary folder.
#
# A good guess: fromdate reads a time in UTC as that moment, in each time zone of the process: the manual says that these
# functions "deal exclusively with time in UTC". A time that is read with its offset, by %z, is the moment that was written.
# Seen, without an error:
#   - In a process in Berlin or New York, jq 1.6 reads a time of summer an hour later. 12:00 UTC in July is 13:00 UTC, and
#     the day 2026-07-01 begins at 01:00. In winter, and in UTC as in most containers, it is right.
#   - jq ignores an offset: 12:00+02:00 is 12:00 UTC, also in 1.7.1. gojq, with which Go programs run the same expression,
#     reads it as 10:00.
#   - The 30th of February is the 2nd of March in all three.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
mkdir debs root go
(cd debs && apt-get download jq libjq1 libonig5 >download.log 2>&1) || { cat debs/download.log; exit 1; }
for deb in debs/*.deb; do dpkg -x "$deb" root; done
jq() { env LD_LIBRARY_PATH="$dir/root/usr/lib/x86_64-linux-gnu" "$dir/root/usr/bin/jq" "$@"; }
jq --version >&2
{ npm init -y && npm install --no-audit --no-fund --ignore-scripts jq-wasm@1.0.1; } >npm.log 2>&1 || { cat npm.log; exit 1; }
cat >main.mjs <<'JS'
import { json } from "jq-wasm";

console.log("%s", JSON.stringify(await json({}, process.argv[2])));
JS
cd go
cat >main.go <<'GO'
package main

import (
	"fmt"
	"os"

	"github.com/itchyny/gojq"
)

func main() {
	query, err := gojq.Parse(os.Args[1])
	if err != nil {
		panic(err)
	}
	v, _ := query.Run(nil).Next()
	if err, failed := v.(error); failed {
		panic(err)
	}
	fmt.Printf("%q\n", v)
}
GO
printf 'module finding\n\ngo 1.24\n' >go.mod
{ go get github.com/itchyny/gojq@v0.12.20 && go mod tidy && go build -o ../gojq .; } >get.log 2>&1 || { cat get.log; exit 1; }
cd ..
seen=$(
  while read -r expression; do
    echo "$expression"
    for zone in UTC Europe/Berlin America/New_York; do
      export TZ=$zone
      echo "  $zone: jq 1.6 $(jq -nc "$expression"), jq 1.7.1 $(node main.mjs "$expression"), gojq $(./gojq "$expression")"
    done
  done <<'JQ'
"2026-07-01T12:00:00Z" | fromdate | todate
"2026-01-01T12:00:00Z" | fromdate | todate
"2026-07-01" | strptime("%Y-%m-%d") | mktime | todate
"2026-07-01T12:00:00+0200" | strptime("%Y-%m-%dT%H:%M:%S%z") | mktime | todate
"2026-02-30" | strptime("%Y-%m-%d") | mktime | todate
JQ
)
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
"2026-07-01T12:00:00Z" | fromdate | todate
  UTC: jq 1.6 "2026-07-01T12:00:00Z", jq 1.7.1 "2026-07-01T12:00:00Z", gojq "2026-07-01T12:00:00Z"
  Europe/Berlin: jq 1.6 "2026-07-01T13:00:00Z", jq 1.7.1 "2026-07-01T12:00:00Z", gojq "2026-07-01T12:00:00Z"
  America/New_York: jq 1.6 "2026-07-01T13:00:00Z", jq 1.7.1 "2026-07-01T12:00:00Z", gojq "2026-07-01T12:00:00Z"
"2026-01-01T12:00:00Z" | fromdate | todate
  UTC: jq 1.6 "2026-01-01T12:00:00Z", jq 1.7.1 "2026-01-01T12:00:00Z", gojq "2026-01-01T12:00:00Z"
  Europe/Berlin: jq 1.6 "2026-01-01T12:00:00Z", jq 1.7.1 "2026-01-01T12:00:00Z", gojq "2026-01-01T12:00:00Z"
  America/New_York: jq 1.6 "2026-01-01T12:00:00Z", jq 1.7.1 "2026-01-01T12:00:00Z", gojq "2026-01-01T12:00:00Z"
"2026-07-01" | strptime("%Y-%m-%d") | mktime | todate
  UTC: jq 1.6 "2026-07-01T00:00:00Z", jq 1.7.1 "2026-07-01T00:00:00Z", gojq "2026-07-01T00:00:00Z"
  Europe/Berlin: jq 1.6 "2026-07-01T01:00:00Z", jq 1.7.1 "2026-07-01T00:00:00Z", gojq "2026-07-01T00:00:00Z"
  America/New_York: jq 1.6 "2026-07-01T01:00:00Z", jq 1.7.1 "2026-07-01T00:00:00Z", gojq "2026-07-01T00:00:00Z"
"2026-07-01T12:00:00+0200" | strptime("%Y-%m-%dT%H:%M:%S%z") | mktime | todate
  UTC: jq 1.6 "2026-07-01T12:00:00Z", jq 1.7.1 "2026-07-01T12:00:00Z", gojq "2026-07-01T10:00:00Z"
  Europe/Berlin: jq 1.6 "2026-07-01T13:00:00Z", jq 1.7.1 "2026-07-01T12:00:00Z", gojq "2026-07-01T10:00:00Z"
  America/New_York: jq 1.6 "2026-07-01T13:00:00Z", jq 1.7.1 "2026-07-01T12:00:00Z", gojq "2026-07-01T10:00:00Z"
"2026-02-30" | strptime("%Y-%m-%d") | mktime | todate
  UTC: jq 1.6 "2026-03-02T00:00:00Z", jq 1.7.1 "2026-03-02T00:00:00Z", gojq "2026-03-02T00:00:00Z"
  Europe/Berlin: jq 1.6 "2026-03-02T00:00:00Z", jq 1.7.1 "2026-03-02T00:00:00Z", gojq "2026-03-02T00:00:00Z"
  America/New_York: jq 1.6 "2026-03-02T00:00:00Z", jq 1.7.1 "2026-03-02T00:00:00Z", gojq "2026-03-02T00:00:00Z"
SEEN
