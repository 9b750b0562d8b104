#!/usr/bin/env bash
# github.com/jmespath/go-jmespath v0.4.0, github.com/jmespath-community/go-jmespath v1.1.1, npm's
# @jmespath-community/jmespath 1.3.0. Beside them npm's jmespath 0.16.0 and @metrichor/jmespath 0.3.1, and python3-jmespath
# 1.0.1 (Debian 12), which the AWS CLI uses. Needs npm, Python 3, and Debian 12, whose package it runs from a temporary folder.
#
# A good guess: an expression that finds records by a time in ISO 8601, as orders[?at >= '2026-01-01'], does so in each
# library of JMESPath, or is an error in those that cannot. It works in the AWS CLI, where people try out their
# expressions. Seen, without an error: both libraries for Go find nothing, whatever the records are, and so does one for
# Node. The specification has an order of numbers only: any other comparison by <, <=, > or >= is null, which is false in a
# filter. So a flow that filters by a date or a code reads no record, and reports that there is none. If "not" stands before
# the comparison, it reads all of them. The READMEs of the three do not mention it; equality works.
#
# And another one: max_by(orders, &at), the latest order, is null in each library for Node. The specification wants it to
# compare texts, as those for Go and Python do.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
mkdir debs root
(cd debs && apt-get download python3-jmespath=1.0.1-1 >download.log 2>&1) || { cat debs/download.log; exit 1; }
for deb in debs/*.deb; do dpkg -x "$deb" root; done
cat >records.json <<'JSON'
{"orders": [{"id": 1, "at": "2025-12-31T10:00:00Z", "cents": 5}, {"id": 2, "at": "2026-01-02T10:00:00Z", "cents": 7}]}
JSON
cat >expressions <<'LINES'
orders[?at == '2026-01-02T10:00:00Z'].id
orders[?cents >= `6`].id
orders[?at >= '2026-01-01'].id
orders[?!(at >= '2026-01-01')].id
max_by(orders, &at).id
LINES
cat >main.go <<'GO'
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	community "github.com/jmespath-community/go-jmespath"
	"github.com/jmespath/go-jmespath"
)

func main() {
	text, err := os.ReadFile("records.json")
	check(err)
	var records any
	check(json.Unmarshal(text, &records))
	lines, err := os.ReadFile("expressions")
	check(err)
	for line := range strings.Lines(string(lines)) {
		a, err := jmespath.Search(strings.TrimSpace(line), records)
		check(err)
		b, err := community.Search(strings.TrimSpace(line), records)
		check(err)
		fmt.Println("Go:", strings.TrimSpace(line), "- jmespath", a, "- community", b)
	}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
printf 'module finding\n\ngo 1.24\n' >go.mod
go get github.com/jmespath/go-jmespath@v0.4.0 github.com/jmespath-community/go-jmespath@v1.1.1 >get.log 2>&1 || { cat get.log; exit 1; }
cat >main.mjs <<'JS'
import * as community from "@jmespath-community/jmespath";
import * as metrichor from "@metrichor/jmespath";
import jmespath from "jmespath";
import { readFileSync } from "node:fs";

const records = JSON.parse(readFileSync("records.json", "utf8"));
for (const line of readFileSync("expressions", "utf8").trim().split("\n")) {
  const [a, b, c] = [jmespath, community, metrichor].map(({ search }) => JSON.stringify(search(records, line)));
  console.log(`Node: ${line} - jmespath ${a} - community ${b} - metrichor ${c}`);
}
JS
cat >main.py <<'PY'
import json

import jmespath

records = json.load(open("records.json"))
for line in open("expressions").read().splitlines():
    print("Python:", line, "-", jmespath.search(line, records))
PY
{ npm init -y && npm install --no-audit --no-fund jmespath@0.16.0 @jmespath-community/jmespath@1.3.0 @metrichor/jmespath@0.3.1; } >npm.log 2>&1 || { cat npm.log; exit 1; }
seen=$(go run . && node main.mjs && PYTHONPATH=root/usr/lib/python3/dist-packages python3 main.py)
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
Go: orders[?at == '2026-01-02T10:00:00Z'].id - jmespath [2] - community [2]
Go: orders[?cents >= `6`].id - jmespath [2] - community [2]
Go: orders[?at >= '2026-01-01'].id - jmespath [] - community []
Go: orders[?!(at >= '2026-01-01')].id - jmespath [1 2] - community [1 2]
Go: max_by(orders, &at).id - jmespath 2 - community 2
Node: orders[?at == '2026-01-02T10:00:00Z'].id - jmespath [2] - community [2] - metrichor [2]
Node: orders[?cents >= `6`].id - jmespath [2] - community [2] - metrichor [2]
Node: orders[?at >= '2026-01-01'].id - jmespath [2] - community [] - metrichor [2]
Node: orders[?!(at >= '2026-01-01')].id - jmespath [1] - community [1,2] - metrichor [1]
Node: max_by(orders, &at).id - jmespath null - community null - metrichor null
Python: orders[?at == '2026-01-02T10:00:00Z'].id - [2]
Python: orders[?cents >= `6`].id - [2]
Python: orders[?at >= '2026-01-01'].id - [2]
Python: orders[?!(at >= '2026-01-01')].id - [1]
Python: max_by(orders, &at).id - 2
SEEN
