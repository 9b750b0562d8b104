// Command benchmarks compares flows with programs that do the same work without this
// library. It runs them in pairs on one machine and prints one table.
//
//	DATAFLOW_BENCH_ROWS=200000 DATAFLOW_BENCH_PAIRS=3 go run . [part of a bench's name …]
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/benchmarks/internal/server"
	"github.com/activedataflow/dataflow/dataflowpgx"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// number is a setting from the environment.
func number(name string, otherwise int) (int, error) {
	text := os.Getenv(name)
	if text == "" {
		return otherwise, nil
	}
	return strconv.Atoi(text)
}

func run(ctx context.Context, only []string) (err error) {
	rows, rowsErr := number("DATAFLOW_BENCH_ROWS", 1_000_000)
	pairs, pairsErr := number("DATAFLOW_BENCH_PAIRS", 5)
	if err := errors.Join(rowsErr, pairsErr); err != nil {
		return err
	}
	s, err := server.Open(ctx, "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close(ctx)) }()
	dir, err := os.MkdirTemp("", "dataflow-bench-files-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	w, err := newWork(ctx, s.URL, rows, dir)
	if err != nil {
		return err
	}
	defer w.pool.Close()
	if err := w.migrate(ctx); err != nil {
		return err
	}
	if err := w.prepare(ctx); err != nil {
		return err
	}
	stopServer, err := w.serve()
	if err != nil {
		return err
	}
	defer stopServer()
	fmt.Printf("%s rows, %d pairs; %s\n\n", strconv.Itoa(rows), pairs, server.Machine(ctx, w.pool))
	header()
	stop, err := profile(os.Getenv("DATAFLOW_BENCH_PROFILE"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	for _, c := range w.comparisons() {
		if len(only) > 0 && !slices.ContainsFunc(only, func(part string) bool { return strings.Contains(c.key, part) }) {
			continue
		}
		r, err := c.measure(ctx, pairs)
		if err != nil {
			return err
		}
		c.print(r)
	}
	if len(only) == 0 || slices.Contains(only, "memory") {
		if err := w.measureMemory(ctx, pairs); err != nil {
			return err
		}
	}
	if len(only) == 0 || slices.Contains(only, "wide") {
		if err := w.measureWide(ctx); err != nil {
			return err
		}
	}
	// Only on request, because these need ten times as many rows.
	if speed, memory := slices.Contains(only, "growth"), slices.Contains(only, "peak"); speed || memory {
		return w.measureGrowth(ctx, pairs, speed, memory)
	}
	return nil
}

// profile writes a CPU profile of this process to a file; an empty path means none.
func profile(path string) (stop func() error, err error) {
	if path == "" {
		return func() error { return nil }, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	return func() error { pprof.StopCPUProfile(); return f.Close() }, pprof.StartCPUProfile(f)
}

// migrate creates the library's tables.
func (w *work) migrate(ctx context.Context) error {
	client, err := dataflow.NewClient(dataflowpgx.New(w.pool), nil)
	if err != nil {
		return err
	}
	return client.Migrate(ctx)
}

// comparisons are the lines of the table.
func (w *work) comparisons() []comparison {
	def := dataflow.Heartbeat{}
	insertFlow := w.timed("flow", w.reset, true, flow(w, "insert", w.keyset, insert, def))
	upsertEmpty := w.timed("flow", w.reset, true, flow(w, "upsert", w.keyset, upsert, def))
	upsertFull := w.timed("flow", w.fill, true, flow(w, "upsert", w.keyset, upsert, def))
	csvFlow := w.timed("flow", w.reset, true, flow(w, "csv", w.csv, insert, def))
	sized := func(n int) contender {
		return w.timed(fmt.Sprintf("flow, batches of %d", n), w.reset, true, flow(w, "insert", w.keyset, insert, dataflow.Heartbeat{BatchSize: n}))
	}
	bad := contender{name: "flow, a bad record in 10,000", run: func(ctx context.Context) (time.Duration, error) {
		w.missing = w.rows / badEvery
		defer func() { w.missing = 0 }()
		return w.timed("", w.reset, true, w.withBad).run(ctx)
	}}
	return []comparison{
		{key: "insert / loop", rows: w.rows, target: 2, ours: insertFlow, base: w.timed("page, CopyFrom, cursor", w.reset, true, w.loop)},
		{key: "insert / pipe", rows: w.rows, target: 0.85, ours: insertFlow, base: w.timed("psql \\| psql", w.reset, false, w.pipe)},
		{key: "upsert, empty target", rows: w.rows, target: 1, ours: upsertEmpty, base: w.timed("insert … select … on conflict", w.reset, true, w.server)},
		{key: "upsert, full target", rows: w.rows, target: 0.95, ours: upsertFull, base: w.timed("insert … select … on conflict", w.fill, true, w.server)},
		{key: "redundant", rows: w.rows, target: 1.5, ours: w.timed("upsert of what is there", w.fillAgain, true, w.again), base: w.timed("upsert that changes all rows", w.fill, true, flow(w, "upsert", w.keyset, upsert, def))},
		{key: "checkpoint every 1000", rows: w.rows, target: 0.95, ours: sized(1000), base: w.timed("the same, without checkpoints", w.reset, true, w.withoutCheckpoints(1000))},
		{key: "CSV / CopyFrom", rows: w.rows, target: 1.8, ours: csvFlow, base: w.timed("encoding/csv, CopyFrom", w.reset, true, w.loadCSV)},
		{key: "CSV / psql", rows: w.rows, target: 1, ours: csvFlow, base: w.timed("psql \\copy", w.reset, false, w.psqlCSV)},
		{key: "JSONL / CopyFrom", rows: w.rows, target: 2, ours: w.timed("flow", w.reset, true, flow(w, "jsonl", w.jsonl, insert, def)), base: w.timed("encoding/json, CopyFrom", w.reset, true, w.loadJSONL)},
		{key: "HTTP / loop", rows: w.rows, target: 3, ours: w.timed("flow", w.reset, true, flow(w, "http", w.http, insert, def)), base: w.timed("net/http, encoding/json, CopyFrom a page", w.reset, true, w.httpLoop)},
		{key: "peer: River job", rows: w.rows, target: 1, ours: insertFlow, base: w.timed("ResumableStepCursor, pages of 1,000", w.reset, true, w.riverJob(1000))},
		{key: "peer: River job, large pages", rows: w.rows, target: 1, ours: insertFlow, base: w.timed("ResumableStepCursor, pages of 10,000", w.reset, true, w.riverJob(10_000))},
		{key: "peer: DBOS workflow", rows: w.rows, target: 1, ours: insertFlow, base: w.timed("RunAsTransaction, pages of 1,000", w.resetDBOS, true, w.dbosWorkflow(1000))},
		{key: "peer: DBOS workflow, large pages", rows: w.rows, target: 1, ours: insertFlow, base: w.timed("RunAsTransaction, pages of 10,000", w.resetDBOS, true, w.dbosWorkflow(10_000))},
		{key: "peer: DBOS steps", rows: w.rows, target: 1, ours: insertFlow, base: w.timed("RunAsStep, pages of 1,000", w.resetDBOS, true, w.dbosSteps(1000))},
		{key: "peer: DBOS steps, large pages", rows: w.rows, target: 1, ours: insertFlow, base: w.timed("RunAsStep, pages of 10,000", w.resetDBOS, true, w.dbosSteps(10_000))},
		{key: "telemetry", rows: w.rows, target: 0.97, ours: w.timed("flow with traces and metrics", w.reset, true, w.observed), base: insertFlow},
		{key: "dead letters", rows: w.rows, target: 0.7, ours: bad, base: insertFlow},
		{key: "batch size 100", rows: w.rows, ours: sized(100), base: insertFlow},
		{key: "batch size 1000", rows: w.rows, ours: sized(1000), base: insertFlow},
		{key: "batch size 10000", rows: w.rows, ours: sized(10000), base: insertFlow},
	}
}
