#!/usr/bin/env bash
# github.com/mikestefanello/backlite v0.6.0, with modernc.org/sqlite v1.62.0.
#
# A good guess: a queue that keeps its tasks in SQLite gives each task to one worker, also while two
# processes have the file open, as in a deploy that starts the new one before it stops the old one. Its
# README does not say otherwise. Seen: a dispatcher reads tasks that nobody has claimed, and then claims
# them by their ids without looking again. So two processes run many tasks twice, without an error.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/mikestefanello/backlite"
	_ "modernc.org/sqlite"
)

const tasks = 2000

type count struct{ N int }

func (count) Config() backlite.QueueConfig {
	return backlite.QueueConfig{Name: "count", MaxAttempts: 1, Timeout: time.Minute}
}

var ctx = context.Background()

func main() {
	db, err := sql.Open("sqlite", "file:queue.db?_pragma=journal_mode(wal)&_pragma=busy_timeout(60000)&_txlock=immediate")
	check(err)
	client, err := backlite.NewClient(backlite.ClientConfig{DB: db, NumWorkers: 4, ReleaseAfter: time.Hour})
	check(err)
	client.Register(backlite.NewQueue(func(ctx context.Context, c count) error {
		_, err := db.ExecContext(ctx, "insert into ran (n) values (?)", c.N)
		return err
	}))
	if len(os.Args) > 1 { // a worker
		for started := 0; started < 2; time.Sleep(time.Millisecond) { // until both have started
			if started == 0 {
				_, err := db.Exec("insert into started default values")
				check(err)
			}
			check(db.QueryRow("select count(*) from started").Scan(&started))
		}
		client.Start(ctx)
		for ran := 0; ran < tasks; time.Sleep(50 * time.Millisecond) {
			check(db.QueryRow("select count(distinct n) from ran").Scan(&ran))
		}
		client.Stop(ctx)
		return
	}
	check(client.Install())
	_, err = db.Exec("create table ran (n int); create table started (n int)")
	check(err)
	for n := range tasks {
		_, err := client.Add(count{n}).Save()
		check(err)
	}
	var workers []*exec.Cmd
	for range 2 {
		w := exec.Command(os.Args[0], "work")
		w.Stderr = os.Stderr
		check(w.Start())
		workers = append(workers, w)
	}
	for _, w := range workers {
		check(w.Wait())
	}
	var distinct, all int
	check(db.QueryRow("select count(distinct n), count(*) from ran").Scan(&distinct, &all))
	fmt.Fprintln(os.Stderr, all-distinct, "tasks ran twice")
	fmt.Println("tasks that ran:", distinct, "- some of them twice:", all > distinct)
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
printf 'module finding\n\ngo 1.26\n' >go.mod
(go get github.com/mikestefanello/backlite@v0.6.0 modernc.org/sqlite@v1.62.0 && go mod tidy) >get.log 2>&1 || { cat get.log; exit 1; }
go build -o program . && seen=$(./program)
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
tasks that ran: 2000 - some of them twice: true
SEEN
