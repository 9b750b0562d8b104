#!/usr/bin/env bash
# github.com/fxamacker/cbor/v2 v2.10.0 and github.com/ugorji/go/codec v1.3.2, beside encoding/json and
# github.com/vmihailenco/msgpack/v5 v5.4.1.
#
# A good guess: a time.Time that goes through a binary format with the library's defaults comes back as the same moment, as it does
# through JSON and MessagePack. So a place in a table, "all rows up to this time are read", can be kept so. Seen, without an error:
#   - fxamacker's cbor.Marshal cuts the time to whole seconds. A reader that goes on after what it has kept gets the rows of the last
#     second again; if a page holds less than a second's rows, it gets the same page for ever. The option is named TimeMode.
#   - ugorji's CborHandle rounds to microseconds, up as well as down. A time that is kept may be later than the row that it
#     was taken from, so that rows between the two are left out. Its MsgpackHandle keeps all nine digits.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/ugorji/go/codec"
	"github.com/vmihailenco/msgpack/v5"
)

type place struct{ At time.Time }

func main() {
	for _, at := range []time.Time{time.Date(2026, 11, 28, 10, 0, 0, 999123456, time.UTC), time.Date(2026, 11, 28, 10, 0, 0, 999999900, time.UTC)} {
		in := place{at}
		fmt.Println("the time", at.Format(time.RFC3339Nano))
		show := func(name string, through func(out *place) error) {
			var out place
			if err := through(&out); err != nil {
				panic(err)
			}
			moved := "the same"
			if d := out.At.Sub(at); d > 0 {
				moved = "later by " + d.String()
			} else if d < 0 {
				moved = "earlier by " + (-d).String()
			}
			fmt.Printf("  %s: %s\n", name, moved)
		}
		show("encoding/json", func(out *place) error {
			data, err := json.Marshal(in)
			if err != nil {
				return err
			}
			return json.Unmarshal(data, out)
		})
		show("vmihailenco/msgpack", func(out *place) error {
			data, err := msgpack.Marshal(in)
			if err != nil {
				return err
			}
			return msgpack.Unmarshal(data, out)
		})
		show("fxamacker/cbor", func(out *place) error {
			data, err := cbor.Marshal(in)
			if err != nil {
				return err
			}
			return cbor.Unmarshal(data, out)
		})
		ugorji := func(handle codec.Handle) func(out *place) error {
			return func(out *place) error {
				var data bytes.Buffer
				if err := codec.NewEncoder(&data, handle).Encode(in); err != nil {
					return err
				}
				return codec.NewDecoder(&data, handle).Decode(out)
			}
		}
		show("ugorji's MsgpackHandle", ugorji(&codec.MsgpackHandle{}))
		show("ugorji's CborHandle", ugorji(&codec.CborHandle{}))
	}
}
GO
go mod init finding >/dev/null 2>&1
go get github.com/fxamacker/cbor/v2@v2.10.0 github.com/ugorji/go/codec@v1.3.2 github.com/vmihailenco/msgpack/v5@v5.4.1 >/dev/null 2>&1
go mod tidy >/dev/null 2>&1
got=$(go run .)
echo "$got"
diff <(echo "$got") - <<'SEEN'
the time 2026-11-28T10:00:00.999123456Z
  encoding/json: the same
  vmihailenco/msgpack: the same
  fxamacker/cbor: earlier by 999.123456ms
  ugorji's MsgpackHandle: the same
  ugorji's CborHandle: earlier by 456ns
the time 2026-11-28T10:00:00.9999999Z
  encoding/json: the same
  vmihailenco/msgpack: the same
  fxamacker/cbor: earlier by 999.9999ms
  ugorji's MsgpackHandle: the same
  ugorji's CborHandle: later by 100ns
SEEN
