package week_test

import (
	"cmp"
	"slices"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// verdict is the oracle's prediction for one flow in one round.
type verdict struct {
	ticks   []tick
	loose   bool // a race decides about overlap, so the oracle cannot know the outcome
	probe   bool
	skipped int64
}

// judge decides about the due ticks of a flow that has these runs, and accounts for them. It
// returns nil if nothing is due.
func (m *model) judge(now time.Time, runs []*active, dead func(worker string) bool) *verdict {
	due := m.due(now)
	probing := !m.probeAt.IsZero() && !m.probeAt.After(now)
	if len(due) == 0 && !probing {
		return nil
	}
	var busy, waiting, waitingTicks int
	for _, r := range runs {
		switch {
		case r.progress && !dead(r.worker):
			busy++
		case r.progress || !r.after.After(now) || r.lease > 0:
			waiting++
			if r.waitingTick() { // a run that has begun does not count
				waitingTicks++
			}
		}
	}
	v := &verdict{ticks: due, loose: busy+waiting > 0}
	if probing {
		v.probe = m.tripped && !m.paused && !m.spec.disabled && busy+waiting == 0
		if v.probe {
			m.probes++
			waiting++
		}
		m.probeAt = m.probeAfter(now)
	}
	if reason := m.idle(); reason != "" {
		for i := range due {
			due[i].fate = reason
		}
	} else {
		m.catchUp(now, due)
		for i := range due {
			if due[i].fate != "" {
				continue
			}
			due[i].fate = dataflow.SkipOverlap
			if m.spec.admits(busy+waiting, waitingTicks) {
				due[i].fate = fired
				waiting++
				waitingTicks++
			}
		}
	}
	m.next += len(due)
	for _, d := range due {
		if d.fate != fired {
			v.skipped++
		}
	}
	return v
}

// catchUp decides which of the due ticks are too late.
func (m *model) catchUp(now time.Time, due []tick) {
	h := m.spec.schedule
	oldest, most, late := time.Time{}, 1, dataflow.SkipWindow
	switch {
	case h.CatchUp == dataflow.CatchUpNone:
		oldest, late = now.Add(-time.Minute), dataflow.SkipMissed
	case h.CatchUpWindow > 0:
		oldest = now.Add(-h.CatchUpWindow)
	}
	if h.CatchUp == dataflow.CatchUpAll {
		most = cmp.Or(h.CatchUpMax, 100)
	}
	for i := range due {
		switch {
		case due[i].at.Before(oldest):
			due[i].fate = late
		case i < len(due)-most:
			due[i].fate = dataflow.SkipMissed
		}
	}
}

// check compares a verdict with the runs that a round started. If the verdict is loose, it
// accepts any possible outcome.
func (m *model) check(now time.Time, v *verdict, runs []*dataflow.Run) {
	started := make(map[int64]bool)
	probes := 0
	for _, run := range runs {
		switch run.Trigger {
		case dataflow.TriggerProbe:
			probes++
		default:
			require.Equal(m, dataflow.TriggerSchedule, run.Trigger)
			require.False(m, started[run.ScheduledFor.UnixMilli()], "two runs of one tick")
			started[run.ScheduledFor.UnixMilli()] = true
		}
	}
	if v.loose {
		v.skipped = 0
		for i := range v.ticks {
			d := &v.ticks[i]
			open := d.fate == fired || d.fate == dataflow.SkipOverlap || m.spec.schedule.PauseAfter > 0
			switch {
			case open && started[d.at.UnixMilli()]:
				d.fate = fired
			case open:
				d.fate = unsure
			}
			if d.fate != fired {
				v.skipped++
			}
		}
	}
	var want, got []string
	for _, d := range v.ticks {
		if d.fate == fired {
			want = append(want, d.at.Format(time.RFC3339Nano))
		}
	}
	for _, run := range runs {
		if run.Trigger == dataflow.TriggerSchedule {
			got = append(got, run.ScheduledFor.UTC().Format(time.RFC3339Nano))
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	require.Equal(m, want, got, "runs of %s at %s: %s", m.spec.name, now.Format(time.RFC3339Nano), m)
	if v.loose {
		m.probes += probes
		if v.probe {
			m.probes--
		}
		return
	}
	if v.probe != (probes > 0) || probes > 1 {
		m.Fatalf("%d probes of %s at %s: %s", probes, m.spec.name, now.Format(time.RFC3339Nano), m.stored())
	}
}
