package schedule_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/schedule"
)

func benchmarks() map[string]schedule.Spec {
	return map[string]schedule.Spec{
		"Interval":        {Interval: time.Minute},
		"PerSecondUTC":    {Cron: "* * * * * *"},
		"PerSecondBerlin": {Cron: "* * * * * *", TimeZone: "Europe/Berlin"},
		"DailyBerlin":     {Cron: "30 2 * * *", TimeZone: "Europe/Berlin"},
		"YearlyBerlin":    {Cron: "@yearly", TimeZone: "Europe/Berlin"},
		"LeapDayBerlin":   {Cron: "0 0 29 2 *", TimeZone: "Europe/Berlin"},
	}
}

func BenchmarkSchedule_Next(b *testing.B) {
	for name, spec := range benchmarks() {
		b.Run(name, func(b *testing.B) {
			s := newSchedule(b, spec)
			from := at(b, "2026-11-01 00:00")
			b.ReportAllocs()
			now := from
			for b.Loop() {
				if now = s.Next(now); now.Year() > 2100 {
					now = from
				}
			}
		})
	}
}

// Counts the ticks of a month of downtime.
func BenchmarkSchedule_Count(b *testing.B) {
	for name, spec := range benchmarks() {
		b.Run(name, func(b *testing.B) {
			s := newSchedule(b, spec)
			from, to := at(b, "2027-03-12 10:00"), at(b, "2027-04-11 10:00")
			for b.Loop() {
				s.Count(from, to)
			}
		})
	}
}

//nolint:paralleltest // testing.AllocsPerRun counts what all goroutines allocate, and panics in parallel tests
func TestSchedule_Allocs(t *testing.T) {
	for name, spec := range benchmarks() {
		s := newSchedule(t, spec)
		now := at(t, "2027-03-27 10:00")
		require.Zero(t, testing.AllocsPerRun(100, func() { now = s.Next(now) }), name)
	}
}
