package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// contender does the work once, and returns how long the work itself took.
type contender struct {
	name string
	run  func(ctx context.Context) (time.Duration, error)
}

// comparison is one line of the table: our flow against a base, in pairs.
type comparison struct {
	key    string
	rows   int
	base   contender
	ours   contender
	target float64 // the least ratio of speeds; 0 only shows it
}

// result holds the speeds of the pairs, in rows per second.
type result struct {
	base, ours []float64
}

// measure runs the pairs. The order alternates, so that neither side always has the
// warm machine.
func (c *comparison) measure(ctx context.Context, pairs int) (*result, error) {
	r := &result{}
	for i := range pairs {
		order := []contender{c.base, c.ours}
		if i%2 == 1 {
			slices.Reverse(order)
		}
		speeds := make(map[string]float64)
		for _, one := range order {
			before := cpuTime()
			took, err := one.run(ctx)
			if err != nil {
				return nil, fmt.Errorf("%s, %s: %w", c.key, one.name, err)
			}
			speeds[one.name] = float64(c.rows) / took.Seconds()
			slog.InfoContext(ctx, c.key, "contender", one.name, "rows/s", int(speeds[one.name]), "CPU ns a row in this process", (cpuTime()-before).Nanoseconds()/int64(c.rows))
		}
		r.base = append(r.base, speeds[c.base.name])
		r.ours = append(r.ours, speeds[c.ours.name])
	}
	return r, nil
}

func (r *result) ratios() []float64 {
	ratios := make([]float64, len(r.ours))
	for i := range ratios {
		ratios[i] = r.ours[i] / r.base[i]
	}
	slices.Sort(ratios)
	return ratios
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}

func header() {
	fmt.Println("| bench | ours | rows/s | against | rows/s | ratio min / median / max | must reach | |")
	fmt.Println("|---|---|---|---|---|---|---|---|")
}

func (c *comparison) print(r *result) {
	ratios := r.ratios()
	target, verdict := "", ""
	if c.target > 0 {
		target, verdict = fmt.Sprintf("≥ %.2f", c.target), "missed"
		if median(ratios) >= c.target {
			verdict = "reached"
		}
	}
	fmt.Printf("| %s | %s | %.0f | %s | %.0f | %.2f / %.2f / %.2f | %s | %s |\n", c.key, c.ours.name, median(r.ours), c.base.name, median(r.base),
		ratios[0], median(ratios), ratios[len(ratios)-1], target, verdict)
}
