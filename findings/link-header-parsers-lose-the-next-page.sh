#!/usr/bin/env bash
# github.com/tomnomnom/linkheader e5fe3b51442e, github.com/peterhellberg/link v1.2.0.
#
# A good guess: a parser of the Link header (RFC 8288) finds the next page of an API that pages by
# it. Seen, without an error:
#   - tomnomnom/linkheader finds no next page if the address, or a parameter before rel, has a comma
#     or a semicolon. "fields=id,name" is enough. A loop that ends without a next page reads page 1.
#   - peterhellberg/link leaves the commas out of the address: the next page has other fields, or
#     another filter, than were asked for.
#   - Neither finds rel="NEXT", and peterhellberg/link finds neither rel="next last" nor REL="next".
#     RFC 8288 compares both names without regard to case, and lets rel hold several.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"fmt"

	"github.com/peterhellberg/link"
	"github.com/tomnomnom/linkheader"
)

func main() {
	for _, header := range []string{
		`<https://api.example/orders?page=2>; rel="next"`,
		`<https://api.example/orders?fields=id,name&page=2>; rel="next"`,
		`<https://api.example/orders?filter=a;b&page=2>; rel="next"`,
		`<https://api.example/orders?page=2>; title="orders, all"; rel="next"`,
		`<https://api.example/orders?page=2>; rel="next last"`,
		`<https://api.example/orders?page=2>; REL="next"`,
		`<https://api.example/orders?page=2>; rel="NEXT"`,
	} {
		first, second := "none", "none"
		if found := linkheader.Parse(header).FilterByRel("next"); len(found) > 0 {
			first = found[0].URL
		}
		if found := link.Parse(header)["next"]; found != nil {
			second = found.URI
		}
		fmt.Printf("%s\n  tomnomnom:    %s\n  peterhellberg: %s\n", header, first, second)
	}
}
GO
go mod init finding >/dev/null 2>&1
go get github.com/tomnomnom/linkheader@v0.0.0-20250811210735-e5fe3b51442e github.com/peterhellberg/link@v1.2.0 >/dev/null 2>&1
got=$(go run .)
echo "$got"
diff <(echo "$got") - <<'SEEN'
<https://api.example/orders?page=2>; rel="next"
  tomnomnom:    https://api.example/orders?page=2
  peterhellberg: https://api.example/orders?page=2
<https://api.example/orders?fields=id,name&page=2>; rel="next"
  tomnomnom:    none
  peterhellberg: https://api.example/orders?fields=idname&page=2
<https://api.example/orders?filter=a;b&page=2>; rel="next"
  tomnomnom:    none
  peterhellberg: https://api.example/orders?filter=a;b&page=2
<https://api.example/orders?page=2>; title="orders, all"; rel="next"
  tomnomnom:    none
  peterhellberg: https://api.example/orders?page=2
<https://api.example/orders?page=2>; rel="next last"
  tomnomnom:    none
  peterhellberg: none
<https://api.example/orders?page=2>; REL="next"
  tomnomnom:    https://api.example/orders?page=2
  peterhellberg: none
<https://api.example/orders?page=2>; rel="NEXT"
  tomnomnom:    none
  peterhellberg: none
SEEN
