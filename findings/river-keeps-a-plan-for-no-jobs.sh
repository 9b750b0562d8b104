#!/usr/bin/env bash
# github.com/riverqueue/river v0.51.1, with riverpgxv5, and PostgreSQL 18.4 with default settings.
#
# A good guess: a queue that was empty for a while is as fast as any when many jobs are inserted at once.
# Seen: an idle client asks for jobs again and again by a prepared statement, and from the sixth time on
# Postgres keeps a plan for it. If river_job was analysed while it was empty, as autovacuum does after a
# clean-up, that plan is for a table without rows. It sorts and joins all jobs that are there at each
# fetch of a hundred. So 10,000 jobs without work take many times as long as for a client that started after
# they were inserted, until something analyses the table again. Autovacuum is off here in both runs, so
# that it does not end the slow one by chance; by default it comes within a minute or so.
set -euo pipefail
cd "$(dirname "$0")"
. lib/postgres.sh
start_postgres "$(mktemp -d)" 18.4.0-beta.17 autovacuum=off
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

const jobs = 10_000

type noop struct{}

func (noop) Kind() string { return "noop" }

var worked atomic.Int64

type worker struct{ river.WorkerDefaults[noop] }

func (worker) Work(context.Context, *river.Job[noop]) error { worked.Add(1); return nil }

var ctx = context.Background()

// drained inserts jobs, and returns how long a client takes to work them. It is idle before, or
// starts after they were inserted.
func drained(pool *pgxpool.Pool, idleBefore bool) time.Duration {
	_, err := pool.Exec(ctx, "truncate river_job; analyze river_job")
	check(err)
	worked.Store(0)
	workers := river.NewWorkers()
	river.AddWorker(workers, worker{})
	own, err := pgxpool.New(ctx, os.Getenv("URL")) // connections without prepared statements
	check(err)
	defer own.Close()
	client, err := river.NewClient(riverpgxv5.New(own), &river.Config{
		Queues: map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 100}}, Workers: workers, FetchCooldown: 10 * time.Millisecond, FetchPollInterval: 100 * time.Millisecond,
	})
	check(err)
	start := func() { check(client.Start(ctx)) }
	if idleBefore {
		start()
		time.Sleep(8 * time.Second)
	}
	params := make([]river.InsertManyParams, jobs)
	for i := range params {
		params[i].Args = noop{}
	}
	_, err = client.InsertManyFast(ctx, params)
	check(err)
	if !idleBefore {
		_, err := pool.Exec(ctx, "analyze river_job")
		check(err)
		start()
	}
	began := time.Now()
	for worked.Load() < jobs && time.Since(began) < 10*time.Minute {
		time.Sleep(20 * time.Millisecond)
	}
	took := time.Since(began)
	check(client.StopAndCancel(ctx))
	return took
}

func main() {
	pool, err := pgxpool.New(ctx, os.Getenv("URL"))
	check(err)
	migrator, err := rivermigrate.New(riverpgxv5.New(pool), nil)
	check(err)
	_, err = migrator.Migrate(ctx, rivermigrate.DirectionUp, nil)
	check(err)
	fresh, idle := drained(pool, false), drained(pool, true)
	fmt.Fprintln(os.Stderr, "started after:", fresh, "idle before:", idle)
	fmt.Println("a client that was idle before takes more than three times as long:", idle > 3*fresh)
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
printf 'module finding\n\ngo 1.26\n' >go.mod
(go get github.com/riverqueue/river@v0.51.1 github.com/riverqueue/river/riverdriver/riverpgxv5@v0.51.1 && go mod tidy && go build -o program .) >get.log 2>&1 || { cat get.log; exit 1; }
got=$(URL="postgres://postgres@127.0.0.1:$PGPORT_FOUND/postgres?sslmode=disable" ./program 2>seen.log)
cat seen.log
echo "$got"
diff <(echo "$got") - <<'SEEN'
a client that was idle before takes more than three times as long: true
SEEN
