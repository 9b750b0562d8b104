package schedule

// The ticks of expressions that follow real time. Times here are Unix seconds without the
// schedule's offset.

// nextReal returns the first tick after a moment.
func (s *Schedule) nextReal(after int64) (int64, bool) {
	at := after + 1
	for here := s.zone.span(at); ; here = s.zone.span(at) {
		if s.madeUp(at, here) {
			return at, true
		}
		local, ok := s.calendar.next(at + here.offset - 1)
		if !ok {
			return 0, false
		}
		if tick := local - here.offset; tick < here.end {
			return tick, true
		}
		at = here.end
	}
}

// prevReal returns the last tick up to a moment.
func (s *Schedule) prevReal(upTo int64) (int64, bool) {
	for at := upTo; ; {
		here := s.zone.span(at)
		local, ok := s.calendar.prev(at + here.offset)
		if !ok {
			return 0, false
		}
		if tick := local - here.offset; tick >= here.start {
			return tick, true
		}
		if s.madeUp(here.start, here) {
			return here.start, true
		}
		at = here.start - 1
	}
}

// countReal returns how many ticks there are after one moment and up to another.
func (s *Schedule) countReal(after, upTo int64) int64 {
	var n int64
	for at := after + 1; at <= upTo; {
		here := s.zone.span(at)
		last := min(here.end-1, upTo)
		n += s.calendar.count(at+here.offset-1, last+here.offset)
		if s.madeUp(at, here) && s.calendar.count(at+here.offset-1, at+here.offset) == 0 {
			n++
		}
		at = last + 1
	}
	return n
}

// madeUp reports whether a moment has a tick for local times that the clock skips then. It must
// be a moment of the span.
func (s *Schedule) madeUp(at int64, here span) bool {
	if s.calendar.follows != realTimeInHours || at != here.start {
		return false
	}
	before, _ := s.zone.shown(at - 1)
	after := at + here.offset
	return after > before+1 && s.calendar.count(before, after-1) > 0
}
