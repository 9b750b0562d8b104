#!/usr/bin/env bash
# Redis 7.0.15, github.com/alicebob/miniredis/v2 v2.40.0, github.com/redis/go-redis/v9 v9.23.0. Needs Debian 12, whose
# packages it runs from a temporary folder.
#
# A good guess: a script in Redis that decodes a job, counts its attempt and encodes it again leaves the other fields as
# they were, at least integers below 2^53, which a number of Lua holds. And a test with miniredis sees what the
# script does. Seen, without an error:
#   - In Redis, cjson.encode writes 14 digits. So a time in microseconds or an id of 15 digits becomes another
#     one: 1767225600123456 and 1767225600123457 are both 1767225600123500 afterwards. In miniredis each is right.
#   - In miniredis a field that is null is gone, and a list loses its nulls, so that what follows moves forward. In
#     Redis both stay. An empty list becomes an object in Redis, and an empty object a list in miniredis.
# No setting keeps more digits: cjson.encode_number_precision allows 14 at most. An id as a string is kept.
set -euo pipefail
cd "$(dirname "$0")"
. lib/redis.sh
work=$(mktemp -d)
start_redis "$work"
cd "$work"
cat >main.go <<'GO'
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

const again = `local job = cjson.decode(ARGV[1]); job.attempt = job.attempt + 1; return cjson.encode(job)`

func main() {
	mini, err := miniredis.Run()
	check(err)
	defer mini.Close()
	real := redis.NewClient(&redis.Options{Network: "unix", Addr: os.Getenv("SOCKET")})
	test := redis.NewClient(&redis.Options{Addr: mini.Addr()})
	for _, v := range []string{"99999999999999", "123456789012345", "1767225600123456", "1767225600123457", "1767225600.123456",
		`"1767225600123456"`, "null", "[1,null,2]", "[]", "{}"} {
		fmt.Printf("%s: Redis %s, miniredis %s\n", v, run(real, v), run(test, v))
	}
	for _, digits := range []string{"14", "16"} {
		err := real.Eval(context.Background(), "cjson.encode_number_precision("+digits+")", nil).Err()
		fmt.Println(digits, "digits are allowed:", errors.Is(err, redis.Nil))
	}
}

// run sends a job with the value, and returns what the value is afterwards.
func run(client *redis.Client, value string) string {
	answer, err := client.Eval(context.Background(), again, nil, `{"value":`+value+`,"attempt":1}`).Text()
	check(err)
	job := map[string]any{}
	decoder := json.NewDecoder(bytes.NewReader([]byte(answer)))
	decoder.UseNumber()
	check(decoder.Decode(&job))
	if job["attempt"] != json.Number("2") {
		panic("the attempt was not counted: " + answer)
	}
	got, there := job["value"]
	if !there {
		return "nothing"
	}
	if n, is := got.(json.Number); is {
		f, err := n.Float64()
		check(err)
		return strconv.FormatFloat(f, 'f', -1, 64)
	}
	text, err := json.Marshal(got)
	check(err)
	return string(text)
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
printf 'module finding\n\ngo 1.25\n' >go.mod
{ go get github.com/redis/go-redis/v9@v9.23.0 github.com/alicebob/miniredis/v2@v2.40.0 && go mod tidy; } >get.log 2>&1 || { cat get.log; exit 1; }
go build -o finding .
seen=$(./finding)
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
99999999999999: Redis 99999999999999, miniredis 99999999999999
123456789012345: Redis 123456789012340, miniredis 123456789012345
1767225600123456: Redis 1767225600123500, miniredis 1767225600123456
1767225600123457: Redis 1767225600123500, miniredis 1767225600123457
1767225600.123456: Redis 1767225600.1235, miniredis 1767225600.123456
"1767225600123456": Redis "1767225600123456", miniredis "1767225600123456"
null: Redis null, miniredis nothing
[1,null,2]: Redis [1,null,2], miniredis [1,2]
[]: Redis {}, miniredis []
{}: Redis {}, miniredis []
14 digits are allowed: true
16 digits are allowed: false
SEEN
