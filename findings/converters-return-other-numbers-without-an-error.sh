#!/usr/bin/env bash
# github.com/go-viper/mapstructure/v2 v2.5.0, github.com/jinzhu/copier v0.4.0,
# github.com/spf13/cast v1.10.0.
#
# A good guess: a function that fills a struct, or converts a value, and returns an error, returns one
# when the value does not fit. Seen, with a nil error:
#   - mapstructure.Decode, which is the strict one, writes 300 into an int8 as 44, 2.9 into an int64 as
#     2, and 1e30 as -9223372036854775808. It does refuse -1 for a uint8, and a text for a number.
#   - copier.Copy does all that. A text for a number is left out: the field keeps what it had.
#   - cast.ToInt8E(300) is 44, and cast.ToIntE("0012") is 10: a text that begins with 0 is octal. So
#     some numbers with leading zeros become others, and "0018" is an error.
# A record that goes through one of them, say from a map of JSON or a row of a sheet, changes silently.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"fmt"

	"github.com/go-viper/mapstructure/v2"
	"github.com/jinzhu/copier"
	"github.com/spf13/cast"
)

type row struct {
	Small int8
	Byte  uint8
	Whole int64
}

func main() {
	for _, in := range []map[string]any{{"Small": 300}, {"Whole": 2.9}, {"Whole": 1e30}, {"Byte": -1}, {"Whole": "7"}} {
		var r row
		err := mapstructure.Decode(in, &r)
		fmt.Printf("mapstructure %v: %+v, refused: %v\n", in, r, err != nil)
	}
	for _, in := range []any{struct{ Small int }{300}, struct{ Whole float64 }{2.9}, struct{ Byte int }{-1}, struct{ Whole string }{"7"}} {
		r := row{Whole: 5}
		err := copier.Copy(&r, in)
		fmt.Printf("copier %+v: %+v, refused: %v\n", in, r, err != nil)
	}
	small, err := cast.ToInt8E(300)
	fmt.Printf("cast 300: %d, refused: %v\n", small, err != nil)
	for _, in := range []string{"0012", "0018"} {
		n, err := cast.ToIntE(in)
		fmt.Printf("cast %q: %d, refused: %v\n", in, n, err != nil)
	}
}
GO
printf 'module finding\n\ngo 1.24\n' >go.mod
go get github.com/go-viper/mapstructure/v2@v2.5.0 github.com/jinzhu/copier@v0.4.0 github.com/spf13/cast@v1.10.0 >get.log 2>&1 || { cat get.log; exit 1; }
seen=$(go run .)
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
mapstructure map[Small:300]: {Small:44 Byte:0 Whole:0}, refused: false
mapstructure map[Whole:2.9]: {Small:0 Byte:0 Whole:2}, refused: false
mapstructure map[Whole:1e+30]: {Small:0 Byte:0 Whole:-9223372036854775808}, refused: false
mapstructure map[Byte:-1]: {Small:0 Byte:0 Whole:0}, refused: true
mapstructure map[Whole:7]: {Small:0 Byte:0 Whole:0}, refused: true
copier {Small:300}: {Small:44 Byte:0 Whole:5}, refused: false
copier {Whole:2.9}: {Small:0 Byte:0 Whole:2}, refused: false
copier {Byte:-1}: {Small:0 Byte:255 Whole:5}, refused: false
copier {Whole:7}: {Small:0 Byte:0 Whole:5}, refused: false
cast 300: 44, refused: false
cast "0012": 10, refused: false
cast "0018": 0, refused: true
SEEN
