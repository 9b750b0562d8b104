package dataflow

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/activedataflow/dataflow/internal/schedule"
	"github.com/activedataflow/dataflow/internal/stored"
)

// The defaults of a [Schedule].
const (
	DefaultCatchUpMax = schedule.DefaultCatchUpMax
	DefaultProbeAfter = schedule.DefaultProbeAfter
)

// Schedule holds the scheduling options besides the Interval of a [Runtime]. The zero
// value adds nothing: ticks come at the Interval. A tick that finds the flow busy is
// skipped. Of the ticks that no process saw, the latest is made up for.
type Schedule struct {
	// Cron is an expression of five fields, such as "30 6 * * mon-fri", or of six with
	// the seconds first, or one of @hourly, @daily, @weekly, @monthly and @yearly. Days
	// can be L, LW, 15W, FRI#2 and FRIL. It replaces an Interval. Empty: none.
	Cron string
	// TimeZone is the IANA name of the zone in which Cron is read, such as
	// "Europe/Berlin". If a clock change skips a local time, the tick comes at the
	// first moment after the gap. If a local time comes twice, the tick comes the first
	// time only. Hours that begin with a star, as in "0 * * * *", follow real time
	// instead: every hour has its tick. Empty: UTC.
	TimeZone string
	// Start and End bound the ticks, both inclusive. Zero: no bound. An Interval is
	// counted from Start, or from the Unix epoch if Start is zero.
	Start time.Time
	End   time.Time
	// Stagger shifts all ticks of a flow by an amount that its name decides, less than
	// Stagger. So the flows of one schedule do not all run at once. 0: none.
	Stagger time.Duration

	// Overlap decides about a tick that comes while a run of the flow is in progress or
	// waits. Empty: OverlapSkip.
	Overlap Overlap

	// CatchUp decides about ticks that came while no process was there to see them.
	// Empty: CatchUpLatest.
	CatchUp CatchUp
	// CatchUpWindow leaves out missed ticks that are older than this. 0: no bound.
	CatchUpWindow time.Duration
	// CatchUpMax is how many of the newest missed ticks CatchUpAll makes up for. 0:
	// 100.
	CatchUpMax int

	// PauseAfter is how many runs may fail in a row before ticks stop starting runs.
	// They start runs again after a run succeeds or somebody calls [Client.Resume]. 0:
	// never.
	PauseAfter int
	// ProbeAfter is how long after that one probe run is started, to see whether the
	// trouble has passed. If the probe fails, the next comes after the same time. 0:
	// one hour. -1: no probes.
	ProbeAfter time.Duration

	// RunAtRegistration starts one run when the flow is stored for the first time,
	// besides the ticks. Later registrations start none.
	RunAtRegistration bool
}

// After starts a flow after the runs of another one: see FlowOptions.After. The zero value starts
// none.
type After struct {
	// Flow is the name of the other flow. Any process may have its code. It need not be
	// registered yet.
	Flow string
	// OnlyIfRows leaves out runs that wrote no rows. A row that the sink had already
	// ([Counters].Redundant) does not count. One of a dead letter does, at the next success.
	OnlyIfRows bool
}

// IsZero reports whether nothing is set.
func (s Schedule) IsZero() bool { return s == Schedule{} }

// Overlap decides about a tick that comes while another run of the flow is in progress
// or waits to be worked. It also limits how many runs are in progress at once,
// including runs that somebody asks for. Such a run is never skipped: it waits for its
// turn.
type Overlap string

// The overlap policies.
const (
	// OverlapSkip skips the tick.
	OverlapSkip Overlap = schedule.Skip
	// OverlapBufferOne lets one tick wait for its turn, and skips the ticks after it.
	OverlapBufferOne Overlap = schedule.BufferOne
	// OverlapBufferAll lets every tick wait for its turn, up to 1,000 of them.
	OverlapBufferAll Overlap = schedule.BufferAll
	// OverlapCancelOther cancels the other runs, and runs after they have ended.
	OverlapCancelOther Overlap = schedule.CancelOther
)

// OverlapAllow lets up to n runs of a flow be in progress at once, and skips a tick
// that would be one more. n is 1 to [MaxOverlap]. More than 1 needs a source without a
// cursor, since several runs would all move the same cursor.
func OverlapAllow(n int) Overlap { return Overlap(schedule.Allow(n)) }

