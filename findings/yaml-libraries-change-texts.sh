#!/usr/bin/env bash
# github.com/goccy/go-yaml v1.19.2, sigs.k8s.io/yaml v1.6.0, gopkg.in/yaml.v3 v3.0.1, beside go.yaml.in/yaml/v4 v4.0.0.
#
# A good guess: a field of type string gets the text that the file has, as in yaml.v3, or is refused; and a text that a
# library writes is the same when the library reads it. Seen, without an error:
#   - A text without quotes that looks like a number is read as one, and written out again. In goccy and sigs.k8s.io/yaml the
#     postal code 01234, octal, is "668", +491701234567 loses its +, 1.10 is "1.1" and 1_000 is "1000". A reference of 23 digits
#     is "1.2345679e+22" in sigs.k8s.io/yaml, which goes by a float of 32 bits.
#   - goccy writes texts without the quotes that they need. Of what it writes, it reads a tab between two words as nothing,
#     and the line break of a carriage return as another one. yaml.v3 reads its text 08 as the number 8.
#   - yaml.v3 loses the empty line at the start of a text that it wrote.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"fmt"

	goccy "github.com/goccy/go-yaml"
	v4 "go.yaml.in/yaml/v4"
	v3 "gopkg.in/yaml.v3"
	sigs "sigs.k8s.io/yaml"
)

type library struct {
	name  string
	write func(any) ([]byte, error)
	read  func([]byte, any) error
}

var libraries = []library{
	{"goccy", goccy.Marshal, func(b []byte, v any) error { return goccy.Unmarshal(b, v) }},
	{"sigs", sigs.Marshal, func(b []byte, v any) error { return sigs.Unmarshal(b, v) }},
	{"v3", v3.Marshal, v3.Unmarshal},
	{"v4", v4.Marshal, v4.Unmarshal},
}

type row struct {
	Code string `json:"code"`
}

func main() {
	for _, text := range []string{"01234", "+491701234567", "1.10", "1_000", "12345678901234567890123"} {
		fmt.Printf("code: %s is", text)
		for _, l := range libraries {
			var r row
			check(l.read([]byte("code: "+text+"\n"), &r))
			fmt.Printf(" %s %q", l.name, r.Code)
		}
		fmt.Println()
	}
	for _, text := range []string{"red\tblue", "one\r\ntwo", "\none", "08"} {
		fmt.Printf("%q comes back as", text)
		for _, l := range libraries {
			written, err := l.write(map[string]any{"code": text})
			check(err)
			var r map[string]any
			check(l.read(written, &r))
			fmt.Printf(" %s %#v", l.name, r["code"])
		}
		fmt.Println()
	}
	written, err := goccy.Marshal(map[string]any{"code": "08"})
	check(err)
	var r map[string]any
	check(v3.Unmarshal(written, &r))
	fmt.Printf("goccy writes %q, v3 reads %T %v\n", written, r["code"], r["code"])
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
printf 'module finding\n\ngo 1.24\n' >go.mod
go get github.com/goccy/go-yaml@v1.19.2 sigs.k8s.io/yaml@v1.6.0 gopkg.in/yaml.v3@v3.0.1 go.yaml.in/yaml/v4@v4.0.0 >get.log 2>&1 || { cat get.log; exit 1; }
seen=$(go run .)
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
code: 01234 is goccy "668" sigs "668" v3 "01234" v4 "01234"
code: +491701234567 is goccy "491701234567" sigs "491701234567" v3 "+491701234567" v4 "+491701234567"
code: 1.10 is goccy "1.1" sigs "1.1" v3 "1.10" v4 "1.10"
code: 1_000 is goccy "1000" sigs "1000" v3 "1_000" v4 "1_000"
code: 12345678901234567890123 is goccy "12345678901234567890123" sigs "1.2345679e+22" v3 "12345678901234567890123" v4 "12345678901234567890123"
"red\tblue" comes back as goccy "redblue" sigs "red\tblue" v3 "red\tblue" v4 "red\tblue"
"one\r\ntwo" comes back as goccy "one\ntwo" sigs "one\r\ntwo" v3 "one\r\ntwo" v4 "one\r\ntwo"
"\none" comes back as goccy "\none" sigs "\none" v3 "one" v4 "\none"
"08" comes back as goccy "08" sigs "08" v3 "08" v4 "08"
goccy writes "code: 08\n", v3 reads float64 8
SEEN
