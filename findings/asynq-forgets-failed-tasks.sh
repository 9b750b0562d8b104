#!/usr/bin/env bash
# github.com/hibiken/asynq v0.26.0, Redis 7.0.15. Needs Debian 12, whose packages it runs from a temporary folder.
#
# A good guess: a task that has failed for the last time stays in the archive, as a letter in a queue of
# dead letters, until somebody runs or deletes it. Seen: the archive of a queue holds 9,999 tasks. Each further
# one deletes one of the oldest, payload and error, without an error or a line in the log. Of 12,000 tasks that
# fail while a service is away, 2,001 are gone. No option sets that number.
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
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/hibiken/asynq"
)

const tasks = 12_000

func main() {
	redis := asynq.RedisClientOpt{Network: "unix", Addr: os.Getenv("SOCKET")}
	client := asynq.NewClient(redis)
	defer client.Close()
	for i := range tasks {
		_, err := client.Enqueue(asynq.NewTask("order", []byte(strconv.Itoa(i))), asynq.MaxRetry(0))
		check(err)
	}
	var failed atomic.Int32
	server := asynq.NewServer(redis, asynq.Config{Concurrency: 1, LogLevel: asynq.WarnLevel})
	check(server.Start(asynq.HandlerFunc(func(context.Context, *asynq.Task) error {
		failed.Add(1)
		return errors.New("the shop is closed")
	})))
	for failed.Load() < tasks {
		time.Sleep(100 * time.Millisecond)
	}
	server.Shutdown()

	inspector := asynq.NewInspector(redis)
	defer inspector.Close()
	info, err := inspector.GetQueueInfo("default")
	check(err)
	fmt.Println("tasks that failed:", info.FailedTotal)
	fmt.Println("tasks in the archive:", info.Archived)
	fmt.Println("tasks in the queue, of any state:", info.Size)
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
printf 'module finding\n\ngo 1.24\n' >go.mod
{ go get github.com/hibiken/asynq@v0.26.0 && go mod tidy; } >get.log 2>&1 || { cat get.log; exit 1; }
go build -o finding .
seen=$(
  ./finding 2>asynq.log
  echo "lines in the log: $(sed 's/.*\(WARN\|ERROR\|FATAL\): //; s/ id=.*//' asynq.log | sort | uniq -c | sed 's/^ *//')"
)
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
tasks that failed: 12000
tasks in the archive: 9999
tasks in the queue, of any state: 9999
lines in the log: 12000 Retry exhausted for task
SEEN
