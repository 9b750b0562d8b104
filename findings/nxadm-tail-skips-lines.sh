#!/usr/bin/env bash
# github.com/nxadm/tail v1.4.11, beside GNU tail. Linux.
#
# A good guess: a library that follows a file, and "is designed to work with log rotation tools", as its README says, gives
# each line that is written to it, once. A line whose end is not there yet waits for it, or comes in two pieces.
# Seen, without an error or a line of its log, with Follow and ReOpen:
#   - If it meets half a line, it gives that half, and jumps to the end of the file once it was taken. So what was written
#     meanwhile is lost: the other half, and all the lines after it. A program that writes through a buffer, and a
#     receiver that stores each line, are enough. With CompleteLines, which is off by default, each line comes.
#   - It leaves a file that was renamed without reading it to its end, also with CompleteLines. Some of the lines that were
#     written right before are lost, or nearly all of them if it looks at intervals (Poll). "tail -F" gives each of them.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/nxadm/tail"
)

// follow follows a file, and returns a function that receives lines until none comes for two seconds.
type follow func(path string) (receive func() []string, stop func())

func library(config tail.Config) follow {
	return func(path string) (func() []string, func()) {
		config.Follow, config.ReOpen, config.Logger = true, true, tail.DiscardingLogger
		t, err := tail.TailFile(path, config)
		check(err)
		return func() []string {
			return collect(func() <-chan *tail.Line { return t.Lines }, func(l *tail.Line) string { check(l.Err); return l.Text })
		}, func() { check(t.Stop()) }
	}
}

func gnu(path string) (func() []string, func()) {
	cmd := exec.Command("tail", "-n", "+1", "-F", path)
	out, err := cmd.StdoutPipe()
	check(err)
	check(cmd.Start())
	lines := make(chan string)
	go func() {
		for s := bufio.NewScanner(out); s.Scan(); {
			lines <- s.Text()
		}
	}()
	return func() []string {
		return collect(func() <-chan string { return lines }, func(l string) string { return l })
	}, func() { check(cmd.Process.Kill()); _ = cmd.Wait() }
}

func collect[L any](lines func() <-chan L, text func(L) string) (got []string) {
	for {
		select {
		case l := <-lines():
			got = append(got, text(l))
		case <-time.After(2 * time.Second):
			return got
		}
	}
}

func half(path string, log *os.File, write func(*os.File, string), receive func() []string) []string {
	got := receive()
	write(log, "2, its beginning")
	time.Sleep(time.Second) // the follower has met it
	write(log, " and its end\n3\n4\n")
	got = append(got, receive()...)
	write(log, "5\n")
	return append(got, receive()...)
}

// rotated writes a line and renames the file, 30 times. It says how many of those lines are lost.
func rotated(path string, log *os.File, write func(*os.File, string), receive func() []string) []string {
	received := make(chan []string)
	go func() { received <- receive() }()
	for i := range 30 {
		time.Sleep(600 * time.Millisecond) // the follower has read what was written
		write(log, "last\n")
		check(os.Rename(path, fmt.Sprintf("%s.%d", path, i)))
		time.Sleep(400 * time.Millisecond)
		check(log.Close())
		var err error
		log, err = os.Create(path)
		check(err)
		write(log, "first\n")
	}
	arrive := map[string]int{}
	for _, line := range <-received {
		arrive[line]++
	}
	name := "some"
	if arrive["last"] == 30 {
		name = "no"
	}
	fmt.Fprintf(os.Stderr, "%d of 30 last lines, %d of 30 first lines\n", arrive["last"], arrive["first"])
	return []string{name + " last lines are lost"}
}

func main() {
	for _, f := range []struct {
		name string
		with follow
	}{
		{"nxadm/tail", library(tail.Config{})},
		{"nxadm/tail, CompleteLines", library(tail.Config{CompleteLines: true})},
		{"nxadm/tail, Poll, CompleteLines", library(tail.Config{CompleteLines: true, Poll: true})},
		{"GNU tail", gnu},
	} {
		for _, c := range []struct {
			name string
			run  func(string, *os.File, func(*os.File, string), func() []string) []string
		}{{"half a line", half}, {"rotated", rotated}} {
			dir, err := os.MkdirTemp(".", "log")
			check(err)
			path := filepath.Join(dir, "orders.log")
			log, err := os.Create(path)
			check(err)
			write := func(log *os.File, text string) {
				_, err := log.WriteString(text)
				check(err)
			}
			write(log, "1\n")
			receive, stop := f.with(path)
			got := c.run(path, log, write, receive)
			stop()
			fmt.Printf("%s, %s: %s\n", f.name, c.name, strings.Join(got, " | "))
		}
	}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
printf 'module finding\n\ngo 1.24\n' >go.mod
{ go get github.com/nxadm/tail@v1.4.11 && go mod tidy; } >get.log 2>&1 || { cat get.log; exit 1; }
seen=$(go run .)
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
nxadm/tail, half a line: 1 | 2, its beginning | 5
nxadm/tail, rotated: some last lines are lost
nxadm/tail, CompleteLines, half a line: 1 | 2, its beginning and its end | 3 | 4 | 5
nxadm/tail, CompleteLines, rotated: some last lines are lost
nxadm/tail, Poll, CompleteLines, half a line: 1 | 2, its beginning and its end | 3 | 4 | 5
nxadm/tail, Poll, CompleteLines, rotated: some last lines are lost
GNU tail, half a line: 1 | 2, its beginning and its end | 3 | 4 | 5
GNU tail, rotated: no last lines are lost
SEEN
