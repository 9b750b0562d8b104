#!/usr/bin/env bash
# github.com/jinzhu/now v1.1.5.
#
# A good guess: now.Parse completes a text that lacks parts, as "10:00" lacks its day, from the present
# time, and leaves a complete one alone. Seen: a complete time with a fraction of a second, whose
# seconds are 0, gets the seconds of the present, and its minutes too if they are 0, and so its hours.
# Without the fraction it is right. So a timestamp of a database or of JSON in RFC 3339 is mostly right,
# and off by up to a day now and then; and the same text is another moment at each reading.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"fmt"
	"time"

	"github.com/jinzhu/now"
)

func main() {
	present := now.New(time.Date(2026, 6, 15, 20, 47, 5, 0, time.UTC))
	for _, text := range []string{
		"10:00", "2026-01-02T10:00:00Z", "2026-01-02T10:20:30.25Z",
		"2026-01-02T10:20:00.25Z", "2026-01-02T10:00:00.25Z", "2026-01-02 00:00:00.25",
	} {
		t, err := present.Parse(text)
		fmt.Printf("%-24s %s %v\n", text, t.Format(time.RFC3339Nano), err)
	}
}
GO
printf 'module finding\n\ngo 1.24\n' >go.mod
go get github.com/jinzhu/now@v1.1.5 >get.log 2>&1 || { cat get.log; exit 1; }
seen=$(go run .)
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
10:00                    2026-06-15T10:00:00Z <nil>
2026-01-02T10:00:00Z     2026-01-02T10:00:00Z <nil>
2026-01-02T10:20:30.25Z  2026-01-02T10:20:30.25Z <nil>
2026-01-02T10:20:00.25Z  2026-01-02T10:20:05.25Z <nil>
2026-01-02T10:00:00.25Z  2026-01-02T10:47:05.25Z <nil>
2026-01-02 00:00:00.25   2026-01-02T20:47:05.25Z <nil>
SEEN