func (o Overlap) policy() schedule.Policy { return schedule.PolicyOf(string(o)) }

// MaxOverlap is the greatest n of [OverlapAllow]: 1,000.
const MaxOverlap = schedule.MaxOverlap

// CatchUp decides about ticks that came while no process was there to see them.
type CatchUp string

// The catch-up policies.
const (
	// CatchUpLatest makes up for the newest of the missed ticks.
	CatchUpLatest CatchUp = schedule.CatchUpLatest
	// CatchUpNone makes up for none: only a tick that is at most a minute old starts a
	// run.
	CatchUpNone CatchUp = schedule.CatchUpNone
	// CatchUpAll makes up for all of them, up to CatchUpMax. It needs
	// OverlapBufferAll.
	CatchUpAll CatchUp = schedule.CatchUpAll
)

// validate returns everything that is wrong with a schedule, each as a *ConfigError.
func (s *Schedule) validate(interval time.Duration) error {
	var errs []error
	fault := func(field, format string, args ...any) {
		errs = append(errs, &ConfigError{Field: field, Reason: fmt.Sprintf(format, args...)})
	}
	scheduled := interval > 0 || s.Cron != ""
	switch {
	case interval < 0:
		fault("Interval", "%s is negative: use a positive duration, or 0 for no interval", interval)
	case interval > 0 && s.Cron != "":
		fault("Schedule.Cron", "%q is set beside an Interval of %s: use one of them", s.Cron, interval)
	case scheduled:
		_, err := s.compile(interval, 0)
		errs = append(errs, err)
	}
	if !scheduled {
		for field, set := range map[string]bool{
			"Schedule.TimeZone": s.TimeZone != "", "Schedule.Start": !s.Start.IsZero(), "Schedule.End": !s.End.IsZero(), "Schedule.Stagger": s.Stagger != 0,
			"Schedule.CatchUp": s.CatchUp != "", "Schedule.CatchUpWindow": s.CatchUpWindow != 0, "Schedule.CatchUpMax": s.CatchUpMax != 0,
		} {
			if set {
				fault(field, "it is set, but there are no ticks: set an Interval or a Cron too")
			}
		}
	}
	if s.Overlap.policy().Slots == 0 {
		fault("Schedule.Overlap", "%q is not a policy: use OverlapSkip, OverlapBufferOne, OverlapBufferAll, OverlapCancelOther, or OverlapAllow(1) to OverlapAllow(%d)", s.Overlap, MaxOverlap)
	}
	s.validateCatchUp(fault)
	s.validatePause(fault)
	return errors.Join(errs...)
}

func (s *Schedule) validateCatchUp(fault func(field, format string, args ...any)) {
	switch s.CatchUp {
	case "", CatchUpLatest, CatchUpNone:
		if s.CatchUpMax != 0 {
			fault("Schedule.CatchUpMax", "%d is set, but only CatchUpAll makes up for more than one tick: set CatchUp to CatchUpAll, or leave CatchUpMax out", s.CatchUpMax)
		}
	case CatchUpAll:
		if s.Overlap != OverlapBufferAll {
			fault("Schedule.CatchUp", "CatchUpAll makes up for ticks that Overlap %q then skips: use OverlapBufferAll with it, or CatchUpLatest", cmp.Or(s.Overlap, OverlapSkip))
		}
	default:
		fault("Schedule.CatchUp", "%q is not a policy: use CatchUpLatest, CatchUpNone or CatchUpAll", s.CatchUp)
	}
	if s.CatchUpMax < 0 || s.CatchUpMax > schedule.MaxBuffer {
		fault("Schedule.CatchUpMax", "%d is out of range: use 1 to %d, or 0 for the default, %d", s.CatchUpMax, schedule.MaxBuffer, DefaultCatchUpMax)
	}
	switch {
	case s.CatchUpWindow < 0:
		fault("Schedule.CatchUpWindow", "%s is negative: use a positive duration, or 0 for no bound", s.CatchUpWindow)
	case s.CatchUpWindow > 0 && s.CatchUp == CatchUpNone:
		fault("Schedule.CatchUpWindow", "%s is set, but CatchUpNone makes up for no tick: leave one of them out", s.CatchUpWindow)
	case s.CatchUpWindow > 0 && s.CatchUpWindow < schedule.OnTime:
		fault("Schedule.CatchUpWindow", "%s is less than the %s for which a tick is on time: use more", s.CatchUpWindow, schedule.OnTime)
	}
}

