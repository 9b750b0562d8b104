#!/usr/bin/env bash
# github.com/json-iterator/go v1.1.12, as ConfigCompatibleWithStandardLibrary. Go 1.26, 64 bits.
#
# A good guess: a number that does not fit its field is an error, as in encoding/json, and as most of
# them are here too: 4294967296 is refused for an int32. Seen: numbers of other sizes wrap round without
# an error. 5000000000 becomes 705032704 in an int32 and in a uint32, also as the key of a map. It is
# refused only if the last step of the parser, ten times what it has and the next digit, ends lower
# than it began. A uint64 wraps as well. A row with an ID of 5 billion then is another row.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"encoding/json"
	"fmt"

	jsoniter "github.com/json-iterator/go"
)

func main() {
	iter := jsoniter.ConfigCompatibleWithStandardLibrary
	try[int32](iter, "4294967296", "5000000000", "-9999999999")
	try[uint32](iter, "4294967296", "5000000000", "7000000000")
	try[map[int32]int](iter, `{"4294967296": 1}`, `{"5000000000": 1}`)
	try[uint64](iter, "18446744073709551616", "27670116110564327424")
}

func try[T any](iter jsoniter.API, texts ...string) {
	for _, text := range texts {
		var usual, got T
		refused := json.Unmarshal([]byte(text), &usual) != nil
		if err := iter.UnmarshalFromString(text, &got); err != nil {
			fmt.Printf("%s into %T: refused\n", text, got)
		} else {
			fmt.Printf("%s into %T: %v; encoding/json refuses it: %v\n", text, got, got, refused)
		}
	}
}
GO
printf 'module finding\n\ngo 1.24\n' >go.mod
go get github.com/json-iterator/go@v1.1.12 >get.log 2>&1 || { cat get.log; exit 1; }
seen=$(go run .)
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
4294967296 into int32: refused
5000000000 into int32: 705032704; encoding/json refuses it: true
-9999999999 into int32: -1410065407; encoding/json refuses it: true
4294967296 into uint32: refused
5000000000 into uint32: 705032704; encoding/json refuses it: true
7000000000 into uint32: 2705032704; encoding/json refuses it: true
{"4294967296": 1} into map[int32]int: refused
{"5000000000": 1} into map[int32]int: map[705032704:1]; encoding/json refuses it: true
18446744073709551616 into uint64: refused
27670116110564327424 into uint64: 9223372036854775808; encoding/json refuses it: true
SEEN
