package main

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"runtime"
	"syscall"
	"time"

	"github.com/activedataflow/dataflow"
)

// memoryRecords is the number of records of the benchmark in memory.
const memoryRecords = 5_000_000

// record is small and plain, so that the engine's own cost is measured.
type record struct {
	ID     int64
	Amount float64
}

func raise(r record) record   { r.Amount *= 1.1; return r }
func wanted(r record) bool    { return r.ID%10 != 0 }
func nth(i int) record        { return record{ID: int64(i), Amount: float64(i % 1000)} }
func (w *work) inMemory() int { return min(memoryRecords, 5*w.rows) }

// memory yields records that are created when they are read.
type memory struct{ n int }

func (m memory) Read(_ context.Context, r dataflow.Request[int]) iter.Seq2[dataflow.Item[record, int], error] {
	return func(yield func(dataflow.Item[record, int], error) bool) {
		for i := r.From; i < m.n; i++ {
			if !yield(dataflow.Item[record, int]{Value: nth(i), Cursor: i + 1, Resume: true}, nil) {
				return
			}
		}
	}
}

// loopInMemory does the same as a plain loop.
func (w *work) loopInMemory() (int, float64) {
	count, sum := 0, 0.0
	for i := range w.inMemory() {
		if r := raise(nth(i)); wanted(r) {
			count++
			sum += r.Amount
		}
	}
	return count, sum
}

// cpuTime returns the CPU time that this process has used on all cores.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// measureMemory prints the engine's cost for each record, in CPU time of all cores,
// with a checkpoint every 100,000 records.
func (w *work) measureMemory(ctx context.Context, pairs int) error {
	n := w.inMemory()
	var cost, allocs []float64
	for range pairs {
		start := cpuTime()
		wantCount, wantSum := w.loopInMemory()
		plain := cpuTime() - start
		count, sum := 0, 0.0
		sink := dataflow.ToTx(dataflow.TxSinkFunc[record](func(_ context.Context, rows []record) error {
			for i := range rows {
				count++
				sum += rows[i].Amount
			}
			return nil
		}))
		w.run++
		steps := dataflow.Pipe(dataflow.Map(func(_ context.Context, r record) (record, error) { return raise(r), nil }), dataflow.Filter(wanted))
		f := dataflow.NewFlow(fmt.Sprintf("memory %d", w.run), memory{n: n}, steps, sink, &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 100_000}})
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start = cpuTime()
		if err := w.execute(ctx, f); err != nil {
			return err
		}
		took := cpuTime() - start
		runtime.ReadMemStats(&after)
		if count != wantCount || sum != wantSum {
			return fmt.Errorf("in memory: %d records of %g, not %d of %g", count, sum, wantCount, wantSum)
		}
		cost = append(cost, float64((took-plain).Nanoseconds())/float64(n))
		allocs = append(allocs, float64(after.Mallocs-before.Mallocs)/float64(n))
		slog.InfoContext(ctx, "in memory", "plain ns", plain.Nanoseconds()/int64(n), "engine ns", cost[len(cost)-1], "allocations", allocs[len(allocs)-1])
	}
	verdict := "missed"
	if median(cost) <= 25 && median(allocs) < 0.005 {
		verdict = "reached"
	}
	fmt.Printf("\nIn memory, map and filter of %d records: the engine costs %.1f ns of CPU time and %.3f allocations a record more than a plain loop (at most 25 ns and 0: %s).\n", n, median(cost), median(allocs), verdict)
	return nil
}
