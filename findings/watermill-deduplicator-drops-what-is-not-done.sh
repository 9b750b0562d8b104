#!/usr/bin/env bash
# github.com/ThreeDotsLabs/watermill v1.5.1, its middleware.Deduplicator and its pubsub/gochannel.
#
# A good guess: a middleware that drops duplicates drops a message that was done already, and no other. Its
# comment says that collisions of its hash cannot be avoided entirely. Seen, without an error to the publisher:
#   - It remembers a message before the handler has done it. If the handler fails once, the next delivery of
#     the same message passes for a duplicate. It is acknowledged, and never done.
#   - The default hash is Adler-32 of the payload. Of 10,000 orders in short JSON, no two alike, 7,741 pass for
#     duplicates within its minute, and are never done. With NewMessageHasherSHA256 each is done.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"
)

func main() {
	byDefault := func() message.HandlerMiddleware { return (&middleware.Deduplicator{}).Middleware }
	bySHA := (&middleware.Deduplicator{KeyFactory: middleware.NewMessageHasherSHA256(1 << 20)}).Middleware
	none := func(h message.HandlerFunc) message.HandlerFunc { return h }

	fmt.Println("b fails once, without it:", work(none, []string{"a", "b", "c"}, "b"))
	fmt.Println("b fails once, with it:", work(byDefault(), []string{"a", "b", "c"}, "b"))
	var orders []string
	for i := range 10_000 {
		orders = append(orders, fmt.Sprintf(`{"order":%d,"cents":%d}`, 500_000+i, 100+i*7%900))
	}
	fmt.Println("of 10000 orders, by default:", len(work(byDefault(), orders, "")))
	fmt.Println("of 10000 orders, by SHA-256:", len(work(bySHA, orders, "")))
}

// work publishes the payloads, and returns those that the handler has done. It fails once, for one of them.
func work(with message.HandlerMiddleware, payloads []string, fails string) (done []string) {
	ctx, stop := context.WithCancel(context.Background())
	queue := gochannel.NewGoChannel(gochannel.Config{BlockPublishUntilSubscriberAck: true}, watermill.NopLogger{})
	router, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
	check(err)
	router.AddMiddleware(with)
	router.AddNoPublisherHandler("h", "orders", queue, func(m *message.Message) error {
		if string(m.Payload) == fails {
			fails = ""
			return errors.New("the database is away")
		}
		done = append(done, string(m.Payload))
		return nil
	})
	ended := make(chan error)
	go func() { ended <- router.Run(ctx) }()
	<-router.Running()
	for _, p := range payloads { // Publish returns once the message is acknowledged
		check(queue.Publish("orders", message.NewMessage(watermill.NewUUID(), []byte(p))))
	}
	stop()
	check(<-ended)
	return done
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
go mod init finding >/dev/null 2>&1
go get github.com/ThreeDotsLabs/watermill@v1.5.1 >/dev/null 2>&1
go mod tidy >/dev/null 2>&1
got=$(go run .)
echo "$got"
diff <(echo "$got") - <<'SEEN'
b fails once, without it: [a b c]
b fails once, with it: [a c]
of 10000 orders, by default: 2259
of 10000 orders, by SHA-256: 10000
SEEN
