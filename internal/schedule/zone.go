package schedule

import (
	"iter"
	"math"
	"time"
)

// zone maps between moments, in Unix seconds, and the local times that its clock shows.
type zone struct{ location *time.Location }

// maxShift is more than the difference between any two offsets from UTC. The largest offsets
// ever were about 16 hours.
const maxShift = 36 * hourSeconds

const (
	distantPast   = math.MinInt64 / 4
	distantFuture = math.MaxInt64 / 4
)

// span is a stretch of time with one offset, from start to before end. The span next to it may
// have the same offset.
type span struct{ start, end, offset int64 }

func (z zone) span(at int64) span {
	if z.location == time.UTC {
		return span{distantPast, distantFuture, 0}
	}
	t := time.Unix(at, 0).In(z.location)
	_, offset := t.Zone()
	s := span{distantPast, distantFuture, int64(offset)}
	start, end := t.ZoneBounds()
	if !start.IsZero() {
		s.start = start.Unix()
	}
	if !end.IsZero() {
		s.end = end.Unix()
	}
	if s.end <= at {
		// On the last day of a leap year, the time package says that the span ended a day
		// earlier. No clock has been changed since.
		day, _ := divFloor(at, daySeconds)
		s.end = (day + 1) * daySeconds
	}
	return s
}

// shown returns the latest local time that the clock has shown up to a moment, and the span
// of that moment. Shortly after the clock was put back, that is later than what it shows now.
func (z zone) shown(at int64) (wall, span) {
	here := z.span(at)
	latest := at + here.offset
	for s := here; s.start > at-maxShift; {
		s = z.span(s.start - 1)
		latest = max(latest, s.end-1+s.offset)
	}
	return latest, here
}

// instant returns the first moment at which the clock shows the given local time or a later
// one. That is the rule for times that are skipped and for times that come twice. A later
// local time never has an earlier instant, so ticks are in the order of their local times.
func (z zone) instant(w wall) int64 {
	for s := z.span(w - maxShift); ; s = z.span(s.end) {
		if at := w - s.offset; at < s.end {
			return max(at, s.start)
		}
	}
}

// instantAfter is instant for a local time that had not been shown yet at some moment of the
// given span. Usually the answer is in that span.
func (z zone) instantAfter(w wall, s span) int64 {
	if w-s.offset < s.end {
		return w - s.offset
	}
	return z.instant(w)
}

// gap is a moment at which the clock jumps ahead.
type gap struct {
	at            int64
	before, after wall // the latest local time shown before it, and the one shown at it
}

// gaps yields the gaps after one moment and up to another, in their order.
func (z zone) gaps(after, upTo int64) iter.Seq[gap] {
	return func(yield func(gap) bool) {
		for at := z.span(after).end; at <= upTo; {
			s := z.span(at)
			before, _ := z.shown(at - 1)
			g := gap{at: at, before: before, after: at + s.offset}
			if g.after > g.before+1 && !yield(g) {
				return
			}
			at = s.end
		}
	}
}
