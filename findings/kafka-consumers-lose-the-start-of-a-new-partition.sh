#!/usr/bin/env bash
# github.com/IBM/sarama v1.61.1, github.com/twmb/franz-go v1.22.3, with the broker in process of
# github.com/twmb/franz-go/pkg/kfake v0.0.0-20260918054303-01f206a7e32c.
#
# A good guess: a group that begins at the end of a topic ("latest", sarama's default) leaves out what was there when it
# began, and gets each record from then on. Seen, without an error: if the topic gets another partition, its first
# records never arrive. A consumer learns of the partition when it next asks for the topic, after ten minutes by default in
# sarama, and five in franz-go; here both after ten seconds. Producers that learn of it sooner write to it meanwhile. Then
# the group, which has no offset for it, begins at its end. No lag shows: what was left out is before the group's offset.
# sarama's comments do not mention it. franz-go's comment of AtEnd points to AfterMilli, which gets all of them; so does
# a group that begins at the start.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

const refresh = 10 * time.Second

var (
	ctx = context.Background()
	mu  sync.Mutex
	got = map[string][]string{}
)

func main() {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "orders"))
	check(err)
	defer cluster.Close()
	brokers := cluster.ListenAddrs()
	producer, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	check(err)
	produce := func(partition int32, text string) {
		check(producer.ProduceSync(ctx, &kgo.Record{Topic: "orders", Partition: partition, Value: []byte(text)}).FirstErr())
	}
	produce(0, "old")

	withSarama("sarama", brokers)
	withFranz("franz-go AtEnd", brokers, kgo.NewOffset().AtEnd())
	withFranz("franz-go AfterMilli", brokers, kgo.NewOffset().AfterMilli(time.Now().UnixMilli()+1))
	withFranz("franz-go AtStart", brokers, kgo.NewOffset().AtStart())
	groups := []string{"sarama", "franz-go AtEnd", "franz-go AfterMilli", "franz-go AtStart"}

	for !all(groups, "begun") { // until each has joined
		produce(0, "begun")
		time.Sleep(time.Second)
	}
	admin := kadm.NewClient(producer)
	_, err = admin.UpdatePartitions(ctx, 2, "orders")
	check(err)
	writer, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner())) // which knows of it
	check(err)
	producer = writer
	produce(1, "first")
	produce(1, "second")
	for !all(groups, "late") { // until each has found the partition
		produce(1, "late")
		time.Sleep(time.Second)
	}
	time.Sleep(3 * time.Second)

	for _, group := range groups {
		mu.Lock()
		seen := slices.Compact(slices.Clone(got[group]))
		mu.Unlock()
		seen = slices.DeleteFunc(seen, func(text string) bool { return text == "begun" || text == "late" })
		fmt.Printf("%s: %s\n", group, strings.Join(append(seen, "and the later ones"), ", "))
	}
	lags, err := admin.Lag(ctx, "sarama")
	check(err)
	fmt.Println("lag of the group of sarama:", lags["sarama"].Lag.Total())
}

func withFranz(group string, brokers []string, from kgo.Offset) {
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumerGroup(group), kgo.ConsumeTopics("orders"),
		kgo.ConsumeResetOffset(from), kgo.MetadataMaxAge(refresh))
	check(err)
	go func() {
		for {
			client.PollFetches(ctx).EachRecord(func(r *kgo.Record) { add(group, string(r.Value)) })
		}
	}()
}

func withSarama(group string, brokers []string) {
	config := sarama.NewConfig()
	config.Metadata.RefreshFrequency = refresh
	consumer, err := sarama.NewConsumerGroup(brokers, group, config)
	check(err)
	go func() {
		for {
			check(consumer.Consume(ctx, []string{"orders"}, handler{group}))
		}
	}()
}

type handler struct{ group string }

func (handler) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (handler) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (h handler) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for m := range claim.Messages() {
		add(h.group, string(m.Value))
		session.MarkMessage(m, "")
	}
	return nil
}

func add(group, text string) {
	mu.Lock()
	defer mu.Unlock()
	got[group] = append(got[group], text)
}

func all(groups []string, text string) bool {
	mu.Lock()
	defer mu.Unlock()
	return !slices.ContainsFunc(groups, func(group string) bool { return !slices.Contains(got[group], text) })
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
printf 'module finding\n\ngo 1.25\n' >go.mod
{ go get github.com/IBM/sarama@v1.61.1 github.com/twmb/franz-go@v1.22.3 github.com/twmb/franz-go/pkg/kadm@v1.20.0 \
  github.com/twmb/franz-go/pkg/kfake@v0.0.0-20260918054303-01f206a7e32c && go mod tidy; } >get.log 2>&1 || { cat get.log; exit 1; }
seen=$(timeout 150 go run .)
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
sarama: and the later ones
franz-go AtEnd: and the later ones
franz-go AfterMilli: first, second, and the later ones
franz-go AtStart: old, first, second, and the later ones
lag of the group of sarama: 0
SEEN
