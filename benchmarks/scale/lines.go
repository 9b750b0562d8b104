package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// metrics are what one measurement of one side found, by name.
type metrics map[string]float64

// side does the work once.
type side func(ctx context.Context) (metrics, error)

// bench is a measurement that gives one line or more.
type bench struct {
	key        string
	ours, base side // base is nil if there is nothing to compare with
	baseName   string
	rows       []row
	short      bool // belongs to the short form
	pairs      int  // 0: as many as asked for
}

// row is one line of the table.
type row struct {
	work, metric, unit string
	// kind tells what must reach the target: ours / base, or ours alone.
	kind   kind
	target float64 // 0: nothing
	// firm rows do not depend on the machine. In the short form, a firm row that misses fails.
	firm bool
	// allowed is the target of the short form, if that is another.
	allowed float64
}

type kind int

const (
	shown        kind = iota
	speedAtLeast      // ours / base, more is better
	timeAtMost        // ours / base, less is better
	atMost            // ours alone
	atLeast           // ours alone
)

// The metrics that say what a measurement was bound by: how many cores were busy.
const (
	ownCores    = "own cores"
	serverCores = "server cores"
)

func header() {
	fmt.Println("| work | ours | against | its | ratio min / median / max | must reach | | cores: ours, Postgres / base, Postgres |")
	fmt.Println("|---|---|---|---|---|---|---|---|")
}

// measure measures a bench, in pairs whose order alternates, and prints its rows.
func (e *env) measure(ctx context.Context, b bench) error {
	ours, base := []metrics{}, []metrics{}
	for i := range cmp.Or(b.pairs, e.size.pairs) {
		order := []int{0, 1}
		if i%2 == 1 {
			slices.Reverse(order)
		}
		for _, which := range order {
			one, name := b.ours, "ours"
			if which == 1 {
				one, name = b.base, b.baseName
			}
			if one == nil {
				continue
			}
			m, err := one(ctx)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			slog.InfoContext(ctx, b.key, "side", name, "found", fmt.Sprint(m))
			if which == 0 {
				ours = append(ours, m)
			} else {
				base = append(base, m)
			}
		}
	}
	var failed []error
	for _, r := range b.rows {
		failed = append(failed, r.print(b, ours, base, e.size.short))
	}
	return errors.Join(failed...)
}

func values(all []metrics, name string) []float64 {
	var v []float64
	for _, m := range all {
		if x, ok := m[name]; ok {
			v = append(v, x)
		}
	}
	return v
}

func (r row) print(b bench, ours, base []metrics, short bool) error {
	our, its := values(ours, r.metric), values(base, r.metric)
	if len(our) == 0 {
		return nil
	}
	var ratios []float64
	for i := range min(len(our), len(its)) {
		ratios = append(ratios, our[i]/its[i])
	}
	judged := our
	target, sign := cmp.Or(r.allowedIn(short), r.target), ""
	switch r.kind {
	case speedAtLeast:
		judged, sign = ratios, "≥"
	case timeAtMost:
		judged, sign = ratios, "≤"
	case atMost:
		sign = "≤"
	case atLeast:
		sign = "≥"
	case shown:
	}
	must, verdict := "", ""
	if r.kind != shown && target != 0 && len(judged) > 0 {
		must, verdict = fmt.Sprintf("%s %s", sign, number(target)), "missed"
		got := median(judged)
		if sign == "≥" && got >= target || sign == "≤" && got <= target {
			verdict = "reached"
		}
	}
	against, theirs, ratio := "", "", ""
	if len(its) > 0 {
		against, theirs = b.baseName, spread(its, r.unit)
	}
	if len(ratios) > 0 {
		slices.Sort(ratios)
		ratio = fmt.Sprintf("%.2f / %.2f / %.2f", ratios[0], median(ratios), ratios[len(ratios)-1])
	}
	fmt.Printf("| %s | %s | %s | %s | %s | %s | %s | %s |\n", r.work, spread(our, r.unit), against, theirs, ratio, must, verdict, cores(ours, base))
	if short && r.firm && verdict == "missed" {
		return fmt.Errorf("%s: %s must be %s", r.work, spread(judged, ""), must)
	}
	return nil
}

func (r row) allowedIn(short bool) float64 {
	if short {
		return r.allowed
	}
	return 0
}

// cores says how many cores were busy, if that was measured.
func cores(ours, base []metrics) string {
	text := ""
	for i, all := range [][]metrics{ours, base} {
		own, srv := values(all, ownCores), values(all, serverCores)
		if len(own) == 0 {
			continue
		}
		if i == 1 {
			text += " / "
		}
		text += fmt.Sprintf("%.2f, %.2f", median(own), median(srv))
	}
	return text
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}

// spread writes the median, and the least and the greatest value.
func spread(v []float64, unit string) string {
	text := number(median(v))
	if low, high := slices.Min(v), slices.Max(v); len(v) > 1 {
		text += fmt.Sprintf(" (%s to %s)", number(low), number(high))
	}
	if unit != "" {
		text += " " + unit
	}
	return text
}

func number(x float64) string {
	switch {
	case x == float64(int64(x)) || x >= 1000:
		return fmt.Sprintf("%.0f", x)
	case x >= 10:
		return fmt.Sprintf("%.1f", x)
	default:
		return fmt.Sprintf("%.3g", x)
	}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// quantile returns a quantile of durations, in milliseconds.
func quantile(all []time.Duration, q float64) float64 {
	s := slices.Sorted(slices.Values(all))
	return milliseconds(s[min(int(q*float64(len(s))), len(s)-1)])
}
