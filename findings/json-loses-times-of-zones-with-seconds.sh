#!/usr/bin/env bash
# Go 1.26, package encoding/json; Node 20; Postgres 17.10.
#
# A good guess: a time that is written as JSON with its offset, as RFC 3339 says, is the same moment for everybody who reads it.
# RFC 3339 has no seconds in an offset, and zones had them: Monrovia's until 1972, Amsterdam's until 1937, most others' before.
# A driver that returns times in the process's zone, as pgx does, makes such times of dates of birth. Seen: encoding/json
# drops the seconds of the offset, without an error. Read again, the time is another moment, by 30 seconds here. to_json of
# Postgres writes them, in a session with such a TimeZone. Go cannot read that text, which is an error. JavaScript's Date
# becomes invalid without one, and JSON.stringify makes null of it.
set -euo pipefail
. "$(dirname "$0")/lib/postgres.sh"
work=$(mktemp -d)
trap 'stop_postgres; rm -rf "$work"' EXIT
start_postgres "$work" 17.10.0-beta.17
(cd "$work" && npm install --no-audit --no-fund pg@8.16.3 >>npm.log 2>&1) || { cat "$work/npm.log"; exit 1; }
cat >"$work/main.js" <<'JS'
const { Client } = require('pg')
const main = async () => {
  const c = new Client({ host: '127.0.0.1', port: process.env.PORT, user: 'postgres', database: 'postgres' })
  await c.connect()
  await c.query("set timezone = 'Africa/Monrovia'")
  const { text } = (await c.query("select to_json(timestamptz '1970-06-01 12:44:30Z')::text as text")).rows[0]
  console.log(text)
  console.error('JavaScript: ' + JSON.stringify(new Date(JSON.parse(text))))
  await c.end()
}
main()
JS
mkdir "$work/go" && cd "$work/go"
cat >main.go <<'GO'
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"time"
	_ "time/tzdata"
)

func main() {
	monrovia, err := time.LoadLocation("Africa/Monrovia")
	check(err)
	born := time.Date(1970, 6, 1, 12, 0, 0, 0, monrovia)
	text, err := json.Marshal(born)
	check(err)
	var read time.Time
	check(json.Unmarshal(text, &read))
	fmt.Printf("Go: %s, read again it has moved by %s\n", text, read.Sub(born))
	fmt.Printf("Go reads Postgres's %s: %v\n", os.Args[1], json.Unmarshal([]byte(os.Args[1]), &read))
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
printf 'module finding\n\ngo 1.24\n' >go.mod
seen=$(text=$(cd "$work" && PORT=$PGPORT_FOUND node main.js 2>"$work/js") && go run . "$text" && cat "$work/js")
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
Go: "1970-06-01T12:00:00-00:44", read again it has moved by -30s
Go reads Postgres's "1970-06-01T12:00:00-00:44:30": parsing time "1970-06-01T12:00:00-00:44:30": extra text: ":30"
JavaScript: null
SEEN
