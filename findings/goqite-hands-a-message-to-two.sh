#!/usr/bin/env bash
# maragu.dev/goqite v0.4.0 on PostgreSQL 18.4, with github.com/jackc/pgx/v5 v5.12.0. Needs npm.
#
# A good guess, which its README makes a promise: a message that was received is not delivered again
# before its timeout; and ReceiveTx is Receive in a transaction of the caller, as its comment says. Seen,
# on Postgres: several callers of ReceiveTx that ask at once often get the same message, without an
# error. Each finds the oldest one in a subquery, waits for the row, and updates it again, since Postgres
# then looks at the row's id alone. Receive is safe, as it begins a stricter transaction than the usual one.
set -euo pipefail
cd "$(dirname "$0")"
. lib/postgres.sh
start_postgres "$(mktemp -d)" 18.4.0-beta.17
program=$dir/program
mkdir "$program"
cat >"$program/main.go" <<'GO'
package main

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"sync"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	"maragu.dev/goqite"
)

const messages = 500

var ctx = context.Background()

func main() {
	db, err := sql.Open("pgx", "postgres://postgres@127.0.0.1:"+os.Args[1]+"/postgres?sslmode=disable")
	check(err)
	schema, err := os.ReadFile(os.Args[2])
	check(err)
	_, err = db.Exec(string(schema))
	check(err)
	q := goqite.New(goqite.NewOpts{DB: db, Name: "q", SQLFlavor: goqite.SQLFlavorPostgreSQL, Timeout: time.Hour, MaxReceive: 100})
	for range messages {
		check(q.Send(ctx, goqite.Message{Body: []byte("work")}))
	}
	var mu sync.Mutex
	received := make(map[goqite.ID]int)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for {
				tx, err := db.BeginTx(ctx, nil)
				check(err)
				m, err := q.ReceiveTx(ctx, tx)
				check(err)
				check(tx.Commit())
				if m == nil {
					return
				}
				mu.Lock()
				received[m.ID]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	twice := 0
	for _, n := range received {
		if n > 1 {
			twice++
		}
	}
	fmt.Fprintln(os.Stderr, twice, "messages were received more than once within their hour")
	fmt.Println("messages:", len(received), "- some of them more than once:", twice > 0)
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
printf 'module finding\n\ngo 1.25\n' >"$program/go.mod"
(cd "$program" && go get maragu.dev/goqite@v0.4.0 github.com/jackc/pgx/v5@v5.12.0 && go mod tidy) >"$program/get.log" 2>&1 || { cat "$program/get.log"; exit 1; }
got=$(cd "$program" && go run . "$PGPORT_FOUND" "$(go list -m -f '{{.Dir}}' maragu.dev/goqite)/schema_postgres.sql")
echo "$got"
diff <(echo "$got") - <<'SEEN'
messages: 500 - some of them more than once: true
SEEN
