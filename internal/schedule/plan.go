package schedule

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"
)

// OnTime is how old a tick may be to count as seen in time.
const OnTime = time.Minute

// The reasons for which ticks are skipped, as they are stored.
const (
	SkippedOverlap  = "overlap"        // another run was in progress or waited
	SkippedPaused   = "paused"         // somebody, or failures in a row, had paused the flow
	SkippedDisabled = "disabled"       // the flow's Runtime was disabled
	SkippedMissed   = "missed"         // no process was there, and CatchUp does not make up for the tick
	SkippedWindow   = "outside_window" // the same, because of CatchUpWindow

	// SkippedZone: the tick was stored for another moment, under other rules of the time zone.
	SkippedZone = "zone_rules_changed"
)

// Plan is a stored schedule, by which every process decides alike. It is a pure function of
// what is stored: it asks no clock and changes nothing.
type Plan struct {
	settings Settings
	disabled bool
	ticks    *Schedule // nil: there are none
}

// ReadPlan reads the stored schedule of a flow of this name. An error is that of the JSON, or
// has the [*FieldError]s of [New] and [NewStaggered].
func ReadPlan(raw json.RawMessage, flow string) (*Plan, error) {
	var s Stored
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, err
	}
	ticks, err := s.ticks(flow)
	if err != nil {
		return nil, err
	}
	return &Plan{settings: s.Settings, disabled: s.Disabled, ticks: ticks}, nil
}

// HasTicks reports whether the flow has a schedule at all.
func (p *Plan) HasTicks() bool { return p.ticks != nil }

// Next returns the first tick after a time. Nil: there is none.
func (p *Plan) Next(after time.Time) *time.Time {
	if p.ticks == nil {
		return nil
	}
	at := p.ticks.Next(after)
	if at.IsZero() {
		return nil
	}
	return &at
}

// Span is a number of ticks in a row that are skipped for one reason.
type Span struct {
	First, Last time.Time // zero if Count is
	Count       int64
	Reason      string
}

// Span returns the ticks from one time to another, both inclusive.
func (p *Plan) Span(from, to time.Time, reason string) Span {
	s := Span{Reason: reason}
	if p.ticks == nil {
		return s
	}
	if s.Count = p.ticks.Count(from, to); s.Count > 0 {
		s.First, s.Last = p.ticks.Next(from.Add(-1)), p.ticks.Last(from, to)
	}
	return s
}

// Due decides about the ticks from one time to now. It returns the ticks that may start runs,
// oldest first, and the ticks that are too late:
//
//   - CatchUpNone: a tick may start a run for a minute, OnTime.
//   - Otherwise, CatchUpWindow is how long it may. 0: for ever.
//   - Of the ticks that may, the newest starts a run. With CatchUpAll, the CatchUpMax newest do.
//
// Whether a tick then starts a run is a matter of Admits.
func (p *Plan) Due(from, now time.Time) (fire []time.Time, late []Span) {
	if p.ticks == nil {
		return nil, nil
	}
	skip := func(from, to time.Time, reason string) {
		if s := p.Span(from, to, reason); s.Count > 0 {
			late = append(late, s)
		}
	}
	if oldest, reason := p.oldest(now); oldest.After(from) {
		skip(from, oldest.Add(-1), reason)
		from = oldest
	}
	to := now
	for most := p.most(); len(fire) < most; {
		at := p.ticks.Last(from, to)
		if at.IsZero() {
			break
		}
		fire = append(fire, at)
		to = at.Add(-1)
	}
	slices.Reverse(fire)
	skip(from, to, SkippedMissed)
	return fire, late
}

// oldest returns since when ticks may start runs, and why older ones may not. The zero time: no
// tick is too old.
func (p *Plan) oldest(now time.Time) (at time.Time, reason string) {
	switch {
	case p.settings.CatchUp == CatchUpNone:
		return now.Add(-OnTime), SkippedMissed
	case p.settings.CatchUpWindow > 0:
		return now.Add(-time.Duration(p.settings.CatchUpWindow)), SkippedWindow
	default:
		return time.Time{}, ""
	}
}

// most returns how many due ticks may start runs.
func (p *Plan) most() int {
	if p.settings.CatchUp == CatchUpAll {
		return cmp.Or(p.settings.CatchUpMax, DefaultCatchUpMax)
	}
	return 1
}

// Admits reports whether a tick may start a run, by the overlap policy. If so, it counts that
// run as one that waits.
func (p *Plan) Admits(l *Load) bool {
	if !PolicyOf(p.settings.Overlap).admits(l) {
		return false
	}
	l.Waiting++
	l.WaitingTicks++
	return true
}

// Cancels reports whether the newest run cancels the older ones.
func (p *Plan) Cancels() bool { return PolicyOf(p.settings.Overlap).Cancels }

// Tripped reports whether failures, noted at a time, keep ticks from starting runs.
func (p *Plan) Tripped(at *time.Time) bool { return at != nil && p.settings.PauseAfter > 0 }

// Idle reports whether no tick starts a run, however little is going on, and why.
func (p *Plan) Idle(active bool, trippedAt *time.Time) (reason string, idle bool) {
	switch {
	case !active, p.Tripped(trippedAt):
		return SkippedPaused, true
	case p.disabled:
		return SkippedDisabled, true
	default:
		return "", false
	}
}

// Probes reports whether a probe that is due starts a run, and counts that run as one that
// waits. A tripped flow is probed if nothing else keeps it idle, and none of its own runs is in
// progress or waits.
func (p *Plan) Probes(active bool, trippedAt *time.Time, l *Load) bool {
	if !p.Tripped(trippedAt) || !active || p.disabled || l.own() > 0 {
		return false
	}
	l.Waiting++
	return true
}

// ProbeAt returns when the probe after a failure is. Nil: there is none.
func (p *Plan) ProbeAt(now time.Time) *time.Time {
	wait := p.settings.ProbeWait()
	if wait == 0 {
		return nil
	}
	at := now.Add(wait)
	return &at
}

// Reprobe returns when the next probe is, after the plan has changed. It keeps the time that the
// plan before had chosen, unless this plan probes sooner, or not at all.
func (p *Plan) Reprobe(planned *time.Time, now time.Time) *time.Time {
	at := p.ProbeAt(now)
	if at != nil && planned != nil && planned.Before(*at) {
		return planned
	}
	return at
}
