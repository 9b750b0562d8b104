// Command scale measures what a run costs, how many flows a process carries, and what years of
// history change. It compares with bare River, and with DBOS Transact, on one machine, in pairs.
//
//	go run . -pairs 3 [key of a line …]
//	go run . -short
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime/pprof"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/activedataflow/dataflow/benchmarks/internal/server"
)

// sizes are how much the lines measure.
type sizes struct {
	pairs   int
	workers int

	runs, runFlows  int // the tuned line
	defaults        int // the line with River's default settings: so many runs over so many flows
	triggers        int
	samples         int // of a latency
	dueNow, dueMany int // flows that are due at once, and in one minute
	dueHuge         int
	start           int
	startHuge       int
	idle            int
	idleFor         time.Duration
	history         int // ended runs
	rounds          int // how often each list is asked for
	beside          time.Duration
	short           bool
	profile         string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func readFlags() sizes {
	s := sizes{}
	flag.IntVar(&s.pairs, "pairs", 3, "how often each side of a line is measured")
	flag.IntVar(&s.workers, "workers", 100, "how many runs are worked at once")
	flag.IntVar(&s.runs, "runs", 10_000, "no-op runs, with River tuned")
	flag.IntVar(&s.runFlows, "run-flows", 2_000, "the flows of these runs")
	flag.IntVar(&s.defaults, "default-runs", 20_000, "no-op runs and flows, with River's default settings")
	flag.IntVar(&s.triggers, "triggers", 2_000, "how many runs are triggered one by one")
	flag.IntVar(&s.samples, "samples", 200, "how many latencies are measured")
	flag.IntVar(&s.dueNow, "due", 1_000, "flows due at once")
	flag.IntVar(&s.dueMany, "due-many", 10_000, "flows due in one minute")
	flag.IntVar(&s.dueHuge, "due-huge", 100_000, "the largest number of flows due in one minute; 0 leaves the line out")
	flag.IntVar(&s.start, "start", 10_000, "flows that a client starts with")
	flag.IntVar(&s.startHuge, "start-huge", 100_000, "the largest number of flows that a client starts with; 0 leaves the line out")
	flag.IntVar(&s.idle, "idle", 10_000, "flows of an idle process")
	flag.DurationVar(&s.idleFor, "idle-for", 30*time.Second, "how long the idle process is watched")
	flag.IntVar(&s.history, "history", 5_000_000, "ended runs")
	flag.IntVar(&s.rounds, "rounds", 60, "how often each list is asked for")
	flag.DurationVar(&s.beside, "beside", 20*time.Second, "how long runs are worked beside the clean-up")
	flag.BoolVar(&s.short, "short", false, "small sizes; fail on numbers that do not depend on the machine, and only on these")
	flag.StringVar(&s.profile, "profile", "", "a file for a CPU profile of this process")
	flag.Parse()
	if s.short {
		s.pairs, s.workers, s.runs, s.runFlows, s.history, s.rounds = 1, 50, 2_000, 1_000, 50_000, 10
	}
	return s
}

func run(ctx context.Context) (err error) {
	size := readFlags()
	only := flag.Args()
	if err := checkKeys(only, size); err != nil {
		return err
	}
	s, err := server.Open(ctx, "-c max_connections=300 -c shared_preload_libraries=pg_stat_statements -c pg_stat_statements.max=20000 -c pg_stat_statements.track_planning=on")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close(ctx)) }()
	e, err := newEnv(ctx, s, size)
	if err != nil {
		return err
	}
	defer e.admin.Close()
	fmt.Printf("%d pairs; %s\n\n", size.pairs, server.Machine(ctx, e.admin))
	header()
	if size.profile != "" {
		f, err := os.Create(size.profile)
		if err != nil {
			return err
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer func() { pprof.StopCPUProfile(); err = errors.Join(err, f.Close()) }()
	}
	var failed []error
	for _, b := range e.benches() {
		if len(only) > 0 && !slices.Contains(only, b.key) || size.short && !b.short {
			continue
		}
		if err := e.measure(ctx, b); err != nil {
			if ctx.Err() != nil {
				return err
			}
			failed = append(failed, fmt.Errorf("%s: %w", b.key, err))
			fmt.Fprintln(os.Stderr, b.key, err)
		}
	}
	return errors.Join(failed...)
}

// checkKeys returns an error if a key is that of no line. So a mistyped key does not look like a line that was
// measured.
func checkKeys(only []string, size sizes) error {
	var keys []string
	for _, b := range (&env{size: size}).benches() {
		keys = append(keys, b.key)
	}
	for _, key := range only {
		if !slices.Contains(keys, key) {
			return fmt.Errorf("no line has the key %q: use some of %s", key, strings.Join(keys, " "))
		}
	}
	return nil
}
