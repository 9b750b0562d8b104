#!/usr/bin/env bash
# mlr 6.6.0 (Miller, Debian 12). Needs Debian 12, whose package it runs from a temporary folder.
#
# A good guess: mlr --icsv --ojsonl cat makes of each row of a CSV file a line that any reader of JSON takes, and a column has one
# type. Seen, without an error: each cell that Miller takes for a number is written as it stands and without quotes, also
# where JSON has no such number. So a reader refuses the line of an article 0x1F, 0b11, 1. or .5, and so does Miller itself.
# The other cells of the column are a text or a number as each looks: 007 is a text, and 1e5 a number, which is then
# 100000 to its reader. With -S all cells are texts.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/debs" "$dir/root"
(cd "$dir/debs" && apt-get download miller >download.log 2>&1) || { cat "$dir/debs/download.log"; exit 1; }
for deb in "$dir"/debs/*.deb; do dpkg -x "$deb" "$dir/root"; done
export PATH=$dir/root/usr/bin:$PATH
cd "$dir"
mlr --version >&2
cat >main.go <<'GO'
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
)

func main() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var record struct{ Article any }
		if err := json.Unmarshal(lines.Bytes(), &record); err != nil {
			fmt.Println(lines.Text(), "is refused")
			continue
		}
		fmt.Printf("%s is the %T %v\n", lines.Text(), record.Article, record.Article)
	}
}
GO
go mod init finding >/dev/null 2>&1
printf '%s\n' article 0x1F 0b11 1. .5 007 1e5 1.10 1_000 >articles.csv
got=$(
  mlr --icsv --ojsonl cat articles.csv | go run .
  mlr --icsv --ojsonl head -n 1 articles.csv | mlr --ijsonl --ocsv cat 2>&1 || true
  mlr -S --icsv --ojsonl head -n 1 articles.csv | go run .
)
echo "$got"
diff <(echo "$got") - <<'SEEN'
{"article": 0x1F} is refused
{"article": 0b11} is refused
{"article": 1.} is refused
{"article": .5} is refused
{"article": "007"} is the string 007
{"article": 1e5} is the float64 100000
{"article": 1.10} is the float64 1.1
{"article": "1_000"} is the string 1_000
mlr: invalid character 'x' after object key:value pair.
{"article": "0x1F"} is the string 0x1F
SEEN
