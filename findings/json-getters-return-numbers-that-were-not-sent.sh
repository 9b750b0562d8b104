#!/usr/bin/env bash
# github.com/tidwall/gjson v1.20.2, github.com/valyala/fastjson v1.6.10.
#
# A good guess: a getter of an integer that meets a number which does not fit says so, or at least
# returns 0. Seen, without an error or another result that tells:
#   - gjson's Int cuts 1.9 to 1, and turns any larger number into 9223372036854775807. Its Uint wraps: a
#     number of 21 digits becomes another one of 20. And -1 becomes 0.
#   - fastjson's GetInt64 returns 0 for 7.0 and for 1e3, which are the integers 7 and 1000.
# So an ID, or a cursor made of it, can be that of another record.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"fmt"

	"github.com/tidwall/gjson"
	"github.com/valyala/fastjson"
)

func main() {
	for _, number := range []string{"7", "7.0", "1e3", "1.9", "-1", "9223372036854775808", "123456789012345678901"} {
		text := `{"id":` + number + `}`
		g := gjson.Get(text, "id")
		f, err := fastjson.Parse(text)
		if err != nil {
			panic(err)
		}
		fmt.Printf("%-21s gjson %d %d fastjson %d %d\n", number, g.Int(), g.Uint(), f.GetInt64("id"), f.GetUint64("id"))
	}
}
GO
go mod init finding >/dev/null 2>&1
go get github.com/tidwall/gjson@v1.20.2 github.com/valyala/fastjson@v1.6.10 >/dev/null 2>&1
got=$(go run .)
echo "$got"
diff <(echo "$got") - <<'SEEN'
7                     gjson 7 7 fastjson 7 7
7.0                   gjson 7 7 fastjson 0 0
1e3                   gjson 1000 1000 fastjson 0 0
1.9                   gjson 1 1 fastjson 0 0
-1                    gjson -1 0 fastjson -1 0
9223372036854775808   gjson 9223372036854775807 9223372036854775808 fastjson 0 9223372036854775808
123456789012345678901 gjson 9223372036854775807 12776324570088369205 fastjson 0 0
SEEN
