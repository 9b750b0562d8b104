#!/usr/bin/env bash
# Go 1.26 (encoding/json, encoding/gob), github.com/goccy/go-json v0.12.0, github.com/json-iterator/go v1.1.12,
# github.com/vmihailenco/msgpack/v5 v5.4.1, github.com/fxamacker/cbor/v2 v2.10.0. Beside them
# github.com/go-json-experiment/json v1.27.2 and gopkg.in/yaml.v3 v3.0.1.
#
# A good guess: a loop that decodes each page into batch[:0], to reuse its memory, gets the records of that page. The
# documentation of encoding/json says that Unmarshal resets the length of the slice to zero and appends each element.
# Seen, without an error: six of eight decoders write into the elements that are still there after the end of the slice.
#   - A field that a record leaves out, as omitempty does, has the value of the record that stood there before: the note
#     and the refund of order 1 become those of order 3.
#   - Maps and pointers are written through, so that also records of an earlier page change. A copy of order 2 that was
#     kept (slices.Clone) has the refund and the tag of order 4 afterwards.
# go-json-experiment/json, which became encoding/json/v2, and yaml.v3 clear the element first.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/fxamacker/cbor/v2"
	jsonv2 "github.com/go-json-experiment/json"
	goccy "github.com/goccy/go-json"
	jsoniter "github.com/json-iterator/go"
	"github.com/vmihailenco/msgpack/v5"
	"gopkg.in/yaml.v3"
)

// An Order leaves out what it does not have.
type Order struct {
	ID     int               `json:"id" yaml:"id" msgpack:"id"`
	Note   string            `json:"note,omitempty" yaml:"note,omitempty" msgpack:"note,omitempty"`
	Refund *int              `json:"refund,omitempty" yaml:"refund,omitempty" msgpack:"refund,omitempty"`
	Tags   map[string]string `json:"tags,omitempty" yaml:"tags,omitempty" msgpack:"tags,omitempty"`
}

func (o Order) String() string {
	text := fmt.Sprint(o.ID)
	if o.Note != "" {
		text += " " + o.Note
	}
	if o.Refund != nil {
		text += fmt.Sprint(" refund ", *o.Refund)
	}
	if len(o.Tags) > 0 {
		text += fmt.Sprint(" ", o.Tags)
	}
	return "{" + text + "}"
}

type codec struct {
	name   string
	encode func(any) ([]byte, error)
	decode func([]byte, any) error
}

func main() {
	five, nine := 5, 9
	pages := [][]Order{
		{{ID: 1, Note: "gift", Refund: &five, Tags: map[string]string{"vip": "yes"}}, {ID: 2, Refund: &five, Tags: map[string]string{"vip": "yes"}}},
		{{ID: 3}, {ID: 4, Refund: &nine, Tags: map[string]string{"new": "yes"}}},
	}
	like := jsoniter.ConfigCompatibleWithStandardLibrary
	for _, c := range []codec{
		{"encoding/json", json.Marshal, json.Unmarshal},
		{"goccy/go-json", goccy.Marshal, goccy.Unmarshal},
		{"json-iterator", like.Marshal, like.Unmarshal},
		{"msgpack", msgpack.Marshal, msgpack.Unmarshal},
		{"cbor", cbor.Marshal, cbor.Unmarshal},
		{"encoding/gob", toGob, fromGob},
		{"go-json-experiment", func(v any) ([]byte, error) { return jsonv2.Marshal(v) }, func(b []byte, v any) error { return jsonv2.Unmarshal(b, v) }},
		{"yaml.v3", yaml.Marshal, yaml.Unmarshal},
	} {
		var batch, kept []Order
		for i, page := range pages {
			sent, err := c.encode(page)
			check(err)
			batch = batch[:0]
			check(c.decode(sent, &batch))
			if i == 0 {
				kept = slices.Clone(batch)
			}
		}
		fmt.Printf("%s: %v, kept %v\n", c.name, batch, kept)
	}
}

func toGob(v any) ([]byte, error) {
	var b bytes.Buffer
	err := gob.NewEncoder(&b).Encode(v)
	return b.Bytes(), err
}

func fromGob(data []byte, v any) error { return gob.NewDecoder(bytes.NewReader(data)).Decode(v) }

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
printf 'module finding\n\ngo 1.26\n' >go.mod
(go get github.com/goccy/go-json@v0.12.0 github.com/json-iterator/go@v1.1.12 github.com/vmihailenco/msgpack/v5@v5.4.1 \
  github.com/fxamacker/cbor/v2@v2.10.0 github.com/go-json-experiment/json@v1.27.2 gopkg.in/yaml.v3@v3.0.1 && go mod tidy) >get.log 2>&1 || { cat get.log; exit 1; }
got=$(go run .)
echo "$got"
mixed='[{3 gift refund 5 map[vip:yes]} {4 refund 9 map[new:yes vip:yes]}], kept [{1 gift refund 5 map[vip:yes]} {2 refund 9 map[new:yes vip:yes]}]'
right='[{3} {4 refund 9 map[new:yes]}], kept [{1 gift refund 5 map[vip:yes]} {2 refund 5 map[vip:yes]}]'
diff <(echo "$got") - <<SEEN
encoding/json: $mixed
goccy/go-json: $mixed
json-iterator: $mixed
msgpack: $mixed
cbor: $mixed
encoding/gob: $mixed
go-json-experiment: $right
yaml.v3: $right
SEEN
