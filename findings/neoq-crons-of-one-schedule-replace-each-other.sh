#!/usr/bin/env bash
# github.com/acaloiaro/neoq v0.72.2, PostgreSQL 15.18. Needs npm.
#
# A good guess: two periodic handlers both run, also when they have the same schedule, and a tick runs
# once, however many processes there are. Seen: StartCron names the queue after the schedule. So of two handlers of one
# schedule, the second takes the place of the first, which never runs; there is no error. Each process enqueues each
# tick. A job of the same tick is a duplicate only as long as the other has not ended: two
# processes run most ticks twice.
set -euo pipefail
. "$(dirname "$0")/lib/postgres.sh"
work=$(mktemp -d)
cd "$work"
cat >main.go <<'GO'
package main

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/acaloiaro/neoq"
	"github.com/acaloiaro/neoq/backends/postgres"
	"github.com/acaloiaro/neoq/handler"
)

var ctx = context.Background()

func main() {
	var reports, invoices, ticks atomic.Int32
	one := open()
	check(one.StartCron(ctx, "* * * * * *", count(&reports)))
	check(one.StartCron(ctx, "* * * * * *", count(&invoices)))
	time.Sleep(10 * time.Second)
	one.Shutdown(ctx)
	fmt.Println("two handlers, every second: the first ran", reports.Load(), "times, the second at least 5 times:", invoices.Load() >= 5)

	for range 2 {
		check(open().StartCron(ctx, "*/2 * * * * *", count(&ticks)))
	}
	time.Sleep(20 * time.Second)
	fmt.Fprintln(os.Stderr, "runs of about 10 ticks:", ticks.Load())
	fmt.Println("two processes, every other second: more runs than ticks:", ticks.Load() > 11)
}

func open() neoq.Neoq {
	nq, err := neoq.New(ctx, neoq.WithBackend(postgres.Backend),
		postgres.WithConnectionString("postgres://postgres@127.0.0.1:"+os.Getenv("PORT")+"/postgres?sslmode=disable"))
	check(err)
	return nq
}

func count(n *atomic.Int32) handler.Handler {
	return handler.NewPeriodic(func(context.Context) error { n.Add(1); return nil })
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
printf 'module finding\n\ngo 1.24\n' >go.mod
{ go get github.com/acaloiaro/neoq@v0.72.2 && go mod tidy; } >get.log 2>&1 || { cat get.log; exit 1; }
go build -o finding .
start_postgres "$(mktemp -d)" 15.18.0-beta.17
seen=$(PORT=$PGPORT_FOUND ./finding)
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
two handlers, every second: the first ran 0 times, the second at least 5 times: true
two processes, every other second: more runs than ticks: true
SEEN
cd / && rm -rf "$work"
