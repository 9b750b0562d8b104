package schedule

import "time"

// Schedule computes ticks. It never changes, and can be used by many goroutines.
type Schedule struct {
	first, last int64 // there are no ticks outside
	offset      int64

	interval int64 // zero: the ticks are those of calendar
	anchor   int64 // a tick of the interval, regardless of first and last

	calendar calendar
	zone     zone
}

// All times in here are Unix milliseconds, from the second millisecond of the year 1 (the
// first is the zero time) to the end of the year 9999 (JSON has no later times).
const (
	minMilli = -62135596800_000 + 1
	maxMilli = 253402300800_000 - 1
)

// Next returns the first tick after the given time. It is zero if there is none.
func (s *Schedule) Next(after time.Time) time.Time {
	tick, ok := s.next(floorMilli(after))
	if !ok {
		return time.Time{}
	}
	return time.UnixMilli(tick).UTC()
}

// Last returns the last tick from one time up to another, both included. It is zero if there
// is none.
func (s *Schedule) Last(from, to time.Time) time.Time {
	first, last := s.clip(from, to)
	if first > last {
		return time.Time{}
	}
	tick, ok := s.prev(last)
	if !ok || tick < first {
		return time.Time{}
	}
	return time.UnixMilli(tick).UTC()
}

// Count returns how many ticks there are from one time up to another, both included. It does
// not walk through them: it divides by an interval, and for a cron expression it looks at the
// months and clock changes in between.
func (s *Schedule) Count(from, to time.Time) int64 {
	first, last := s.clip(from, to)
	if first > last {
		return 0
	}
	if s.interval > 0 {
		upTo, _ := divFloor(last-s.anchor, s.interval)
		before, _ := divFloor(first-1-s.anchor, s.interval)
		return upTo - before
	}
	after, upTo := s.second(first-1), s.second(last)
	if s.calendar.follows != localTime {
		return s.countReal(after, upTo)
	}
	shownBefore, _ := s.zone.shown(after)
	shown, _ := s.zone.shown(upTo)
	n := s.calendar.count(shownBefore, shown)
	for gap := range s.zone.gaps(after, upTo) {
		// All skipped local times, and the one shown right after the gap, are one tick.
		if merged := s.calendar.count(gap.before, gap.after); merged > 1 {
			n -= merged - 1
		}
	}
	return n
}

// Gap finds the first tick, after one time and before another, whose local time is skipped by
// a clock change. It returns that local time, such as "2027-03-28 02:30:00", and when the tick
// happens instead. It does not report a schedule of every hour that has a regular tick at that
// moment, such as "0 0-23 * * *": nobody would miss the skipped one.
func (s *Schedule) Gap(after, before time.Time) (wall string, at time.Time, ok bool) {
	if s.interval > 0 || s.calendar.follows == realTime {
		return "", time.Time{}, false
	}
	first := max(s.first, floorMilli(after)+1)
	last := min(s.last, ceilMilli(before)-1)
	if first > last {
		return "", time.Time{}, false
	}
	for gap := range s.zone.gaps(s.second(first-1), s.second(last)) {
		skipped, ok := s.calendar.next(gap.before)
		if !ok || skipped >= gap.after {
			continue
		}
		if s.calendar.everyHour() && s.calendar.count(gap.after-1, gap.after) == 1 {
			continue
		}
		return time.Unix(skipped, 0).UTC().Format(time.DateTime), time.UnixMilli(gap.at*1000 + s.offset).UTC(), true
	}
	return "", time.Time{}, false
}

// next returns the first tick after a time.
func (s *Schedule) next(after int64) (tick int64, ok bool) { return s.nextPast(after, distantPast) }

// nextPast returns the first tick after a time. If the clock has not yet shown the local time past,
// it is one whose local time is after that.
func (s *Schedule) nextPast(after int64, past wall) (tick int64, ok bool) {
	after = max(after, s.first-1)
	if after >= s.last {
		return 0, false
	}
	if s.interval > 0 {
		n, _ := divFloor(after-s.anchor, s.interval)
		tick = s.anchor + (n+1)*s.interval
		return tick, tick <= s.last
	}
	second := s.second(after)
	shown, span := s.zone.shown(second)
	if past > shown+2*maxShift {
		past = distantPast // no two rules of a zone differ by that much
	}
	if s.calendar.follows != localTime {
		if past > shown {
			second = max(second, s.zone.instant(past+1)-1)
		}
		tick, ok = s.nextReal(second)
		tick = tick*1000 + s.offset
		return tick, ok && tick <= s.last
	}
	// The next tick has the first local time that the clock has not shown yet.
	local, ok := s.calendar.next(max(shown, past))
	if !ok {
		return 0, false
	}
	tick = s.zone.instantAfter(local, span)*1000 + s.offset
	return tick, tick <= s.last
}

// prev returns the last tick up to a time. The tick may be before the schedule's first.
func (s *Schedule) prev(upTo int64) (tick int64, ok bool) {
	if s.interval > 0 {
		n, _ := divFloor(upTo-s.anchor, s.interval)
		return s.anchor + n*s.interval, true
	}
	if s.calendar.follows != localTime {
		tick, ok = s.prevReal(s.second(upTo))
		return tick*1000 + s.offset, ok
	}
	shown, _ := s.zone.shown(s.second(upTo))
	local, ok := s.calendar.prev(shown)
	if !ok {
		return 0, false
	}
	return s.zone.instant(local)*1000 + s.offset, true
}

// second takes the offset off a time and returns the Unix second that is left.
func (s *Schedule) second(milli int64) int64 {
	second, _ := divFloor(milli-s.offset, 1000)
	return second
}

// clip returns the part of a range in which there may be ticks.
func (s *Schedule) clip(from, to time.Time) (first, last int64) {
	return max(s.first, ceilMilli(from)), min(s.last, floorMilli(to))
}

// floorMilli returns a time in milliseconds, rounded down, and clipped to a range in which
// sums do not overflow.
func floorMilli(t time.Time) int64 {
	second := min(max(t.Unix(), minMilli/1000-daySeconds), maxMilli/1000+daySeconds)
	return second*1000 + int64(t.Nanosecond())/1e6
}

func ceilMilli(t time.Time) int64 { return floorMilli(t.Add(-1)) + 1 }
