#!/usr/bin/env bash
# github.com/seiflotfy/cuckoofilter v0.0.0-20240715131351-a2f2c23f1771.
#
# A good guess: a filter of what was seen takes a new item for a seen one, at times, and never the other way round. When
# it is full, Insert says false, and what was accepted before is still there. Seen: a refused Insert forgets an item
# that was accepted. It moves fingerprints to make room, and drops the last one that it has moved. Of about 1,000 accepted
# records, some 370 pass for new after 500 others were refused, so that they are done twice; Count is as before. Neither
# the README nor the comments say that a refusal changes the filter. The filter chooses at random which one it
# moves, so that this looks at ranges, five times.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"fmt"

	cuckoo "github.com/seiflotfy/cuckoofilter"
)

func main() {
	filter := cuckoo.NewFilter(1000)
	var accepted [][]byte
	refused := 0
	forgotten := func() (n int) {
		for _, record := range accepted {
			if !filter.Lookup(record) {
				n++
			}
		}
		return n
	}
	i := 0
	for ; refused == 0; i++ {
		record := fmt.Append(nil, "order ", i)
		if filter.Insert(record) {
			accepted = append(accepted, record)
			if n := forgotten(); n > 0 {
				panic(fmt.Sprint(n, " are forgotten before the first refusal"))
			}
		} else {
			refused++
		}
	}
	fmt.Println("accepted before the first refusal: more than 900", len(accepted) > 900)
	before := filter.Count()
	for ; refused < 500; i++ {
		if !filter.Insert(fmt.Append(nil, "order ", i)) {
			refused++
		} else {
			before++
		}
	}
	n := forgotten()
	println("accepted", len(accepted), "refused", refused, "forgotten", n)
	fmt.Println("of those, forgotten after 500 refusals: more than 100", n > 100)
	fmt.Println("the count is that of the accepted:", filter.Count() == before)
}
GO
printf 'module finding\n\ngo 1.26\n' >go.mod
(go get github.com/seiflotfy/cuckoofilter@v0.0.0-20240715131351-a2f2c23f1771 && go mod tidy) >get.log 2>&1 || { cat get.log; exit 1; }
go build -o finding .
for _ in $(seq 5); do
  got=$(./finding)
  echo "$got"
  diff <(echo "$got") - <<'SEEN'
accepted before the first refusal: more than 900 true
of those, forgotten after 500 refusals: more than 100 true
the count is that of the accepted: true
SEEN
done
