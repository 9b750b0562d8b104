package schedule

import (
	"slices"
	"time"
)

// Tick is a tick as it is stored. The process that finds it may know other rules of the zone than
// the one that stored it, because their zone files differ. So it also has its local time, by which
// both agree which tick it is.
type Tick struct {
	At time.Time
	// Local is the local time of a cron expression that the tick stands for, such as
	// "2026-12-01 02:00:00". Empty: the tick has none, because it follows real time.
	Local string
}

// tick returns a tick with its local time.
func (s *Schedule) tick(milli int64) *Tick {
	return &Tick{At: time.UnixMilli(milli).UTC(), Local: s.local(milli)}
}

// local returns the last local time of a cron expression that has come at some time.
func (s *Schedule) local(milli int64) string {
	if s.interval > 0 || s.calendar.follows == realTime {
		return ""
	}
	shown, _ := s.zone.shown(s.second(milli))
	local, ok := s.calendar.prev(shown)
	if !ok {
		return ""
	}
	return time.Unix(local, 0).UTC().Format(time.DateTime)
}

// wall is the local time of a stored tick, or the distant past.
func (t *Tick) wall() wall {
	local, err := time.Parse(time.DateTime, t.Local)
	if err != nil {
		return distantPast
	}
	return local.Unix()
}

// NextTick returns the first tick after a time, with its local time. If the clock has not yet shown
// the local time of done, a tick that is dealt with, it leaves out ticks up to that local time. Nil:
// there is none.
func (p *Plan) NextTick(after time.Time, done *Tick) *Tick {
	if p.ticks == nil {
		return nil
	}
	past := int64(distantPast)
	if done != nil {
		past = done.wall()
	}
	milli, ok := p.ticks.nextPast(floorMilli(after), past)
	if !ok {
		return nil
	}
	return p.ticks.tick(milli)
}

// owns reports whether a stored tick is a tick by the rules that this process knows.
func (p *Plan) owns(t *Tick) bool {
	at := p.ticks.Last(t.At, t.At)
	return at.Equal(t.At) && p.ticks.local(floorMilli(at)) >= t.Local
}

// after returns a time after a stored tick that is not ours: all our own ticks from then on are
// later ones.
func (p *Plan) after(t *Tick) time.Time {
	next := p.NextTick(t.At, t)
	if next == nil {
		return time.UnixMilli(maxMilli).UTC()
	}
	return next.At
}

// SpanFrom is [Plan.Span] from a stored tick, which counts even if it is not a tick by the rules
// that this process knows.
func (p *Plan) SpanFrom(due *Tick, now time.Time, reason string) Span {
	if p.ticks == nil || due.At.After(now) || p.owns(due) {
		return p.Span(due.At, now, reason)
	}
	s := Span{First: due.At, Last: due.At, Count: 1, Reason: reason}
	if own := p.Span(p.after(due), now, reason); own.Count > 0 {
		s.Last, s.Count = own.Last, s.Count+own.Count
	}
	return s
}

// DueFrom is [Plan.Due] from a stored tick, which is dealt with even if it is not a tick by the
// rules that this process knows.
func (p *Plan) DueFrom(due *Tick, now time.Time) (fire []time.Time, late []Span) {
	if p.ticks == nil || due.At.After(now) || p.owns(due) {
		return p.Due(due.At, now)
	}
	fire, late = p.Due(p.after(due), now)
	oldest, reason := p.oldest(now)
	switch {
	case due.At.Before(oldest):
	case len(fire) < p.most():
		return slices.Insert(fire, 0, due.At), late
	default:
		reason = SkippedMissed
	}
	return fire, slices.Insert(late, 0, Span{First: due.At, Last: due.At, Count: 1, Reason: reason})
}

// Moved returns the tick that takes the place of a stored one, because by the rules that this
// process knows, the same local time is at another moment. Nil: the stored tick stays. It also
// stays if that moment has passed.
func (p *Plan) Moved(stored *Tick, now time.Time) *Tick {
	if p.ticks == nil || !stored.At.After(now) || p.owns(stored) {
		return nil
	}
	if stored.Local == "" {
		return p.NextTick(now, nil)
	}
	milli, ok := p.ticks.nextPast(floorMilli(stored.At)-maxShift*1000, stored.wall()-1)
	if !ok || milli <= floorMilli(now) || milli == floorMilli(stored.At) {
		return nil
	}
	return p.ticks.tick(milli)
}