func (s *Schedule) validatePause(fault func(field, format string, args ...any)) {
	if s.PauseAfter < 0 {
		fault("Schedule.PauseAfter", "%d is negative: use 1 or more, or 0 for never", s.PauseAfter)
	}
	switch {
	case s.ProbeAfter < 0 && s.ProbeAfter != -1:
		fault("Schedule.ProbeAfter", "%s is negative: use a positive duration, 0 for %s, or -1 for no probe", s.ProbeAfter, DefaultProbeAfter)
	case s.ProbeAfter != 0 && s.PauseAfter == 0:
		fault("Schedule.ProbeAfter", "it is set, but failures do not pause this schedule: set PauseAfter too")
	}
}

// compile returns the ticks, shifted by offset.
func (s *Schedule) compile(interval, offset time.Duration) (*schedule.Schedule, error) {
	ticks, err := schedule.NewStaggered(schedule.Spec{
		Interval: interval, Cron: s.Cron, TimeZone: s.TimeZone, Start: s.Start, End: s.End, Offset: offset,
	}, s.Stagger)
	if err != nil {
		return nil, scheduleError(err)
	}
	return ticks, nil
}

// scheduleError turns the errors of package schedule into ours.
func scheduleError(err error) error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var errs []error
		for _, e := range joined.Unwrap() {
			errs = append(errs, scheduleError(e))
		}
		return errors.Join(errs...)
	}
	var fe *schedule.FieldError
	if !errors.As(err, &fe) {
		return err
	}
	field := "Schedule." + fe.Field
	if fe.Field == "Interval" {
		field = fe.Field // it is the Runtime's own
	}
	return &ConfigError{Field: field, Reason: fe.Reason}
}

// settings returns what is stored of a schedule.
func (s Schedule) settings(interval time.Duration) *schedule.Settings {
	bound := func(t time.Time) *time.Time {
		if t.IsZero() {
			return nil
		}
		t = t.UTC()
		return &t
	}
	probe := schedule.Seconds(s.ProbeAfter)
	if s.ProbeAfter == -1 {
		probe = schedule.NoProbe
	}
	return &schedule.Settings{
		Interval: schedule.Seconds(interval), Cron: s.Cron, TimeZone: s.TimeZone, Start: bound(s.Start), End: bound(s.End), Stagger: schedule.Seconds(s.Stagger),
		Overlap: string(s.Overlap), CatchUp: string(s.CatchUp), CatchUpWindow: schedule.Seconds(s.CatchUpWindow), CatchUpMax: s.CatchUpMax,
		PauseAfter: s.PauseAfter, ProbeAfter: probe, RunAtRegistration: s.RunAtRegistration,
	}
}

// scheduleOf is the inverse of settings. The Interval is the Runtime's.
func scheduleOf(j *schedule.Settings) Schedule {
	bound := func(t *time.Time) time.Time {
		if t == nil {
			return time.Time{}
		}
		return t.UTC()
	}
	probe := time.Duration(j.ProbeAfter)
	if j.ProbeAfter == schedule.NoProbe {
		probe = -1
	}
	return Schedule{
		Cron: j.Cron, TimeZone: j.TimeZone, Start: bound(j.Start), End: bound(j.End), Stagger: time.Duration(j.Stagger),
		Overlap: Overlap(j.Overlap), CatchUp: CatchUp(j.CatchUp), CatchUpWindow: time.Duration(j.CatchUpWindow), CatchUpMax: j.CatchUpMax,
		PauseAfter: j.PauseAfter, ProbeAfter: probe, RunAtRegistration: j.RunAtRegistration,
	}
}

// planOf reads the schedule that is stored with a flow.
func planOf(rec *FlowRecord) (*schedule.Plan, error) {
	p, err := schedule.ReadPlan(rec.ScheduleJSON, rec.Name)
	if err != nil {
		return nil, fmt.Errorf("read schedule of flow %q: %w", rec.Name, scheduleError(err))
	}
	return p, nil
}

