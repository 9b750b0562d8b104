#!/usr/bin/env bash
# github.com/vmihailenco/msgpack/v5 v5.4.1, beside github.com/fxamacker/cbor/v2 v2.10.0.
#
# A good guess: Unmarshal refuses an integer that its field does not hold, as the decoders of JSON and
# CBOR do, and as this one refuses a float for an integer. Seen, without an error: 300 becomes 44 in an
# int8, -1 becomes 255 in a uint8, 5000000000 becomes 705032704 in an int32, and 9223372036854775808
# becomes -9223372036854775808 in an int64. So a message or a cursor whose writer has the wider type
# changes in a reader that has the narrower one.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"fmt"

	"github.com/fxamacker/cbor/v2"
	"github.com/vmihailenco/msgpack/v5"
)

func main() {
	try[int8](300)
	try[uint8](-1)
	try[int32](5_000_000_000)
	try[int64](uint64(1 << 63))
	try[int64](2.5)
}

func try[T any](in any) {
	packed, err := msgpack.Marshal(in)
	check(err)
	binary, err := cbor.Marshal(in)
	check(err)
	var a, b T
	errA, errB := msgpack.Unmarshal(packed, &a), cbor.Unmarshal(binary, &b)
	fmt.Printf("%v into %T: msgpack %v, refused: %v; cbor refused: %v\n", in, a, a, errA != nil, errB != nil)
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
printf 'module finding\n\ngo 1.24\n' >go.mod
go get github.com/vmihailenco/msgpack/v5@v5.4.1 github.com/fxamacker/cbor/v2@v2.10.0 >get.log 2>&1 || { cat get.log; exit 1; }
seen=$(go run .)
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
300 into int8: msgpack 44, refused: false; cbor refused: true
-1 into uint8: msgpack 255, refused: false; cbor refused: true
5000000000 into int32: msgpack 705032704, refused: false; cbor refused: true
9223372036854775808 into int64: msgpack -9223372036854775808, refused: false; cbor refused: true
2.5 into int64: msgpack 0, refused: true; cbor refused: true
SEEN
