#!/usr/bin/env bash
# github.com/redis/go-redis/v9 v9.23.0, Redis 7.0.15. Needs Debian 12, whose packages it runs from a temporary folder.
#
# A good guess: a call that adds a record adds it once, or returns an error after which it is not known whether it
# did. Seen, with the default options and a nil error: if the server does not answer for 7 seconds, as during KEYS or the
# DEL of a large key (here DEBUG SLEEP), the command is executed twice. The client gives up reading after 5 seconds,
# and sends it again on another connection, while the first one still waits at the server. So XADD adds two records, and
# INCRBY counts twice. LPOP takes two records from a queue and returns one: the other is lost. The comment of MaxRetries,
# which is 3 by default, does not say that commands that write are sent again too; only that of AutoPipeline does. With
# -1 the call returns a timeout, and the record is there once.
set -euo pipefail
cd "$(dirname "$0")"
. lib/redis.sh
work=$(mktemp -d)
start_redis "$work" --enable-debug-command local
cd "$work"
cat >main.go <<'GO'
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/redis/go-redis/v9"
)

var ctx = context.Background()

func main() {
	socket := os.Getenv("SOCKET")
	admin := redis.NewClient(&redis.Options{Network: "unix", Addr: socket, ReadTimeout: time.Minute})
	client := redis.NewClient(&redis.Options{Network: "unix", Addr: socket})
	careful := redis.NewClient(&redis.Options{Network: "unix", Addr: socket, MaxRetries: -1})
	check(client.Ping(ctx).Err())
	check(careful.Ping(ctx).Err())

	// whileBusy does something while the server answers nobody for 7 seconds.
	whileBusy := func(do func()) {
		busy := make(chan error)
		go func() { busy <- admin.Do(ctx, "debug", "sleep", "7").Err() }()
		time.Sleep(500 * time.Millisecond)
		do()
		check(<-busy)
	}
	order := func(stream string) *redis.XAddArgs { return &redis.XAddArgs{Stream: stream, Values: []string{"order", "1"}} }

	whileBusy(func() {
		err := client.XAdd(ctx, order("orders")).Err()
		fmt.Println("XADD: error", err, "- records", admin.XLen(ctx, "orders").Val())
	})
	whileBusy(func() {
		total, err := client.IncrBy(ctx, "cents", 500).Result()
		fmt.Println("INCRBY 500: error", err, "- total", total)
	})
	check(admin.RPush(ctx, "queue", "a", "b", "c").Err())
	whileBusy(func() {
		record, err := client.LPop(ctx, "queue").Result()
		fmt.Println("LPOP of a, b, c: error", err, "- got", record, "left", admin.LRange(ctx, "queue", 0, -1).Val())
	})
	whileBusy(func() {
		err := careful.XAdd(ctx, order("careful")).Err()
		fmt.Println("XADD without retries: timeout", os.IsTimeout(err), "- records", admin.XLen(ctx, "careful").Val())
	})
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
printf 'module finding\n\ngo 1.24\n' >go.mod
{ go get github.com/redis/go-redis/v9@v9.23.0 && go mod tidy; } >get.log 2>&1 || { cat get.log; exit 1; }
go build -o finding .
seen=$(./finding)
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
XADD: error <nil> - records 2
INCRBY 500: error <nil> - total 1000
LPOP of a, b, c: error <nil> - got b left [c]
XADD without retries: timeout true - records 1
SEEN
