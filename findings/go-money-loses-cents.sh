#!/usr/bin/env bash
# github.com/Rhymond/go-money v1.0.15.
#
# A good guess: money made of 19.99 is 1999 cents, and an amount in JSON is taken as it is, or refused.
# Its documentation says that NewFromFloat rounds down. Seen: so 19.99 dollars are 1998 cents, since the
# float64 of 19.99 is a little less. Of the amounts from 0.00 to 999.99, 4,586 lose a cent.
# In JSON, an amount of 12.5 cents becomes 12, and 9007199254740993 becomes 9007199254740992, without
# an error: the amount passes through a float64.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"encoding/json"
	"fmt"

	"github.com/Rhymond/go-money"
)

func main() {
	fmt.Println("19.99 dollars are", money.NewFromFloat(19.99, money.USD).Amount(), "cents")
	lost := 0
	for cents := range int64(100_000) {
		if money.NewFromFloat(float64(cents)/100, money.USD).Amount() == cents-1 {
			lost++
		}
	}
	fmt.Println("amounts that lose a cent:", lost)
	for _, text := range []string{"1999", "12.5", "9007199254740993"} {
		var m money.Money
		err := json.Unmarshal([]byte(`{"amount": `+text+`, "currency": "USD"}`), &m)
		fmt.Println(text, "in JSON:", m.Amount(), err)
	}
}
GO
printf 'module finding\n\ngo 1.24\n' >go.mod
go get github.com/Rhymond/go-money@v1.0.15 >get.log 2>&1 || { cat get.log; exit 1; }
seen=$(go run .)
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
19.99 dollars are 1998 cents
amounts that lose a cent: 4586
1999 in JSON: 1999 <nil>
12.5 in JSON: 12 <nil>
9007199254740993 in JSON: 9007199254740992 <nil>
SEEN
