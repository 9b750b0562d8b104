package week_test

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/activedataflow/dataflow"
)

var zones = []string{
	"", "UTC", "Europe/Berlin", "Europe/Berlin", "America/New_York", "America/Havana", "Asia/Beirut", "Australia/Lord_Howe", "Asia/Kolkata", "Pacific/Apia",
}

// changes are days with clock changes in some of the zones.
var changes = []string{"2027-03-28", "2027-10-31", "2026-11-01", "2027-03-14", "2027-10-03", "2027-04-04"}

func pick[T any](dice *rand.Rand, from ...T) T { return from[dice.IntN(len(from))] }

// newSpecs invents flows. What depends only on i makes sure that every kind occurs.
func newSpecs(dice *rand.Rand, n int, start time.Time) []*spec {
	specs := make([]*spec, n)
	for i := range specs {
		s := &spec{
			name: fmt.Sprintf("flow-%03d", i), queue: i%3 == 1, cursor: dice.IntN(2) == 0, attempts: pick(dice, 1, 1, 3),
			slow: pick(dice, 0.03, 0.1, 0.4), longest: pick(dice, time.Hour, 5*time.Hour, 20*time.Hour), late: pick(dice, 0, 0.3), disabled: dice.IntN(25) == 0,
		}
		s.setTiming(dice, start, i)
		s.setOverlap(i)
		s.setCatchUp(dice, i/2)
		o := s.schedule.Overlap
		if s.slots() == 1 && o != dataflow.OverlapCancelOther && dice.IntN(3) == 0 {
			s.schedule.PauseAfter, s.attempts = pick(dice, 1, 2, 3), 1
			s.schedule.ProbeAfter = pick(dice, 0, -1, 40*time.Minute, 40*time.Minute, 5*time.Hour)
			s.flaky = 0.15
		}
		specs[i] = s
	}
	return specs
}

func (s *spec) setCatchUp(dice *rand.Rand, i int) {
	h := &s.schedule
	h.CatchUp, h.CatchUpWindow, h.CatchUpMax = []dataflow.CatchUp{"", dataflow.CatchUpLatest, dataflow.CatchUpNone}[i%3], 0, 0
	if h.Overlap == dataflow.OverlapBufferAll && dice.IntN(3) > 0 {
		h.CatchUp, h.CatchUpMax = dataflow.CatchUpAll, pick(dice, 0, 1, 3, 20)
	}
	if h.CatchUp != dataflow.CatchUpNone && dice.IntN(2) == 0 {
		h.CatchUpWindow = pick(dice, time.Minute, 20*time.Minute, 2*time.Hour, 9*time.Hour)
	}
}

// setTiming chooses the schedule's times.
func (s *spec) setTiming(dice *rand.Rand, start time.Time, i int) {
	h := &s.schedule
	s.interval, h.Cron, h.TimeZone, h.Start, h.End, h.Stagger = 0, "", "", time.Time{}, time.Time{}, 0
	switch i % 5 {
	case 0, 1:
		s.interval = pick(dice, 97*time.Minute, 3*time.Hour, 3*time.Hour, 6*time.Hour, 8*time.Hour, 24*time.Hour, 24*time.Hour, 3*time.Hour+7*time.Second+11*time.Millisecond)
		if i%100 == 0 {
			s.interval = pick(dice, time.Minute, 7*time.Minute, 10*time.Minute)
		}
		if dice.IntN(4) == 0 {
			h.Stagger = pick(dice, time.Second, time.Minute, s.interval)
		}
	case 2, 3:
		m := dice.IntN(60)
		h.Cron = pick(dice, fmt.Sprintf("%d */2 * * *", m), fmt.Sprintf("%d */3 * * *", m), fmt.Sprintf("%d %d * * *", m, dice.IntN(24)), "30 2 * * *",
			"15,45 1-3 * * *", "*/20 0-3 * * *", "0 2,3 * * *", "@hourly", "@daily", "0 0 * * sun", "20 */4 * * mon-fri", "0 6,18 28 * mon", "5 0-23/5 1-31/2 * *")
		if i%200 == 2 {
			h.Cron = pick(dice, "*/5 * * * *", "* 0-3 * * *", "* * * * *")
		}
		h.TimeZone = pick(dice, zones...)
	default:
		m, sec := dice.IntN(60), dice.IntN(60)
		h.Cron = pick(dice, fmt.Sprintf("%d %d */3 * * *", sec, m), fmt.Sprintf("%d %d */4 * * *", sec, m), "59 59 2 * * *", "*/30 59 1-2 * * *", "0 30 2 * * *", "30 0 0 * * *")
		if i%100 == 4 {
			h.Cron = pick(dice, "*/5 * 12 * * *", "* 10-14 */6 * * *")
		}
		h.TimeZone = pick(dice, zones...)
	}
	if h.Cron != "" && dice.IntN(4) == 0 {
		h.Stagger = pick(dice, 900*time.Millisecond, 20*time.Second) // less than the time between any two ticks
		if s.dense() {
			h.Stagger = 900 * time.Millisecond
		}
	}
	if dice.IntN(6) == 0 && h.Cron != "0 0 * * sun" && h.Cron != "0 6,18 28 * mon" {
		h.Start = start.Add(time.Duration(dice.IntN(40)) * time.Hour).Add(pick(dice, 0, 1234*time.Millisecond))
		if dice.IntN(2) == 0 {
			h.End = h.Start.Add(time.Duration(pick(dice, 72, 73, 100)) * time.Hour)
		}
	}
}

// dense reports whether ticks can be less than a minute apart.
func (s *spec) dense() bool {
	p := parsePattern(s.schedule.Cron)
	return p.seconds && len(p.second) > 1
}

// edit returns another definition of the flow.
func (s *spec) edit(dice *rand.Rand, now time.Time) *spec {
	e := *s
	switch dice.IntN(5) {
	case 0, 1:
		e.setTiming(dice, now.Truncate(24*time.Hour), dice.IntN(500))
	case 2:
		e.disabled = !s.disabled
	case 3:
		if e.slots() == 1 && e.schedule.PauseAfter == 0 {
			e.setOverlap(dice.IntN(7))
		}
		e.setCatchUp(dice, dice.IntN(3))
	default:
		e.setTiming(dice, now.Truncate(24*time.Hour), dice.IntN(500))
		e.disabled = !s.disabled
	}
	return &e
}
