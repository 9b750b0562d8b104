package week_test

import (
	"cmp"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// The fate of a tick is the reason why it started no run, or fired if it started one. It is
// unsure if two processes or two rounds dealt with the flow at once: then any fate is right.
const (
	fired  dataflow.SkipReason = "fired"
	unsure dataflow.SkipReason = "unsure"
)

// tick is a moment at which a flow should run by its schedule, and its fate.
type tick struct {
	at   time.Time
	fate dataflow.SkipReason // or fired; empty: none yet

	edition int // of the schedule
}

// model is what the oracle knows of a flow.
type model struct {
	*week
	spec    *spec // the registered definition
	wanted  *spec // the definition in the code of the next process
	known   bool  // it has been registered
	ticks   []tick
	next    int // the first tick that is not accounted for
	edition int
	offsets map[time.Duration]time.Duration

	paused  bool
	streak  int
	tripped bool
	probeAt time.Time
	probes  int
}

// active is a run that has not ended, as the database has it.
type active struct {
	id        int64
	flow      string
	progress  bool
	trigger   dataflow.Trigger
	scheduled time.Time
	after     time.Time
	lease     int64
	queue     string
	worker    string
	cancel    bool
	rescues   int
}

// register notes that a process has registered the flow.
func (m *model) register(now time.Time, s *spec) {
	timing := !m.known || m.spec.timing() != s.timing()
	if m.known && (timing || m.spec.disabled != s.disabled) {
		m.settle(now, dataflow.SkipMissed)
	}
	m.spec, m.known = s, true
	if timing {
		m.ticks = m.ticks[:m.next]
		m.edition++
		for _, at := range m.nominal(s, now, m.horizon) {
			m.ticks = append(m.ticks, tick{at: at, edition: m.edition})
		}
	}
}

// nominal computes the ticks of a schedule after one time and up to another.
func (m *model) nominal(s *spec, after, upTo time.Time) []time.Time {
	offset := m.offset(s)
	bounded := func(at time.Time) bool {
		return at.After(after) && !at.After(upTo) && !at.Before(s.schedule.Start) && (s.schedule.End.IsZero() || !at.After(s.schedule.End))
	}
	var ticks []time.Time
	for _, at := range m.plain(s, after.Add(-offset-time.Second), upTo) {
		if at = at.Add(offset); bounded(at) {
			ticks = append(ticks, at)
		}
	}
	return ticks
}

// plain computes the ticks without stagger. Those of a cron expression ignore Start and End.
func (m *model) plain(s *spec, after, upTo time.Time) []time.Time {
	if s.interval == 0 {
		zone, err := time.LoadLocation(s.schedule.TimeZone)
		require.NoError(m, err)
		p := parsePattern(s.schedule.Cron)
		return p.walk(zone, after, upTo)
	}
	at := s.schedule.Start
	if at.IsZero() {
		at = time.Unix(0, 0).UTC()
	}
	if passed := after.Sub(at); passed > 0 {
		at = at.Add(passed - passed%s.interval)
	}
	var ticks []time.Time
	for ; !at.After(upTo); at = at.Add(s.interval) {
		ticks = append(ticks, at)
	}
	return ticks
}

// offset is how much stagger shifts a flow's ticks. The library chooses the offset; the oracle
// only demands that it is less than Stagger and never changes.
func (m *model) offset(s *spec) time.Duration {
	within := s.schedule.Stagger
	if within == 0 {
		return 0
	}
	if offset, ok := m.offsets[within]; ok {
		return offset
	}
	from := m.start
	if from.Before(s.schedule.Start) {
		from = s.schedule.Start
	}
	shown, err := m.bodies.flow(&life{}, s).Next(from, 1)
	require.NoError(m, err)
	require.Len(m, shown, 1)
	plain := m.plain(s, from.Add(-15*24*time.Hour), shown[0])
	offset := shown[0].Sub(plain[len(plain)-1])
	require.True(m, offset >= 0 && offset < within, "the ticks of %s are shifted by %s: %+v", s.name, offset, s.schedule)
	if m.offsets == nil {
		m.offsets = make(map[time.Duration]time.Duration)
	}
	m.offsets[within] = offset
	return offset
}

// due returns the ticks that are due and not accounted for.
func (m *model) due(now time.Time) []tick {
	last := m.next
	for last < len(m.ticks) && !m.ticks[last].at.After(now) {
		last++
	}
	return m.ticks[m.next:last]
}

// nextTick is the first tick that is not accounted for. It is zero if there is none before the
// end.
func (m *model) nextTick() time.Time {
	if m.next == len(m.ticks) {
		return time.Time{}
	}
	return m.ticks[m.next].at
}

// idle is the reason why no tick of the flow starts a run, or "".
func (m *model) idle() dataflow.SkipReason {
	switch {
	case m.paused, m.tripped:
		return dataflow.SkipPaused
	case m.spec.disabled:
		return dataflow.SkipDisabled
	default:
		return ""
	}
}

// settle accounts for the due ticks of a flow that is about to change. Those that would start a
// run without the change get its reason; without one, they stay due.
func (m *model) settle(now time.Time, change dataflow.SkipReason) {
	reason := cmp.Or(m.idle(), change)
	if reason == "" {
		return
	}
	due := m.due(now)
	for i := range due {
		due[i].fate = reason
	}
	m.next += len(due)
}

func (m *model) pause(now time.Time) {
	m.settle(now, dataflow.SkipPaused)
	m.paused = true
}

func (m *model) resume(now time.Time) {
	m.settle(now, "")
	m.paused, m.tripped, m.streak, m.probeAt = false, false, 0, time.Time{}
}

// runEnded notes that a run of the flow has ended.
func (m *model) runEnded(now time.Time, failed bool) {
	if m.spec.schedule.PauseAfter == 0 {
		return
	}
	if !failed {
		m.streak, m.tripped, m.probeAt = 0, false, time.Time{}
		return
	}
	m.streak++
	if m.streak < m.spec.schedule.PauseAfter {
		return
	}
	m.tripped = true
	m.probeAt = m.probeAfter(now)
}

func (m *model) probeAfter(now time.Time) time.Time {
	switch d := m.spec.schedule.ProbeAfter; d {
	case -1:
		return time.Time{}
	case 0:
		return now.Add(time.Hour)
	default:
		return now.Add(d)
	}
}
