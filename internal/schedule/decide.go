package schedule

import "time"

// Facts are what is stored of a flow that has a tick or a probe due.
type Facts struct {
	Active    bool
	TrippedAt *time.Time // nil: failures do not keep its ticks from starting runs
	ProbeAt   *time.Time // nil: there is none
	Tick      *Tick      // the next one; nil: there is none
}

// Decision is what becomes of the ticks and the probe that are due.
type Decision struct {
	Probe   bool        // a probe starts a run
	Fire    []time.Time // the ticks that start runs, oldest first
	Skipped []Span      // the others, oldest first
	Next    *Tick
	ProbeAt *time.Time
}

// Decide decides about the ticks and the probe that are due, and counts the runs that they start
// as ones that wait.
func (p *Plan) Decide(f Facts, l *Load, now time.Time) Decision {
	d := Decision{Next: f.Tick, ProbeAt: f.ProbeAt}
	if f.ProbeAt != nil && !f.ProbeAt.After(now) {
		d.Probe = p.Probes(f.Active, f.TrippedAt, l)
		d.ProbeAt = p.ProbeAt(now)
	}
	if f.Tick == nil || f.Tick.At.After(now) {
		return d
	}
	d.Next = p.NextTick(now, f.Tick)
	if reason, idle := p.Idle(f.Active, f.TrippedAt); idle {
		if s := p.SpanFrom(f.Tick, now, reason); s.Count > 0 {
			d.Skipped = append(d.Skipped, s)
		}
		return d
	}
	fire, late := p.DueFrom(f.Tick, now)
	d.Skipped = late
	for _, at := range fire {
		if p.Admits(l) {
			d.Fire = append(d.Fire, at)
		} else {
			d.Skipped = append(d.Skipped, Span{First: at, Last: at, Count: 1, Reason: SkippedOverlap})
		}
	}
	return d
}
