package dataflow

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/activedataflow/dataflow/internal/schedule"
)

// plan is a flow's schedule as it is stored, by which every process decides alike.
type plan struct {
	Schedule
	ticks    *schedule.Schedule // nil: there are none
	disabled bool               // the Runtime is
}

// planOf reads the schedule that is stored with a flow.
func planOf(rec *FlowRecord) (*plan, error) {
	var j storedSchedule
	if err := json.Unmarshal(rec.ScheduleJSON, &j); err != nil {
		return nil, fmt.Errorf("read schedule of flow %q: %w", rec.Name, err)
	}
	s := RuntimeSettings{Interval: time.Duration(j.Interval), Schedule: j.schedule()}
	p := &plan{Schedule: s.Schedule, disabled: j.Disabled}
	if !s.scheduled() {
		return p, nil
	}
	var err error
	if p.ticks, err = s.ticks(rec.Name); err != nil {
		return nil, fmt.Errorf("read schedule of flow %q: %w", rec.Name, err)
	}
	return p, nil
}

// next is the first tick after a time, nil if there is none.
func (p *plan) next(after time.Time) *time.Time {
	if p.ticks == nil {
		return nil
	}
	at := p.ticks.Next(after)
	if at.IsZero() {
		return nil
	}
	return &at
}

// span is a number of ticks, one after the other, with the reason for which they are
// skipped.
type span struct {
	first, last time.Time
	count       int64
	reason      SkipReason
}

// span returns the ticks from one time to another, both inclusive.
func (p *plan) span(from, to time.Time, reason SkipReason) span {
	s := span{count: p.ticks.Count(from, to), reason: reason}
	if s.count > 0 {
		s.first, s.last = p.ticks.Next(from.Add(-1)), p.ticks.Last(from, to)
	}
	return s
}

// due decides about the ticks from one time to now: which of them are to start runs,
// oldest first, as far as nothing else is in their way, and which are too late.
func (p *plan) due(from, now time.Time) (fire []time.Time, skip []span) {
	oldest := now.Add(-onTime) // that fires
	late := SkipMissed
	switch {
	case p.CatchUp == CatchUpNone:
	case p.CatchUpWindow > 0:
		oldest, late = now.Add(-p.CatchUpWindow), SkipWindow
	default:
		oldest = from
	}
	if oldest.After(from) {
		if s := p.span(from, oldest.Add(-1), late); s.count > 0 {
			skip = append(skip, s)
		}
		from = oldest
	}
	most := 1
	if p.CatchUp == CatchUpAll {
		most = cmp.Or(p.CatchUpMax, DefaultCatchUpMax)
	}
	for to := now; len(fire) < most; to = fire[0].Add(-1) {
		at := p.ticks.Last(from, to)
		if at.IsZero() {
			return fire, skip
		}
		fire = slices.Insert(fire, 0, at)
	}
	if s := p.span(from, fire[0].Add(-1), SkipMissed); s.count > 0 {
		skip = append(skip, s)
	}
	return fire, skip
}

// admits reports whether a tick may start a run, with so much going on, and counts
// it in if so.
func (o Overlap) admits(a *Activity) bool {
	ok := true
	switch o {
	case OverlapBufferOne:
		ok = a.WaitingTicks == 0
	case OverlapBufferAll:
		ok = a.WaitingTicks < bufferMost
	case OverlapCancelOther:
	default:
		ok = a.own() < o.slots()
	}
	if ok {
		a.Waiting++
		a.WaitingTicks++
	}
	return ok
}

// timing is the part of a stored schedule that decides when ticks are, and whether
// its Runtime is disabled.
func timing(raw json.RawMessage) (ticks string, disabled bool, err error) {
	var j storedSchedule
	if err := json.Unmarshal(raw, &j); err != nil {
		return "", false, err
	}
	data, err := json.Marshal(scheduleJSON{Interval: j.Interval, Cron: j.Cron, TimeZone: j.TimeZone, Start: j.Start, End: j.End, Stagger: j.Stagger})
	return string(data), j.Disabled, err
}

// idle reports whether ticks start no runs of a flow, whatever else goes on, and why.
func (p *plan) idle(rec *FlowRecord) (SkipReason, bool) {
	switch {
	case rec.State != FlowActive, p.tripped(rec):
		return SkipPaused, true
	case p.disabled:
		return SkipDisabled, true
	default:
		return "", false
	}
}

// tripped reports whether failures have stopped ticks from starting runs.
func (p *plan) tripped(rec *FlowRecord) bool { return rec.TrippedAt != nil && p.PauseAfter > 0 }

// probeAfter is how long after a failure a probe is started, 0 for never.
func (s *Schedule) probeAfter() time.Duration {
	switch {
	case s.PauseAfter == 0 || s.ProbeAfter == -1:
		return 0
	case s.ProbeAfter == 0:
		return DefaultProbeAfter
	default:
		return s.ProbeAfter
	}
}

func (p *plan) probeAt(now time.Time) *time.Time {
	if p.probeAfter() == 0 {
		return nil
	}
	at := now.Add(p.probeAfter())
	return &at
}

// reprobe is when the next probe is, by a plan that may be another one than that by
// which it was planned. It comes as late as that, unless the new plan is quicker.
func (p *plan) reprobe(planned *time.Time, now time.Time) *time.Time {
	at := p.probeAt(now)
	if at != nil && planned != nil && planned.Before(*at) {
		return planned
	}
	return at
}

// own is how many of the flow's own runs are in progress or wait.
func (a *Activity) own() int { return a.InProgress + a.Waiting - a.Backfills }
