#!/usr/bin/env bash
# github.com/linkedin/goavro/v2 v2.15.0, github.com/hamba/avro/v2 v2.31.0.
#
# A good guess: the logical types date and decimal store the day and the number that they are given, or
# refuse them. Seen, without an error:
#   - Both libraries write a moment before 1970 as the next day, unless it is a midnight in UTC.
#   - goavro cuts a decimal to its scale, towards the smaller number: 1.239 becomes 1.23, and -1.239
#     becomes -1.24. It does not look at the precision: 123456789 passes as decimal(6, 2).
# hamba/avro refuses the number that has too many digits.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"fmt"
	"math/big"
	"time"

	"github.com/hamba/avro/v2"
	"github.com/linkedin/goavro/v2"
)

const (
	date    = `{"type":"int","logicalType":"date"}`
	decimal = `{"type":"bytes","logicalType":"decimal","precision":6,"scale":2}`
)

func main() {
	for _, at := range []time.Time{
		time.Date(2026, 2, 3, 5, 0, 0, 0, time.UTC), time.Date(1960, 2, 3, 5, 0, 0, 0, time.UTC), time.Date(1960, 2, 3, 0, 0, 0, 0, time.UTC),
	} {
		fmt.Printf("%s: goavro %s", at.Format("2006-01-02 15:04"), throughGoavro(date, at).(time.Time).Format(time.DateOnly))
		schema := avro.MustParse(date)
		written, err := avro.Marshal(schema, at)
		check(err)
		var read time.Time
		check(avro.Unmarshal(schema, written, &read))
		fmt.Printf(", hamba %s\n", read.Format(time.DateOnly))
	}
	for _, number := range []string{"1.23", "1.239", "-1.239", "123456789"} {
		n, _ := new(big.Rat).SetString(number)
		_, err := avro.Marshal(avro.MustParse(decimal), n)
		fmt.Printf("%s: goavro %s, hamba refuses it: %t\n", number, throughGoavro(decimal, n).(*big.Rat).FloatString(3), err != nil)
	}
}

func throughGoavro(schema string, value any) any {
	codec, err := goavro.NewCodec(schema)
	check(err)
	written, err := codec.BinaryFromNative(nil, value)
	check(err)
	read, _, err := codec.NativeFromBinary(written)
	check(err)
	return read
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
go mod init finding >/dev/null 2>&1
go get github.com/linkedin/goavro/v2@v2.15.0 github.com/hamba/avro/v2@v2.31.0 >/dev/null 2>&1
got=$(go run .)
echo "$got"
diff <(echo "$got") - <<'SEEN'
2026-02-03 05:00: goavro 2026-02-03, hamba 2026-02-03
1960-02-03 05:00: goavro 1960-02-04, hamba 1960-02-04
1960-02-03 00:00: goavro 1960-02-03, hamba 1960-02-03
1.23: goavro 1.230, hamba refuses it: false
1.239: goavro 1.230, hamba refuses it: false
-1.239: goavro -1.240, hamba refuses it: false
123456789: goavro 123456789.000, hamba refuses it: true
SEEN
