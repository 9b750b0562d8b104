#!/usr/bin/env bash
# Go 1.26, package time.
#
# A good guess: time.Parse either reads the zone of "10:00:00 GMT+3" or fails. With the layout
# time.RFC1123, whose zone is an abbreviation, it accepts this text. Seen: the answer is 13:00:00
# GMT+3. That is neither the moment that was meant (07:00 UTC) nor the same clock time. Written
# again with the same layout, the text is another one, and each reading moves the clock again.
# GMT-8 goes the other way. ParseInLocation does the same.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"fmt"
	"time"
)

func main() {
	for _, text := range []string{"Fri, 02 Jan 2026 10:00:00 GMT", "Fri, 02 Jan 2026 10:00:00 GMT+3", "Fri, 02 Jan 2026 10:00:00 GMT-8"} {
		fmt.Println(text)
		for range 2 {
			t, err := time.Parse(time.RFC1123, text)
			if err != nil {
				panic(err)
			}
			text = t.Format(time.RFC1123)
			fmt.Printf("  parsed and written again: %s (%s)\n", text, t.UTC().Format(time.RFC3339))
		}
	}
}
GO
printf 'module finding\n\ngo 1.24\n' >go.mod
go version
seen=$(go run .)
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
Fri, 02 Jan 2026 10:00:00 GMT
  parsed and written again: Fri, 02 Jan 2026 10:00:00 GMT (2026-01-02T10:00:00Z)
  parsed and written again: Fri, 02 Jan 2026 10:00:00 GMT (2026-01-02T10:00:00Z)
Fri, 02 Jan 2026 10:00:00 GMT+3
  parsed and written again: Fri, 02 Jan 2026 13:00:00 GMT+3 (2026-01-02T10:00:00Z)
  parsed and written again: Fri, 02 Jan 2026 16:00:00 GMT+3 (2026-01-02T13:00:00Z)
Fri, 02 Jan 2026 10:00:00 GMT-8
  parsed and written again: Fri, 02 Jan 2026 02:00:00 GMT-8 (2026-01-02T10:00:00Z)
  parsed and written again: Thu, 01 Jan 2026 18:00:00 GMT-8 (2026-01-02T02:00:00Z)
SEEN
