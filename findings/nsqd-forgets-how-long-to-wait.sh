#!/usr/bin/env bash
# github.com/nsqio/nsq v1.3.0 (its nsqd, in process), github.com/nsqio/go-nsq v1.1.0.
#
# A good guess: a message that was published with a delay of an hour, or sent back with one after a failure, is delivered
# in an hour at the earliest. nsqd keeps its messages on disk when it stops, and its log counts the deferred ones among
# them. Seen, without an error:
#   - After a restart of nsqd, as for an update, all of them are delivered at once. So reminders and retries of the
#     next hour are done now, all together.
#   - Without a restart too, if the topic has no channel yet. Then messages wait in the topic, of which it holds as many as
#     --mem-queue-size says in memory, 10 here and 10,000 by default. The others are on disk, and lose their delay there.
# The READMEs and the comments of DeferredPublish and Requeue do not say so. A comment inside nsqd's topic.go does, and its
# maintainers call it a known limitation in nsqio/nsq issue 1107.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"fmt"
	"io"
	"log"
	"os"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nsqio/go-nsq"
	"github.com/nsqio/nsq/nsqd"
)

var said strings.Builder

func main() {
	server := start("restart", 10_000)
	channel(server)
	publish(server, 3, time.Hour)
	fmt.Println("3 messages with a delay of an hour, delivered at once:", delivered(server, nil))
	stop(server)
	server = start("restart", 10_000)
	fmt.Println("after a restart:", delivered(server, nil))
	stop(server)

	server = start("requeue", 10_000)
	channel(server)
	publish(server, 3, 0)
	later := func(m *nsq.Message) { m.RequeueWithoutBackoff(time.Hour) }
	fmt.Println("3 messages that fail, delivered and sent back for an hour:", delivered(server, later))
	fmt.Println("delivered again:", delivered(server, nil))
	stop(server)
	server = start("requeue", 10_000)
	fmt.Println("after a restart:", delivered(server, nil))
	stop(server)

	server = start("topic", 10)
	publish(server, 30, time.Hour)
	channel(server)
	fmt.Println("30 with a delay of an hour, before there is a channel, delivered at once:", delivered(server, nil) > 0)
	stop(server)
	fmt.Println("in the log:", regexp.MustCompile("flushing .*").FindString(said.String()))
}

func start(folder string, memory int64) *nsqd.NSQD {
	check(os.MkdirAll(folder, 0o755))
	options := nsqd.NewOptions()
	options.Logger = log.New(&said, "", 0)
	options.TCPAddress, options.HTTPAddress, options.HTTPSAddress = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	options.DataPath = folder
	options.MemQueueSize = memory
	server, err := nsqd.New(options)
	check(err)
	check(server.LoadMetadata())
	check(server.PersistMetadata())
	go func() { check(server.Main()) }()
	return server
}

func stop(server *nsqd.NSQD) { server.Exit() }

func channel(server *nsqd.NSQD) { server.GetTopic("reminders").GetChannel("mail") }

func publish(server *nsqd.NSQD, n int, delay time.Duration) {
	producer, err := nsq.NewProducer(server.RealTCPAddr().String(), nsq.NewConfig())
	check(err)
	producer.SetLogger(log.New(io.Discard, "", 0), nsq.LogLevelError)
	for range n {
		if delay > 0 {
			check(producer.DeferredPublish("reminders", delay, []byte("pay")))
		} else {
			check(producer.Publish("reminders", []byte("pay")))
		}
	}
	producer.Stop()
}

// delivered is how many messages arrive within some seconds.
func delivered(server *nsqd.NSQD, do func(*nsq.Message)) (n int32) {
	config := nsq.NewConfig()
	config.MaxInFlight = 100
	consumer, err := nsq.NewConsumer("reminders", "mail", config)
	check(err)
	consumer.SetLogger(log.New(io.Discard, "", 0), nsq.LogLevelError)
	consumer.AddHandler(nsq.HandlerFunc(func(m *nsq.Message) error {
		atomic.AddInt32(&n, 1)
		if do != nil {
			do(m)
		}
		return nil
	}))
	check(consumer.ConnectToNSQD(server.RealTCPAddr().String()))
	time.Sleep(4 * time.Second)
	consumer.Stop()
	<-consumer.StopChan
	return atomic.LoadInt32(&n)
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
printf 'module finding\n\ngo 1.24\n' >go.mod
{ go get github.com/nsqio/nsq@v1.3.0 github.com/nsqio/go-nsq@v1.1.0 && go mod tidy; } >get.log 2>&1 || { cat get.log; exit 1; }
seen=$(go run .)
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
3 messages with a delay of an hour, delivered at once: 0
after a restart: 3
3 messages that fail, delivered and sent back for an hour: 3
delivered again: 0
after a restart: 3
30 with a delay of an hour, before there is a channel, delivered at once: true
in the log: flushing 0 memory 0 in-flight 3 deferred messages to backend
SEEN
