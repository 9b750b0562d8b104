package main

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
)

// With more rows, speed must keep 90 %, memory may grow by a quarter, and must stay
// below mostMB.
const (
	leastGrowth = 0.9
	mostMemory  = 1.25
	mostMB      = 64
)

// size is the result for a number of rows.
type size struct {
	rows  int
	speed float64 // in rows per second
	peak  float64 // in MB above the idle process
}

// measureGrowth prints the speed and the memory of inserts for growing numbers of
// rows. The sizes of a round follow each other, so that all are measured on the
// machine in the same state.
func (w *work) measureGrowth(ctx context.Context, pairs int, speed, memory bool) error {
	growths := []int{1, 3, 10}
	last := w.rows * slices.Max(growths)
	if err := w.exec(ctx, fmt.Sprintf("insert into src %s", generated(w.rows+1, last)), "vacuum (freeze, analyze) src"); err != nil {
		return err
	}
	all := make([][]size, len(growths))
	for range pairs {
		for i, g := range growths {
			s, err := w.part(w.rows * g).insertOnce(ctx)
			if err != nil {
				return err
			}
			all[i] = append(all[i], s)
			slog.InfoContext(ctx, "growth", "rows", s.rows, "rows/s", int(s.speed), "peak MB", int(s.peak))
		}
	}
	middle := func(of []size, value func(size) float64) float64 {
		values := make([]float64, len(of))
		for i := range of {
			values[i] = value(of[i])
		}
		return median(values)
	}
	fmt.Println("\n| insert, rows | rows/s | peak memory above idle, MB |\n|---|---|---|")
	var speeds, peaks []float64
	for _, of := range all {
		speeds = append(speeds, middle(of, func(s size) float64 { return s.speed }))
		peaks = append(peaks, middle(of, func(s size) float64 { return s.peak }))
		fmt.Printf("| %d | %.0f | %.0f |\n", of[0].rows, speeds[len(speeds)-1], peaks[len(peaks)-1])
	}
	fmt.Println()
	if speed {
		judge("growth", slices.Min(speeds)/speeds[0], "of the speed of the fewest rows", slices.Min(speeds) >= leastGrowth*speeds[0])
	}
	if memory {
		judge("peak memory", slices.Max(peaks)/peaks[0], "of the memory for the fewest rows", slices.Max(peaks) <= min(mostMemory*peaks[0], mostMB))
	}
	return nil
}

func judge(what string, ratio float64, of string, reached bool) {
	verdict := "missed"
	if reached {
		verdict = "reached"
	}
	fmt.Printf("%s: %.2f %s: %s\n", what, ratio, of, verdict)
}

// part is the same work for the first n rows.
func (w *work) part(n int) *work {
	p := *w
	p.rows = n
	w.run++ // for the flow's name
	p.run = w.run
	return &p
}

// insertOnce works a flow of inserts.
func (w *work) insertOnce(ctx context.Context) (size, error) {
	source := pgtable.Keyset[row](w.pool, pgtable.Query{SQL: fmt.Sprintf("select id, name, amount, updated_at from src where id <= %d", w.rows), Key: []string{"id"}})
	var peak float64
	one := w.timed("flow", w.reset, true, func(ctx context.Context) (err error) {
		f := dataflow.NewFlow(fmt.Sprintf("growth %d", w.run), source, transform(), insert(), nil)
		peak, err = peakMemory(func() error { return w.execute(ctx, f) })
		return err
	})
	took, err := one.run(ctx)
	return size{rows: w.rows, speed: float64(w.rows) / took.Seconds(), peak: peak}, err
}

// peakMemory returns the most memory that the process used during f above its use
// before, in MB.
func peakMemory(f func() error) (float64, error) {
	debug.FreeOSMemory()
	// Reset the kernel's peak to the current use.
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		return 0, err
	}
	idle, err := memoryStatus("VmRSS")
	if err != nil {
		return 0, err
	}
	if err := f(); err != nil {
		return 0, err
	}
	peak, err := memoryStatus("VmHWM")
	return float64(peak-idle) / 1024, err
}

// memoryStatus reads a line of /proc/self/status, in kB.
func memoryStatus(name string) (int, error) {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return 0, err
	}
	defer f.Close() //nolint:errcheck // the file was only read
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), name+":"); ok {
			return strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(value, "kB")))
		}
	}
	return 0, fmt.Errorf("/proc/self/status has no %s", name)
}
