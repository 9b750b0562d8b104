#!/usr/bin/env bash
# github.com/nats-io/nats-server/v2 v2.15.3 (in process), github.com/nats-io/nats.go v1.55.0. JetStream.
#
# A good guess: work that has not been done is counted as pending somewhere, and what is acknowledged to
# its publisher is in the stream. Seen, without an error:
#   - A message of a work queue that was delivered MaxDeliver times without an ack stays in the stream.
#     Its consumer then says 0 pending and 0 unacknowledged, as if all were done. A higher MaxDeliver does
#     not bring the message back; a new consumer gets it.
#   - A message that was purged or deleted cannot be published again with its ID within the time for
#     duplicates, two minutes. The publisher gets an ack, marked as a duplicate, and the stream is empty.
#     So who purges a queue to fill it again fills nothing.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

var ctx = context.Background()

func main() {
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: os.Args[1], NoLog: true, NoSigs: true})
	check(err)
	s.Start()
	defer s.Shutdown()
	if !s.ReadyForConnections(time.Minute) {
		panic("the server has not started")
	}
	conn, err := nats.Connect(s.ClientURL())
	check(err)
	js, err := jetstream.New(conn)
	check(err)

	work, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "work", Subjects: []string{"work"}, Retention: jetstream.WorkQueuePolicy})
	check(err)
	_, err = js.Publish(ctx, "work", nil)
	check(err)
	c := consumer(work, 2)
	fmt.Println("deliveries without an ack:", deliveries(c))
	of, err := c.Info(ctx)
	check(err)
	fmt.Println("the consumer: pending", of.NumPending, "unacknowledged", of.NumAckPending, "- in the stream", messages(work))
	fmt.Println("deliveries with MaxDeliver 10:", deliveries(consumer(work, 10)))
	check(work.DeleteConsumer(ctx, "worker"))
	fmt.Println("deliveries to a new consumer:", deliveries(consumer(work, 2)))

	orders, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "orders", Subjects: []string{"orders"}})
	check(err)
	for range 2 {
		ack, err := js.Publish(ctx, "orders", nil, jetstream.WithMsgID("order 1"))
		fmt.Println("published: error", err, "duplicate", ack.Duplicate, "- in the stream", messages(orders))
		check(orders.Purge(ctx))
	}
}

func consumer(s jetstream.Stream, most int) jetstream.Consumer {
	c, err := s.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{Durable: "worker", AckPolicy: jetstream.AckExplicitPolicy, MaxDeliver: most, AckWait: 300 * time.Millisecond})
	check(err)
	return c
}

// deliveries counts how often a message comes, until none has come for two seconds.
func deliveries(c jetstream.Consumer) (n int) {
	for {
		batch, err := c.Fetch(1, jetstream.FetchMaxWait(2*time.Second))
		check(err)
		before := n
		for range batch.Messages() {
			n++
		}
		if n == before {
			return n
		}
	}
}

func messages(s jetstream.Stream) uint64 {
	info, err := s.Info(ctx)
	check(err)
	return info.State.Msgs
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
printf 'module finding\n\ngo 1.26\n' >go.mod
(go get github.com/nats-io/nats-server/v2@v2.15.3 github.com/nats-io/nats.go@v1.55.0 && go mod tidy) >get.log 2>&1 || { cat get.log; exit 1; }
seen=$(go run . "$dir/store")
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
deliveries without an ack: 2
the consumer: pending 0 unacknowledged 0 - in the stream 1
deliveries with MaxDeliver 10: 0
deliveries to a new consumer: 2
published: error <nil> duplicate false - in the stream 1
published: error <nil> duplicate true - in the stream 0
SEEN
