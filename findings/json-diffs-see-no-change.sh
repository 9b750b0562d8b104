#!/usr/bin/env bash
# github.com/wI2L/jsondiff v0.7.1, github.com/mattbaird/jsonpatch v0.0.0-20240118010651-0ba75a80ca38, beside
# gomodules.xyz/jsonpatch/v2 v2.5.0 and github.com/evanphx/json-patch/v5 v5.9.11, which also applies the patches.
#
# A good guess: the patch between two documents of JSON, applied to the first, makes the second; and it is empty only if
# both say the same. So a flow may compare the old and the new version of a record, and pass on what changed.
# Seen, without an error: jsondiff and mattbaird/jsonpatch compare numbers as float64, and write them so.
#   - An id or an amount of 17 digits or more that changes in its last ones has not changed: the patch is empty.
#   - A new field with such a number is added with another number.
#   - Of two ids in a list the wrong one is removed.
# gomodules and evanphx make the second document each time. So does jsondiff with its option UnmarshalFunc and a decoder
# that uses json.Number, which its README has as an example; it does not say what is lost without that.
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

	evanphx "github.com/evanphx/json-patch/v5"
	"github.com/mattbaird/jsonpatch"
	"github.com/wI2L/jsondiff"
	gomodules "gomodules.xyz/jsonpatch/v2"
)

func main() {
	for _, c := range [][2]string{
		{`{"id":1767225600123456789}`, `{"id":1767225600123456790}`},
		{`{"amount":12345678901234567.89}`, `{"amount":12345678901234567.90}`},
		{`{}`, `{"id":1767225600123456789}`},
		{`{"ids":[1767225600123456789,1767225600123456790]}`, `{"ids":[1767225600123456790]}`},
	} {
		before, after := []byte(c[0]), []byte(c[1])
		fmt.Println(c[0], "to", c[1])
		apply := func(name string, patch any, err error) {
			check(err)
			text, err := json.Marshal(patch)
			check(err)
			decoded, err := evanphx.DecodePatch(text)
			check(err)
			made, err := decoded.Apply(before)
			check(err)
			show(name, len(decoded) == 0, made)
		}
		patch, err := jsondiff.CompareJSON(before, after)
		apply("jsondiff", append(jsondiff.Patch{}, patch...), err)
		other, err := jsonpatch.CreatePatch(before, after)
		apply("mattbaird", other, err)
		exact, err := jsondiff.CompareJSON(before, after, jsondiff.UnmarshalFunc(func(data []byte, v any) error {
			decoder := json.NewDecoder(bytes.NewReader(data))
			decoder.UseNumber()
			return decoder.Decode(v)
		}))
		apply("jsondiff with json.Number", exact, err)
		right, err := gomodules.CreatePatch(before, after)
		apply("gomodules", right, err)
		merge, err := evanphx.CreateMergePatch(before, after)
		check(err)
		made, err := evanphx.MergePatch(before, merge)
		check(err)
		show("evanphx", string(merge) == "{}", made)
	}
}

func show(name string, none bool, made []byte) {
	text := "  " + name + ": " + string(made)
	if none {
		text += ", no change"
	}
	fmt.Println(text)
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
printf 'module finding\n\ngo 1.26\n' >go.mod
(go get github.com/wI2L/jsondiff@v0.7.1 github.com/mattbaird/jsonpatch@v0.0.0-20240118010651-0ba75a80ca38 \
  gomodules.xyz/jsonpatch/v2@v2.5.0 github.com/evanphx/json-patch/v5@v5.9.11 && go mod tidy) >get.log 2>&1 || { cat get.log; exit 1; }
got=$(go run .)
echo "$got"
diff <(echo "$got") - <<'SEEN'
{"id":1767225600123456789} to {"id":1767225600123456790}
  jsondiff: {"id":1767225600123456789}, no change
  mattbaird: {"id":1767225600123456789}, no change
  jsondiff with json.Number: {"id":1767225600123456790}
  gomodules: {"id":1767225600123456790}
  evanphx: {"id":1767225600123456790}
{"amount":12345678901234567.89} to {"amount":12345678901234567.90}
  jsondiff: {"amount":12345678901234567.89}, no change
  mattbaird: {"amount":12345678901234567.89}, no change
  jsondiff with json.Number: {"amount":12345678901234567.90}
  gomodules: {"amount":12345678901234567.90}
  evanphx: {"amount":12345678901234567.90}
{} to {"id":1767225600123456789}
  jsondiff: {"id":1767225600123456800}
  mattbaird: {"id":1767225600123456800}
  jsondiff with json.Number: {"id":1767225600123456789}
  gomodules: {"id":1767225600123456789}
  evanphx: {"id":1767225600123456789}
{"ids":[1767225600123456789,1767225600123456790]} to {"ids":[1767225600123456790]}
  jsondiff: {"ids":[1767225600123456789]}
  mattbaird: {"ids":[1767225600123456789]}
  jsondiff with json.Number: {"ids":[1767225600123456790]}
  gomodules: {"ids":[1767225600123456790]}
  evanphx: {"ids":[1767225600123456790]}
SEEN
