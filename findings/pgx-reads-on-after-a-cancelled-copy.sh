#!/usr/bin/env bash
# pgx v5.12.0, Postgres 18.4: after a cancelled PgConn.CopyFrom, pgx goes on to read.
#
# A good guess: CopyFrom has done with its io.Reader when it returns, as io.Copy has, and as
# pgx's own Conn.CopyFrom has, which waits for its goroutine. Seen: if the context ends while the
# reader is busy, PgConn.CopyFrom returns at once, and its goroutine stays in Read. A program that
# gives the next batch to the same reader then loses rows: the COPY of that batch succeeds, without
# an error, and some of its rows went to the connection that is closed. With Conn.CopyFrom, none do.
# The order of the rows is guarded by a mutex here, so this is no race of the program's memory.
set -euo pipefail
cd "$(dirname "$0")"
. lib/postgres.sh
start_postgres "$(mktemp -d)" 18.4.0-beta.17
mkdir "$dir/go" && cd "$dir/go"
cat >main.go <<'GO'
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// batch reads lines. Each takes a while, as an encoding or a download does.
type batch struct {
	mu      sync.Mutex
	lines   []string
	reading int
}

func (b *batch) fill(lines []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines = lines
}

func (b *batch) next() (string, bool) {
	time.Sleep(10 * time.Millisecond)
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.lines) == 0 {
		return "", false
	}
	line := b.lines[0]
	b.lines = b.lines[1:]
	return line, true
}

func (b *batch) count(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reading += n
}

// Read implements io.Reader.
func (b *batch) Read(p []byte) (int, error) {
	b.count(1)
	defer b.count(-1)
	n := 0
	for n < len(p)-100 {
		line, more := b.next()
		if !more {
			break
		}
		n += copy(p[n:], line)
	}
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// Next, Values and Err implement pgx.CopyFromSource.
type rows struct {
	*batch
	line string
}

func (r *rows) Next() (more bool) {
	r.count(1)
	defer r.count(-1)
	r.line, more = r.next()
	return more
}
func (r *rows) Values() ([]any, error) { return []any{r.line}, nil }
func (r *rows) Err() error             { return nil }

func lines(n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprintf("line %d\n", i))
	}
	return all
}

func main() {
	for _, way := range []struct {
		name string
		copy func(ctx context.Context, conn *pgx.Conn, b *batch) error
	}{
		{"PgConn.CopyFrom", func(ctx context.Context, conn *pgx.Conn, b *batch) error {
			_, err := conn.PgConn().CopyFrom(ctx, b, "copy t (line) from stdin")
			return err
		}},
		{"Conn.CopyFrom", func(ctx context.Context, conn *pgx.Conn, b *batch) error {
			_, err := conn.CopyFrom(ctx, pgx.Identifier{"t"}, []string{"line"}, &rows{batch: b})
			return err
		}},
	} {
		first, second := connect(), connect()
		_, err := second.Exec(context.Background(), "drop table if exists t; create table t (line text)")
		check(err)
		b := &batch{lines: lines(1000)}
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		fmt.Printf("%s: cancelled: %v", way.name, way.copy(ctx, first, b) != nil)
		cancel()
		b.mu.Lock()
		fmt.Printf(", still reading: %v", b.reading > 0)
		b.mu.Unlock()
		b.fill(lines(60))
		check(way.copy(context.Background(), second, b))
		var n int
		check(second.QueryRow(context.Background(), "select count(*) from t").Scan(&n))
		fmt.Printf(", all 60 rows of the next batch are in the table: %v\n", n == 60)
	}
}

func connect() *pgx.Conn {
	conn, err := pgx.Connect(context.Background(), os.Getenv("URL"))
	check(err)
	return conn
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
go mod init finding >/dev/null 2>&1
go get github.com/jackc/pgx/v5@v5.12.0 >/dev/null 2>&1
got=$(URL="postgres://postgres@127.0.0.1:$PGPORT_FOUND/postgres" go run .)
echo "$got"
diff <(echo "$got") - <<'SEEN'
PgConn.CopyFrom: cancelled: true, still reading: true, all 60 rows of the next batch are in the table: false
Conn.CopyFrom: cancelled: true, still reading: false, all 60 rows of the next batch are in the table: true
SEEN
