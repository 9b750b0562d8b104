#!/usr/bin/env bash
# github.com/gocarina/gocsv 78e41c74b4b1.
#
# A good guess: a cell that does not fit its field is an error, as "1e3" for an int is one. Seen,
# without an error:
#   - 2.9 in an int field becomes 2, and -0.5 becomes 0.
#   - 256 in a uint8 becomes 0, and 300 in an int8 becomes 44.
#   - An empty cell becomes 0, and in a pointer a pointer to 0, so that "no value" and 0 are the same.
#     With the option omitempty, which is named after writing, the pointer is nil.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"fmt"
	"strings"

	"github.com/gocarina/gocsv"
)

type row struct {
	Whole int   `csv:"whole"`
	Byte  uint8 `csv:"byte"`
	Small int8  `csv:"small"`
	Maybe *int  `csv:"maybe"`
	Omit  *int  `csv:"omit,omitempty"`
}

func main() {
	for _, line := range []string{"7,7,7,7,7", "2.9,7,7,7,7", "-0.5,7,7,7,7", "7,256,300,7,7", ",,,,", "1e3,7,7,7,7"} {
		var rows []row
		if err := gocsv.UnmarshalString("whole,byte,small,maybe,omit\n"+line+"\n", &rows); err != nil {
			fmt.Printf("%-14s error: %s\n", line, err.Error()[strings.Index(err.Error(), "strconv"):])
			continue
		}
		r := rows[0]
		fmt.Printf("%-14s whole %d, byte %d, small %d, maybe %s, omit %s\n", line, r.Whole, r.Byte, r.Small, text(r.Maybe), text(r.Omit))
	}
}

func text(n *int) string {
	if n == nil {
		return "nil"
	}
	return fmt.Sprint(*n)
}
GO
go mod init finding >/dev/null 2>&1
go get github.com/gocarina/gocsv@v0.0.0-20240520201108-78e41c74b4b1 >/dev/null 2>&1
got=$(go run .)
echo "$got"
diff <(echo "$got") - <<'SEEN'
7,7,7,7,7      whole 7, byte 7, small 7, maybe 7, omit 7
2.9,7,7,7,7    whole 2, byte 7, small 7, maybe 7, omit 7
-0.5,7,7,7,7   whole 0, byte 7, small 7, maybe 7, omit 7
7,256,300,7,7  whole 7, byte 0, small 44, maybe 7, omit 7
,,,,           whole 0, byte 0, small 0, maybe 0, omit nil
1e3,7,7,7,7    error: strconv.ParseInt: parsing "1e3": invalid syntax
SEEN
