#!/usr/bin/env bash
# github.com/vgarvardt/gue/v5 v5.8.0, pgx v5.7.6, PostgreSQL 15.18. Needs npm.
#
# A good guess: what a job writes in its own transaction, Job.Tx, is committed if it succeeds, and
# rolled back if it returns an error, so that its next attempt begins anew. Seen: the error is stored in the same
# transaction, which is then committed, with the job's rows. A job that succeeds the third time has written them
# three times. If the job fails because a statement in the transaction fails, nothing of the error is stored: neither
# its text nor the count of attempts nor a backoff. The job is tried again at each poll, without an end.
set -euo pipefail
. "$(dirname "$0")/lib/postgres.sh"
work=$(mktemp -d)
cd "$work"
cat >main.go <<'GO'
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/vgarvardt/gue/v5"
	"github.com/vgarvardt/gue/v5/adapter/pgxv5"
)

var ctx = context.Background()

func main() {
	pool, err := pgxpool.New(ctx, "host=127.0.0.1 port="+os.Getenv("PORT")+" user=postgres database=postgres sslmode=disable")
	check(err)
	defer pool.Close()
	schema, err := os.ReadFile(filepath.Join(os.Getenv("GUE"), "migrations", "schema.sql"))
	check(err)
	for _, statement := range append(strings.Split(strings.TrimSpace(string(schema)), ";"), `create table paid (invoice int)`, `create table invoice (id int primary key)`) {
		_, err = pool.Exec(ctx, statement)
		check(err)
	}
	client, err := gue.NewClient(pgxv5.NewConnPool(pool), gue.WithClientBackoff(func(int) time.Duration { return 100 * time.Millisecond }))
	check(err)

	attempts := map[string]int{}
	worker, err := gue.NewWorker(client, gue.WorkMap{
		"pay": func(ctx context.Context, j *gue.Job) error {
			attempts[j.Type]++
			if _, err := j.Tx().Exec(ctx, `insert into paid values (7)`); err != nil {
				return err
			}
			if attempts[j.Type] < 3 {
				return errors.New("the bank is away")
			}
			return nil
		},
		"open": func(ctx context.Context, j *gue.Job) error {
			attempts[j.Type]++
			_, err := j.Tx().Exec(ctx, `insert into invoice values (7), (7)`)
			return err
		},
	}, gue.WithWorkerPollInterval(50*time.Millisecond))
	check(err)
	run := func(kind string) {
		check(client.Enqueue(ctx, &gue.Job{Type: kind}))
		within, cancel := context.WithTimeout(ctx, 3*time.Second)
		defer cancel()
		check(worker.Run(within))
	}

	run("pay")
	var n int
	check(pool.QueryRow(ctx, `select count(*) from paid`).Scan(&n))
	fmt.Printf("a job that succeeds at attempt %d has written its row %d times\n", attempts["pay"], n)
	run("open")
	var text *string
	check(pool.QueryRow(ctx, `select error_count, last_error from gue_jobs`).Scan(&n, &text))
	fmt.Printf("a job whose statement fails: more than 10 attempts in 3 seconds: %t; errors stored: %d; the last one is stored: %t\n", attempts["open"] > 10, n, text != nil)
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
printf 'module finding\n\ngo 1.24\n' >go.mod
{ go get github.com/vgarvardt/gue/v5@v5.8.0 github.com/jackc/pgx/v5@v5.7.6 && go mod tidy; } >get.log 2>&1 || { cat get.log; exit 1; }
go build -o finding .
start_postgres "$(mktemp -d)" 15.18.0-beta.17
seen=$(PORT=$PGPORT_FOUND GUE=$(go list -m -f '{{.Dir}}' github.com/vgarvardt/gue/v5) ./finding)
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
a job that succeeds at attempt 3 has written its row 3 times
a job whose statement fails: more than 10 attempts in 3 seconds: true; errors stored: 0; the last one is stored: false
SEEN
cd / && rm -rf "$work"