// MarshalJSON writes what is set. Durations are numbers of seconds.
func (s Schedule) MarshalJSON() ([]byte, error) { return json.Marshal(s.settings(0)) }

// UnmarshalJSON reads what MarshalJSON writes. An unknown field is an error.
func (s *Schedule) UnmarshalJSON(data []byte) error {
	var j schedule.Settings
	if err := stored.DecodeStrict(data, &j); err != nil {
		return fmt.Errorf("schedule %s: %w", stored.Clip(string(data)), err)
	}
	if j.Interval != 0 {
		return fmt.Errorf("schedule %s: it has an interval: set the Runtime's Interval instead", stored.Clip(string(data)))
	}
	*s = scheduleOf(&j)
	return nil
}

// SkippedTicks are ticks of a schedule, one after the other, that did not become runs.
// Each tick of a schedule is in one place: it is the ScheduledFor of a run with
// TriggerSchedule, or it lies in one SkippedTicks.
type SkippedTicks struct {
	ID       int64
	FlowID   int64
	FlowName string
	// First and Last are the times of the first and the last of the ticks. If there is
	// only one, they are equal. Count is the number of ticks.
	First time.Time
	Last  time.Time
	Count int64
	// Reason is why they did not become runs.
	Reason SkipReason
	// CreatedAt is when the first of them was skipped.
	CreatedAt time.Time
}

// SkipReason is why a tick did not become a run.
type SkipReason string

// The reasons for which ticks are skipped.
const (
	// SkipOverlap: another run of the flow was in progress or waiting. See [Overlap].
	SkipOverlap SkipReason = schedule.SkippedOverlap
	// SkipPaused: somebody, or failures in a row, had paused the flow.
	SkipPaused SkipReason = schedule.SkippedPaused
	// SkipDisabled: the flow's Runtime was disabled.
	SkipDisabled SkipReason = schedule.SkippedDisabled
	// SkipMissed: no process was there to see it, and [CatchUp] did not make up for it, or
	// another schedule was registered before it could start a run.
	SkipMissed SkipReason = schedule.SkippedMissed
	// SkipWindow: no process was there to see it, and it was older than
	// Schedule.CatchUpWindow.
	SkipWindow SkipReason = schedule.SkippedWindow
	// SkipZone: the rules of the time zone have changed since the tick was stored. When
	// the flow was registered, the tick was moved to another moment.
	SkipZone SkipReason = schedule.SkippedZone
)

// Valid reports whether r is one of the reasons above.
func (r SkipReason) Valid() bool {
	switch r {
	case SkipOverlap, SkipPaused, SkipDisabled, SkipMissed, SkipWindow, SkipZone:
		return true
	default:
		return false
	}
}

// Text says the reason in words.
func (r SkipReason) Text() string {
	switch r {
	case SkipOverlap:
		return "another run of the flow was in progress or waiting"
	case SkipPaused:
		return "the flow was paused"
	case SkipDisabled:
		return "its runtime was disabled"
	case SkipMissed:
		return "no process saw it in time, and the catch-up policy does not make up for it, or the schedule was changed before"
	case SkipWindow:
		return "no process was there to see it, and it is older than the catch-up window"
	case SkipZone:
		return "it was stored under other rules of its time zone, and has been moved to another moment"
	default:
		return string(r)
	}
}

// skippedOf are the parameters by which ticks of a flow are entered into the ledger.
func skippedOf(flowID int64, s schedule.Span) *TickSkipParams {
	return &TickSkipParams{FlowID: flowID, First: s.First, Last: s.Last, Count: s.Count, Reason: SkipReason(s.Reason)}
}

// TickReport is what one round of [Client.BeginTick] has found.
type TickReport struct {
	// Fired are the runs that schedules have started in this round.
	Fired []*Run
	// Skipped counts the ticks that did not become runs. See [Client.SkippedTicks].
	Skipped int64
	// Rescued counts the runs that were put back because their worker had died.
	Rescued int
	// Due are the runs that this process works, as they were when they were found.
	// Another process may be quicker with some of them.
	Due []*Run

	worked []*Run        // what became of each of Due, nil if it was not worked here
	done   chan struct{} // closed when worked is complete
}
