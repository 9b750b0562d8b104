#!/usr/bin/env bash
# github.com/redis/go-redis/v9 v9.23.0, Redis 7.0.15. Needs Debian 12, whose packages it runs from a temporary folder.
#
# A good guess: a message of a stream that a consumer has read and not acknowledged stays in the list of pending messages
# until somebody acknowledges it. So a consumer that takes over the messages of a dead one by XAUTOCLAIM gets all, or is told
# what is missing. Seen: where the stream is trimmed, as by XADD with MAXLEN, the oldest of them are gone. Redis takes
# them off the list at the first XAUTOCLAIM, and names them in the third part of its answer. XAutoClaim of go-redis
# returns the other two parts. So XPENDING falls from 4 to 2, two messages come, nothing is an error, and nobody
# hears of the other two again. XAutoClaimWithDeleted, a method beside it, has their IDs, if it is the first to ask.
set -euo pipefail
cd "$(dirname "$0")"
. lib/redis.sh
work=$(mktemp -d)
start_redis "$work"
cd "$work"
cat >main.go <<'GO'
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/redis/go-redis/v9"
)

var ctx = context.Background()

func main() {
	client := redis.NewClient(&redis.Options{Network: "unix", Addr: os.Getenv("SOCKET")})
	for _, stream := range []string{"orders", "parcels"} {
		check(client.XGroupCreateMkStream(ctx, stream, "workers", "0").Err())
		add := func(id string) {
			check(client.XAdd(ctx, &redis.XAddArgs{Stream: stream, ID: id, MaxLen: 4, Values: []string{"order", id}}).Err())
		}
		for _, id := range []string{"1-0", "2-0", "3-0", "4-0"} {
			add(id)
		}
		read(client, stream, "first")
		add("5-0")
		add("6-0")
		pending(client, stream)
	}

	args := &redis.XAutoClaimArgs{Stream: "orders", Group: "workers", Consumer: "second", Start: "0"}
	got, next, err := client.XAutoClaim(ctx, args).Result()
	check(err)
	fmt.Println("XAutoClaim returns:", ids(got), next)
	pending(client, "orders")
	_, _, deleted, err := client.XAutoClaimWithDeleted(ctx, args).Result()
	check(err)
	fmt.Println("XAutoClaimWithDeleted afterwards:", deleted)
	read(client, "orders", "second")

	args.Stream = "parcels"
	_, _, deleted, err = client.XAutoClaimWithDeleted(ctx, args).Result()
	check(err)
	fmt.Println("XAutoClaimWithDeleted at first:", deleted)
}

func read(client *redis.Client, stream, consumer string) {
	got, err := client.XReadGroup(ctx, &redis.XReadGroupArgs{Group: "workers", Consumer: consumer, Streams: []string{stream, ">"}}).Result()
	check(err)
	fmt.Println("the", consumer, "consumer of", stream, "reads:", ids(got[0].Messages))
}

func pending(client *redis.Client, stream string) {
	p, err := client.XPending(ctx, stream, "workers").Result()
	check(err)
	fmt.Println("pending in", stream, "-", p.Count)
}

func ids(messages []redis.XMessage) (all []string) {
	for _, m := range messages {
		all = append(all, m.ID)
	}
	return all
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
go mod init finding >/dev/null 2>&1
go get github.com/redis/go-redis/v9@v9.23.0 >/dev/null 2>&1
go mod tidy >/dev/null 2>&1
got=$(go run .)
echo "$got"
diff <(echo "$got") - <<'SEEN'
the first consumer of orders reads: [1-0 2-0 3-0 4-0]
pending in orders - 4
the first consumer of parcels reads: [1-0 2-0 3-0 4-0]
pending in parcels - 4
XAutoClaim returns: [3-0 4-0] 0-0
pending in orders - 2
XAutoClaimWithDeleted afterwards: []
the second consumer of orders reads: [5-0 6-0]
XAutoClaimWithDeleted at first: [1-0 2-0]
SEEN
